//! What must hold, and what has been seen: every guarantee that is asserted is asserted here.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::plan::{Plan, Spec, millis};
use crate::bridge::delivery::{DropReason, Outcome, Progress, Seq, Time, Write};
use crate::bridge::message::QoS;
use crate::bridge::wire::{Packet, Publish};

#[derive(Debug, Default, Clone)]
pub(super) struct Record {
    /// Acknowledged to its publisher.
    pub(super) accepted: bool,
    /// How often the remote has passed it on.
    pub(super) delivered: u32,
    /// A whole PUBLISH of it went into a socket.
    pub(super) transmitted: bool,
    /// Where it was sent at a lower QoS than 2, it may arrive twice.
    lowered: bool,
    received_at: Time,
    outcome: Option<Ended>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    Delivered,
    Dropped,
    Quarantined,
}

/// What went into one connection.
#[derive(Debug, Default)]
pub(super) struct Tap {
    outstanding: BTreeSet<u16>,
    /// What the CONNACK of this connection said.
    pub(super) receive_maximum: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) records: Vec<Record>,
    specs: Vec<Spec>,
    window: u16,
    limits_packets: bool,
    kills: bool,
    /// Packet Identifiers may have to be given back.
    retires: bool,
    /// The socket takes at once whatever it is given.
    prompt: bool,
    /// Whether writes are looked at one by one, or their consequences alone.
    pub(super) strict: bool,
    by_seq: HashMap<Seq, usize>,
    /// Rows of the cache that hold a Packet Identifier, and whether their PUBREC is committed.
    holders: BTreeMap<u16, (Seq, bool)>,
    last_first: [Option<usize>; 3],
    seq_of: HashMap<usize, Seq>,
    pub(super) stored: u64,
    left: u64,
    /// Times that a QoS 2 message was counted as possibly twice there.
    pub(super) ambiguous: u64,
    pub(super) violation: Option<String>,
}

pub(super) fn id(payload: &[u8]) -> usize {
    u64::from_be_bytes(payload[..8].try_into().unwrap()) as usize
}

impl Ledger {
    pub(super) fn new(plan: &Plan, strict: bool) -> Self {
        Self {
            records: vec![Record::default(); plan.messages.len()],
            specs: plan.messages.clone(),
            window: plan.window,
            limits_packets: plan.limits_packets(),
            kills: plan.kills(),
            retires: plan.retires(),
            prompt: plan.is_prompt(),
            strict,
            by_seq: HashMap::new(),
            holders: BTreeMap::new(),
            last_first: [None; 3],
            seq_of: HashMap::new(),
            stored: 0,
            left: 0,
            ambiguous: 0,
            violation: None,
        }
    }

    pub(super) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what());
        }
    }

    /// A message has its place in the order of arrival.
    pub(super) fn accepted(&mut self, id: usize, seq: Seq, stored: bool, now: Time) {
        self.records[id].accepted = true;
        self.records[id].received_at = now;
        self.by_seq.insert(seq, id);
        self.seq_of.insert(id, seq);
        self.stored += u64::from(stored);
    }

    pub(super) fn seq(&self, publish: &Publish) -> Seq {
        self.seq_of[&id(&publish.message.payload)]
    }

    /// Rows that the cache should have: G7.
    pub(super) fn rows(&self) -> u64 {
        self.stored - self.left
    }

    /// A write of the forwarder is committed.
    pub(super) fn committed(&mut self, write: &Write) {
        let Write::Progress { seq, step, .. } = write else {
            if let Write::Count { outcome, .. } = write {
                self.require(*outcome != Outcome::Dropped(DropReason::Full), || "G2: dropped for no reason".into());
            }
            return;
        };
        let id = self.by_seq[seq];
        let holder = self.holders.iter().find(|(_, (holder, _))| holder == seq).map(|(packet_id, _)| *packet_id);
        match *step {
            Progress::Sent { packet_id } => {
                let free = self.holders.get(&packet_id).is_none_or(|(holder, _)| holder == seq);
                self.require(free, || format!("Packet Identifier {packet_id} is given to {seq:?}, and has a row"));
                holder.map(|packet_id| self.holders.remove(&packet_id));
                self.holders.insert(packet_id, (*seq, false));
                return;
            }
            Progress::Released { .. } => {
                holder.and_then(|packet_id| self.holders.insert(packet_id, (*seq, true)));
                return;
            }
            _ => holder.map(|packet_id| self.holders.remove(&packet_id)),
        };
        let record = self.records[id].clone();
        let spec = &self.specs[id];
        let (ended, allowed) = match *step {
            Progress::Requeued => return,
            Progress::Removed(Outcome::Delivered) if spec.qos == QoS::AtMostOnce || record.lowered => {
                (Ended::Delivered, record.transmitted)
            }
            Progress::Removed(Outcome::Delivered) => (Ended::Delivered, record.delivered > 0),
            Progress::Removed(Outcome::Dropped(DropReason::Expired)) => {
                // At QoS 1 a process does not know what the one before it has sent.
                (Ended::Dropped, spec.expiry.is_some() && (!record.transmitted || self.kills))
            }
            Progress::Removed(Outcome::Dropped(_)) => (Ended::Dropped, false),
            _ => (Ended::Quarantined, spec.poison || self.limits_packets && spec.size >= 200),
        };
        if record.outcome.is_none() {
            self.left += 1;
            self.records[id].outcome = Some(ended);
        }
        if self.strict {
            self.require(allowed, || format!("G2: message {id} left the cache as {step:?}: {record:?}"));
        }
    }

    /// A whole packet went into a socket.
    pub(super) fn transmitted(&mut self, tap: &mut Tap, packet: &Packet, now: Time) {
        match packet {
            Packet::Publish(publish) => self.published(tap, publish, now),
            Packet::Pubrel(ack) if self.strict => {
                // One that is given back keeps its row, as it was, until the PUBCOMP.
                let released = |(_, released): &(Seq, bool)| *released || self.retires;
                let committed = self.holders.get(&ack.packet_id).is_none_or(released);
                self.require(committed, || format!("PUBREL {} before its PUBREC is committed", ack.packet_id));
            }
            _ => {}
        }
    }

    fn published(&mut self, tap: &mut Tap, publish: &Publish, now: Time) {
        let (id, packet_id) = (id(&publish.message.payload), publish.packet_id);
        let seq = self.seq_of[&id];
        if publish.qos != QoS::AtMostOnce {
            let new = tap.outstanding.insert(packet_id);
            self.require(new, || format!("Packet Identifier {packet_id} is sent twice on one connection"));
            let limit = tap.receive_maximum.unwrap_or(u16::MAX).min(self.window);
            let unacknowledged = tap.outstanding.len();
            self.require(unacknowledged <= limit.into(), || format!("G4: {unacknowledged} PUBLISHes, {limit} allowed"));
        }
        if self.strict && publish.qos != QoS::AtMostOnce {
            match self.holders.get(&packet_id) {
                Some((holder, _)) if *holder != seq => {
                    self.violate(format!("Packet Identifier {packet_id} of {seq:?} belongs to the row of {holder:?}"));
                }
                None if publish.qos == QoS::ExactlyOnce => {
                    self.violate(format!("PUBLISH {packet_id} of message {id} before its commit"));
                }
                _ => {}
            }
        }
        let (topic, received_at) = (self.specs[id].topic, self.records[id].received_at);
        if !self.records[id].transmitted {
            let last = self.last_first[topic].map(|last| self.seq_of[&last]);
            self.require(last < Some(seq), || format!("G3: message {id} ({seq:?}) first sent after {last:?}"));
            self.last_first[topic] = Some(id);
            let limit = self.specs[id].expiry.map_or(Time::MAX, |secs| Duration::from_secs(secs.into()));
            let age = now.saturating_sub(received_at);
            let in_time = !self.prompt || age.saturating_sub(millis(100)) <= limit;
            self.require(in_time, || format!("message {id} was first sent {age:?} after it came, for {limit:?}"));
        }
        self.records[id].transmitted = true;
        self.records[id].lowered |= publish.qos < self.specs[id].qos;
    }

    /// The process hears an answer.
    pub(super) fn heard(&mut self, tap: &mut Tap, packet: &Packet) {
        match packet {
            Packet::Puback(ack) | Packet::Pubcomp(ack) => tap.outstanding.remove(&ack.packet_id),
            Packet::Pubrec(ack) if ack.reason.is_failure() => tap.outstanding.remove(&ack.packet_id),
            _ => false,
        };
    }

    /// Everything is quiet: what was promised must be there.
    pub(super) fn settle(&mut self, plan: &Plan, in_doubt: bool) {
        let keeps_the_session = plan.keeps_the_session();
        let mut extra = 0;
        for (id, record) in self.records.clone().into_iter().enumerate() {
            let spec = self.specs[id].clone();
            let promised = record.accepted && spec.qos != QoS::AtMostOnce && !record.lowered;
            let elsewhere = matches!(record.outcome, Some(Ended::Dropped | Ended::Quarantined));
            self.require(!promised || record.delivered > 0 || elsewhere, || format!("lost: message {id}: {record:?}"));
            if spec.qos == QoS::ExactlyOnce && !record.lowered {
                extra += u64::from(record.delivered.saturating_sub(1));
                // A process that is killed while it gives one back starts from its row, and may send it again.
                let once = record.delivered <= 1 || self.retires && self.kills;
                self.require(once || !keeps_the_session, || format!("G5: message {id} is there twice: {record:?}"));
            }
            if spec.qos == QoS::AtMostOnce {
                // The row of a cached one goes after it is written, and a kill may come between.
                let once = record.delivered <= 1 || plan.kills();
                self.require(once, || format!("message {id} of QoS 0 is there twice"));
            }
        }
        let counted = self.ambiguous;
        self.require(extra <= counted || in_doubt || self.retires && self.kills, || {
            format!("G5: {extra} duplicates at QoS 2, {counted} counted")
        });
    }
}
