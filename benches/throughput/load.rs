//! A publisher and a subscriber over raw sockets, so cheap that the bridge is the limit. They speak 3.1.1, in which
//! every acknowledgement has four bytes.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Connect, Packet, Subscribe, Subscription, Version, encode};

/// Bytes of every payload; the first eight are the time of sending where latency is measured.
pub(crate) const PAYLOAD: usize = 200;
/// PUBLISHes of one publisher that may be unacknowledged.
pub(crate) const WINDOW: u64 = 100;
/// Nothing may take longer than this without any progress.
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(address: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    encode(&Packet::Connect(Box::new(Connect::new(Version::V4, client_id))), Version::V4, &mut bytes);
    stream.write_all(&bytes).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack[3], 0, "CONNACK");
    stream
}

/// One PUBLISH to the topic `bench`, without its Packet Identifier.
fn frame(qos: QoS, packet_id: u16, sent: u64, out: &mut Vec<u8>) {
    let remaining = 2 + 5 + if qos == QoS::AtMostOnce { 0 } else { 2 } + PAYLOAD;
    out.extend([0x30 | (qos as u8) << 1, (remaining & 0x7F) as u8 | 0x80, (remaining >> 7) as u8, 0, 5]);
    out.extend(b"bench");
    if qos != QoS::AtMostOnce {
        out.extend(packet_id.to_be_bytes());
    }
    out.extend(sent.to_be_bytes());
    out.extend([b'x'; PAYLOAD - 8]);
}

/// Publishes so many messages, as fast as its window allows, and returns when each is acknowledged.
pub(crate) fn publish(address: SocketAddr, client_id: &str, qos: QoS, messages: u64) {
    let mut stream = connect(address, client_id);
    let (mut sent, mut done) = (0, 0);
    let (mut out, mut input, mut filled) = (Vec::new(), vec![0; 64 * 1024], 0);
    while done < messages {
        while sent < messages && sent - done < WINDOW {
            frame(qos, (sent % 60_000 + 1) as u16, 0, &mut out);
            sent += 1;
        }
        if !out.is_empty() {
            stream.write_all(&out).unwrap();
            out.clear();
        }
        let read = stream.read(&mut input[filled..]).unwrap();
        assert!(read > 0, "{client_id}: closed");
        filled += read;
        let whole = filled / 4 * 4;
        for ack in input[..whole].chunks_exact(4) {
            match ack[0] {
                0x40 | 0x70 => done += 1,
                0x50 => out.extend([0x62, 2, ack[2], ack[3]]),
                other => panic!("{client_id}: packet {other:#x}"),
            }
        }
        input.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Publishes at a rate for a time, at QoS 1, with the time of sending (nanoseconds since `epoch`) in each message.
pub(crate) fn publish_paced(address: SocketAddr, rate: u64, messages: u64, epoch: Instant) {
    let mut stream = connect(address, "paced");
    let mut reader = stream.try_clone().unwrap();
    let acks = std::thread::spawn(move || {
        let mut input = vec![0; 4 * messages as usize];
        reader.read_exact(&mut input).unwrap();
    });
    let (begin, mut out) = (Instant::now(), Vec::new());
    for number in 0..messages {
        let due = begin + Duration::from_nanos(1_000_000_000 / rate * number);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        frame(QoS::AtLeastOnce, (number % 60_000 + 1) as u16, epoch.elapsed().as_nanos() as u64, &mut out);
        stream.write_all(&out).unwrap();
        out.clear();
    }
    acks.join().unwrap();
}

/// Publishes at a rate until told to stop; how long each message took to be acknowledged, from when it was due. What is
/// kept alive meanwhile is given back.
pub(crate) fn acknowledged_within<K>(address: SocketAddr, rate: u64, done: &AtomicBool, keep: K) -> (Vec<Duration>, K) {
    let mut stream = connect(address, "paced");
    let mut reader = stream.try_clone().unwrap();
    let (to, due) = std::sync::mpsc::channel::<Instant>();
    let acks = std::thread::spawn(move || {
        let (mut ack, mut took) = ([0; 4], Vec::new());
        for due in due {
            reader.read_exact(&mut ack).unwrap();
            assert_eq!(ack[0], 0x40, "no PUBACK");
            took.push(due.elapsed());
        }
        took
    });
    let (begin, mut out) = (Instant::now(), Vec::new());
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let due = begin + Duration::from_nanos(1_000_000_000 / rate * number);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        frame(QoS::AtLeastOnce, (number % 60_000 + 1) as u16, 0, &mut out);
        to.send(due).unwrap();
        stream.write_all(&out).unwrap();
        out.clear();
    }
    drop(to);
    (acks.join().unwrap(), keep)
}

/// Counts what arrives at QoS 0.
pub(crate) struct Subscriber {
    received: Arc<AtomicU64>,
    thread: JoinHandle<Arrived>,
}

/// What has arrived.
pub(crate) struct Arrived {
    pub(crate) first: Instant,
    pub(crate) last: Instant,
    /// Nanoseconds from sending to arrival, sorted, of messages that say when they were sent.
    pub(crate) latencies: Vec<u64>,
}

impl Subscriber {
    /// Subscribes, and expects so many messages.
    pub(crate) fn start(address: SocketAddr, messages: u64, epoch: Instant) -> Self {
        let mut stream = connect(address, "subscriber");
        let mut bytes = Vec::new();
        let filter = Subscription {
            filter: "bench".to_owned(),
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
            identifier: None,
        };
        let subscribe = Subscribe { packet_id: 1, filters: vec![filter], identifier: None };
        encode(&Packet::Subscribe(subscribe), Version::V4, &mut bytes);
        stream.write_all(&bytes).unwrap();
        let mut suback = [0; 5];
        stream.read_exact(&mut suback).unwrap();
        let received = Arc::new(AtomicU64::new(0));
        let counted = received.clone();
        let thread = std::thread::spawn(move || receive(&mut stream, messages, &counted, epoch));
        Self { received, thread }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until everything has arrived.
    pub(crate) fn join(self) -> Arrived {
        self.thread.join().unwrap()
    }
}

fn receive(stream: &mut TcpStream, messages: u64, counted: &AtomicU64, epoch: Instant) -> Arrived {
    /// Fixed header, Topic Name with its length, payload: the same for every message, since QoS 0 has no identifier.
    const FRAME: usize = 3 + 2 + 5 + PAYLOAD;
    let (mut input, mut filled) = (vec![0; 256 * 1024], 0);
    let (mut count, mut first, mut latencies) = (0, None, Vec::new());
    loop {
        let read = stream.read(&mut input[filled..]).unwrap();
        assert!(read > 0, "the subscriber's connection was closed after {count} of {messages}");
        filled += read;
        let now = epoch.elapsed().as_nanos() as u64;
        let whole = filled / FRAME * FRAME;
        for frame in input[..whole].chunks_exact(FRAME) {
            assert_eq!(frame[0] & 0xF0, 0x30, "no PUBLISH");
            let sent = u64::from_be_bytes(frame[10..18].try_into().unwrap());
            if sent > 0 {
                latencies.push(now.saturating_sub(sent));
            }
            count += 1;
        }
        input.copy_within(whole..filled, 0);
        filled -= whole;
        counted.store(count, Ordering::Relaxed);
        let now = Instant::now();
        let first = *first.get_or_insert(now);
        if count >= messages {
            latencies.sort_unstable();
            return Arrived { first, last: now, latencies };
        }
    }
}
