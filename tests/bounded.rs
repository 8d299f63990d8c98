//! Full queues and several remotes, with the real binary.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::sync::Arc;

use common::{Bridge, Client};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscribe, Subscription, Version};

fn publish(topic: &str, number: u16) -> Packet {
    let message = Message::new(topic, number.to_string(), QoS::AtLeastOnce);
    Packet::Publish(Publish::new(Arc::new(message), number))
}

fn forwarding(folder: &std::path::Path, cache: &str, bridges: &[(&str, &str, &str)]) -> String {
    let bridges = bridges.iter().map(|(name, address, rest)| {
        format!(
            "  - {{ name: {name}, server: mqtt://{address}, client_id: {name}, reconnect: {{ max: 200ms }}, \
             forwards: [{{ local: \"#\", qos: 1{rest} }}] }}\n"
        )
    });
    let path = folder.join("cache.db");
    format!("cache: {{ path: {}{cache} }}\nbridges:\n{}", path.display(), bridges.collect::<String>())
}

/// Payloads that arrive at a remote, in their order.
struct Receiver(Client);

impl Receiver {
    fn at(remote: &Bridge) -> Self {
        let (mut client, _) = Client::connect(remote.address, Connect::new(Version::V5, "receiver"));
        let filters = vec![Subscription {
            filter: "#".into(),
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
            identifier: None,
        }];
        client.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters, identifier: None }));
        assert!(matches!(client.receive(), Some(Packet::Suback(_))));
        Self(client)
    }

    fn next(&mut self) -> u16 {
        match self.0.receive() {
            Some(Packet::Publish(publish)) => {
                self.0.send(&Packet::Puback(Ack::success(publish.packet_id)));
                std::str::from_utf8(&publish.message.payload).unwrap().parse().unwrap()
            }
            other => panic!("{other:?} instead of a message"),
        }
    }
}

fn acknowledged(client: &mut Client) -> Ack {
    match client.receive() {
        Some(Packet::Puback(ack)) => ack,
        other => panic!("{other:?} instead of PUBACK"),
    }
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_remote_that_is_down_harms_no_other_and_gets_everything_when_it_comes_back() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let up = Bridge::start(folders[0].path(), "");
    let mut received = Receiver::at(&up);
    let away = free_address();
    let rest = forwarding(folders[2].path(), "", &[("down", &away, ""), ("up", &up.address.to_string(), "")]);
    // Slow enough that its receiver is there before most of the backlog.
    let rest = rest.replace("client_id: down", "client_id: down, drain: { max_rate: 200/s }");
    let bridge = Bridge::start(folders[2].path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for number in 1..=200 {
        client.send(&publish("t", number));
    }
    for number in 1..=200 {
        assert_eq!(acknowledged(&mut client), Ack::success(number));
    }
    assert_eq!((1..=200).map(|_| received.next()).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    let cache = rusqlite::Connection::open(folders[2].path().join("cache.db")).unwrap();
    let rows = |table: &str| {
        cache.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(rows("message"), 200, "each payload once");
    assert_eq!(rows("delivery WHERE bridge = (SELECT id FROM bridge WHERE name = 'down')"), 200);

    let down = Bridge::start_at(&away, folders[1].path(), "");
    let mut late = Receiver::at(&down);
    // Those that came before its receiver was there have gone to nobody.
    let first = late.next();
    let rest: Vec<u16> = (first + 1..=200).map(|_| late.next()).collect();
    assert_eq!(rest, (first + 1..=200).collect::<Vec<_>>());
    let begun = std::time::Instant::now();
    while (rows("message"), rows("delivery")) != (0, 0) {
        assert!(begun.elapsed() < common::PATIENCE, "{} rows are left", rows("delivery"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn the_oldest_make_room_for_one_forward_and_another_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let away = free_address();
    let rest = forwarding(folder.path(), ", max_messages: 3", &[("b", &away, ", when_full: drop_oldest")])
        .replace("forwards: [", "forwards: [{ local: kept, when_full: reject }, ");
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for number in 1..=10 {
        client.send(&publish("t", number));
        assert_eq!(acknowledged(&mut client), Ack::success(number));
    }
    client.send(&publish("kept", 11));
    assert!(acknowledged(&mut client).reason.is_failure());
    let (status, log) = bridge.terminate();
    assert!(status.success());
    assert!(log.contains("bridge b: 1 dropped of topic t: evicted (sequences 1 to 1)"), "{log}");
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let mut statement = cache.prepare("SELECT CAST(payload AS TEXT) FROM message ORDER BY seq").unwrap();
    let left: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(left, ["8", "9", "10"]);
}

#[test]
fn a_blocked_publisher_can_be_taken_over_and_does_not_hold_up_a_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let away = free_address();
    let rest = forwarding(folder.path(), ", max_messages: 2, when_full: block", &[("b", &away, "")]);
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "same"));
    for number in 1..=4 {
        client.send(&publish("t", number));
    }
    assert_eq!([acknowledged(&mut client), acknowledged(&mut client)], [Ack::success(1), Ack::success(2)]);
    // The same client comes again, as one does whose Keep Alive has run out.
    let (mut again, _) = Client::connect(bridge.address, Connect::new(Version::V5, "same"));
    assert!([3, 4].iter().all(|number| {
        let ack = acknowledged(&mut client);
        ack.packet_id == *number && ack.reason.is_failure()
    }));
    again.send(&publish("t", 3));
    again.send(&Packet::Pingreq);
    assert_eq!(again.receive(), Some(Packet::Pingresp), "its connection lives, and is not acknowledged");
    let begun = std::time::Instant::now();
    let (status, log) = bridge.terminate();
    assert!(status.success() && !log.contains("not everything"), "{log}");
    assert!(begun.elapsed().as_secs() < 4, "{:?}", begun.elapsed());
    // With a remote, whoever waits gets on without doing anything.
    let remote = Bridge::start_at(&away, tempfile::tempdir().unwrap().path(), "");
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for number in 1..=50 {
        client.send(&publish("t", number));
    }
    for number in 1..=50 {
        assert_eq!(acknowledged(&mut client), Ack::success(number));
    }
    drop(remote);
}

#[test]
fn what_is_too_old_leaves_while_the_link_is_down_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let rest = forwarding(folder.path(), ", max_age: 2s", &[("b", &free_address(), "")]);
    let bridge = Bridge::start(folder.path(), &format!("{rest}metrics: {{ bind: \"127.0.0.1:0\" }}\n"));
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    let mut publish_all = |numbers: std::ops::RangeInclusive<u16>| {
        for number in numbers {
            client.send(&publish("t", number));
            assert_eq!(acknowledged(&mut client), Ack::success(number));
        }
    };
    publish_all(1..=300);
    bridge.until_metric("messages_dropped_total", 300);
    let text = bridge.page("/metrics");
    let dropped = |line: &&str| line.starts_with("mqtt_bridge_messages_dropped_total") && line.ends_with(" 300");
    assert!(text.lines().find(dropped).is_some_and(|line| line.contains("expired")), "{text}");
    assert_eq!(bridge.metric("messages_queued"), 0);
    // What is younger stays, for as long as it is.
    publish_all(301..=305);
    assert_eq!(bridge.metric("messages_dropped_total"), 300);
    let (status, log) = bridge.terminate();
    assert!(status.success());
    assert!(log.contains("dropped of topic t: expired"), "{log}");
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let mut statement = cache.prepare("SELECT CAST(payload AS TEXT) FROM message ORDER BY seq").unwrap();
    let left: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(left, ["301", "302", "303", "304", "305"]);
}

#[test]
fn the_file_shrinks_once_a_large_backlog_has_drained() {
    const MESSAGES: u16 = 5000;
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let away = free_address();
    let rest = forwarding(folders[1].path(), "", &[("b", &away, "")]);
    let bridge = Bridge::start(folders[1].path(), &format!("{rest}metrics: {{ bind: \"127.0.0.1:0\" }}\n"));
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for first in (1..=MESSAGES).step_by(50) {
        for number in first..first + 50 {
            let message = Message::new("t", vec![b'x'; 2000], QoS::AtLeastOnce);
            client.send(&Packet::Publish(Publish::new(Arc::new(message), number)));
        }
        for number in first..first + 50 {
            assert_eq!(acknowledged(&mut client), Ack::success(number));
        }
    }
    // The file is written at checkpoints.
    let size = || std::fs::metadata(folders[1].path().join("cache.db")).unwrap().len();
    let full = size();
    assert!(full > 6 << 20, "{full}");
    let _remote = Bridge::start_at(&away, folders[0].path(), "");
    bridge.until_metric("messages_delivered_total", u64::from(MESSAGES));
    let begun = std::time::Instant::now();
    while size() > 2 << 20 {
        assert!(begun.elapsed() < 2 * common::PATIENCE, "{} of {full} bytes are left", size());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // It goes on as before.
    client.send(&publish("t", 1));
    assert_eq!(acknowledged(&mut client), Ack::success(1));
    bridge.until_metric("messages_delivered_total", u64::from(MESSAGES) + 1);
}
