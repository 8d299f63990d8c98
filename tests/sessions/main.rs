//! Local sessions that are kept: what was promised for them arrives, whoever is away and whenever the process is killed.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // A test may.
#[path = "../common/mod.rs"]
mod common;

#[cfg(debug_assertions)] // Release builds have no points to be killed at.
mod killed;
mod migrated;
mod parties;
mod retained;
mod shared;

use std::sync::Arc;

use common::{Bridge, Client};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{
    Ack, Connect, Disconnect, Packet, Publish, ReasonCode, Subscribe, Subscription, Version,
};
use parties::{kept, subscription};

fn publish(topic: &str, payload: &str, qos: QoS, packet_id: u16) -> Packet {
    Packet::Publish(Publish::new(Arc::new(Message::new(topic, payload.to_owned(), qos)), packet_id))
}

fn subscribe(client: &mut Client, filter: Subscription) {
    client.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], identifier: None }));
    assert!(matches!(client.receive(), Some(Packet::Suback(suback)) if !suback.reasons[0].is_failure()));
}

fn cache(folder: &tempfile::TempDir, rest: &str) -> String {
    format!("cache: {{ path: {} }}\n{rest}", folder.path().join("cache.db").display())
}

/// The next message: its payload, QoS, Packet Identifier and DUP.
fn next(client: &mut Client) -> (String, QoS, u16, bool) {
    match client.receive() {
        Some(Packet::Publish(publish)) => {
            let payload = String::from_utf8(publish.message.payload.to_vec()).unwrap();
            (payload, publish.qos, publish.packet_id, publish.dup)
        }
        other => panic!("{other:?} instead of a PUBLISH"),
    }
}

#[test]
fn what_comes_while_a_session_is_away_waits_for_it_through_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let rest = cache(&folder, "");
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut subscriber, _) = Client::connect(bridge.address, kept("s"));
    subscribe(&mut subscriber, subscription("t/#", QoS::ExactlyOnce));
    subscriber.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)));
    assert_eq!(subscriber.receive(), None);
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for number in 1..=250 {
        publisher.send(&publish("t/1", &number.to_string(), QoS::AtLeastOnce, number));
    }
    for number in 1..=250 {
        assert_eq!(publisher.receive(), Some(Packet::Puback(Ack::success(number))));
    }
    bridge.kill();
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut subscriber, connack) = Client::connect(bridge.address, kept("s"));
    assert!(connack.session_present);
    for number in 1..=250 {
        let (payload, qos, packet_id, dup) = next(&mut subscriber);
        assert_eq!((payload, qos, dup), (number.to_string(), QoS::AtLeastOnce, false));
        subscriber.send(&Packet::Puback(Ack::success(packet_id)));
    }
    // Nothing is left.
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    publisher.send(&publish("t/1", "last", QoS::AtMostOnce, 0));
    assert_eq!(next(&mut subscriber).0, "last");
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let count = |table: &str| cache.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
    assert_eq!((count("message").unwrap(), count("delivery").unwrap()), (0, 0));
}

#[test]
fn a_take_over_goes_on_with_the_queue_where_the_first_connection_stood() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &cache(&folder, ""));
    let connect = || Connect { receive_maximum: 2, ..kept("s") };
    let (mut first, _) = Client::connect(bridge.address, connect());
    subscribe(&mut first, subscription("t", QoS::ExactlyOnce));
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for (packet_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce), (3, QoS::AtLeastOnce)] {
        publisher.send(&publish("t", &packet_id.to_string(), qos, packet_id));
        publisher.receive().unwrap();
    }
    let (one, two) = (next(&mut first), next(&mut first));
    assert_eq!((one.0.as_str(), two.0.as_str(), one.3, two.3), ("1", "2", false, false));
    let (mut second, connack) = Client::connect(bridge.address, connect());
    assert!(connack.session_present);
    let (again_one, again_two) = (next(&mut second), next(&mut second));
    assert_eq!((again_one.0, again_one.2, again_one.3), (one.0, one.2, true), "[MQTT-4.4.0-1]");
    assert_eq!((again_two.0, again_two.2, again_two.3), (two.0, two.2, true));
    second.send(&Packet::Puback(Ack::success(one.2)));
    second.send(&Packet::Pubrec(Ack::success(two.2)));
    let packets = [second.receive().unwrap(), second.receive().unwrap()];
    assert!(packets.contains(&Packet::Pubrel(Ack::success(two.2))), "{packets:?}");
    let third = |packet: &Packet| matches!(packet, Packet::Publish(publish) if &publish.message.payload[..] == b"3");
    assert!(packets.iter().any(third), "{packets:?}");
}

#[test]
fn a_full_session_keeps_nobody_else_from_a_message_unless_it_is_to() {
    for (when_full, last) in [("drop_newest", true), ("reject", false)] {
        let folder = tempfile::tempdir().unwrap();
        let rest = cache(&folder, &format!("sessions: {{ max_messages: 2, when_full: {when_full} }}\n"));
        let bridge = Bridge::start(folder.path(), &rest);
        let (mut away, _) = Client::connect(bridge.address, kept("away"));
        subscribe(&mut away, subscription("t", QoS::AtLeastOnce));
        drop(away);
        let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
        let mut answers = Vec::new();
        for packet_id in 1..=5 {
            publisher.send(&publish("t", "x", QoS::AtLeastOnce, packet_id));
            let Some(Packet::Puback(ack)) = publisher.receive() else { panic!("no PUBACK") };
            answers.push(!ack.reason.is_failure());
        }
        assert_eq!(answers.last(), Some(&last), "{when_full}: {answers:?}");
        let (_, log) = bridge.terminate();
        assert_eq!(log.contains("session away: "), last, "{log}");
    }
}

#[test]
fn an_expired_session_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let rest = cache(&folder, "");
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut away, _) = Client::connect(bridge.address, Connect { session_expiry: 1, ..kept("away") });
    subscribe(&mut away, subscription("t", QoS::AtLeastOnce));
    drop(away);
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for _ in 0..3 {
        for packet_id in 1..=200 {
            publisher.send(&publish("t", "x", QoS::AtLeastOnce, packet_id));
        }
        for packet_id in 1..=200 {
            assert_eq!(publisher.receive(), Some(Packet::Puback(Ack::success(packet_id))));
        }
    }
    // Also while the process was off.
    bridge.kill();
    let bridge = Bridge::start(folder.path(), &rest);
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let rows = || {
        let sql = "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM delivery), (SELECT count(*) FROM session), \
             (SELECT count(*) FROM bridge), (SELECT count(*) FROM subscription)";
        cache.query_row(sql, [], |row| Ok([0, 1, 2, 3, 4].map(|column| row.get::<_, i64>(column).unwrap()))).unwrap()
    };
    let until = std::time::Instant::now() + common::PATIENCE;
    while rows() != [0; 5] {
        assert!(std::time::Instant::now() < until, "{:?}: {}", rows(), bridge.process.log());
        // Nothing else says that a row is gone.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
