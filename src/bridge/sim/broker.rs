//! The remote: as the specification wants it, but for what its plan makes it do.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::ledger::account::{Account, id};
use super::plan::{Misbehaviour, RemotePlan, Spec, millis};
use super::world::Sin;
use crate::bridge::delivery::Time;
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{Ack, Connack, Connect, Decoder, Packet, Publish, ReasonCode, Suback, Version};

/// What it keeps of us beyond a connection.
#[derive(Debug, Default)]
struct Session {
    /// Packet Identifiers of QoS 2 between PUBLISH and PUBREL.
    received: BTreeSet<u16>,
    subscribed: bool,
    outgoing: BTreeMap<u16, Outgoing>,
    waiting: VecDeque<(usize, QoS)>,
    last_id: u16,
}

#[derive(Debug, Clone, Copy)]
struct Outgoing {
    number: usize,
    qos: QoS,
    released: bool,
}

struct Connection {
    link: usize,
    decoder: Decoder,
    greeted: bool,
    heard: Time,
    keep_alive: Duration,
    receive_maximum: usize,
    clean_session: bool,
    outbox: Vec<(Time, Packet)>,
}

pub(super) struct Broker {
    pub(super) version: Version,
    pub(super) misbehaviour: Misbehaviour,
    pub(super) receive_maximum: u16,
    pub(super) maximum_packet_size: Option<u32>,
    pub(super) maximum_qos: QoS,
    pub(super) mute_until: Time,
    session: Option<Session>,
    connections: Vec<Connection>,
    /// How many sessions there have been.
    sessions: u64,
    /// Those of which it has said, to whoever heard it, that they are new.
    announced: BTreeSet<u64>,
    /// Of the CONNACK on each link.
    greeted: BTreeMap<usize, u64>,
    /// Links that it has closed, in order.
    pub(super) closed: Vec<usize>,
    random: fastrand::Rng,
    /// It says that it has a session which it has not.
    lies: bool,
    /// What it was published for us to subscribe to and could keep.
    pub(super) promised: BTreeSet<usize>,
    /// What it knew of a session in use is gone.
    pub(super) has_forgotten: bool,
    /// A session that was to end with its connection stays.
    keeps_all: bool,
}

impl Broker {
    pub(super) fn new(plan: &RemotePlan, seed: u64, sin: Option<Sin>) -> Self {
        Self {
            lies: sin == Some(Sin::SessionAlwaysPresent),
            keeps_all: sin == Some(Sin::WipesForEver),
            has_forgotten: false,
            version: plan.version,
            misbehaviour: plan.misbehaviour,
            receive_maximum: plan.receive_maximum,
            maximum_packet_size: None,
            maximum_qos: QoS::ExactlyOnce,
            mute_until: Time::ZERO,
            session: None,
            connections: Vec::new(),
            sessions: 0,
            announced: BTreeSet::new(),
            greeted: BTreeMap::new(),
            closed: Vec::new(),
            random: fastrand::Rng::with_seed(seed ^ 0xB0B),
            promised: BTreeSet::new(),
        }
    }

    fn chance(&mut self, of_a_thousand: u32) -> bool {
        self.random.u32(0..1000) < of_a_thousand
    }

    pub(super) fn accept(&mut self, link: usize, now: Time) {
        self.connections.push(Connection {
            link,
            decoder: Decoder::server(1 << 20),
            greeted: false,
            heard: now,
            keep_alive: Duration::ZERO,
            receive_maximum: usize::from(u16::MAX),
            clean_session: false,
            outbox: Vec::new(),
        });
    }

    /// The link is gone on our side.
    pub(super) fn forget(&mut self, link: usize) {
        if let Some(position) = self.connections.iter().position(|connection| connection.link == link) {
            let connection = self.connections.remove(position);
            if connection.clean_session && connection.greeted {
                self.end_session();
            }
        }
    }

    pub(super) fn close(&mut self, link: usize) {
        self.forget(link);
        self.closed.push(link);
    }

    pub(super) fn close_all(&mut self) {
        let links: Vec<usize> = self.connections.iter().map(|connection| connection.link).collect();
        links.into_iter().for_each(|link| self.close(link));
    }

    pub(super) fn lose_session(&mut self) {
        self.close_all();
        self.end_session();
        self.has_forgotten = true;
    }

    fn end_session(&mut self) {
        let used = |session: &Session| session.subscribed || !session.received.is_empty();
        self.has_forgotten |= self.session.as_ref().is_some_and(used);
        self.session = None;
        self.promised.clear();
    }

    /// Whose CONNACK went out on this link, and whether somebody was told that it is new.
    pub(super) fn session_of(&self, link: usize) -> (u64, bool) {
        let session = self.greeted.get(&link).copied().unwrap_or_default();
        (session, self.announced.contains(&session))
    }

    /// Somebody publishes what we subscribe to.
    pub(super) fn publish(&mut self, number: usize, qos: QoS) {
        if let Some(session) = self.session.as_mut().filter(|session| session.subscribed) {
            session.waiting.push_back((number, qos));
            self.promised.insert(number);
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.waiting.is_empty() && session.outgoing.is_empty())
    }

    pub(super) fn due(&self) -> Option<Time> {
        let muted = |at: Time| at.max(self.mute_until);
        let outbox = self.connections.iter().flat_map(|connection| connection.outbox.iter().map(|(at, _)| muted(*at)));
        outbox.chain(self.connections.iter().filter_map(silent_at)).min()
    }

    /// What is to be sent by now, by link.
    pub(super) fn poll(&mut self, now: Time) -> Vec<(usize, Vec<u8>)> {
        let silent = self.connections.iter().filter(|connection| silent_at(connection).is_some_and(|at| at <= now));
        let silent: Vec<usize> = silent.map(|connection| connection.link).collect();
        silent.into_iter().for_each(|link| self.close(link));
        if now < self.mute_until {
            return Vec::new();
        }
        let mut out = Vec::new();
        for connection in &mut self.connections {
            connection.outbox.sort_by_key(|(at, _)| *at);
            let due = connection.outbox.partition_point(|(at, _)| *at <= now);
            for (_, packet) in connection.outbox.drain(..due) {
                let mut bytes = Vec::new();
                crate::bridge::wire::encode(&packet, self.version, &mut bytes);
                out.push((connection.link, bytes));
            }
        }
        out
    }

    pub(super) fn receive(&mut self, link: usize, bytes: &[u8], specs: &[Spec], account: &mut Account, now: Time) {
        let mut input = bytes;
        loop {
            let Some(connection) = self.connections.iter_mut().find(|connection| connection.link == link) else {
                return;
            };
            connection.heard = now;
            match connection.decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(packet)) => self.handle(link, packet, specs, account, now),
                Err(error) => return account.violate(format!("the remote cannot read what was sent: {error}")),
            }
        }
        self.send_waiting(now);
    }

    fn connection(&mut self, link: usize) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.link == link)
    }

    fn send(&mut self, link: usize, packet: Packet, at: Time) {
        if let Some(connection) = self.connection(link) {
            connection.outbox.push((at, packet));
        }
    }

    /// Sends an acknowledgement as well or as badly as it does.
    fn acknowledge(&mut self, link: usize, packet: Packet, now: Time) {
        let Misbehaviour { lost_ack, repeated_ack, stray_ack, reordered_acks, .. } = self.misbehaviour;
        let at = now + if reordered_acks > 0 { millis(self.random.u64(0..reordered_acks)) } else { Duration::ZERO };
        if self.chance(stray_ack) {
            // Far from any identifier in use: for one in use it would be a lie, not a mistake.
            let ack = Ack::success(self.random.u16(50_000..));
            let packet = match self.random.u32(0..3) {
                0 => Packet::Puback(ack),
                1 => Packet::Pubrec(ack),
                _ => Packet::Pubcomp(ack),
            };
            self.send(link, packet, at);
        }
        if self.chance(lost_ack) {
            return;
        }
        if self.chance(repeated_ack) {
            self.send(link, packet.clone(), at);
        }
        self.send(link, packet, at);
    }

    fn handle(&mut self, link: usize, packet: Packet, specs: &[Spec], account: &mut Account, now: Time) {
        match packet {
            Packet::Connect(connect) => self.greet(link, &connect, now),
            Packet::Publish(publish) => self.take(link, &publish, specs, account, now),
            Packet::Pubrel(ack) => {
                let known = self.session.as_mut().is_some_and(|session| session.received.remove(&ack.packet_id));
                let reason = if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
                self.acknowledge(link, Packet::Pubcomp(Ack { reason, ..ack }), now);
            }
            Packet::Subscribe(subscribe) => {
                if let Some(session) = &mut self.session {
                    session.subscribed = true;
                }
                let reasons = subscribe.filters.iter().map(|filter| ReasonCode(filter.qos as u8)).collect();
                self.send(link, Packet::Suback(Suback { packet_id: subscribe.packet_id, reasons }), now);
            }
            Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                let session = self.session.get_or_insert_default();
                session.outgoing.remove(&ack.packet_id);
            }
            Packet::Pubrec(ack) => {
                if let Some(outgoing) = self.session.get_or_insert_default().outgoing.get_mut(&ack.packet_id) {
                    outgoing.released = true;
                }
                self.send(link, Packet::Pubrel(ack), now);
            }
            Packet::Pingreq => self.send(link, Packet::Pingresp, now),
            Packet::Disconnect(_) => self.close(link),
            other => account.violate(format!("{} to a server", other.name())),
        }
    }

    fn greet(&mut self, link: usize, connect: &Connect, now: Time) {
        let others: Vec<usize> =
            self.connections.iter().filter(|c| c.link != link && c.greeted).map(|c| c.link).collect();
        others.into_iter().for_each(|link| self.close(link));
        if connect.clean_start {
            self.end_session();
        }
        let session_present = self.session.is_some() || (self.lies && !connect.clean_start);
        self.sessions += u64::from(self.session.is_none());
        self.session.get_or_insert_default();
        self.greeted.insert(link, self.sessions);
        let (version, keeps_all) = (self.version, self.keeps_all);
        let Some(connection) = self.connection(link) else { return };
        connection.greeted = true;
        connection.keep_alive = Duration::from_secs(connect.keep_alive.into());
        connection.receive_maximum = connect.receive_maximum.into();
        // In 3.1.1 it follows from Clean Session.
        let clean_session = connect.session_expiry == 0;
        connection.clean_session = clean_session && !keeps_all;
        let mut connack = Connack::new(ReasonCode::SUCCESS, session_present);
        if version == Version::V5 {
            connack.receive_maximum = self.receive_maximum;
            connack.maximum_packet_size = self.maximum_packet_size;
            connack.maximum_qos = self.maximum_qos;
        }
        self.send(link, Packet::Connack(Box::new(connack)), now);
        if !session_present && !clean_session {
            self.announced.insert(self.sessions);
        }
        let outgoing: Vec<(u16, Outgoing)> = self.session.iter().flat_map(|session| session.outgoing.clone()).collect();
        for (packet_id, outgoing) in outgoing {
            self.send(link, outgoing.packet(packet_id, true), now);
        }
    }

    fn send_waiting(&mut self, now: Time) {
        let Some(session) = &mut self.session else { return };
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.greeted) else { return };
        while session.outgoing.len() < connection.receive_maximum.min(10) {
            let Some((number, qos)) = session.waiting.pop_front() else { return };
            session.last_id = session.last_id % 20 + 1;
            while session.outgoing.contains_key(&session.last_id) {
                session.last_id = session.last_id % 20 + 1;
            }
            let outgoing = Outgoing { number, qos, released: false };
            session.outgoing.insert(session.last_id, outgoing);
            connection.outbox.push((now, outgoing.packet(session.last_id, false)));
        }
    }

    fn take(&mut self, link: usize, publish: &Publish, specs: &[Spec], account: &mut Account, now: Time) {
        let id = id(&publish.message.payload);
        let packet_id = publish.packet_id;
        let ack = |reason| Ack { packet_id, reason };
        if publish.qos > self.maximum_qos {
            return account.violate(format!("PUBLISH of QoS {} above the Maximum QoS", publish.qos));
        }
        let known = self.session.as_ref().is_some_and(|session| session.received.contains(&packet_id));
        if publish.qos == QoS::ExactlyOnce && known {
            return self.acknowledge(link, Packet::Pubrec(ack(ReasonCode::SUCCESS)), now);
        }
        let refusal = if specs[id].poison && publish.qos != QoS::AtMostOnce {
            Some(ReasonCode::NOT_AUTHORIZED)
        } else if self.chance(self.misbehaviour.passing_refusal) && publish.qos != QoS::AtMostOnce {
            Some(ReasonCode::QUOTA_EXCEEDED)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return match (self.version, publish.qos) {
                // 3.1.1 has no other way.
                (Version::V4, _) if specs[id].poison => self.close(link),
                (Version::V4, _) => self.accept_message(link, publish, id, account, now),
                (_, QoS::AtLeastOnce) => self.acknowledge(link, Packet::Puback(ack(reason)), now),
                _ => self.acknowledge(link, Packet::Pubrec(ack(reason)), now),
            };
        }
        self.accept_message(link, publish, id, account, now);
    }

    fn accept_message(&mut self, link: usize, publish: &Publish, id: usize, account: &mut Account, now: Time) {
        account.delivered(id);
        let ack = Ack::success(publish.packet_id);
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.acknowledge(link, Packet::Puback(ack), now),
            QoS::ExactlyOnce => {
                self.session.get_or_insert_default().received.insert(publish.packet_id);
                self.acknowledge(link, Packet::Pubrec(ack), now);
            }
        }
    }
}

/// One and a half times Keep Alive ([MQTT-3.1.2-22]).
fn silent_at(connection: &Connection) -> Option<Time> {
    (!connection.keep_alive.is_zero()).then(|| connection.heard + connection.keep_alive * 3 / 2)
}

impl Outgoing {
    fn packet(self, packet_id: u16, dup: bool) -> Packet {
        if self.released {
            return Packet::Pubrel(Ack::success(packet_id));
        }
        let payload = (self.number as u64).to_be_bytes().to_vec();
        let message = Message::new("from/remote", payload, self.qos);
        Packet::Publish(Publish { dup, ..Publish::new(Arc::new(message), packet_id) })
    }
}
