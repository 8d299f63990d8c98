//! Disks that fail under the real binary: no acknowledgement that is not kept, the process lives and says so, and goes on
//! by itself when the disk does.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Bridge, Client};
use mqtt_bridge::bridge::cache::Cache;
use mqtt_bridge::bridge::cache::sqlite::Sqlite;
use mqtt_bridge::bridge::cache::sqlite::file::{CacheFile, Selection};
use mqtt_bridge::bridge::config::Synchronous;
use mqtt_bridge::bridge::delivery::{NewDelivery, Seq, Store};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, ReasonCode, Version};

/// Longer than a publisher's acknowledgement is held.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bridge with a cache, no remote that answers, and /healthz.
struct Subject {
    bridge: Bridge,
    metrics: SocketAddr,
    cache: PathBuf,
}

impl Subject {
    /// The configuration stands in `folder`, the cache where it says.
    fn start(folder: &Path, cache: &Path) -> Self {
        let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let rest = format!(
            "cache: {{ path: {} }}\nmetrics: {{ bind: {metrics} }}\nbridges: [{{ name: b, server: mqtt://127.0.0.1:1, \
             client_id: b, forwards: [{{ local: \"#\" }}] }}]\n",
            cache.display()
        );
        Self { bridge: Bridge::start(folder, &rest), metrics, cache: cache.to_owned() }
    }

    /// `None`: it does not listen there yet.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.metrics).ok()?;
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Some(answer)
    }

    /// Waits until /healthz answers so, and /metrics with it; what it says.
    fn is_healthy(&self, healthy: bool) -> String {
        let (status, gauge) = if healthy { ("200", "cache_healthy 1\n") } else { ("503", "cache_healthy 0\n") };
        let said = self.until("/healthz", |answer| answer.split(' ').nth(1) == Some(status));
        self.until("/metrics", |answer| answer.contains(gauge));
        said
    }

    fn until(&self, path: &str, holds: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            if let Some(answer) = answer.as_ref().filter(|answer| holds(answer)) {
                return answer.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{path} goes on saying {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn publisher(&self) -> Client {
        Client::connect(self.bridge.address, Connect::new(Version::V5, "p")).0
    }

    /// Ends it in order; its log, and the topics that the cache holds.
    fn ended(self) -> (String, Vec<String>) {
        let (status, log) = self.bridge.terminate();
        assert!(status.success(), "{log}");
        (log, topics(&self.cache))
    }
}

fn topics(cache: &Path) -> Vec<String> {
    let mut topics = Vec::new();
    let all = Selection::default();
    let take = |row: mqtt_bridge::bridge::cache::sqlite::file::Row| {
        topics.push(row.topic);
        true
    };
    CacheFile::open(cache).unwrap().list(&all, usize::MAX, take).unwrap();
    topics
}

fn publish(packet_id: u16, bytes: usize) -> Packet {
    let message = Message::new(&format!("t/{packet_id}"), vec![b'x'; bytes], QoS::AtLeastOnce);
    Packet::Publish(Publish::new(Arc::new(message), packet_id))
}

fn numbered(from: u16, to: u16) -> Vec<String> {
    (from..=to).map(|packet_id| format!("t/{packet_id}")).collect()
}

fn publish_all(client: &mut Client, from: u16, to: u16) {
    for packet_id in from..=to {
        client.send(&publish(packet_id, 100));
        assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(packet_id))));
    }
}

/// Runs where mounts are seen by nobody else and end with the test. That takes root; on CI it must be.
fn with_own_mounts(test: &str, body: impl FnOnce() + Send + 'static) {
    // SAFETY: it changes the mounts that this one thread sees, and the processes that it starts.
    let unshare = || unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let thread = std::thread::spawn(move || {
        let private = unshare() && mount(&["--make-rprivate", "/"]);
        if private {
            body();
        }
        private
    });
    let ran = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(ran || std::env::var_os("CI").is_none(), "{test}: no mounts of its own on CI");
    if !ran {
        std::io::stderr().write_all(format!("SKIPPED {test}: it mounts, which takes root\n").as_bytes()).unwrap();
    }
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).status().is_ok_and(|status| status.success())
}

/// Takes what is left of a disk, to the last byte.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_holds_then_refuses_and_goes_on_when_there_is_room() {
    with_own_mounts("a_full_disk", || {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        assert!(mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs", disk.to_str().unwrap()]));
        let subject = Subject::start(folder.path(), &disk.join("cache.db"));
        let mut client = subject.publisher();
        publish_all(&mut client, 1, 20);
        subject.is_healthy(true);
        let ballast = disk.join("ballast");
        fill(&ballast);
        // Held as long as that is no worse than a refusal.
        client.send(&publish(21, 500_000));
        let said = subject.is_healthy(false);
        assert!(said.contains("the disk is full"), "{said}");
        subject.until("/metrics", |metrics| metrics.contains("publishes_refused_total 1\n"));
        let refused = Ack { packet_id: 21, reason: ReasonCode::UNSPECIFIED_ERROR };
        assert_eq!(client.receive(), Some(Packet::Puback(refused)));
        // What comes back before that was never refused.
        client.send(&publish(22, 500_000));
        std::fs::remove_file(&ballast).unwrap();
        assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(22))));
        subject.is_healthy(true);
        client.send(&publish(21, 500_000));
        assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(21))));
        publish_all(&mut client, 23, 30);
        let (log, kept) = subject.ended();
        assert!(log.contains("the disk is full; nothing is acknowledged until"), "{log}");
        assert!(log.contains("the cache can be written again"), "{log}");
        let expected = [numbered(1, 20), numbered(22, 22), numbered(21, 21), numbered(23, 30)].concat();
        assert_eq!(kept, expected, "everything acknowledged, once and in order, and nothing that was refused");
    });
}

#[test]
fn a_disk_that_is_full_or_read_only_at_the_start_is_said_and_left_as_it_was() {
    with_own_mounts("a_disk_that_is_full_at_the_start", || {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let at = disk.to_str().unwrap();
        assert!(mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs", at]));
        let file = folder.path().join("bridge.yaml");
        let config = format!(
            "listeners: [{{ bind: 127.0.0.1:0 }}]\ncache: {{ path: {at}/cache.db }}\nbridges: [{{ name: b, server: \
             mqtt://127.0.0.1:1, client_id: b }}]\n"
        );
        std::fs::write(&file, config).unwrap();
        let start = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
            let output = command.args(["run", "--config"]).arg(&file).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let names = || {
            let mut names: Vec<_> = std::fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        fill(&disk.join("ballast"));
        let (code, said) = start();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("full"), "{said}");
        assert_eq!(names(), ["ballast"], "nothing half made is left");
        std::fs::remove_file(disk.join("ballast")).unwrap();
        drop(Sqlite::open(&disk.join("cache.db"), Synchronous::Full).unwrap());
        let before = names();
        assert!(mount(&["-o", "remount,ro", at]));
        let (code, said) = start();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("cache.db") && said.contains("ead-only file system"), "{said}");
        assert_eq!(names(), before);
    });
}

#[test]
fn a_cache_whose_directory_vanishes_acknowledges_nothing_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, aside) = (folder.path().join("disk"), folder.path().join("aside"));
    std::fs::create_dir(&disk).unwrap();
    let subject = Subject::start(folder.path(), &disk.join("cache.db"));
    let mut client = subject.publisher();
    publish_all(&mut client, 1, 5);
    std::fs::rename(&disk, &aside).unwrap();
    client.send(&publish(6, 100));
    let said = subject.is_healthy(false);
    assert!(said.contains("removed or replaced while it was in use"), "{said}");
    std::fs::rename(&aside, &disk).unwrap();
    assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(6))), "held, and then kept");
    subject.is_healthy(true);
    publish_all(&mut client, 7, 9);
    // Now for good.
    std::fs::rename(&disk, &aside).unwrap();
    client.send(&publish(10, 100));
    subject.until("/metrics", |metrics| metrics.contains("publishes_refused_total 1\n"));
    assert!(matches!(client.receive(), Some(Packet::Puback(Ack { packet_id: 10, reason })) if reason.is_failure()));
    let (status, log) = subject.bridge.terminate();
    assert!(status.success() && log.contains("removed or replaced"), "{log}");
    assert_eq!(topics(&aside.join("cache.db")), numbered(1, 9));
}

#[test]
fn a_page_that_is_found_corrupted_at_run_time_ends_acknowledging_and_not_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let mut cache = Sqlite::open(&path, Synchronous::Normal).unwrap();
    let (bridge, _) = cache.bridge("b").unwrap();
    // More than is checked at a start.
    for block in 0..20 {
        let store = |seq: i64| {
            let message = Arc::new(Message::new("old", vec![b'x'; 3500], QoS::AtLeastOnce));
            let to =
                NewDelivery { bridge, topic: message.topic.clone(), qos: message.qos, retain: false, when_full: None };
            let (deliveries, received_at) = (vec![to], Duration::from_secs(1));
            let store = Store { seq: Seq(seq), message, received_at, deliveries, received_id: None };
            mqtt_bridge::bridge::delivery::Write::Store(Box::new(store))
        };
        let writes: Vec<_> = (1..=300).map(|number| store(block * 300 + number)).collect();
        cache.apply(&writes).unwrap();
    }
    cache.close().unwrap();
    drop(cache);
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 17 << 20);
    let full_of_x = |page: &usize| bytes[page * 4096..][..4096].iter().filter(|byte| **byte == b'x').count() > 3000;
    let tenth = (0..bytes.len() / 4096).filter(full_of_x).nth(10).unwrap();
    bytes[tenth * 4096..][..4096].fill(0);
    std::fs::write(&path, bytes).unwrap();

    let subject = Subject::start(folder.path(), &path);
    let said = subject.is_healthy(false);
    assert!(said.contains("malformed") || said.contains("corrupted"), "{said}");
    let mut client = subject.publisher();
    client.send(&publish(1, 100));
    subject.until("/metrics", |metrics| metrics.contains("publishes_refused_total 1\n"));
    assert!(matches!(client.receive(), Some(Packet::Puback(Ack { packet_id: 1, reason })) if reason.is_failure()));
    subject.is_healthy(false);
    let (_, log) = subject.bridge.terminate();
    assert!(log.contains("cache verify"), "what to do is said: {log}");
}

#[test]
fn a_wal_that_was_cut_short_costs_its_end_and_the_bridge_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let subject = Subject::start(folder.path(), &path);
    publish_all(&mut subject.publisher(), 1, 20);
    subject.bridge.kill();
    let wal = folder.path().join("cache.db-wal");
    let size = std::fs::metadata(&wal).unwrap().len();
    std::fs::File::options().write(true).open(&wal).unwrap().set_len(size * 3 / 5).unwrap();
    let subject = Subject::start(folder.path(), &path);
    publish_all(&mut subject.publisher(), 101, 105);
    let (_, kept) = subject.ended();
    let old = u16::try_from(kept.len() - 5).unwrap();
    assert!((5..20).contains(&old), "{kept:?}");
    assert_eq!(kept, [numbered(1, old), numbered(101, 105)].concat());
}
