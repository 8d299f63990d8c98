//! What one remote was sent, in which order, and what became of each delivery to it.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::bridge::config::WhenFull;
use crate::bridge::counters::BridgeCounters;
use crate::bridge::delivery::{DropReason, Outcome, Progress, Seq, Time, Write};
use crate::bridge::message::QoS;
use crate::bridge::sim::plan::{Plan, Spec, millis};
use crate::bridge::wire::{Packet, Publish};

/// Order of arrival: sequences are given again by a start that finds the cache empty.
type Key = u64;

/// One delivery: a publisher may send its message again, and at QoS 1 that is another one.
#[derive(Debug, Clone)]
struct Delivery {
    id: usize,
    /// In the cache.
    seq: Seq,
    row: bool,
    received_at: Time,
    ended: Option<Ended>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    Delivered,
    Dropped(DropReason),
    Quarantined,
}

/// All that was seen of a message at this remote.
#[derive(Debug, Default, Clone)]
struct Record {
    keys: Vec<Key>,
    /// How often the remote has passed it on.
    delivered: u32,
    /// A whole PUBLISH of it went into a socket.
    transmitted: bool,
    /// Where it was sent at a lower QoS than 2, it may arrive twice.
    lowered: bool,
}

/// What went into one connection.
#[derive(Debug, Default)]
pub(in crate::bridge::sim) struct Tap {
    outstanding: BTreeSet<u16>,
    /// What the CONNACK of this connection said.
    pub(in crate::bridge::sim) receive_maximum: Option<u16>,
}

/// What this process has counted, or should have.
#[derive(Debug, Default)]
struct Counted {
    /// QoS 0 without a row.
    volatile: u64,
    full: u64,
    evicted: u64,
    counts: u64,
}

#[derive(Debug)]
pub(in crate::bridge::sim) struct Account {
    name: String,
    records: Vec<Record>,
    deliveries: BTreeMap<Key, Delivery>,
    keys: BTreeMap<Seq, Key>,
    specs: Vec<Spec>,
    wanted: [bool; 3],
    when_full: [WhenFull; 3],
    limited: bool,
    max_age: Option<Duration>,
    never_up: bool,
    window: u16,
    /// Between two PUBLISHes, and what may be sent in a second.
    rate: Option<f64>,
    sent: VecDeque<Time>,
    limits_packets: bool,
    kills: bool,
    sets_the_clock: bool,
    /// Packet Identifiers may have to be given back.
    retires: bool,
    /// The socket takes at once whatever it is given.
    prompt: bool,
    /// Whether writes are looked at one by one, or their consequences alone.
    strict: bool,
    /// Rows of the cache that hold a Packet Identifier, and whether their PUBREC is committed.
    holders: BTreeMap<u16, (Key, bool)>,
    /// The remote has said that it has no session; their rows still hold identifiers of the one before.
    requeueing: BTreeSet<Key>,
    last_first: [Option<Key>; 3],
    counted: Counted,
    evicted_now: Vec<Key>,
    /// Times that a QoS 2 message was counted as possibly twice there.
    pub(in crate::bridge::sim) ambiguous: u64,
    in_doubt: bool,
    pub(in crate::bridge::sim) violation: Option<String>,
}

pub(in crate::bridge::sim) fn id(payload: &[u8]) -> usize {
    u64::from_be_bytes(payload[..8].try_into().unwrap()) as usize
}

impl Account {
    pub(super) fn new(plan: &Plan, remote: usize, strict: bool) -> Self {
        let own = &plan.remotes[remote];
        Self {
            name: format!("remote {remote}"),
            records: vec![Record::default(); plan.messages.len()],
            deliveries: BTreeMap::new(),
            keys: BTreeMap::new(),
            specs: plan.messages.clone(),
            wanted: own.forwards.map(|forward| forward.is_some()),
            when_full: [0, 1, 2].map(|topic| own.when_full(topic)),
            limited: own.is_limited(),
            max_age: own.limits.max_age,
            never_up: own.never_up,
            window: own.window,
            rate: own.drain.map(|rate| rate.per_second()),
            sent: VecDeque::new(),
            limits_packets: plan.limits_packets(remote),
            kills: plan.kills(),
            sets_the_clock: plan.sets_the_clock(),
            retires: plan.retires(remote),
            prompt: plan.is_prompt(remote),
            strict,
            holders: BTreeMap::new(),
            requeueing: BTreeSet::new(),
            last_first: [None; 3],
            counted: Counted::default(),
            evicted_now: Vec::new(),
            ambiguous: 0,
            in_doubt: false,
            violation: None,
        }
    }

    pub(in crate::bridge::sim) fn violate(&mut self, what: String) {
        let name = &self.name;
        self.violation.get_or_insert_with(|| format!("{what} ({name})"));
    }

    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what());
        }
    }

    pub(in crate::bridge::sim) fn delivered(&mut self, id: usize) {
        self.records[id].delivered += 1;
        let seqs = self.records[id].keys.clone();
        let kept = seqs.iter().any(|seq| !self.is_given_up(*seq));
        // The bytes of one that is forgotten with its cache may still be on their way.
        self.require(seqs.is_empty() || kept || self.records[id].transmitted, || {
            format!("message {id} is delivered, and was dropped")
        });
    }

    fn is_given_up(&self, key: Key) -> bool {
        let given_up = |reason| matches!(reason, DropReason::Evicted | DropReason::Full);
        self.deliveries.get(&key).is_some_and(|it| matches!(it.ended, Some(Ended::Dropped(reason)) if given_up(reason)))
    }

    /// A message has its place in the order of arrival, and a row here or not.
    pub(super) fn stored(&mut self, id: usize, seq: Seq, row: bool, received_at: Time) {
        let (topic, qos) = (self.specs[id].topic, self.specs[id].qos);
        if !self.wanted[topic] {
            return self.require(!row, || format!("message {id} has a row where it does not go"));
        }
        let mut ended = None;
        match (row, qos) {
            (false, QoS::AtMostOnce) => self.counted.volatile += 1,
            (false, _) => {
                self.counted.full += 1;
                ended = Some(Ended::Dropped(DropReason::Full));
                let limited = self.limited;
                self.require(limited, || format!("message {id} is dropped, and there are no limits"));
                let blocks = self.when_full[topic] == WhenFull::Block;
                self.require(!blocks, || format!("message {id} is dropped where its publisher should wait"));
            }
            _ => {}
        }
        let waiting = self.deliveries.values().filter(|delivery| delivery.ended.is_none());
        let last = waiting.map(|delivery| delivery.seq).max();
        self.require(last < Some(seq), || format!("{seq:?} is given after {last:?}"));
        let key = self.deliveries.last_key_value().map_or(0, |(last, _)| last + 1);
        self.records[id].keys.push(key);
        self.keys.insert(seq, key);
        self.deliveries.insert(key, Delivery { id, seq, row, received_at, ended });
    }

    pub(in crate::bridge::sim) fn seqs(&self, publish: &Publish) -> Vec<Seq> {
        let keys = &self.records[id(&publish.message.payload)].keys;
        keys.iter().filter_map(|key| self.deliveries.get(key)).map(|delivery| delivery.seq).collect()
    }

    /// Rows that the cache should have: G7.
    fn rows(&self) -> u64 {
        self.deliveries.values().filter(|delivery| delivery.row && delivery.ended.is_none()).count() as u64
    }

    /// G7, by what the process has counted; `rows` as the cache counts them.
    pub(in crate::bridge::sim) fn balance(&mut self, columns: &BridgeCounters, rows: u64) {
        let (left, right) = columns.balance();
        self.require(left == right, || format!("G7: {left} came, {right} are accounted for"));
        if !self.strict {
            return;
        }
        let live = self.rows();
        self.require(rows == live, || format!("G7: {rows} rows, {live} accounted for"));
        let dropped = |reason| columns.dropped.get(&reason).copied().unwrap_or_default();
        let Counted { volatile, full, evicted, counts } = self.counted;
        self.require(dropped(DropReason::Evicted) == evicted, || format!("G7: {evicted} evicted, not all counted"));
        // Of QoS 0 what did not fit and what found no link is known from the counters alone.
        let gone = dropped(DropReason::Qos0Offline) + dropped(DropReason::Full) - full + counts;
        let (waiting, known) = (columns.queued + columns.in_flight, rows + volatile.saturating_sub(gone));
        self.require(waiting == known, || format!("G7: {waiting} queued and in flight, {known} known"));
    }

    /// Another process counts from the beginning.
    pub(in crate::bridge::sim) fn restarted(&mut self) {
        self.counted = Counted::default();
        // Of what the last commit has evicted nobody knows any more what was free.
        self.evicted_now.clear();
        self.in_doubt |= !self.requeueing.is_empty();
        self.requeueing.clear();
        // What had no row is gone.
        for delivery in self.deliveries.values_mut().filter(|delivery| !delivery.row) {
            delivery.ended = delivery.ended.or(Some(Ended::Dropped(DropReason::Qos0Offline)));
        }
    }

    /// The cache is gone.
    pub(super) fn forget(&mut self) {
        self.deliveries.clear();
        self.holders.clear();
        self.last_first = [None; 3];
        self.records.iter_mut().for_each(|record| record.keys.clear());
    }

    /// A write of the forwarder, or of the writer itself, is committed.
    pub(super) fn committed(&mut self, write: &Write) {
        let Write::Progress { seq, step, .. } = write else {
            if let Write::Count { outcome, .. } = write {
                self.counted.counts += 1;
                self.require(*outcome != Outcome::Dropped(DropReason::Full), || "G2: dropped for no reason".into());
            }
            return;
        };
        let Some(seq) = &self.keys.get(seq).copied() else { return };
        self.requeueing.remove(seq);
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
        let Some(delivery) = self.deliveries.get(seq).cloned() else { return };
        let record = self.records[delivery.id].clone();
        let spec = &self.specs[delivery.id];
        let (ended, allowed) = match *step {
            Progress::Requeued => return,
            Progress::Removed(Outcome::Delivered) if spec.qos == QoS::AtMostOnce || record.lowered => {
                (Ended::Delivered, record.transmitted)
            }
            Progress::Removed(Outcome::Delivered) => (Ended::Delivered, record.delivered > 0),
            Progress::Removed(Outcome::Dropped(DropReason::Expired)) => {
                // At QoS 1 a process does not know what the one before it has sent.
                let expires = spec.expiry.is_some() || self.max_age.is_some();
                let never_sent = !record.transmitted || self.kills || record.keys.len() > 1;
                (Ended::Dropped(DropReason::Expired), expires && never_sent)
            }
            Progress::Removed(Outcome::Dropped(DropReason::Evicted)) => {
                self.counted.evicted += 1;
                self.evicted_now.push(*seq);
                let may = self.limited && self.when_full.contains(&WhenFull::DropOldest);
                let never_sent = !record.transmitted || self.kills || record.keys.len() > 1;
                (Ended::Dropped(DropReason::Evicted), may && never_sent && holder.is_none())
            }
            Progress::Removed(Outcome::Dropped(reason)) => (Ended::Dropped(reason), false),
            _ => (Ended::Quarantined, spec.poison || self.limits_packets && spec.size >= 200),
        };
        if delivery.ended.is_none()
            && let Some(delivery) = self.deliveries.get_mut(seq)
        {
            delivery.ended = Some(ended);
        }
        let evicted = ended == Ended::Dropped(DropReason::Evicted);
        if self.strict || evicted {
            let id = delivery.id;
            self.require(allowed, || format!("G2: message {id} left the cache as {step:?}: {record:?}"));
        }
    }

    /// Of what one transaction has evicted: nothing that the forwarder had, and nothing better or younger than what
    /// stayed. `held` is what the forwarder has, `is_free` says
    /// of a row that it has not had it, and `before` is the first that came with the transaction.
    pub(in crate::bridge::sim) fn evicted(&mut self, before: Seq, held: &BTreeSet<Seq>, is_free: impl Fn(Seq) -> bool) {
        for key in std::mem::take(&mut self.evicted_now) {
            let Some((id, seq)) = self.deliveries.get(&key).map(|delivery| (delivery.id, delivery.seq)) else {
                continue;
            };
            self.require(!held.contains(&seq), || format!("message {id} is evicted in flight"));
            let better = |id: usize| self.specs[id].qos != QoS::AtMostOnce;
            let first = self.deliveries.iter().find(|(other, delivery)| {
                let waits = delivery.row && delivery.ended.is_none() && delivery.seq < before && is_free(delivery.seq);
                waits && (better(delivery.id), **other) < (better(id), key)
            });
            if let Some((_, delivery)) = first {
                let what = format!("message {id} is evicted before {}", delivery.id);
                self.violate(what);
            }
        }
    }

    /// A whole packet went into a socket; `age` is what the process takes for now.
    pub(in crate::bridge::sim) fn transmitted(&mut self, tap: &mut Tap, packet: &Packet, clock: Time, now: Time) {
        match packet {
            Packet::Publish(publish) => {
                self.published(tap, publish, clock);
                self.count_rate(now);
            }
            Packet::Pubrel(ack) if self.strict => {
                // One that is given back keeps its row, as it was, until the PUBCOMP.
                let released = |(_, released): &(Key, bool)| *released || self.retires;
                let committed = self.holders.get(&ack.packet_id).is_none_or(released);
                self.require(committed, || format!("PUBREL {} before its PUBREC is committed", ack.packet_id));
            }
            _ => {}
        }
    }

    /// Never more in any second than the rate, its burst of 50 ms, and what a commit has held back meanwhile.
    fn count_rate(&mut self, now: Time) {
        let Some(rate) = self.rate else { return };
        self.sent.push_back(now);
        while self.sent.front().is_some_and(|sent| now.saturating_sub(*sent) >= Duration::from_secs(1)) {
            self.sent.pop_front();
        }
        let (sent, limit) = (self.sent.len(), rate * 1.15 + 2.0);
        self.require(sent as f64 <= limit, || format!("drain.max_rate: {sent} within a second, {rate} allowed"));
    }

    fn published(&mut self, tap: &mut Tap, publish: &Publish, clock: Time) {
        let (id, packet_id) = (id(&publish.message.payload), publish.packet_id);
        let seqs = self.records[id].keys.clone();
        if publish.qos != QoS::AtMostOnce {
            let new = tap.outstanding.insert(packet_id);
            self.require(new, || format!("Packet Identifier {packet_id} is sent twice on one connection"));
            let limit = tap.receive_maximum.unwrap_or(u16::MAX).min(self.window);
            let unacknowledged = tap.outstanding.len();
            self.require(unacknowledged <= limit.into(), || format!("G4: {unacknowledged} PUBLISHes, {limit} allowed"));
        }
        if self.strict && publish.qos != QoS::AtMostOnce {
            match self.holders.get(&packet_id) {
                Some((holder, _)) if !seqs.contains(holder) => {
                    self.violate(format!("Packet Identifier {packet_id} of {seqs:?} belongs to the row of {holder:?}"));
                }
                None if publish.qos == QoS::ExactlyOnce => {
                    self.violate(format!("PUBLISH {packet_id} of message {id} before its commit"));
                }
                _ => {}
            }
        }
        let given_up = !seqs.is_empty() && seqs.iter().all(|seq| self.is_given_up(*seq));
        self.require(!given_up, || format!("message {id} is sent, and was dropped"));
        if !self.records[id].transmitted {
            self.first_sent(id, &seqs, publish.dup, clock);
        }
        self.records[id].transmitted = true;
        self.records[id].lowered |= publish.qos < self.specs[id].qos;
    }

    fn first_sent(&mut self, id: usize, seqs: &[Key], dup: bool, clock: Time) {
        let topic = self.specs[id].topic;
        let last = self.last_first[topic];
        // Which of several it is cannot be seen.
        let seq = seqs.iter().copied().find(|seq| Some(*seq) > last);
        // One that had been too old is not, where a kill takes back its removal and somebody sets back the clock.
        let ages = self.specs[id].expiry.is_some() || self.max_age.is_some();
        let is_younger = ages && self.kills && self.sets_the_clock;
        self.require(seq.is_some() || is_younger, || format!("G3: message {id} ({seqs:?}) first sent after {last:?}"));
        self.last_first[topic] = seq.or(last);
        // What has left the cache says nothing of the time to a process that starts.
        let waiting =
            seqs.iter().filter_map(|key| self.deliveries.get(key)).filter(|delivery| delivery.ended.is_none());
        let latest = waiting.map(|delivery| delivery.received_at).max();
        let Some(received_at) = latest else { return };
        let expiry = self.specs[id].expiry.map(|secs| Duration::from_secs(secs.into()));
        let limit = expiry.into_iter().chain(self.max_age).min().unwrap_or(Time::MAX);
        let age = clock.saturating_sub(received_at);
        // One that has its Packet Identifier since before a kill may have been sent: it does not expire any more.
        let in_time = !self.prompt || dup || age.saturating_sub(millis(100)) <= limit;
        self.require(in_time, || format!("message {id} was first sent {age:?} after it came, for {limit:?}"));
        self.require(clock >= received_at, || format!("message {id} comes from the future"));
    }

    /// The process hears an answer.
    pub(in crate::bridge::sim) fn heard(&mut self, tap: &mut Tap, packet: &Packet) {
        match packet {
            Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                tap.outstanding.remove(&ack.packet_id);
            }
            Packet::Pubrec(ack) if ack.reason.is_failure() => {
                tap.outstanding.remove(&ack.packet_id);
            }
            Packet::Connack(connack) if !connack.session_present => {
                self.requeueing = self.holders.values().map(|(seq, _)| *seq).collect();
            }
            _ => {}
        }
    }

    /// `judged`: of each message whether it was acknowledged; `None` where nothing can be asked of it.
    pub(super) fn settle(&mut self, plan: &Plan, judged: &[Option<bool>], keeps_the_session: bool, in_doubt: bool) {
        let in_doubt = in_doubt || self.in_doubt;
        let mut extra = 0;
        for (id, record) in self.records.clone().into_iter().enumerate() {
            let Some(acknowledged) = judged[id].filter(|_| self.wanted[self.specs[id].topic]) else { continue };
            let spec = self.specs[id].clone();
            let ends: Vec<_> =
                record.keys.iter().filter_map(|seq| self.deliveries.get(seq)).map(|delivery| delivery.ended).collect();
            let promised = acknowledged && spec.qos != QoS::AtMostOnce && !record.lowered;
            let elsewhere = ends.iter().any(|end| matches!(end, Some(Ended::Dropped(_) | Ended::Quarantined)));
            let waits = self.never_up && ends.contains(&None);
            let there = record.delivered > 0 || elsewhere || waits;
            self.require(!promised || there, || format!("lost: message {id}: {record:?} {ends:?}"));
            let copies = u32::try_from(record.keys.len()).unwrap().max(1);
            if spec.qos == QoS::ExactlyOnce && !record.lowered {
                let repeated = record.delivered.saturating_sub(copies);
                extra += u64::from(repeated);
                // A remote that will not hear of QoS 2 for a while is sent it again, and it is counted.
                let once = repeated == 0 || self.retires;
                self.require(once || !keeps_the_session, || format!("G5: message {id} is there twice: {record:?}"));
            }
            if spec.qos == QoS::AtMostOnce {
                // The row of a cached one goes after it is written, and a kill may come between.
                let once = record.delivered <= 1 || plan.kills();
                self.require(once, || format!("message {id} of QoS 0 is there twice"));
            }
        }
        let counted = self.ambiguous;
        // A process that is killed while it gives one back starts from its row, and may send it again.
        self.require(extra <= counted || in_doubt || self.retires && self.kills, || {
            format!("G5: {extra} duplicates at QoS 2, {counted} counted")
        });
    }
}
