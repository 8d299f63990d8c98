//! `durability: deferred` with the real binary: a healthy link writes nothing, and no acknowledgement is at risk.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Bridge, Client};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, ReasonCode, Subscribe, Subscription, Version};

/// So long that nothing in a test becomes as old.
const NEVER: Duration = Duration::from_secs(5);

fn cache(folder: &Path) -> PathBuf {
    folder.join("cache.db")
}

fn start(folder: &Path, remote: &Bridge, commit_after: &str) -> Bridge {
    let (path, server) = (cache(folder).display().to_string(), remote.address);
    let rest = format!(
        "cache: {{ path: {path}, durability: deferred, commit_after: {commit_after} }}\n\
         metrics: {{ bind: 127.0.0.1:0 }}\nbridges: [{{ name: b, server: mqtt://{server}, client_id: b, \
         window: 1000, reconnect: {{ max: 200ms }}, forwards: [{{ local: \"#\" }}] }}]\n"
    );
    let bridge = Bridge::start(folder, &rest);
    bridge.until_metric("connected", 1);
    bridge
}

fn publisher(bridge: &Bridge) -> Client {
    Client::connect(bridge.address, Connect::new(Version::V5, "publisher")).0
}

fn publish(client: &mut Client, qos: QoS, numbers: impl Iterator<Item = u16>) {
    for number in numbers {
        let message = Message::new("t", number.to_string(), qos);
        client.send(&Packet::Publish(Publish::new(Arc::new(message), number)));
    }
}

fn acknowledged(client: &mut Client, numbers: impl Iterator<Item = u16>) {
    for number in numbers {
        assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(number))), "in the order of the PUBLISHes");
    }
}

fn rows(folder: &Path) -> u64 {
    let cache = rusqlite::Connection::open(cache(folder)).unwrap();
    cache.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap()
}

fn bytes(folder: &Path) -> [Vec<u8>; 2] {
    let path = cache(folder).display().to_string();
    [path.clone(), format!("{path}-wal")].map(|file| std::fs::read(file).unwrap())
}

#[test]
fn a_healthy_link_writes_nothing_at_qos_1_and_qos_2_is_committed() {
    let (remote_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(remote_folder.path(), "");
    let bridge = start(folder.path(), &remote, "5s");
    let mut client = publisher(&bridge);
    // What the connection itself has to be remembered by is committed before this is answered.
    publish(&mut client, QoS::AtLeastOnce, 1..=1);
    acknowledged(&mut client, 1..=1);
    let (commits, before) = (bridge.metric("cache_commits_total"), bytes(folder.path()));
    for batch in 0..20 {
        let numbers = 1 + batch * 100..=(batch + 1) * 100;
        publish(&mut client, QoS::AtLeastOnce, numbers.clone());
        acknowledged(&mut client, numbers);
    }
    bridge.until_metric("messages_delivered_total", 2001);
    assert_eq!((bridge.metric("cache_commits_total"), rows(folder.path())), (commits, 0));
    assert!(bytes(folder.path()) == before, "the cache's files have changed");
    publish(&mut client, QoS::ExactlyOnce, 1..=1);
    assert_eq!(client.receive(), Some(Packet::Pubrec(Ack::success(1))));
    assert!(bridge.metric("cache_commits_total") > commits);
}

#[test]
fn what_a_silent_remote_does_not_acknowledge_is_committed_in_time_and_survives_a_kill() {
    let (remote_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(remote_folder.path(), "");
    let bridge = start(folder.path(), &remote, "300ms");
    let (mut receiver, _) = Client::connect(remote.address, Connect::new(Version::V5, "receiver"));
    let filter = Subscription {
        filter: "#".into(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    receiver.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], identifier: None }));
    assert!(matches!(receiver.receive(), Some(Packet::Suback(_))));
    remote.process.signal(libc::SIGSTOP);
    let mut client = publisher(&bridge);
    let begun = Instant::now();
    publish(&mut client, QoS::AtLeastOnce, 1..=20);
    acknowledged(&mut client, 1..=20);
    assert!(begun.elapsed() >= Duration::from_millis(300), "neither the remote nor the cache had it");
    assert_eq!(rows(folder.path()), 20);
    bridge.kill();
    remote.process.signal(libc::SIGCONT);
    let _bridge = start(folder.path(), &remote, "300ms");
    let mut missing: Vec<String> = (1..=20).map(|number: u16| number.to_string()).collect();
    while !missing.is_empty() {
        let Some(Packet::Publish(publish)) = receiver.receive() else { panic!("{missing:?} did not arrive") };
        receiver.send(&Packet::Puback(Ack::success(publish.packet_id)));
        missing.retain(|number| number.as_bytes() != publish.message.payload);
    }
}

#[test]
fn a_link_that_is_cut_is_reason_enough_to_commit() {
    let (remote_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(remote_folder.path(), "");
    let bridge = start(folder.path(), &remote, "5s");
    remote.process.signal(libc::SIGSTOP);
    let mut client = publisher(&bridge);
    let begun = Instant::now();
    publish(&mut client, QoS::AtLeastOnce, 1..=20);
    bridge.until_metric("messages_deferred", 20);
    assert_eq!(rows(folder.path()), 0);
    remote.kill();
    acknowledged(&mut client, 1..=20);
    assert_eq!(rows(folder.path()), 20);
    // And nothing is deferred for a remote that is away.
    publish(&mut client, QoS::AtLeastOnce, 21..=21);
    acknowledged(&mut client, 21..=21);
    assert!(begun.elapsed() < NEVER, "that was their age");
}

#[test]
fn a_shutdown_commits_everything_and_then_acknowledges_it() {
    let (remote_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(remote_folder.path(), "");
    let bridge = start(folder.path(), &remote, "5s");
    remote.process.signal(libc::SIGSTOP);
    let mut client = publisher(&bridge);
    publish(&mut client, QoS::AtLeastOnce, 1..=20);
    bridge.until_metric("messages_deferred", 20);
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    acknowledged(&mut client, 1..=20);
    let last = client.receive();
    assert!(
        matches!(&last, Some(Packet::Disconnect(why)) if why.reason == ReasonCode::SERVER_SHUTTING_DOWN),
        "{last:?}"
    );
    assert_eq!(rows(folder.path()), 20);
}
