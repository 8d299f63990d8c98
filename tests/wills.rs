//! Wills and the rest of MQTT 5 over real TCP, kills included.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::time::{Duration, Instant};

use common::{Bridge, Client};
use mqtt_bridge::bridge::message::{Message, Properties, QoS};
use mqtt_bridge::bridge::wire::{
    Ack, Connect, Disconnect, Packet, Publish, ReasonCode, Subscribe, Subscription, Version, Will,
};

fn cached(folder: &tempfile::TempDir) -> String {
    format!("cache: {{ path: {} }}\n", folder.path().join("cache.db").display())
}

/// A cache, and a bridge whose remote cannot be reached.
fn bridging(folder: &tempfile::TempDir) -> String {
    let bridge = "bridges: [{ name: b, server: mqtt://127.0.0.1:1, client_id: b, forwards: [{ local: \"#\" }] }]\n";
    cached(folder) + bridge
}

fn with_will(client_id: &str, delay: u32, session_expiry: u32) -> Connect {
    let properties = Properties { message_expiry: Some(60), other: b"\x26\x00\x01k\x00\x01v"[..].into() };
    let message = Message { properties, ..Message::new(&format!("gone/{client_id}"), "x", QoS::AtLeastOnce) };
    let will = Some(Will { delay, ..Will::new(message) });
    Connect { will, session_expiry, clean_start: false, ..Connect::new(Version::V5, client_id) }
}

fn subscriber(bridge: &Bridge, client_id: &str, filter: &str, identifier: Option<u32>) -> Client {
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, client_id));
    let qos = QoS::AtLeastOnce;
    let (no_local, retain_as_published, retain_handling) = (false, false, 0);
    let filter =
        Subscription { filter: filter.into(), qos, no_local, retain_as_published, retain_handling, identifier };
    client.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], identifier }));
    assert!(matches!(client.receive(), Some(Packet::Suback(_))));
    client
}

fn topic(packet: Option<Packet>) -> String {
    match packet {
        Some(Packet::Publish(publish)) => publish.topic.to_string(),
        other => panic!("{other:?} instead of PUBLISH"),
    }
}

/// What comes before a message that is published now.
fn before_a_mark(subscriber: &mut Client, bridge: &Bridge) -> Vec<String> {
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "mark"));
    let mark = Message::new("gone/mark", "x", QoS::AtLeastOnce);
    publisher.send(&Packet::Publish(Publish::new(mark.into(), 1)));
    assert_eq!(publisher.receive(), Some(Packet::Puback(Ack::success(1))));
    std::iter::from_fn(|| Some(topic(subscriber.receive()))).take_while(|topic| topic != "gone/mark").collect()
}

#[test]
fn a_will_is_delivered_and_cached_unless_the_client_says_goodbye() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &bridging(&folder));
    let mut subscriber = subscriber(&bridge, "s", "gone/#", None);
    let (mut polite, _) = Client::connect(bridge.address, with_will("polite", 0, 0));
    polite.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)));
    assert_eq!(polite.receive(), None);
    assert!(before_a_mark(&mut subscriber, &bridge).is_empty());
    drop(Client::connect(bridge.address, with_will("lost", 0, 0)).0);
    let Some(Packet::Publish(will)) = subscriber.receive() else { panic!("a Will") };
    assert_eq!((&*will.topic, will.message_expiry, will.qos), ("gone/lost", Some(60), QoS::AtLeastOnce));
    assert_eq!(&will.message.properties.other[..], b"\x26\x00\x01k\x00\x01v");
    bridge.terminate();
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let count = |sql| cache.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM message WHERE topic = 'gone/lost'"), 1, "it goes to the remote as well");
    assert_eq!(count("SELECT count(*) FROM will"), 0);
}

#[test]
fn a_client_that_is_back_before_the_delay_has_lost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &cached(&folder));
    let mut subscriber = subscriber(&bridge, "s", "gone/#", None);
    // It goes on with its session: void ([MQTT-3.1.3-9]).
    drop(Client::connect(bridge.address, with_will("back", 1, 60)).0);
    let (back, connack) = Client::connect(bridge.address, Connect { will: None, ..with_will("back", 0, 60) });
    assert!(connack.session_present);
    // It takes over the connection that it still has: the same.
    let (_old, _) = Client::connect(bridge.address, with_will("twice", 1, 60));
    let (twice, connack) = Client::connect(bridge.address, Connect { will: None, ..with_will("twice", 0, 60) });
    assert!(connack.session_present);
    // It begins anew: its session has ended, and the Will does not wait.
    drop(Client::connect(bridge.address, with_will("anew", 3600, 3600)).0);
    let anew = Connect { will: None, clean_start: true, ..with_will("anew", 0, 60) };
    let (anew, _) = Client::connect(bridge.address, anew);
    assert_eq!(topic(subscriber.receive()), "gone/anew");
    // Another waits as long as theirs would have.
    let begun = Instant::now();
    drop(Client::connect(bridge.address, with_will("late", 2, 60)).0);
    assert_eq!(topic(subscriber.receive()), "gone/late");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    drop((back, twice, anew));
}

#[test]
fn wills_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &bridging(&folder));
    let (_connected, _) = Client::connect(bridge.address, with_will("connected", 0, 0));
    let (delayed, _) = Client::connect(bridge.address, with_will("delayed", 3600, 5));
    let (mut polite, _) = Client::connect(bridge.address, with_will("polite", 0, 0));
    polite.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)));
    assert_eq!(polite.receive(), None);
    // By then the goodbye is committed.
    drop(Client::connect(bridge.address, Connect { will: None, ..with_will("polite", 0, 0) }));
    bridge.kill();
    drop(delayed);
    let bridge = Bridge::start(folder.path(), &bridging(&folder));
    let mut subscriber = subscriber(&bridge, "s", "gone/#", None);
    // The other may have been due before anybody could subscribe.
    let first = topic(subscriber.receive());
    if first == "gone/connected" {
        assert_eq!(topic(subscriber.receive()), "gone/delayed");
    } else {
        assert_eq!(first, "gone/delayed");
    }
    assert!(before_a_mark(&mut subscriber, &bridge).is_empty());
    bridge.terminate();
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let mut statement = cache.prepare("SELECT topic FROM message ORDER BY seq").unwrap();
    let topics: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(topics, ["gone/connected", "gone/delayed", "gone/mark"], "each of them once");
}

#[test]
fn every_identifier_of_a_subscription_that_matches_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let mut client = subscriber(&bridge, "s", "plant/#", Some(7));
    let (no_local, retain_as_published, retain_handling) = (false, false, 0);
    let more = |filter: &str, identifier| {
        let (filter, qos) = (filter.to_owned(), QoS::AtMostOnce);
        let filter = Subscription { filter, qos, no_local, retain_as_published, retain_handling, identifier };
        Packet::Subscribe(Subscribe { packet_id: 2, filters: vec![filter], identifier })
    };
    for packet in [more("plant/+/a", Some(300)), more("plant/1/a", None)] {
        client.send(&packet);
        assert!(matches!(client.receive(), Some(Packet::Suback(_))));
    }
    client.send(&Packet::Publish(Publish::new(Message::new("plant/1/a", "x", QoS::AtMostOnce).into(), 0)));
    let Some(Packet::Publish(publish)) = client.receive() else { panic!("a PUBLISH") };
    let mut identifiers = publish.subscription_ids;
    identifiers.sort_unstable();
    assert_eq!(identifiers, [7, 300]);
}

#[test]
fn a_publisher_may_say_its_topic_once() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let mut subscriber = subscriber(&bridge, "s", "plant/#", None);
    let (mut publisher, connack) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    assert_eq!(connack.topic_alias_maximum, 16);
    let message: std::sync::Arc<Message> = Message::new("plant/1", "x", QoS::AtMostOnce).into();
    for topic in ["plant/1", ""] {
        let publish = Publish { topic: topic.into(), topic_alias: Some(16), ..Publish::new(message.clone(), 0) };
        publisher.send(&Packet::Publish(publish));
        assert_eq!(crate::topic(subscriber.receive()), "plant/1");
    }
    publisher.send(&Packet::Publish(Publish { topic_alias: Some(17), ..Publish::new(message, 0) }));
    let Some(Packet::Disconnect(why)) = publisher.receive() else { panic!("a DISCONNECT") };
    assert_eq!(why.reason, ReasonCode::TOPIC_ALIAS_INVALID);
    assert!(why.reason_string.unwrap().contains("17"));
}
