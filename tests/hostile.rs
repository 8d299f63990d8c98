//! Hostile clients cost the others nothing: beside each kind, a publisher and a subscriber that behave lose no message and
//! keep their latency, and the memory of the process stays bounded.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Bridge, Client, PATIENCE};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{
    Ack, Connect, Packet, Publish, ReasonCode, Subscribe, Subscription, Unsubscribe, Version, encode,
};

/// Round trips of the pair, with and without hostile clients.
const ROUNDS: u16 = 150;
/// How much of a latency the machine itself may add: it runs other tests as well.
const NOISE: Duration = Duration::from_millis(300);
/// The process, whatever is done to it.
const MOST_MEMORY: u64 = 192 << 20;

fn publish(topic: &str, payload: Vec<u8>, qos: QoS, packet_id: u16) -> Packet {
    Packet::Publish(Publish::new(Arc::new(Message::new(topic, payload, qos)), packet_id))
}

fn subscribe(filters: impl IntoIterator<Item = String>) -> Packet {
    let wanted = |filter| Subscription {
        filter,
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    Packet::Subscribe(Subscribe { packet_id: 1, filters: filters.into_iter().map(wanted).collect(), identifier: None })
}

fn connect(address: SocketAddr, client_id: &str) -> Client {
    let (client, connack) = Client::connect(address, Connect::new(Version::V5, client_id));
    assert_eq!(connack.reason, ReasonCode::SUCCESS);
    client
}

/// A publisher and a subscriber that behave.
struct Pair(Client, Client);

impl Pair {
    fn new(address: SocketAddr) -> Self {
        let (publisher, mut subscriber) = (connect(address, "publisher"), connect(address, "subscriber"));
        subscriber.send(&subscribe(["pair/+".to_owned()]));
        assert!(matches!(subscriber.receive(), Some(Packet::Suback(_))));
        Self(publisher, subscriber)
    }

    /// The 99th percentile of the round trips; a message that is lost is a failure.
    fn p99(&mut self) -> Duration {
        let Self(publisher, subscriber) = self;
        let mut took = Vec::new();
        for round in 1..=ROUNDS {
            let began = Instant::now();
            publisher.send(&publish("pair/t", round.to_string().into(), QoS::AtLeastOnce, round));
            let Some(Packet::Publish(received)) = subscriber.receive() else { panic!("no PUBLISH {round}") };
            assert_eq!(received.message.payload, round.to_string());
            subscriber.send(&Packet::Puback(Ack::success(received.packet_id)));
            assert_eq!(publisher.receive(), Some(Packet::Puback(Ack::success(round))));
            took.push(began.elapsed());
            // About 150 a second, below what any test allows.
            std::thread::sleep(Duration::from_millis(6));
        }
        took.sort_unstable();
        took[usize::from(ROUNDS) * 99 / 100]
    }
}

/// Peak of what the process has had in memory, in bytes.
fn peak(bridge: &Bridge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Runs the pair beside what is hostile, which goes on until it is told to stop; gives the bridge back.
fn beside(rest: &str, hostile: impl Fn(SocketAddr, &AtomicBool) + Sync) -> (Bridge, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &format!("metrics: {{ bind: 127.0.0.1:0 }}\n{rest}"));
    let mut pair = Pair::new(bridge.address);
    let calm = pair.p99();
    let stop = AtomicBool::new(false);
    let stormy = std::thread::scope(|scope| {
        scope.spawn(|| hostile(bridge.address, &stop));
        let stormy = pair.p99();
        stop.store(true, Ordering::Relaxed);
        stormy
    });
    let memory = peak(&bridge);
    let line = format!("p99 {calm:?} alone, {stormy:?} beside hostile clients, peak {} MiB\n", memory >> 20);
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(stormy < calm * 20 + NOISE, "{line}");
    assert!(memory < MOST_MEMORY, "{line}");
    (bridge, folder)
}

fn raw(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the other end closes it.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        }
    }
}

fn bytes_of(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, Version::V5, &mut bytes);
    bytes
}

#[test]
fn slow_readers() {
    let hostile = |address, stop: &AtomicBool| {
        let _deaf: Vec<Client> = (0..5)
            .map(|number| {
                let mut client = connect(address, &format!("deaf-{number}"));
                client.send(&subscribe(["storm".to_owned()]));
                assert!(matches!(client.receive(), Some(Packet::Suback(_))));
                client
            })
            .collect();
        let mut storm = connect(address, "storm");
        let mut packet_id = 0;
        while !stop.load(Ordering::Relaxed) && packet_id < 2_000 {
            packet_id += 1;
            storm.send(&publish("storm", vec![0; 32 << 10], QoS::AtLeastOnce, packet_id));
            assert_eq!(storm.receive(), Some(Packet::Puback(Ack::success(packet_id))));
        }
    };
    beside("limits: { max_memory: 16MiB }\n", hostile);
}

#[test]
fn half_open_floods() {
    let whole = bytes_of(&Packet::Connect(Box::new(Connect::new(Version::V5, "byte-by-byte"))));
    let hostile = |address, stop: &AtomicBool| {
        let mut silent = Vec::new();
        let mut drips: Vec<_> = (0..10).map(|_| raw(address)).collect();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            silent.extend((0..20).filter_map(|_| TcpStream::connect(address).ok()));
            for drip in &mut drips {
                // It is closed sooner or later, which is right.
                let _ = drip.write_all(&whole[number % (whole.len() - 1)..][..1]);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(silent.len() > 200, "{} are no flood", silent.len());
    };
    let (bridge, _folder) = beside("limits: { max_half_open: 100, connect_timeout: 1s }\n", hostile);
    assert!(bridge.metric("connections_half_open_closed_total") > 0);
    // Who says nothing, and who says it byte by byte, has the same second.
    let (mut silent, mut slow) = (raw(bridge.address), raw(bridge.address));
    let began = Instant::now();
    slow.write_all(&whole[..4]).unwrap();
    assert!(is_closed(&mut slow) && is_closed(&mut silent));
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    // No CONNECT, or one that is too large, is not waited for.
    for bytes in [&[0x30, 0x7F][..], &[0x10, 0xFF, 0xFF, 0x7F], &[0xC0]] {
        let mut stream = raw(bridge.address);
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{bytes:?}");
    }
}

/// The most descriptors that this process may have.
fn descriptors() -> u64 {
    mqtt_bridge::bridge::descriptors::raise().unwrap()
}

#[test]
fn ten_thousand_connections() {
    const CONNECTIONS: usize = 10_000;
    if descriptors() < CONNECTIONS as u64 + 500 {
        let line = format!("SKIPPED ten_thousand_connections: {} descriptors are too few\n", descriptors());
        return std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let rest = format!("metrics: {{ bind: 127.0.0.1:0 }}\nlimits: {{ max_connections: {CONNECTIONS} }}\n");
    let bridge = Bridge::start(folder.path(), &rest);
    let mut pair = Pair::new(bridge.address);
    let calm = pair.p99();
    let began = Instant::now();
    let mut crowd: Vec<Client> =
        (2..CONNECTIONS).map(|number| connect(bridge.address, &format!("client-{number}"))).collect();
    let came = began.elapsed();
    assert!(is_closed(&mut raw(bridge.address)), "one too many");
    assert_eq!(bridge.metric("connections_refused_total"), 1);
    let stormy = pair.p99();
    let memory = peak(&bridge);
    let line = format!(
        "{CONNECTIONS} connections in {came:?}, p99 {calm:?} before, {stormy:?} beside them, peak {} MiB\n",
        memory >> 20
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(stormy < calm * 20 + NOISE && memory < 1 << 30, "{line}");
    for client in crowd.iter_mut().step_by(999) {
        client.send(&Packet::Pingreq);
        assert_eq!(client.receive(), Some(Packet::Pingresp));
    }
    drop(crowd.pop());
    bridge.until_metric("clients", CONNECTIONS as u64 - 1);
    connect(bridge.address, "the next");
}

#[test]
fn malformed_packets() {
    let hostile = |address, stop: &AtomicBool| {
        let mut random = fastrand::Rng::with_seed(7);
        let whole = [
            Packet::Connect(Box::new(Connect::new(Version::V5, "m"))),
            publish("t", vec![1; 20], QoS::ExactlyOnce, 1),
            subscribe(["a/#".to_owned(), "b".to_owned()]),
            Packet::Unsubscribe(Unsubscribe { packet_id: 2, filters: vec!["a/#".to_owned()] }),
            Packet::Pubrel(Ack::success(9)),
            Packet::Pingreq,
        ];
        let whole: Vec<Vec<u8>> = whole.iter().map(bytes_of).collect();
        while !stop.load(Ordering::Relaxed) {
            let mut stream = raw(address);
            let mut bytes = if random.bool() { whole[0].clone() } else { Vec::new() };
            for _ in 0..5 {
                let mut packet = whole[random.usize(..whole.len())].clone();
                match random.u8(..4) {
                    0 => packet.truncate(random.usize(..packet.len())),
                    1 => packet.extend((0..random.usize(..9)).map(|_| random.u8(..))),
                    2 => packet = (0..random.usize(..40)).map(|_| random.u8(..)).collect(),
                    _ => {
                        let at = random.usize(..packet.len());
                        packet[at] = random.u8(..);
                    }
                }
                bytes.extend(packet);
            }
            // The bridge may have closed it already.
            let _ = stream.write_all(&bytes);
        }
    };
    beside("", hostile);
}

#[test]
fn giant_topics_and_wildcard_storms_and_subscription_floods() {
    let hostile = |address, stop: &AtomicBool| {
        let mut giant = connect(address, "giant");
        let deep = "a/".repeat(32_000);
        for (packet_id, topic) in (1..).zip([deep.as_str(), &"x".repeat(65_535), &"/".repeat(200)]) {
            giant.send(&publish(topic, Vec::new(), QoS::AtLeastOnce, packet_id));
            let refused = Ack { packet_id, reason: ReasonCode::TOPIC_NAME_INVALID };
            assert_eq!(giant.receive(), Some(Packet::Puback(refused)));
        }
        let mut flood = connect(address, "flood");
        flood.send(&subscribe((0..60_000).map(|number| format!("f/{number}"))));
        let Some(Packet::Suback(suback)) = flood.receive() else { panic!("no SUBACK") };
        assert!(suback.reasons.len() == 60_000 && suback.reasons.iter().all(|r| *r == ReasonCode::QUOTA_EXCEEDED));
        let mut storm: Vec<Client> = (0..3).map(|number| connect(address, &format!("storm-{number}"))).collect();
        for round in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            for client in &mut storm {
                let filters = (0..200).map(|number| format!("pair/{round}/{number}/+/#"));
                client.send(&subscribe(filters));
                loop {
                    match client.receive() {
                        Some(Packet::Suback(_)) => break,
                        Some(_) => {}
                        None => panic!("closed"),
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let (bridge, _folder) = beside("", hostile);
    assert!(bridge.metric("subscriptions_denied_total") > 0 && bridge.metric("publishes_denied_total") == 3);
}

#[test]
fn a_flood_of_publishes_is_slowed_and_loses_nothing() {
    const FLOOD: u16 = 250;
    let hostile = |address, _: &AtomicBool| {
        let mut subscriber = connect(address, "flooded");
        subscriber.send(&subscribe(["flood".to_owned()]));
        assert!(matches!(subscriber.receive(), Some(Packet::Suback(_))));
        let mut flood = connect(address, "flood");
        let began = Instant::now();
        for packet_id in 1..=FLOOD {
            flood.send(&publish("flood", packet_id.to_string().into(), QoS::AtLeastOnce, packet_id));
        }
        for packet_id in 1..=FLOOD {
            assert_eq!(flood.receive(), Some(Packet::Puback(Ack::success(packet_id))));
            let Some(Packet::Publish(received)) = subscriber.receive() else { panic!("{packet_id} is lost") };
            assert_eq!(received.message.payload, packet_id.to_string());
            subscriber.send(&Packet::Puback(Ack::success(received.packet_id)));
        }
        // 50 at once, then one every 5 ms.
        assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
    };
    beside("limits: { publish_rate: 200/s, publish_burst: 50 }\n", hostile);
}
