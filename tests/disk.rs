//! Disks that fail under the real binary: no acknowledgement that is not kept, the process lives and says so, and goes on
//! by itself when the disk does.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::mounts::{mount, run, with_own_mounts};
use common::{Bridge, Client};
use mqtt_bridge::bridge::cache::Cache;
use mqtt_bridge::bridge::cache::sqlite::Sqlite;
use mqtt_bridge::bridge::cache::sqlite::file::{Selection, open_any};
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
        Self::start_towards(folder, cache, SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    /// The same with a remote that may come later.
    fn start_towards(folder: &Path, cache: &Path, remote: SocketAddr) -> Self {
        let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let rest = format!(
            "cache: {{ path: {} }}\nmetrics: {{ bind: {metrics} }}\nbridges: [{{ name: b, server: mqtt://{remote}, \
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
    let mut take = |row: mqtt_bridge::bridge::cache::sqlite::file::Row| {
        topics.push(row.topic);
        true
    };
    open_any(cache).unwrap().list(&all, usize::MAX, &mut take).unwrap();
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

/// A disk of some size in a file, with a file system that holds to its word, mounted at a folder.
fn mount_image(folder: &Path, features: &str, options: &str) -> PathBuf {
    let (image, at) = (folder.join("image"), folder.join("mounted"));
    std::fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
    std::fs::create_dir_all(&at).unwrap();
    assert!(run("mke2fs", &["-q", "-F", "-t", "ext4", "-O", features, image.to_str().unwrap()]));
    assert!(mount(&["-t", "ext4", "-o", options, image.to_str().unwrap(), at.to_str().unwrap()]));
    at
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
        assert!(mount(&["-t", "tmpfs", "-o", "size=8m", "tmpfs", disk.to_str().unwrap()]));
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
        let refused = Ack { packet_id: 21, reason: ReasonCode::QUOTA_EXCEEDED };
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

/// Nobody can remount a file system read-only while a file of it is open for writing, but the kernel does so itself where
/// it finds an error; then it stays like that until it is mounted anew.
#[test]
fn a_file_system_that_the_kernel_makes_read_only_ends_acknowledging_and_not_the_process() {
    with_own_mounts("a_file_system_that_turns_read_only", || {
        let folder = tempfile::tempdir().unwrap();
        let disk = mount_image(folder.path(), "has_journal", "loop,errors=remount-ro");
        let at = disk.to_str().unwrap();
        let subject = Subject::start(folder.path(), &disk.join("cache.db"));
        let mut client = subject.publisher();
        publish_all(&mut client, 1, 5);
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
        let device = mounts.lines().find(|line| line.split(' ').nth(1) == Some(at)).unwrap();
        let device = device.split(' ').next().unwrap().trim_start_matches("/dev/");
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
        client.send(&publish(6, 100));
        subject.is_healthy(false);
        subject.until("/metrics", |metrics| metrics.contains("publishes_refused_total 1\n"));
        let refused = Ack { packet_id: 6, reason: ReasonCode::UNSPECIFIED_ERROR };
        assert_eq!(client.receive(), Some(Packet::Puback(refused)), "no room would be another reason");
        let (_, log) = subject.bridge.terminate();
        assert!(log.contains("nothing is acknowledged until it can be written"), "{log}");
        // What whoever looks after the machine does.
        assert!(run("umount", &[at]));
        assert!(mount(&["-t", "ext4", "-o", "loop", folder.path().join("image").to_str().unwrap(), at]));
        let subject = Subject::start(folder.path(), &disk.join("cache.db"));
        publish_all(&mut subject.publisher(), 7, 8);
        let (_, kept) = subject.ended();
        assert_eq!(kept, [numbered(1, 5), numbered(7, 8)].concat());
    });
}

/// Modes do not matter to root; what may not be changed is not changed by root either.
#[test]
fn a_file_that_may_not_be_changed_holds_and_the_bridge_goes_on_when_it_may() {
    with_own_mounts("a_file_that_may_not_be_changed", || {
        let folder = tempfile::tempdir().unwrap();
        let disk = mount_image(folder.path(), "has_journal", "loop");
        let subject = Subject::start(folder.path(), &disk.join("cache.db"));
        let mut client = subject.publisher();
        publish_all(&mut client, 1, 5);
        let wal = disk.join("cache.db-wal");
        assert!(run("chattr", &["+i", wal.to_str().unwrap()]));
        client.send(&publish(6, 100));
        let said = subject.is_healthy(false);
        assert!(said.contains("disk I/O error"), "{said}");
        assert!(run("chattr", &["-i", wal.to_str().unwrap()]));
        assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(6))), "held, and then kept");
        subject.is_healthy(true);
        publish_all(&mut client, 7, 9);
        let (log, kept) = subject.ended();
        assert!(log.contains("nothing is acknowledged until") && log.contains("can be written again"), "{log}");
        assert_eq!(kept, numbered(1, 9));
    });
}

/// A disk that promises more than it has (thin provisioning) says so no sooner than at the sync of a commit.
#[test]
fn a_sync_that_finds_no_room_acknowledges_nothing_and_the_bridge_goes_on_when_there_is_some() {
    with_own_mounts("a_sync_that_finds_no_room", || {
        let folder = tempfile::tempdir().unwrap();
        let pool = folder.path().join("pool");
        std::fs::create_dir(&pool).unwrap();
        assert!(mount(&["-t", "tmpfs", "-o", "size=16m", "tmpfs", pool.to_str().unwrap()]));
        // Without a journal, or the kernel makes it read-only until it is mounted anew.
        let disk = mount_image(&pool, "^has_journal", "loop,errors=continue");
        let subject = Subject::start(folder.path(), &disk.join("cache.db"));
        let mut client = subject.publisher();
        publish_all(&mut client, 1, 5);
        let ballast = pool.join("ballast");
        fill(&ballast);
        client.send(&publish(6, 500_000));
        subject.is_healthy(false);
        subject.until("/metrics", |metrics| metrics.contains("publishes_refused_total 1\n"));
        // The kernel says of some of its blocks that there is no room, and of others that they cannot be written.
        assert!(matches!(client.receive(), Some(Packet::Puback(Ack { packet_id: 6, reason })) if reason.is_failure()));
        std::fs::remove_file(&ballast).unwrap();
        subject.is_healthy(true);
        client.send(&publish(6, 500_000));
        assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(6))));
        publish_all(&mut client, 7, 9);
        let (_, kept) = subject.ended();
        assert_eq!(kept, numbered(1, 9));
    });
}

/// Many at once, so that the disk is full in the middle of commits that several share: whatever becomes of each message,
/// what was acknowledged is there, once and in its publisher's order, and what was refused is not.
#[test]
fn a_disk_that_is_full_in_the_middle_of_a_group_commit_keeps_what_it_acknowledged() {
    with_own_mounts("a_full_disk_in_a_group_commit", || {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        assert!(mount(&["-t", "tmpfs", "-o", "size=12m", "tmpfs", disk.to_str().unwrap()]));
        let subject = Subject::start(folder.path(), &disk.join("cache.db"));
        let address = subject.bridge.address;
        let publishers = [Version::V5, Version::V4, Version::V5, Version::V4].into_iter().enumerate();
        let publishers = publishers.map(|(number, version)| {
            std::thread::spawn(move || until_refused(address, &format!("p{number}"), version))
        });
        let told: Vec<Told> =
            publishers.collect::<Vec<_>>().into_iter().map(|publisher| publisher.join().unwrap()).collect();
        subject.is_healthy(false);
        let (log, kept) = subject.ended();
        assert!(log.contains("the disk is full"), "{log}");
        for (number, Told { acknowledged, refused }) in told.iter().enumerate() {
            let of = |topic: &&String| topic.starts_with(&format!("p{number}/"));
            let kept: Vec<&String> = kept.iter().filter(of).collect();
            let mut in_order = kept.iter();
            let missing = acknowledged.iter().find(|topic| !in_order.any(|kept| kept == topic));
            assert_eq!(missing, None, "publisher {number}: {kept:?}");
            assert_eq!(kept.iter().find(|topic| refused.contains(topic)), None, "publisher {number}");
            assert!(!acknowledged.is_empty() && kept.len() <= acknowledged.len() + 10, "publisher {number}");
        }
    });
}

/// What a publisher was told of its messages, by their topics.
#[derive(Default)]
struct Told {
    acknowledged: Vec<String>,
    refused: Vec<String>,
}

/// Publishes ten at a time until one is refused (5: with 0x97; 3.1.1: by the end of the connection).
fn until_refused(address: SocketAddr, name: &str, version: Version) -> Told {
    let mut client = Client::connect(address, Connect::new(version, name)).0;
    let topic = |packet_id: u16| format!("{name}/{packet_id}");
    let mut told = Told::default();
    for first in (1..).step_by(10) {
        for packet_id in first..first + 10 {
            let message = Message::new(&topic(packet_id), vec![b'x'; 4000], QoS::AtLeastOnce);
            client.send(&Packet::Publish(Publish::new(Arc::new(message), packet_id)));
        }
        for packet_id in first..first + 10 {
            match client.receive_within(PATIENCE) {
                Some(Packet::Puback(ack)) if ack == Ack::success(packet_id) => told.acknowledged.push(topic(packet_id)),
                Some(Packet::Puback(ack)) => {
                    assert_eq!(ack, Ack { packet_id, reason: ReasonCode::QUOTA_EXCEEDED });
                    told.refused.push(topic(packet_id));
                }
                None if version == Version::V4 => return told,
                other => panic!("{other:?}"),
            }
        }
        if !told.refused.is_empty() {
            break;
        }
    }
    told
}

/// Nothing else will make room on such a disk: what drains it has to be written on it.
#[test]
fn a_disk_that_its_own_backlog_has_filled_drains_once_the_remote_is_there() {
    with_own_mounts("a_disk_that_its_own_backlog_has_filled", || {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        assert!(mount(&["-t", "tmpfs", "-o", "size=12m", "tmpfs", disk.to_str().unwrap()]));
        let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let subject = Subject::start_towards(folder.path(), &disk.join("cache.db"), away);
        let told = until_refused(subject.bridge.address, "p", Version::V5);
        assert!(told.acknowledged.len() > 300, "{}", told.acknowledged.len());
        subject.is_healthy(false);
        // Publishers go on meanwhile, and are refused until there is room.
        let (drained, address) = (Arc::new(AtomicBool::new(false)), subject.bridge.address);
        let (until, number) = (drained.clone(), Message::new("again", vec![b'x'; 4000], QoS::AtLeastOnce));
        let publisher = std::thread::spawn(move || {
            let mut client = Client::connect(address, Connect::new(Version::V5, "again")).0;
            let packet = Packet::Publish(Publish::new(Arc::new(number), 1));
            while !until.load(Ordering::Relaxed) {
                client.send(&packet);
                assert!(matches!(client.receive_within(PATIENCE), Some(Packet::Puback(_))));
            }
        });
        let _remote = Bridge::start_at(&away.to_string(), tempfile::tempdir().unwrap().path(), "");
        let delivered = |metrics: &str| -> Option<usize> {
            let line = metrics.lines().find(|line| line.starts_with("mqtt_bridge_messages_delivered_total"))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        subject.until("/metrics", |metrics| delivered(metrics).is_some_and(|all| all > told.acknowledged.len() + 20));
        drained.store(true, Ordering::Relaxed);
        publisher.join().unwrap();
        subject.is_healthy(true);
        subject.until("/metrics", |metrics| metrics.contains("messages_cached{bridge=\"b\"} 0\n"));
        publish_all(&mut subject.publisher(), 1, 5);
        let (_, kept) = subject.ended();
        assert!(kept.len() <= 5, "{kept:?}");
    });
}

#[test]
fn a_wal_that_is_removed_or_cut_short_at_run_time_ends_acknowledging_and_costs_nothing_that_was_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let wal = folder.path().join("cache.db-wal");
    let subject = Subject::start(folder.path(), &path);
    let mut client = subject.publisher();
    publish_all(&mut client, 1, 5);
    std::fs::remove_file(&wal).unwrap();
    client.send(&publish(6, 100));
    let said = subject.is_healthy(false);
    assert!(said.contains("cache.db-wal: removed or replaced"), "{said}");
    // Whatever happens now: it is in the file.
    subject.bridge.kill();
    assert_eq!(topics(&path), numbered(1, 5));
    let subject = Subject::start(folder.path(), &path);
    let mut client = subject.publisher();
    publish_all(&mut client, 7, 9);
    std::fs::File::options().write(true).open(&wal).unwrap().set_len(0).unwrap();
    client.send(&publish(10, 100));
    let said = subject.is_healthy(false);
    assert!(said.contains("cut short while it was in use"), "{said}");
    subject.until("/metrics", |metrics| metrics.contains("publishes_refused_total 1\n"));
    drop(subject);
    assert_eq!(topics(&path), numbered(1, 5));
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
            let to = NewDelivery {
                bridge,
                topic: message.topic.clone(),
                qos: message.qos,
                retain: false,
                when_full: None,
                identifiers: None,
            };
            let (deliveries, received_at) = (vec![to], Duration::from_secs(1));
            let store = Store {
                seq: Seq(seq),
                message,
                received_at,
                deliveries,
                received_id: None,
                publisher: None,
                retained: false,
            };
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
