//! Giving the space of a backlog that has drained back to the file system: how long one step takes, and what a
//! publisher notices of it.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mqtt_bridge::bridge::cache::Cache;
use mqtt_bridge::bridge::cache::sqlite::Sqlite;
use mqtt_bridge::bridge::config::Synchronous;
use mqtt_bridge::bridge::delivery::{NewDelivery, Outcome, Progress, Seq, Store, Write};
use mqtt_bridge::bridge::message::{Message, QoS};

use super::load;
use super::peers::{self, free_port, remote};

const MESSAGES: i64 = 1_000_000;
/// A publisher's, while space is given back.
const RATE: u64 = 100;
/// How long it publishes: with somebody who publishes, space is given back in the pauses.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

/// A cache that held so many messages and holds none but every so many-th, as it is left at an orderly end.
fn drained(path: &Path, left: Option<i64>) {
    let mut cache = Sqlite::open(path, Synchronous::Normal).unwrap();
    let (bridge, _) = cache.bridge("bench").unwrap();
    let message = Arc::new(Message::new("bench", vec![b'x'; load::PAYLOAD], QoS::AtLeastOnce));
    let to = NewDelivery {
        bridge,
        topic: message.topic.clone(),
        qos: message.qos,
        retain: false,
        when_full: None,
        identifiers: None,
    };
    let store = |seq: i64| {
        let (message, deliveries) = (message.clone(), vec![to.clone()]);
        let store = Store {
            seq: Seq(seq),
            message,
            received_at: Duration::ZERO,
            deliveries,
            received_id: None,
            publisher: None,
            retained: false,
        };
        Write::Store(Box::new(store))
    };
    let step = Progress::Removed(Outcome::Delivered);
    let remove = |seq: i64| Write::Progress { bridge, seq: Seq(seq), step };
    for first in (1..=MESSAGES).step_by(1000) {
        cache.apply(&(first..first + 1000).map(store).collect::<Vec<_>>()).unwrap();
    }
    let goes = |seq: &i64| left.is_none_or(|left| seq % left != 0);
    for first in (1..=MESSAGES).step_by(100) {
        cache.apply(&(first..first + 100).filter(goes).map(remove).collect::<Vec<_>>()).unwrap();
    }
    cache.close().unwrap();
    drop(cache);
    // Its own syncs are not to write what came before.
    std::fs::File::open(path).unwrap().sync_all().unwrap();
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Milliseconds at shares of what was measured, and the most.
fn show(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(at);
    println!("{what:<40} p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, longest {max:.2} ms of {}", took.len());
}

fn steps(path: &Path, what: &str) {
    let mut cache = Sqlite::open(path, Synchronous::Full).unwrap();
    let (full, begin, mut took) = (size(path), Instant::now(), Vec::new());
    loop {
        let step = Instant::now();
        let more = cache.shrink().unwrap();
        took.push(step.elapsed());
        if !more {
            break;
        }
    }
    let all = begin.elapsed();
    println!("{} MiB to {} MiB in {all:.1?}", full >> 20, size(path) >> 20);
    let mut longest: Vec<(usize, Duration)> = took.iter().copied().enumerate().collect();
    longest.sort_unstable_by_key(|(_, took)| std::cmp::Reverse(*took));
    println!("  the longest by their number: {:.1?}", &longest[..longest.len().min(5)]);
    show(what, took);
}

/// A publisher's acknowledgements while a bridge gives space back, or where there is none to be given back.
fn acknowledgements(folder: &Path, path: PathBuf, what: &str) {
    let address: SocketAddr = free_port();
    let _remote = remote(folder, address);
    let file = folder.join("shrink.yaml");
    let text = format!(
        "listeners: [{{ bind: 127.0.0.1:0 }}]\ncache: {{ path: {} }}\nbridges:\n  - {{ name: bench, server: \
         mqtt://{address}, client_id: bench, protocol: 4, forwards: [{{ local: \"#\" }}] }}\n",
        path.display()
    );
    std::fs::write(&file, text).unwrap();
    let bridge = peers::ours(&file);
    let (begin, full, done) = (Instant::now(), size(&path), Arc::new(AtomicBool::new(false)));
    let until = done.clone();
    let publisher = std::thread::spawn(move || load::acknowledged_within(bridge.address, RATE, &until, bridge));
    std::thread::sleep(LONG_ENOUGH);
    let took = begin.elapsed();
    done.store(true, Ordering::Relaxed);
    let (acknowledged, _bridge) = publisher.join().unwrap();
    println!("{} MiB to {} MiB in {took:.1?}", full >> 20, size(&path) >> 20);
    show(what, acknowledged);
}

/// Both, and beside them the same publisher without anything to be given back.
pub(crate) fn shrink(folder: &Path) {
    let (path, copy) = (folder.join("drained.db"), folder.join("copy.db"));
    drained(&copy, Some(50));
    steps(&copy, "a step, every 50th message left");
    drained(&path, None);
    std::fs::copy(&path, &copy).unwrap();
    std::fs::File::open(&copy).unwrap().sync_all().unwrap();
    steps(&path, "a step, no message left");
    acknowledgements(folder, copy, &format!("PUBACK meanwhile, {RATE}/s"));
    acknowledgements(folder, path, &format!("PUBACK with nothing to give, {RATE}/s"));
}
