//! SIGHUP with the real binary: what changes, what does not, and that nothing is lost on the way.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Bridge, Client};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{
    Ack, Connect, Packet, Publish, ReasonCode, Subscribe, Subscription, Unsubscribe, Version,
};

fn subscription(filter: &str) -> Subscription {
    let filter = filter.to_owned();
    Subscription {
        filter,
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    }
}

fn subscribed(bridge: &Bridge, client_id: &str, filter: &str) -> Client {
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, client_id));
    client.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![subscription(filter)], identifier: None }));
    assert!(matches!(client.receive(), Some(Packet::Suback(_))));
    client
}

/// Publishes at QoS 1 and waits for the answer.
fn publish(client: &mut Client, topic: &str, payload: &str) -> ReasonCode {
    let message = Message::new(topic, payload.to_owned(), QoS::AtLeastOnce);
    client.send(&Packet::Publish(Publish::new(Arc::new(message), 1)));
    match client.receive() {
        Some(Packet::Puback(ack)) => ack.reason,
        other => panic!("{other:?} instead of PUBACK"),
    }
}

/// The topic and the payload of the next message, which is acknowledged.
fn received(client: &mut Client) -> (String, String) {
    match client.receive() {
        Some(Packet::Publish(publish)) => {
            client.send(&Packet::Puback(Ack::success(publish.packet_id)));
            (publish.topic.to_string(), String::from_utf8(publish.message.payload.to_vec()).unwrap())
        }
        other => panic!("{other:?} instead of PUBLISH"),
    }
}

/// All but the listener.
fn configuration(folder: &Path, remote: &Bridge, limits: &str, rules: &str) -> String {
    let (path, server) = (folder.join("cache.db").display().to_string(), remote.address);
    format!(
        "cache: {{ path: {path}, {limits} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\n\
         bridges: [{{ name: b, server: mqtt://{server}, client_id: b, {rules} }}]\n"
    )
}

/// Writes another configuration beside the same listener, and has it read.
fn reload(bridge: &Bridge, folder: &Path, rest: &str, wait_for: &str) {
    let file = folder.join("bridge.yaml");
    let listeners = std::fs::read_to_string(&file).unwrap().lines().next().unwrap().to_owned();
    std::fs::write(&file, format!("{listeners}\n{rest}")).unwrap();
    bridge.process.signal(libc::SIGHUP);
    bridge.process.line(wait_for).unwrap();
}

#[test]
fn forwards_subscriptions_and_limits_change_under_load_and_nothing_is_lost() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(far.path(), "");
    let before = "forwards: [{ local: \"load/#\" }], subscriptions: [{ remote: old }, { remote: both }]";
    let bridge = Bridge::start(near.path(), &configuration(near.path(), &remote, "max_messages: 1000", before));
    bridge.until_metric("connected", 1);
    let mut receiver = subscribed(&remote, "receiver", "#");
    let mut local = subscribed(&bridge, "local", "from/#");

    let stop = Arc::new(AtomicBool::new(false));
    let (address, until) = (bridge.address, stop.clone());
    let load = std::thread::spawn(move || {
        let (mut client, _) = Client::connect(address, Connect::new(Version::V5, "load"));
        let mut sent = 0;
        while !until.load(Ordering::Relaxed) {
            // On one connection from the first to the last.
            assert_eq!(publish(&mut client, "load/t", &sent.to_string()), ReasonCode::SUCCESS);
            sent += 1;
        }
        sent
    });
    // The load is there.
    received(&mut receiver);
    let after = "forwards: [{ local: \"load/#\", prefix: \"x/\" }, { local: new }], \
                 subscriptions: [{ remote: both, prefix: \"from/\" }, { remote: new, prefix: \"from/\" }]";
    let mut reloads = 0;
    for rules in [after, before, after] {
        reloads += 1;
        let limits = if rules == after { "max_messages: 2000" } else { "max_messages: 1000" };
        let text = configuration(near.path(), &remote, limits, rules);
        // 2 rules and a limit.
        reload(&bridge, near.path(), &text, "reload: done, 3 changes");
        bridge.until_metric("reloads_total", reloads);
    }
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "publisher"));
    assert_eq!(publish(&mut publisher, "new", "new"), ReasonCode::SUCCESS);
    stop.store(true, Ordering::Relaxed);
    let sent: u64 = load.join().unwrap();
    let (mut numbers, mut names) = (BTreeSet::from([0]), BTreeSet::new());
    let mut is_new = false;
    while numbers.len() < sent as usize || !is_new {
        let (topic, payload) = received(&mut receiver);
        match &*topic {
            "new" => is_new = true,
            _ => {
                assert!(numbers.insert(payload.parse().unwrap()), "{payload} twice");
                names.insert(topic);
            }
        }
    }
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["load/t", "x/load/t"]);

    // The remote's side of it: one that is gone, one that stayed under another local name, one that is new.
    let (mut from, _) = Client::connect(remote.address, Connect::new(Version::V5, "from"));
    for topic in ["old", "both", "new"] {
        assert_eq!(publish(&mut from, topic, topic), ReasonCode::SUCCESS);
    }
    assert_eq!(received(&mut local).0, "from/both");
    assert_eq!(received(&mut local).0, "from/new");
    assert_eq!(bridge.metric("connections_total"), 1, "the link was never lost");
    assert_eq!((bridge.metric("messages_dropped_total"), bridge.metric("messages_rejected_total")), (0, 0));
}

#[test]
fn a_limit_that_is_lowered_refuses_and_one_that_is_raised_lets_a_waiting_publisher_go_on() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(far.path(), "");
    let rules = "reconnect: { max: 100ms }, forwards: [{ local: \"#\" }]";
    let text = |limits: &str| configuration(near.path(), &remote, limits, rules);
    let bridge = Bridge::start(near.path(), &text("max_messages: 10"));
    bridge.until_metric("connected", 1);
    remote.process.signal(libc::SIGSTOP);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "client"));
    for number in 0..3 {
        assert_eq!(publish(&mut client, "t", &number.to_string()), ReasonCode::SUCCESS);
    }
    reload(&bridge, near.path(), &text("max_messages: 3"), "cache.max_messages: applied");
    bridge.until_metric("reloads_total", 1);
    assert_eq!(publish(&mut client, "t", "refused"), ReasonCode::QUOTA_EXCEEDED);
    reload(&bridge, near.path(), &text("max_messages: 3, when_full: block"), "cache.when_full: applied");
    bridge.until_metric("reloads_total", 2);
    let message = Message::new("t", "waits", QoS::AtLeastOnce);
    client.send(&Packet::Publish(Publish::new(Arc::new(message), 1)));
    bridge.until_metric("publishers_blocked", 1);
    reload(&bridge, near.path(), &text("max_messages: 4, when_full: block"), "reload: done, 1 changes");
    assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(1))));
    remote.process.signal(libc::SIGCONT);
    bridge.until_metric("messages_delivered_total", 4);
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_what_needs_a_restart_is_named() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(far.path(), "");
    let rules = "forwards: [{ local: a }]";
    let text = configuration(near.path(), &remote, "max_messages: 1000", rules);
    let bridge = Bridge::start(near.path(), &text);
    bridge.until_metric("connected", 1);
    let wrong = configuration(near.path(), &remote, "max_messages: 0", "forwards: [{ local: b }]");
    reload(&bridge, near.path(), &wrong, "reload: refused, everything goes on as before");
    assert!(bridge.process.line("max_messages and max_bytes must be at least 1").unwrap().contains("bridge.yaml"));
    let mut receiver = subscribed(&remote, "receiver", "#");
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "client"));
    for topic in ["b", "a"] {
        assert_eq!(publish(&mut client, topic, "x"), ReasonCode::SUCCESS);
    }
    assert_eq!(received(&mut receiver).0, "a", "b is not forwarded");
    let secret = "username: u, password: never-to-be-seen, window: 7, forwards: [{ local: b }]";
    let restart = configuration(near.path(), &remote, "max_messages: 1000", secret);
    reload(&bridge, near.path(), &restart, "bridges.b.window: needs a restart");
    bridge.until_metric("reloads_total", 1);
    bridge.process.line("bridges.b.password: applied").unwrap();
    for topic in ["a", "b"] {
        assert_eq!(publish(&mut client, topic, "x"), ReasonCode::SUCCESS);
    }
    assert_eq!(received(&mut receiver).0, "b");
    client.send(&Packet::Unsubscribe(Unsubscribe { packet_id: 2, filters: vec!["nothing".into()] }));
    assert!(matches!(client.receive(), Some(Packet::Unsuback(_))), "the connection is the same");
    let (status, log) = bridge.terminate();
    assert!(status.success() && !log.contains("never-to-be-seen"), "{log}");
}
