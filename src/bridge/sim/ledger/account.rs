//! What one remote was sent, in which order, and what became of each delivery to it.
mod steps;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::bridge::config::WhenFull;
use crate::bridge::counters::BridgeCounters;
use crate::bridge::delivery::{DropReason, Outcome, Progress, Seq, Time, Write};
use crate::bridge::message::QoS;
use crate::bridge::sim::plan::{Plan, Spec, millis};
use crate::bridge::wire::{Packet, Publish, Version};

use super::session::Session;

/// On 3.1.1 so many closes with the same message in flight are a refusal: no client can know better.
const CLOSES_BEFORE_QUARANTINE: u32 = 6;

/// Order of arrival: sequences are given again by a start that finds the cache empty.
type Key = u64;

/// One delivery: a publisher may send its message again, and at QoS 1 that is another one.
#[derive(Debug, Clone)]
struct Delivery {
    id: usize,
    /// In the cache.
    seq: Seq,
    place: Place,
    received_at: Time,
    /// At QoS 2: it has or had its Packet Identifier; it may have been sent, and does not expire any more.
    held: bool,
    ended: Option<Ended>,
}

/// Where a delivery waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Row,
    /// Not yet in the cache; it is promised to nobody.
    Deferred,
    /// Never in the cache, or nowhere.
    Memory,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    Delivered,
    Dropped(DropReason),
    Quarantined,
    /// It was not committed, and its process is gone.
    Forgotten,
}

/// All that was seen of a message at this remote.
#[derive(Debug, Default, Clone)]
struct Record {
    keys: Vec<Key>,
    /// How often the remote has passed it on.
    delivered: u32,
    /// A whole PUBLISH of it went into a socket.
    transmitted: bool,
    /// PUBACK with success was heard for it.
    acknowledged: bool,
    /// Times that a remote of 3.1.1 has closed in order when it was sent and not acknowledged: it can refuse no other way.
    closes: u32,
    /// Where it was sent at a lower QoS than 2, it may arrive twice.
    lowered: bool,
}

/// What went into one connection.
#[derive(Debug, Default)]
pub(in crate::bridge::sim) struct Tap {
    /// Messages by Packet Identifier.
    outstanding: BTreeMap<u16, usize>,
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
    /// Those of them that are deliveries which were deferred.
    absorbed: u64,
}

#[derive(Debug)]
pub(in crate::bridge::sim) struct Account {
    name: String,
    version: Version,
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
    /// And so does the disk.
    commits_promptly: bool,
    /// What the process takes for now, at its last commit.
    pub(super) clock: Time,
    /// Whether writes are looked at one by one, or their consequences alone.
    strict: bool,
    /// Rows of the cache that hold a Packet Identifier, and whether their PUBREC is committed.
    holders: BTreeMap<u16, (Key, bool)>,
    pub(super) session: Session,
    last_first: [Option<Key>; 3],
    counted: Counted,
    evicted_now: Vec<Key>,
    /// What was deferred and is a row since the last transaction.
    new_rows: BTreeSet<Seq>,
    /// Times that a QoS 2 message was counted as possibly twice there.
    pub(in crate::bridge::sim) ambiguous: u64,
    /// Those that could not be counted: in flight in a session that is gone, and another is taken for it.
    in_doubt: u64,
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
            version: own.version,
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
            commits_promptly: plan.is_prompt(remote) && !plan.stalls_the_disk(),
            clock: Time::ZERO,
            strict,
            holders: BTreeMap::new(),
            session: Session::default(),
            last_first: [None; 3],
            counted: Counted::default(),
            evicted_now: Vec::new(),
            new_rows: BTreeSet::new(),
            ambiguous: 0,
            in_doubt: 0,
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
    pub(super) fn stored(&mut self, id: usize, seq: Seq, place: Place, received_at: Time) {
        let (topic, qos) = (self.specs[id].topic, self.specs[id].qos);
        if !self.wanted[topic] {
            return self.require(place == Place::Memory, || format!("message {id} has a row where it does not go"));
        }
        let mut ended = None;
        match (place, qos) {
            (Place::Memory, QoS::AtMostOnce) => self.counted.volatile += 1,
            (Place::Memory, _) => {
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
        self.deliveries.insert(key, Delivery { id, seq, place, received_at, held: false, ended });
    }

    /// What was deferred is committed, as far as this remote was not done with it.
    pub(super) fn became_row(&mut self, seq: Seq) {
        let delivery = self.keys.get(&seq).and_then(|key| self.deliveries.get_mut(key));
        if let Some(delivery) = delivery.filter(|it| it.place == Place::Deferred && it.ended.is_none()) {
            delivery.place = Place::Row;
            self.new_rows.insert(seq);
        }
    }

    /// One that was deferred by a process that is gone. Nothing that came after it may have been stored meanwhile, unless
    /// the remote may have heard of it.
    pub(super) fn comes_again(&mut self, id: usize) {
        let (spec, record) = (&self.specs[id], &self.records[id]);
        let behind = |it: &&Delivery| {
            let of = &self.specs[it.id];
            it.place == Place::Row && it.id > id && (of.publisher, of.topic) == (spec.publisher, spec.topic)
        };
        let behind = self.deliveries.values().find(behind).map(|it| it.id).filter(|_| !record.transmitted);
        self.require(behind.is_none(), || format!("G3: message {id} comes again and is stored after {behind:?}"));
    }

    /// The remote leg is done with a delivery that was deferred.
    pub(super) fn absorbed(&mut self, seq: Seq, outcome: Outcome) {
        self.counted.absorbed += 1;
        self.step(seq, Progress::Removed(outcome));
    }

    /// How long it may wait before it is sent.
    fn limit(&self, id: usize) -> Time {
        let expiry = self.specs[id].expiry.map(|secs| Duration::from_secs(secs.into()));
        expiry.into_iter().chain(self.max_age).min().unwrap_or(Time::MAX)
    }

    fn is_in_time(&self, id: usize, received_at: Time, clock: Time) -> bool {
        clock.saturating_sub(received_at).saturating_sub(millis(100)) <= self.limit(id)
    }

    /// Nothing is left to be done for the message here, as far as the remote has said so, or a drop is recorded.
    pub(super) fn is_done(&self, id: usize) -> bool {
        let (record, spec) = (&self.records[id], &self.specs[id]);
        let has_it = record.acknowledged || record.transmitted && record.lowered;
        let ends = || record.keys.iter().filter_map(|key| self.deliveries.get(key)).map(|delivery| delivery.ended);
        !self.wanted[spec.topic] || has_it || ends().any(|end| matches!(end, Some(Ended::Dropped(_))))
    }

    pub(in crate::bridge::sim) fn seqs(&self, publish: &Publish) -> Vec<Seq> {
        let keys = &self.records[id(&publish.message.payload)].keys;
        keys.iter().filter_map(|key| self.deliveries.get(key)).map(|delivery| delivery.seq).collect()
    }

    /// Rows that the cache should have: G7.
    fn rows(&self) -> u64 {
        self.waiting(Place::Row)
    }

    fn waiting(&self, place: Place) -> u64 {
        self.deliveries.values().filter(|delivery| delivery.place == place && delivery.ended.is_none()).count() as u64
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
        let Counted { volatile, full, evicted, counts, absorbed } = self.counted;
        self.require(dropped(DropReason::Evicted) == evicted, || format!("G7: {evicted} evicted, not all counted"));
        // Of QoS 0 what did not fit and what found no link is known from the counters alone.
        let gone = dropped(DropReason::Qos0Offline) + dropped(DropReason::Full) - full + counts - absorbed;
        let known = rows + self.waiting(Place::Deferred) + volatile.saturating_sub(gone);
        let waiting = columns.queued + columns.in_flight;
        self.require(waiting == known, || format!("G7: {waiting} queued and in flight, {known} known"));
    }

    /// Another process counts from the beginning.
    pub(in crate::bridge::sim) fn restarted(&mut self) {
        self.counted = Counted::default();
        // Of what the last commit has evicted nobody knows any more what was free.
        self.evicted_now.clear();
        self.session.restarted();
        // What had no row is gone.
        for delivery in self.deliveries.values_mut().filter(|delivery| delivery.ended.is_none()) {
            delivery.ended = match delivery.place {
                Place::Row => None,
                Place::Deferred => Some(Ended::Forgotten),
                Place::Memory => Some(Ended::Dropped(DropReason::Qos0Offline)),
            };
        }
    }

    /// The cache is gone.
    pub(super) fn forget(&mut self) {
        self.deliveries.clear();
        self.keys.clear();
        self.new_rows.clear();
        self.holders.clear();
        self.session = self.session.with_a_fresh_cache();
        self.last_first = [None; 3];
        self.records.iter_mut().for_each(|record| record.keys.clear());
    }

    /// A message of the remote that may have been taken for another.
    pub(in crate::bridge::sim) fn is_excused(&self, inbound: usize) -> bool {
        self.session.excused.contains(&inbound)
    }

    /// `judged`: of each message whether it was acknowledged; `None` where nothing can be asked of it.
    pub(super) fn settle(&mut self, plan: &Plan, judged: &[Option<bool>], keeps_the_session: bool) {
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
        let counted = self.ambiguous + self.in_doubt;
        // A process that is killed while it gives one back starts from its row, and may send it again.
        self.require(extra <= counted || self.retires && self.kills, || {
            format!("G5: {extra} duplicates at QoS 2, {counted} counted or in doubt")
        });
    }
}
