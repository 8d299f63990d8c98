//! The local leg over real TCP: mosquitto's own clients, and a client that misbehaves on purpose.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{Bridge, Client, has};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{
    Ack, Connect, Disconnect, Packet, Publish, ReasonCode, Subscribe, Subscription, Version,
};

fn publish(topic: &str, payload: &str, qos: QoS, packet_id: u16) -> Publish {
    Publish::new(Arc::new(Message::new(topic, payload.to_owned(), qos)), packet_id)
}

fn subscription(filter: &str, qos: QoS) -> Subscription {
    let filter = filter.to_owned();
    Subscription { filter, qos, no_local: false, retain_as_published: false, retain_handling: 0, identifier: None }
}

fn subscribe(filter: &str, qos: QoS) -> Packet {
    Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![subscription(filter, qos)], identifier: None })
}

fn kept(client_id: &str) -> Connect {
    Connect { clean_start: false, session_expiry: 3600, ..Connect::new(Version::V5, client_id) }
}

/// A cache without a reachable remote: everything that matches stays in it.
fn caching(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("cache.db");
    format!(
        "cache: {{ path: {} }}\nbridges: [{{ name: b, server: mqtt://127.0.0.1:1, client_id: b, \
         forwards: [{{ local: \"#\" }}] }}]\n",
        path.display()
    )
}

#[test]
fn mosquittos_clients_of_both_versions_and_every_qos_are_served() {
    if !has("mosquitto_pub", "mosquittos_clients") || !has("mosquitto_sub", "mosquittos_clients") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let (host, port) = (bridge.address.ip().to_string(), bridge.address.port().to_string());
    for version in ["mqttv311", "mqttv5"] {
        // By the line, or its SUBACK would wait in a buffer; and not for ever.
        let mut subscriber = Command::new("stdbuf")
            .args(["-oL", "mosquitto_sub", "-h", &host, "-p", &port, "-V", version, "-q", "2"])
            .args(["-t", "plant/+/#", "-v", "-C", "3", "-d", "-W", "20"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("Subscribed")), "no SUBACK");
        for qos in ["0", "1", "2"] {
            let topic = format!("plant/7/{qos}");
            let status = Command::new("mosquitto_pub")
                .args(["-h", &host, "-p", &port, "-V", version, "-q", qos, "-t", &topic, "-m", "21.5"])
                .status()
                .unwrap();
            assert!(status.success(), "{version} QoS {qos}");
        }
        let received: Vec<String> = lines.filter(|line| line.starts_with("plant/")).collect();
        assert_eq!(received, ["plant/7/0 21.5", "plant/7/1 21.5", "plant/7/2 21.5"], "{version}");
        assert!(subscriber.wait().unwrap().success());
    }
}

#[test]
fn a_malformed_packet_closes_its_connection_with_the_reason_and_nobody_else_notices() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let (mut bystander, _) = Client::connect(bridge.address, Connect::new(Version::V5, "bystander"));
    bystander.send(&subscribe("t", QoS::AtLeastOnce));
    assert!(matches!(bystander.receive(), Some(Packet::Suback(_))));
    let cases: [(&[u8], ReasonCode); 5] = [
        (&[0x36, 5, 0, 1, b'a', 0, 1], ReasonCode::MALFORMED_PACKET),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], ReasonCode::MALFORMED_PACKET),
        (&[0x30, 4, 0, 1, b'#', 0], ReasonCode::TOPIC_NAME_INVALID),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], ReasonCode::PACKET_TOO_LARGE),
        (&[0x10, 0x0D, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0], ReasonCode::PROTOCOL_ERROR),
    ];
    for (bytes, reason) in cases {
        let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "bad"));
        client.send_bytes(bytes);
        let Some(Packet::Disconnect(disconnect)) = client.receive() else { panic!("no DISCONNECT: {bytes:?}") };
        assert_eq!(disconnect.reason, reason, "{bytes:?}");
        assert!(disconnect.reason_string.is_some_and(|why| !why.is_empty()), "{bytes:?}");
        assert_eq!(client.receive(), None);
    }
    bystander.send(&Packet::Publish(publish("t", "still here", QoS::AtLeastOnce, 2)));
    let packets = [bystander.receive().unwrap(), bystander.receive().unwrap()];
    assert!(packets.contains(&Packet::Puback(Ack::success(2))), "{packets:?}");
    assert!(packets.iter().any(|packet| matches!(packet, Packet::Publish(_))), "{packets:?}");
}

#[test]
fn an_open_qos_2_exchange_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let rest = caching(&folder);
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, connack) = Client::connect(bridge.address, kept("p"));
    assert!(!connack.session_present);
    client.send(&Packet::Publish(publish("t", "once", QoS::ExactlyOnce, 7)));
    assert_eq!(client.receive(), Some(Packet::Pubrec(Ack::success(7))));
    bridge.kill();

    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, connack) = Client::connect(bridge.address, kept("p"));
    assert!(connack.session_present);
    client.send(&Packet::Publish(Publish { dup: true, ..publish("t", "once", QoS::ExactlyOnce, 7) }));
    assert_eq!(client.receive(), Some(Packet::Pubrec(Ack::success(7))));
    client.send(&Packet::Pubrel(Ack::success(7)));
    assert_eq!(client.receive(), Some(Packet::Pubcomp(Ack::success(7))));
    // The identifier is free: this is another message.
    client.send(&Packet::Publish(publish("t", "another", QoS::ExactlyOnce, 7)));
    assert_eq!(client.receive(), Some(Packet::Pubrec(Ack::success(7))));
    drop(client);
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let messages: i64 = cache.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
    assert_eq!(messages, 2);
}

#[test]
fn a_session_is_taken_over_and_expires_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let (mut first, _) = Client::connect(bridge.address, kept("same"));
    let (second, connack) = Client::connect(bridge.address, kept("same"));
    assert!(connack.session_present);
    let taken_over = Packet::Disconnect(Disconnect::new(ReasonCode::SESSION_TAKEN_OVER));
    assert_eq!(first.receive(), Some(taken_over));
    drop(second);
    let (_, connack) = Client::connect(bridge.address, Connect { clean_start: true, ..kept("same") });
    assert!(!connack.session_present);
    let ends = Connect { clean_start: false, ..Connect::new(Version::V4, "old") };
    let (_, connack) = Client::connect(bridge.address, Connect { session_expiry: u32::MAX, ..ends.clone() });
    assert!(!connack.session_present);
    let (_, connack) = Client::connect(bridge.address, ends);
    assert!(connack.session_present, "3.1.1 without Clean Session");
}

#[test]
fn a_subscription_of_a_kept_session_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let rest = caching(&folder);
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, kept("s"));
    client.send(&subscribe("a/+", QoS::AtLeastOnce));
    assert!(matches!(client.receive(), Some(Packet::Suback(_))));
    bridge.kill();
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, connack) = Client::connect(bridge.address, kept("s"));
    assert!(connack.session_present);
    client.send(&Packet::Publish(publish("a/b", "x", QoS::AtMostOnce, 0)));
    assert!(matches!(client.receive(), Some(Packet::Publish(publish)) if &*publish.topic == "a/b"));
}

#[test]
fn a_client_that_is_silent_or_sends_too_much_is_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let (mut silent, _) =
        Client::connect(bridge.address, Connect { keep_alive: 1, ..Connect::new(Version::V5, "silent") });
    let begun = std::time::Instant::now();
    assert_eq!(silent.receive(), Some(Packet::Disconnect(Disconnect::new(ReasonCode::KEEP_ALIVE_TIMEOUT))));
    assert!(begun.elapsed().as_secs_f64() >= 1.4, "{:?}", begun.elapsed());

    let (mut greedy, connack) = Client::connect(bridge.address, Connect::new(Version::V5, "greedy"));
    for packet_id in 1..=connack.receive_maximum + 1 {
        greedy.send(&Packet::Publish(publish("t", "x", QoS::ExactlyOnce, packet_id)));
    }
    let last = std::iter::from_fn(|| greedy.receive()).last();
    let Some(Packet::Disconnect(disconnect)) = last else { panic!("{last:?} instead of DISCONNECT") };
    assert_eq!(disconnect.reason, ReasonCode::RECEIVE_MAXIMUM_EXCEEDED);
}

#[test]
fn a_full_cache_refuses_and_the_publisher_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let rest = caching(&folder).replace("cache.db }", "cache.db, max_messages: 2 }");
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for packet_id in 1..=3 {
        client.send(&Packet::Publish(publish("t", "x", QoS::AtLeastOnce, packet_id)));
    }
    assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(1))));
    assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(2))));
    let refused = Ack { packet_id: 3, reason: ReasonCode::QUOTA_EXCEEDED };
    assert_eq!(client.receive(), Some(Packet::Puback(refused)));
    // 3.1.1 has no word for it.
    let (mut old, _) = Client::connect(bridge.address, Connect::new(Version::V4, "old"));
    old.send(&Packet::Publish(publish("t", "x", QoS::AtLeastOnce, 1)));
    assert_eq!(old.receive(), None);
}

#[test]
fn sigterm_acknowledges_what_was_read_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &caching(&folder));
    let (mut client, _) = Client::connect(bridge.address, kept("p"));
    for packet_id in 1..=100 {
        client.send(&Packet::Publish(publish("t", "x", QoS::AtLeastOnce, packet_id)));
    }
    let mut acknowledged = Vec::new();
    assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(1))));
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    while let Some(packet) = client.receive() {
        match packet {
            Packet::Puback(ack) => acknowledged.push(ack.packet_id),
            other => assert_eq!(other, Packet::Disconnect(Disconnect::new(ReasonCode::SERVER_SHUTTING_DOWN))),
        }
    }
    let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
    let messages: usize = cache.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
    assert_eq!(messages, acknowledged.len() + 1, "everything that was committed was acknowledged");
}

#[test]
fn of_several_that_take_over_at_once_one_stays_and_the_others_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let (_first, _) = Client::connect(bridge.address, kept("same"));
    // They all wait for the first to leave; whoever gets its turn early must not keep the rest waiting.
    let taking: Vec<_> = (0..4)
        .map(|_| {
            let address = bridge.address;
            std::thread::spawn(move || Client::connect(address, kept("same")).0)
        })
        .collect();
    let mut clients: Vec<Client> = taking.into_iter().map(|thread| thread.join().unwrap()).collect();
    for client in &mut clients {
        client.send(&Packet::Pingreq);
    }
    let stayed = clients.iter_mut().filter_map(Client::receive).filter(|packet| *packet == Packet::Pingresp).count();
    assert_eq!(stayed, 1);
}

#[test]
fn sigterm_does_not_wait_for_a_connection_that_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let _silent = std::net::TcpStream::connect(bridge.address).unwrap();
    let (mut client, _) = Client::connect(bridge.address, kept("p"));
    client.send(&Packet::Pingreq);
    assert_eq!(client.receive(), Some(Packet::Pingresp));
    let begun = std::time::Instant::now();
    let (status, log) = bridge.terminate();
    assert!(status.success() && !log.contains("not everything"), "{log}");
    assert!(begun.elapsed().as_secs() < 4, "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_resets_before_its_connack_can_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    let mut bytes = Vec::new();
    for round in 0..50 {
        bytes.clear();
        let connect = kept(&format!("c{round}"));
        mqtt_bridge::bridge::wire::encode(&Packet::Connect(Box::new(connect.clone())), Version::V5, &mut bytes);
        let mut stream = std::net::TcpStream::connect(bridge.address).unwrap();
        std::io::Write::write_all(&mut stream, &bytes).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(stream);
        Client::connect(bridge.address, connect);
    }
    let (status, log) = bridge.terminate();
    assert!(status.success() && !log.contains("not everything"), "{log}");
}
