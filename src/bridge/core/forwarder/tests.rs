//! Small stories: one fact each. What no story foresees, the simulation looks for.
use super::*;
use crate::bridge::config::{Reconnect, Server};
use crate::bridge::delivery::DropReason;
use crate::bridge::message::Properties;
use crate::bridge::wire::{Ack, Connect, Decoder, Publish, Suback};

mod connecting;
mod reconfiguring;
mod refusing;
mod sending;
mod several;
mod source;

const SECOND: Duration = Duration::from_secs(1);

/// A forwarder with a remote that is played by hand.
struct Story {
    forwarder: Forwarder,
    ring: Ring,
    decoder: Decoder,
    now: Time,
    effects: Vec<Effect>,
}

fn config() -> config::Bridge {
    config::Bridge {
        name: "remote".into(),
        server: Server::tcp("remote", 1883).into(),
        failback: SECOND * 60,
        tls: None,
        protocol: 5,
        client_id: "bridge".into(),
        clean_start: false,
        session_expiry: SECOND * 60,
        username: None,
        password: None,
        password_file: None,
        keep_alive: SECOND * 10,
        connect_timeout: SECOND,
        ack_timeout: SECOND * 20,
        reconnect: Reconnect { min: SECOND, max: SECOND * 2 },
        window: 10,
        cache_qos0: false,
        drain: None,
        max_hops: None,
        forwards: Vec::new(),
        subscriptions: Vec::new(),
    }
}

fn known() -> Restored {
    Restored { established: Some("mqtt://remote:1883 bridge".into()), ..Restored::default() }
}

fn delivery(seq: i64, qos: QoS) -> Delivery {
    let message = Arc::new(Message::new("t", vec![seq as u8; 20], qos));
    let topic = message.topic.clone();
    Delivery {
        seq: Seq(seq),
        topic,
        qos,
        retain: false,
        received_at: Time::ZERO,
        identifiers: None,
        kept: Kept::Row,
        message,
    }
}

fn connack(session_present: bool) -> Connack {
    Connack::new(ReasonCode::SUCCESS, session_present)
}

impl Story {
    fn new(version: Version, config: config::Bridge, restored: Restored) -> Self {
        let mut ring = Ring::new(100, 100_000, restored.held.iter().map(|held| held.delivery.seq));
        ring.refill(Vec::new(), true);
        let settings = Settings { bridge: BridgeId(1), version, config, max_age: None, seed: 1, is_source: false };
        let forwarder = Forwarder::new(settings, restored, Time::ZERO);
        Self { forwarder, ring, decoder: Decoder::server(1 << 20), now: Time::ZERO, effects: Vec::new() }
    }

    /// Connected, with a session that both sides have.
    fn connected(version: Version) -> Self {
        let mut story = Self::new(version, config(), known());
        story.connect(connack(true));
        story
    }

    fn pump(&mut self) -> Vec<Packet> {
        self.forwarder.pump(&mut self.ring, self.now);
        while let Some(effect) = self.forwarder.poll_effect() {
            self.effects.push(effect);
        }
        let bytes = self.forwarder.transmit().to_vec();
        self.forwarder.handle_written(bytes.len(), self.now);
        let mut input = bytes.as_slice();
        std::iter::from_fn(|| self.decoder.decode(&mut input).unwrap()).collect()
    }

    /// Opens TCP when it is time, and says what the CONNECT was.
    fn dial(&mut self) -> Connect {
        self.now = self.now.max(self.forwarder.deadline().unwrap_or(self.now));
        self.pump();
        self.effects.retain(|effect| matches!(effect, Effect::Commit(_)));
        self.decoder = Decoder::server(1 << 20);
        self.forwarder.handle_connected(self.now);
        let packets = self.pump();
        let [Packet::Connect(connect)] = packets.as_slice() else { panic!("{packets:?}") };
        Connect::clone(connect)
    }

    fn connect(&mut self, connack: Connack) -> Vec<Packet> {
        self.dial();
        self.say(Packet::Connack(Box::new(connack)))
    }

    fn say(&mut self, packet: Packet) -> Vec<Packet> {
        self.forwarder.handle_packet(packet, self.now);
        self.pump()
    }

    fn push(&mut self, delivery: Delivery) -> Vec<Packet> {
        self.ring.push(delivery).unwrap();
        self.pump()
    }

    /// Every commit that was asked for is made; says what they were.
    fn commit(&mut self) -> (Vec<Write>, Vec<Packet>) {
        let (mut writes, mut packets) = (Vec::new(), Vec::new());
        for effect in std::mem::take(&mut self.effects) {
            if let Effect::Commit(batch) = effect {
                self.forwarder.handle_committed(&vec![Ok(()); batch.len()], self.now);
                writes.extend(batch);
            }
        }
        packets.extend(self.pump());
        (writes, packets)
    }

    fn later(&mut self, time: Duration) -> Vec<Packet> {
        self.now += time;
        self.pump()
    }

    fn lose(&mut self, by_peer: bool) {
        self.forwarder.handle_closed("lost", by_peer, self.now);
        self.pump();
    }

    fn is_closed(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Close(_)))
    }
}

/// What was published: the sequence, the Packet Identifier, and DUP.
fn published(packets: &[Packet]) -> Vec<(u8, u16, bool)> {
    let publish = |packet: &Packet| match packet {
        Packet::Publish(publish) => Some((publish.message.payload[0], publish.packet_id, publish.dup)),
        _ => None,
    };
    packets.iter().filter_map(publish).collect()
}

fn steps(writes: &[Write]) -> Vec<(i64, Progress)> {
    let step = |write: &Write| match write {
        Write::Progress { seq, step, .. } => Some((seq.0, *step)),
        _ => None,
    };
    writes.iter().filter_map(step).collect()
}
