//! Salvage, page by page. The commands themselves are in `tests/cache.rs`.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::bridge::cache::Cache;
use crate::bridge::cache::sqlite::Sqlite;
use crate::bridge::config::Synchronous;
use crate::bridge::delivery::{BridgeId, NewDelivery, Progress, Seq, Store, Write};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::ReasonCode;

const MESSAGES: i64 = 150;
const PAGE: usize = 4096;

fn store(seq: i64, bridges: &[BridgeId]) -> Write {
    // Some of them reach into overflow pages.
    let size = if seq % 10 == 0 { 9000 } else { 300 };
    let message = Arc::new(Message::new(&format!("t/{seq}"), vec![seq as u8; size], QoS::ExactlyOnce));
    let topic: Arc<str> = format!("site/{seq}").into();
    let to = |bridge: &BridgeId| NewDelivery {
        bridge: *bridge,
        topic: topic.clone(),
        qos: message.qos,
        retain: false,
        when_full: None,
        identifiers: None,
    };
    let (deliveries, received_at) = (bridges.iter().map(to).collect(), Duration::from_secs(seq as u64));
    Write::Store(Box::new(Store {
        seq: Seq(seq),
        message,
        received_at,
        deliveries,
        received_id: None,
        publisher: None,
        retained: false,
    }))
}

/// A cache with two bridges, closed in order.
fn filled(path: &Path) {
    let mut cache = Sqlite::open(path, Synchronous::Normal).unwrap();
    let bridges = ["one", "two"].map(|name| cache.bridge(name).unwrap().0);
    let to = |seq: i64| if seq % 3 == 0 { &bridges[..] } else { &bridges[..1] };
    let mut writes: Vec<Write> = (1..=MESSAGES).map(|seq| store(seq, to(seq))).collect();
    let step = |seq, step| Write::Progress { bridge: bridges[0], seq: Seq(seq), step };
    writes.push(step(3, Progress::Sent { packet_id: 9 }));
    writes.push(step(4, Progress::Quarantined(ReasonCode::NOT_AUTHORIZED)));
    cache.apply(&writes).unwrap();
    cache.close().unwrap();
}

fn exported(file: &CacheFile) -> (Exported, BTreeMap<i64, ExportedMessage>) {
    let mut lines = Vec::new();
    let exported = export(file, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let messages = lines.lines().map(|line| serde_json::from_str::<ExportedMessage>(line).unwrap());
    (exported, messages.map(|message| (message.seq, message)).collect())
}

#[test]
fn a_sound_file_is_sound_and_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    filled(&path);
    let file = CacheFile::open(&path).unwrap();
    assert_eq!(file.verify().unwrap().problems, Vec::<String>::new());
    let (told, messages) = exported(&file);
    assert!(told.is_complete());
    assert_eq!(messages.len() as i64, MESSAGES);
    let mut lines = Vec::new();
    export(&file, &mut lines).unwrap();
    let copy = folder.path().join("copy.db");
    let mut cache = Sqlite::open(&copy, Synchronous::Normal).unwrap();
    let imported = cache.import(&lines[..], None).unwrap();
    assert_eq!((imported.messages as i64, imported.requeued), (MESSAGES, 1));
    let bridge = cache.bridge("one").unwrap().0;
    assert_eq!((cache.usage(bridge), cache.usage(bridge).quarantined), (cache.scan(bridge), 1));
    // Once more, behind what is there; and nothing of what ends in the middle.
    cache.import(&lines[..], None).unwrap();
    assert!(matches!(cache.import(&lines[..lines.len() - 9], None), Err(ImportError::Invalid { .. })));
    assert_eq!(cache.scan(bridge), cache.usage(bridge));
    drop(cache);
    let (_, twice) = exported(&CacheFile::open(&copy).unwrap());
    let topics: Vec<&str> = twice.values().map(|message| &*message.topic).collect();
    let once: Vec<&str> = messages.values().map(|message| &*message.topic).collect();
    assert_eq!(topics, [once.clone(), once].concat());
    assert_eq!(twice[&3].deliveries[0].state, State::Queued);
    assert_eq!(twice[&4].deliveries[0].reason, Some(0x87));
}

#[test]
fn of_a_file_with_any_page_lost_every_message_is_exported_as_it_was_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    filled(&path);
    let (_, whole) = exported(&CacheFile::open(&path).unwrap());
    let sound = std::fs::read(&path).unwrap();
    let (mut complete, mut found, mut salvaged) = (0, 0, 0);
    for page in 1..sound.len() / PAGE {
        let mut bytes = sound.clone();
        bytes[page * PAGE..][..PAGE].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let file = match CacheFile::open(&path) {
            Ok(file) => file,
            // The page on which everything hangs is the first, and that one is there.
            Err(error) => panic!("page {page}: {error}"),
        };
        found += u64::from(!file.verify().unwrap().problems.is_empty());
        let (told, messages) = exported(&file);
        complete += u64::from(told.is_complete());
        for seq in whole.keys().filter(|seq| !messages.contains_key(seq)) {
            let in_gap = told.gaps.iter().any(|gap| gap.from <= *seq && gap.to.is_none_or(|to| *seq <= to));
            assert!(
                in_gap || told.unreadable.iter().any(|told| told.seq == *seq),
                "page {page}: {seq} is missing without a word: {told:?}"
            );
        }
        for (seq, message) in &messages {
            // Nothing but its sum could tell zeros in the middle of a payload from a payload.
            let (mut message, mut original) = (message.clone(), whole[seq].clone());
            if original.payload.len() > PAGE {
                (message.payload, original.payload) = (Vec::new(), Vec::new());
            }
            if message.deliveries.len() < original.deliveries.len() {
                assert!(message.deliveries.is_empty() && told.without_delivery > 0 || told.partly.contains(seq));
                original.deliveries.clear();
                message.deliveries.clear();
            }
            assert_eq!(message, original, "page {page}");
        }
        salvaged += messages.len();
    }
    let pages = (sound.len() / PAGE - 1) as u64;
    assert!(found * 10 > pages * 6, "{found} of {pages} lost pages are noticed");
    assert!(complete < pages, "{complete}");
    assert!(salvaged as u64 * 10 > pages * MESSAGES as u64 * 7, "{salvaged} in {pages} files");
}
