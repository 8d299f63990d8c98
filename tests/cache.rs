//! `mqtt-bridge cache` on the real binary: each subcommand, wrong files, files in use, files that are damaged.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assert_cmd::Command;
use common::{Bridge, Client};
use mqtt_bridge::bridge::cache::Cache;
use mqtt_bridge::bridge::cache::sqlite::Sqlite;
use mqtt_bridge::bridge::config::Synchronous;
use mqtt_bridge::bridge::delivery::{NewDelivery, Progress, Seq, Store, Write};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, ReasonCode, Version};

const DAMAGED: i32 = 1;
const INVALID: i32 = 2;
const ENVIRONMENT: i32 = 4;

struct Said {
    code: i32,
    out: String,
    error: String,
}

/// `mqtt-bridge cache` with these arguments.
fn cache_with(arguments: &[&str], input: &str) -> Said {
    let mut command = Command::cargo_bin("mqtt-bridge").unwrap();
    let command = command.arg("cache").args(arguments).write_stdin(input).timeout(Duration::from_secs(30));
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), error: text(output.stderr) }
}

fn cache(arguments: &[&str]) -> Said {
    cache_with(arguments, "")
}

/// What must go well.
fn fine(arguments: &[&str]) -> String {
    let said = cache(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.error);
    said.out
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Ten messages to `emqx1`, each third to `emqx2` as well; 2 in flight, 5 and 7 in quarantine.
fn filled(path: &Path) -> Sqlite {
    let mut cache = Sqlite::open(path, Synchronous::Full).unwrap();
    let bridges = ["emqx1", "emqx2"].map(|name| cache.bridge(name).unwrap().0);
    let store = |seq: i64| {
        let payload = if seq == 9 { vec![0, 1, 0xFF] } else { format!("value {seq}").into_bytes() };
        let message = Arc::new(Message::new(&format!("plant/{seq}"), payload, QoS::ExactlyOnce));
        let to = if seq % 3 == 0 { &bridges[..] } else { &bridges[..1] };
        let topic: Arc<str> = format!("site/plant/{seq}").into();
        let deliveries = to.iter().map(|bridge| {
            let (topic, qos) = (topic.clone(), message.qos);
            NewDelivery { bridge: *bridge, topic, qos, retain: false, when_full: None, identifiers: None }
        });
        let (deliveries, received_at) = (deliveries.collect(), Duration::from_secs(1_000_000_000));
        Write::Store(Box::new(Store {
            seq: Seq(seq),
            message,
            received_at,
            deliveries,
            received_id: None,
            publisher: None,
            retained: false,
        }))
    };
    let step = |seq, step| Write::Progress { bridge: bridges[0], seq: Seq(seq), step };
    let mut writes: Vec<Write> = (1..=10).map(store).collect();
    writes.push(step(2, Progress::Sent { packet_id: 1 }));
    writes.push(step(5, Progress::Quarantined(ReasonCode::NOT_AUTHORIZED)));
    writes.push(step(7, Progress::Quarantined(ReasonCode::PACKET_TOO_LARGE)));
    cache.apply(&writes).unwrap();
    cache
}

/// The same, closed in order.
fn closed(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("cache.db");
    filled(&path).close().unwrap();
    path.to_str().unwrap().to_owned()
}

/// Without the age, which goes on.
fn seqs(listed: &str) -> Vec<i64> {
    listed.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

#[test]
fn stats_list_and_show_say_what_is_there_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = closed(&folder);
    let before = files(folder.path());
    let stats = fine(&["stats", &file]);
    let line = |name: &str| stats.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace();
    assert_eq!(line("emqx1").take(4).collect::<Vec<_>>(), ["emqx1", "7", "1", "2"], "{stats}");
    assert_eq!(line("emqx2").take(4).collect::<Vec<_>>(), ["emqx2", "3", "0", "0"], "{stats}");
    assert!(stats.contains("10 messages") && stats.contains("not in use"), "{stats}");
    let json: serde_json::Value = serde_json::from_str(&fine(&["stats", &file, "--format", "json"])).unwrap();
    assert_eq!((&json["bridges"][0]["in_flight"], &json["schema"]), (&1.into(), &2.into()), "{json}");
    assert_eq!((&json["free_pages"], &json["kind"]), (&0.into(), &"mqtt-bridge".into()), "{json}");
    let topics = json["topics"].as_array().unwrap();
    assert_eq!(topics.len(), 13, "ten of emqx1 and three of emqx2");
    assert_eq!(topics.iter().filter(|topic| topic["quarantined"] == 1).count(), 2);
    let topic = line("emqx2").nth(1).unwrap().to_owned();
    assert_eq!(topic, "3", "the bridge's own line comes first");
    assert!(stats.lines().any(|line| line.starts_with("emqx2") && line.contains("site/plant/9")), "{stats}");
    assert!(fine(&["stats", &file, "--topics", "2"]).contains("and 11 more topics"));

    assert_eq!(seqs(&fine(&["list", &file])), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 3, 6, 9]);
    assert_eq!(seqs(&fine(&["list", &file, "--bridge", "emqx2", "--limit", "2"])), [3, 6]);
    assert_eq!(seqs(&fine(&["list", &file, "--state", "in-flight"])), [2]);
    let quarantined = fine(&["list", &file, "--state", "quarantined"]);
    assert_eq!(seqs(&quarantined), [5, 7]);
    assert_eq!(seqs(&fine(&["list", &file, "--topic", "site/+/3"])), [3, 3]);
    assert_eq!(seqs(&fine(&["list", &file, "--topic", "site/#", "--bridge", "emqx2"])), [3, 6, 9]);
    assert_eq!(seqs(&fine(&["list", &file, "--topic", "plant/3"])), [0; 0], "the topic at the remote counts");
    assert_eq!(seqs(&fine(&["list", &file, "--older-than", "1d"])).len(), 13);
    assert_eq!(seqs(&fine(&["list", &file, "--newer-than", "1d"])), [0; 0]);
    assert_eq!(seqs(&fine(&["list", &file, "--newer-than", "40000d", "--state", "in-flight"])), [2]);
    for wrong in [["--topic", "a/#/b"], ["--older-than", "5"], ["--state", "lost"]] {
        assert_eq!(cache(&[&["list", &file], &wrong[..]].concat()).code, INVALID, "{wrong:?}");
    }
    assert!(quarantined.contains("site/plant/5") && quarantined.contains("Not authorized (0x87)"), "{quarantined}");
    let json = fine(&["list", &file, "--format", "json", "--limit", "0"]);
    let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[6]["reason_name"]), (13, &"Packet too large (0x95)".into()));

    let shown = fine(&["show", &file, "3"]);
    for part in ["plant/3", "value 3", "emqx1 as site/plant/3, QoS 2, queued", "emqx2"] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert!(fine(&["show", &file, "9"]).contains("00 01 ff"), "bytes that are no text");
    assert!(fine(&["show", &file, "3", "--payload", "hex"]).contains("76 61 6c 75 65 20 33"));
    let json: serde_json::Value = serde_json::from_str(&fine(&["show", &file, "5", "--format", "json"])).unwrap();
    assert_eq!((&json["payload"], &json["deliveries"][0]["reason"]), (&"dmFsdWUgNQ==".into(), &0x87.into()), "{json}");
    let no_json = cache(&["show", &file, "3", "--payload", "json"]);
    assert!(no_json.code == INVALID && no_json.error.contains("is no JSON"), "{}", no_json.error);
    let missing = cache(&["show", &file, "77"]);
    assert_eq!(missing.code, INVALID);
    assert!(missing.error.contains("there is no message 77"), "{}", missing.error);
    fine(&["verify", &file]);
    fine(&["export", &file]);
    assert!(before == files(folder.path()), "it left a trace");
}

#[test]
fn the_wal_of_a_killed_bridge_is_read_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let live = filled(&path);
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        std::fs::copy(format!("{}{suffix}", path.display()), copy.path().join(format!("cache.db{suffix}"))).unwrap();
    }
    drop(live);
    let before = files(copy.path());
    let file = copy.path().join("cache.db").to_str().unwrap().to_owned();
    assert_eq!(fine(&["export", &file]).lines().count(), 10);
    fine(&["verify", &file]);
    assert!(before == files(copy.path()), "it left a trace");
}

#[test]
fn an_export_comes_back_in_order_behind_what_is_there_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = closed(&folder);
    let out = folder.path().join("export.jsonl");
    fine(&["export", &file, "--out", out.to_str().unwrap()]);
    assert_eq!(cache(&["export", &file, "--out", out.to_str().unwrap()]).code, ENVIRONMENT, "it is there already");
    let lines = std::fs::read_to_string(&out).unwrap();
    assert_eq!(lines, fine(&["export", &file]));
    let fresh = folder.path().join("fresh.db").to_str().unwrap().to_owned();
    for round in 1..=2 {
        let said = cache_with(&["import", &fresh], &lines);
        assert_eq!(said.code, 0, "{}", said.error);
        assert!(said.error.contains("1 had been in flight and are queued"), "{}", said.error);
        let expected: Vec<i64> = (1..=10 * round).collect();
        assert_eq!(seqs(&fine(&["list", &fresh, "--bridge", "emqx1"])), expected);
    }
    assert_eq!(seqs(&fine(&["list", &fresh, "--state", "quarantined"])), [5, 7, 15, 17]);
    fine(&["verify", &fresh]);
    // One cache into another; a bridge that the other does not know is no guess's business.
    let merged = folder.path().join("merged.db").to_str().unwrap().to_owned();
    assert_eq!(cache(&["import", &merged, &file, "--bridge", "emqx2=remote"]).code, 0);
    assert_eq!(seqs(&fine(&["list", &merged, "--bridge", "remote"])), [1, 2, 3], "3, 6 and 9, and nothing of emqx1");
    let undecided = cache(&["import", &merged, &file]);
    assert_eq!(undecided.code, INVALID);
    assert!(undecided.error.contains("the cache knows the bridges remote"), "{}", undecided.error);
    let before = fine(&["export", &fresh]);
    for (wrong, what) in [
        (
            lines.replace("\"qos\":2,\"retain\":false,\"received_at\"", "\"qos\":3,\"retain\":false,\"received_at\""),
            "line 1: QoS 3",
        ),
        (format!("{lines}{{\"seq\":1}}\n"), "line 11: missing field"),
        (lines.replace("\"plant/4\"", "\"plant/#\""), "line 4: topic"),
    ] {
        let said = cache_with(&["import", &fresh], &wrong);
        assert_eq!(said.code, INVALID, "{}", said.error);
        assert!(said.error.contains(what) && said.error.contains("nothing was imported"), "{}", said.error);
    }
    assert_eq!(fine(&["export", &fresh]), before);
}

#[test]
fn purge_says_first_what_it_would_do_and_requeue_puts_back_in_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = closed(&folder);
    let said = cache(&["purge", &file, "--yes"]);
    assert_eq!(said.code, INVALID);
    assert!(said.error.contains("which ones?"), "{}", said.error);
    assert!(fine(&["purge", &file, "--bridge", "emqx2"]).starts_with("3 deliveries of "));
    assert_eq!(seqs(&fine(&["list", &file])).len(), 13, "nothing is removed without --yes");
    assert!(fine(&["purge", &file, "--bridge", "emqx2", "--yes"]).starts_with("3 deliveries removed"));
    assert!(fine(&["purge", &file, "--topic", "other/#", "--yes"]).starts_with("0 deliveries removed"));
    assert!(fine(&["purge", &file, "--newer-than", "1d", "--yes"]).starts_with("0 deliveries removed"));
    assert!(fine(&["requeue", &file, "--topic", "site/plant/9"]).starts_with("0 deliveries"));
    assert_eq!(cache(&["requeue", &file, "--state", "queued"]).code, INVALID);
    assert!(fine(&["requeue", &file, "--topic", "site/plant/5"]).starts_with("1 deliveries"));
    assert_eq!(seqs(&fine(&["list", &file, "--state", "quarantined"])), [7]);
    assert!(fine(&["requeue", &file]).starts_with("1 deliveries"));
    assert_eq!(seqs(&fine(&["list", &file, "--state", "queued"])), [1, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert!(fine(&["purge", &file, "--seq", "1", "--yes"]).starts_with("1 deliveries removed"));
    assert!(fine(&["stats", &file]).contains("9 messages"));
    assert!(fine(&["verify", &file]).contains("sound"));
}

#[test]
fn on_a_terminal_purge_asks() {
    if !common::has("script", "on_a_terminal_purge_asks") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = closed(&folder);
    for (answer, said, left) in
        [("n\n", "nothing was removed", 13), ("\n", "nothing was removed", 13), ("y\n", "3 deliveries removed", 10)]
    {
        let purge = format!("{} cache purge {file} --bridge emqx2", env!("CARGO_BIN_EXE_mqtt-bridge"));
        let output = Command::new("script").args(["-qec", &purge, "/dev/null"]).write_stdin(answer).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains("remove 3 deliveries of ") && shown.contains("for good? [y/N]"), "{shown}");
        assert!(shown.contains(said), "{answer:?}: {shown}");
        assert_eq!(seqs(&fine(&["list", &file])).len(), left);
    }
}

#[test]
fn a_wrong_file_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("text"), "a shopping list").unwrap();
    let other = rusqlite::Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE things (name TEXT)").unwrap();
    drop(other);
    filled(Path::new(&path("newer"))).close().unwrap();
    let newer = rusqlite::Connection::open(path("newer")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = files(folder.path());
    let commands: [&[&str]; 7] = [
        &["stats"],
        &["list"],
        &["export"],
        &["verify"],
        &["purge", "--seq", "1", "--yes"],
        &["requeue"],
        &["purge", "--seq", "1"],
    ];
    for (name, what) in [
        ("text", "not a cache of mqtt-bridge: no SQLite database"),
        ("other", "a SQLite database of another program"),
        ("newer", "written by a newer version (schema 99"),
        ("missing", "cannot be opened"),
    ] {
        for command in commands {
            let file = path(name);
            let said = cache(&[&command[..1], &[file.as_str()], &command[1..]].concat());
            assert_eq!(said.code, INVALID, "{command:?} {name}: {}", said.error);
            assert!(said.error.contains(what) && said.error.contains(name), "{}", said.error);
        }
    }
    assert!(before == files(folder.path()), "a file was changed");
}

#[test]
fn while_a_bridge_runs_it_is_read_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache.db").to_str().unwrap().to_owned();
    let rest = format!(
        "cache: {{ path: {file} }}\nbridges: [{{ name: b, server: mqtt://127.0.0.1:1, client_id: b, forwards: [{{ local: \
         \"#\" }}] }}]\n"
    );
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    let publish = |packet_id: u16| {
        let message = Message::new("t", format!("value {packet_id}"), QoS::AtLeastOnce);
        Packet::Publish(Publish::new(Arc::new(message), packet_id))
    };
    for packet_id in 1..=20 {
        client.send(&publish(packet_id));
        assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(packet_id))));
        let listed = fine(&["list", &file]);
        assert_eq!(seqs(&listed).len(), usize::from(packet_id), "{listed}");
    }
    assert!(fine(&["stats", &file]).contains("a bridge runs on it"));
    assert_eq!(fine(&["export", &file]).lines().count(), 20);
    assert!(fine(&["show", &file, "7"]).contains("value 7"));
    fine(&["verify", &file]);
    let commands: [&[&str]; 3] = [&["purge", &file, "--seq", "1", "--yes"], &["requeue", &file], &["import", &file]];
    for command in commands {
        let said = cache(command);
        assert_eq!(said.code, ENVIRONMENT, "{command:?}: {}", said.error);
        assert!(said.error.contains("its bridge must be stopped first"), "{}", said.error);
        assert!(said.error.contains("in use by another process"), "{}", said.error);
    }
    client.send(&publish(21));
    assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(21))));
}

#[test]
fn what_is_readable_of_a_damaged_file_is_saved_and_goes_into_a_fresh_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let mut cache_file = filled(&path);
    let (bridge, _) = cache_file.bridge("emqx1").unwrap();
    let many = (11..=400).map(|seq| {
        let message = Arc::new(Message::new("many", vec![b'x'; 300], QoS::AtLeastOnce));
        let to = NewDelivery {
            bridge,
            topic: message.topic.clone(),
            qos: message.qos,
            retain: false,
            when_full: None,
            identifiers: None,
        };
        let (deliveries, received_at) = (vec![to], Duration::from_secs(1));
        Write::Store(Box::new(Store {
            seq: Seq(seq),
            message,
            received_at,
            deliveries,
            received_id: None,
            publisher: None,
            retained: false,
        }))
    });
    cache_file.apply(&many.collect::<Vec<_>>()).unwrap();
    cache_file.close().unwrap();
    drop(cache_file);
    let file = path.to_str().unwrap().to_owned();
    // The page in the middle of the messages, of which nothing is left.
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    let full_of_x = |page: &usize| bytes[page * 4096..][..4096].iter().filter(|byte| **byte == b'x').count() > 2000;
    let leaves: Vec<usize> = (0..pages).filter(full_of_x).collect();
    let damaged = leaves[leaves.len() / 2];
    bytes[damaged * 4096..][..4096].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let said = cache(&["verify", &file]);
    assert_eq!(said.code, DAMAGED, "{}{}", said.out, said.error);
    assert!(said.out.contains("damaged: ") && said.out.contains("not sound"), "{}", said.out);
    let exported = cache(&["export", &file]);
    assert_eq!(exported.code, DAMAGED, "{}", exported.error);
    assert!(exported.error.contains("nothing can be read of the sequences"), "{}", exported.error);
    let saved = exported.out.lines().count();
    assert!((370..400).contains(&saved), "{saved} of 400");
    let fresh = folder.path().join("fresh.db").to_str().unwrap().to_owned();
    assert_eq!(cache_with(&["import", &fresh], &exported.out).code, 0);
    assert!(fine(&["verify", &fresh]).contains("sound"));
    assert!(fine(&["stats", &fresh]).contains(&format!("{saved} messages")));
}
