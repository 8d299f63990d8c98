//! `durability: deferred`: which messages need not be committed yet, and when they must be.
//!
//! A message that every remote it goes to is about to take waits here instead of in the cache, and its publisher waits
//! with it: it is acknowledged when all of them have it, or when it has been committed (G1). So whatever becomes of the
//! process, what is here was promised to nobody.
//!
//! # Order
//! The rows of a bridge appear in order of arrival: what is committed takes along whatever waits before it for the same
//! bridge. Nothing that reads rows by their sequence, page by page, can miss one.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::admission::{Limits, Place, Queue};
use crate::bridge::delivery::{BridgeId, Seq, Store, Time, Write};
use crate::bridge::message::QoS;

/// Messages that may wait here.
const MAX_MESSAGES: usize = 4096;
/// Their bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Names a publisher's connection.
pub type Line = u64;

/// A message that waits.
#[derive(Debug)]
pub struct Deferred {
    /// Its [`Write::Store`], with the deliveries that are not done with.
    pub write: Write,
    /// Whose answer it is; `None` once that has been given.
    pub line: Option<Line>,
    until: Time,
}

impl Deferred {
    fn store(&self) -> Option<&Store> {
        match &self.write {
            Write::Store(store) => Some(store),
            _ => None,
        }
    }

    /// The bridges that are not done with it.
    pub fn bridges(&self) -> impl Iterator<Item = BridgeId> {
        self.store().into_iter().flat_map(|store| &store.deliveries).map(|delivery| delivery.bridge)
    }

    fn size(&self) -> u64 {
        self.store().map_or(0, |store| store.message.size() as u64)
    }
}

/// What becomes of a delivery that a remote leg is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It does not wait here.
    Unknown,
    /// Other bridges are not done with the message.
    Partial,
    /// The message was never written, and need not be; its publisher can be answered.
    Complete(Option<Line>),
}

/// Whether a delivery that is to be a row may wait for its remote instead. A remote that cannot take it now is no reason
/// to wait. Half of the queue's room is kept for rows, which alone can be evicted.
pub fn may_wait(limits: &Limits, place: Place, qos: QoS, queue: Queue) -> bool {
    let roomy =
        queue.messages.saturating_mul(2) < limits.max_messages && queue.bytes.saturating_mul(2) < limits.max_bytes;
    place == Place::Row && qos == QoS::AtLeastOnce && queue.takes_volatile && roomy
}

/// The messages that are not committed yet.
#[derive(Debug, Default)]
pub struct Deferral {
    /// `None`: `durability: immediate`, and nothing ever waits.
    commit_after: Option<Duration>,
    waiting: BTreeMap<Seq, Deferred>,
    /// Those of them that the next transaction takes.
    due: BTreeSet<Seq>,
    /// Messages and bytes by bridge.
    used: HashMap<BridgeId, (u64, u64)>,
    bytes: u64,
}

impl Deferral {
    /// Messages wait for as long at most.
    pub fn new(commit_after: Duration) -> Self {
        Self { commit_after: Some(commit_after), ..Self::default() }
    }

    /// Whether messages ever wait here.
    pub fn is_on(&self) -> bool {
        self.commit_after.is_some()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there is something that the next transaction must take.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What waits for a bridge, in messages and bytes: limits hold for rows and for these together.
    pub fn used(&self, bridge: BridgeId) -> (u64, u64) {
        self.used.get(&bridge).copied().unwrap_or_default()
    }

    /// Whether this message may wait if its deliveries may. QoS 2 never does: what its publisher is told must be
    /// remembered.
    pub fn takes(&self, store: &Store) -> bool {
        self.is_on()
            && store.message.qos != QoS::ExactlyOnce
            && store.received_id.is_none()
            && self.waiting.len() < MAX_MESSAGES
            && self.bytes.saturating_add(store.message.size() as u64) <= MAX_BYTES
    }

    /// A message waits from now on; until when it is to be committed.
    pub fn hold(&mut self, store: Box<Store>, line: Line, now: Time) -> Time {
        let until = now + self.commit_after.unwrap_or_default();
        let (seq, size) = (store.seq, store.message.size() as u64);
        for delivery in &store.deliveries {
            let used = self.used.entry(delivery.bridge).or_default();
            *used = (used.0 + 1, used.1 + size);
        }
        self.bytes += size;
        self.waiting.insert(seq, Deferred { write: Write::Store(store), line: Some(line), until });
        until
    }

    /// A remote leg is done with a delivery.
    pub fn handle_removed(&mut self, bridge: BridgeId, seq: Seq) -> Removal {
        let Some(deferred) = self.waiting.get_mut(&seq) else { return Removal::Unknown };
        let size = deferred.size();
        let Write::Store(store) = &mut deferred.write else { return Removal::Unknown };
        let before = store.deliveries.len();
        store.deliveries.retain(|delivery| delivery.bridge != bridge);
        let after = store.deliveries.len();
        if after == before {
            return Removal::Unknown;
        }
        free(&mut self.used, bridge, size);
        if after > 0 {
            return Removal::Partial;
        }
        self.bytes -= size;
        self.due.remove(&seq);
        Removal::Complete(self.waiting.remove(&seq).and_then(|deferred| deferred.line))
    }

    /// A remote leg reports a step that only a row can make, such as quarantine: it must become one.
    pub fn handle_step(&mut self, seq: Seq) {
        if self.waiting.contains_key(&seq) {
            self.due.insert(seq);
        }
    }

    /// The link to a remote is down: what it has not acknowledged it will not acknowledge soon.
    pub fn handle_link_lost(&mut self, bridge: BridgeId) {
        self.make_due(|deferred| deferred.bridges().any(|other| other == bridge));
    }

    /// Something of this connection is committed, or the connection ends: what waits before it goes along, so that the
    /// answers, which keep their order, need not wait.
    pub fn handle_wanted(&mut self, line: Line) {
        self.make_due(|deferred| deferred.line == Some(line));
    }

    /// The process ends.
    pub fn handle_end(&mut self) {
        self.make_due(|_| true);
    }

    /// Time has passed. Where one must be committed, whatever is half as old goes along: a slow link costs two commits
    /// in this time, and not one a message.
    pub fn handle_time(&mut self, now: Time) {
        let Some(half) = self.commit_after.map(|after| after / 2) else { return };
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.make_due(|deferred| deferred.until <= now + half);
        }
    }

    fn make_due(&mut self, wanted: impl Fn(&Deferred) -> bool) {
        self.due.extend(self.waiting.iter().filter(|(_, deferred)| wanted(deferred)).map(|(seq, _)| *seq));
    }

    /// Completes what the next transaction takes, which also stores younger messages for these bridges: see *Order*.
    pub fn keep_order(&mut self, stored: &[BridgeId]) {
        if self.waiting.is_empty() || (self.due.is_empty() && stored.is_empty()) {
            return;
        }
        let mut bridges: BTreeSet<BridgeId> = stored.iter().copied().collect();
        for (seq, deferred) in self.waiting.iter().rev() {
            if self.due.contains(seq) || deferred.bridges().any(|bridge| bridges.contains(&bridge)) {
                self.due.insert(*seq);
                bridges.extend(deferred.bridges());
            }
        }
    }

    /// When [`handle_time`](Self::handle_time) is to be called; what has been given up stays due and needs no clock.
    pub fn deadline(&self) -> Option<Time> {
        // All wait for the same time, so the first is the first to be due.
        self.waiting.values().next().map(|deferred| deferred.until)
    }

    /// What the next transaction takes, in order of arrival.
    pub fn due(&self) -> impl Iterator<Item = &Write> {
        self.due.iter().filter_map(|seq| self.waiting.get(seq)).map(|deferred| &deferred.write)
    }

    /// That transaction has been made: they are rows now, and their publishers can be answered.
    pub fn handle_committed(&mut self) -> Vec<Deferred> {
        let due = std::mem::take(&mut self.due);
        due.into_iter().filter_map(|seq| self.remove(seq)).collect()
    }

    /// One of them can never be committed.
    pub fn remove(&mut self, seq: Seq) -> Option<Deferred> {
        self.due.remove(&seq);
        let deferred = self.waiting.remove(&seq)?;
        self.bytes -= deferred.size();
        for bridge in deferred.bridges() {
            free(&mut self.used, bridge, deferred.size());
        }
        Some(deferred)
    }

    /// Whose acknowledgements the failing disk has held since before `limit`, to be refused now. What they have
    /// published still waits to be committed, or for its remotes: it is in order where it is, and promised to nobody.
    pub fn refuse_before(&mut self, limit: Time) -> Vec<(Line, Seq)> {
        let mut refused = Vec::new();
        for seq in &self.due {
            if let Some(deferred) = self.waiting.get_mut(seq)
                && deferred.store().is_some_and(|store| store.received_at <= limit)
                && let Some(line) = deferred.line.take()
            {
                refused.push((line, *seq));
            }
        }
        refused
    }
}

#[cfg(test)]
impl Deferral {
    /// What waits, in order of arrival.
    pub fn stores(&self) -> impl Iterator<Item = &Store> {
        self.waiting.values().filter_map(Deferred::store)
    }

    /// Takes away whose answer a message is, so that somebody gives it too early.
    pub fn take_line(&mut self, seq: Seq) -> Option<Line> {
        self.waiting.get_mut(&seq).and_then(|deferred| deferred.line.take())
    }
}

fn free(used: &mut HashMap<BridgeId, (u64, u64)>, bridge: BridgeId, size: u64) {
    if let Some(used) = used.get_mut(&bridge) {
        *used = (used.0.saturating_sub(1), used.1.saturating_sub(size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::delivery::{NewDelivery, Origin};
    use crate::bridge::message::Message;
    use std::sync::Arc;

    const ONE: BridgeId = BridgeId(1);
    const TWO: BridgeId = BridgeId(2);
    const AFTER: Duration = Duration::from_millis(200);

    fn store(seq: i64, bridges: &[BridgeId]) -> Box<Store> {
        let message = Arc::new(Message::new("t", "12345", QoS::AtLeastOnce));
        let to = |bridge: &BridgeId| {
            let (topic, qos) = (message.topic.clone(), message.qos);
            NewDelivery { bridge: *bridge, topic, qos, retain: false, when_full: None, identifiers: None }
        };
        let deliveries = bridges.iter().map(to).collect();
        Box::new(Store {
            seq: Seq(seq),
            message,
            received_at: Time::ZERO,
            deliveries,
            received_id: None,
            publisher: None,
            retained: false,
        })
    }

    fn deferral(stores: &[(i64, &[BridgeId])]) -> Deferral {
        let mut deferral = Deferral::new(AFTER);
        for (seq, bridges) in stores {
            deferral.hold(store(*seq, bridges), 7, Time::ZERO);
        }
        deferral
    }

    fn due(deferral: &Deferral) -> Vec<(i64, usize)> {
        let store = |write: &Write| match write {
            Write::Store(store) => (store.seq.0, store.deliveries.len()),
            other => panic!("{other:?}"),
        };
        deferral.due().map(store).collect()
    }

    #[test]
    fn qos_2_never_waits_nor_what_its_remote_cannot_take_nor_what_fills_the_queue() {
        let on = Deferral::new(AFTER);
        assert!(on.takes(&store(1, &[ONE])));
        assert!(!Deferral::default().takes(&store(1, &[ONE])), "durability: immediate");
        let mut exactly_once = store(1, &[ONE]);
        exactly_once.message = Arc::new(Message::new("t", "x", QoS::ExactlyOnce));
        assert!(!on.takes(&exactly_once));
        let mut recorded = store(1, &[ONE]);
        recorded.received_id = Some((Origin::Local("c".into()), 1));
        assert!(!on.takes(&recorded));
        let limits = Limits { max_messages: 10, max_bytes: 100, ..Limits::NONE };
        let queue = Queue { messages: 4, bytes: 49, takes_volatile: true };
        assert!(may_wait(&limits, Place::Row, QoS::AtLeastOnce, queue));
        assert!(!may_wait(&limits, Place::Row, QoS::ExactlyOnce, queue), "the forward makes it QoS 2");
        assert!(!may_wait(&limits, Place::Row, QoS::AtMostOnce, queue), "QoS 0 is a row only while its link is down");
        assert!(!may_wait(&limits, Place::Blocked, QoS::AtLeastOnce, queue));
        for full in
            [Queue { takes_volatile: false, ..queue }, Queue { messages: 5, ..queue }, Queue { bytes: 50, ..queue }]
        {
            assert!(!may_wait(&limits, Place::Row, QoS::AtLeastOnce, full), "{full:?}");
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut deferral = Deferral::new(AFTER);
        let mut seq = 0;
        while deferral.takes(&store(seq, &[ONE])) {
            deferral.hold(store(seq, &[ONE]), 1, Time::ZERO);
            seq += 1;
        }
        assert_eq!(deferral.len(), MAX_MESSAGES);
        let mut large = Deferral::new(AFTER);
        let mut one = store(1, &[ONE]);
        one.message = Arc::new(Message::new("t", vec![0; MAX_BYTES as usize - 10], QoS::AtLeastOnce));
        assert!(large.takes(&one));
        large.hold(one, 1, Time::ZERO);
        assert!(large.takes(&store(2, &[ONE])));
        large.hold(store(2, &[ONE]), 1, Time::ZERO);
        assert!(!large.takes(&store(3, &[ONE])));
    }

    #[test]
    fn what_every_remote_has_is_never_written_and_what_one_has_only_for_the_other() {
        let mut deferral = deferral(&[(1, &[ONE, TWO]), (2, &[ONE])]);
        assert_eq!((deferral.used(ONE), deferral.used(TWO)), ((2, 12), (1, 6)));
        assert_eq!(deferral.handle_removed(ONE, Seq(1)), Removal::Partial);
        assert_eq!(deferral.handle_removed(ONE, Seq(1)), Removal::Unknown, "once");
        assert_eq!(deferral.handle_removed(ONE, Seq(2)), Removal::Complete(Some(7)));
        deferral.handle_time(AFTER);
        assert_eq!(due(&deferral), [(1, 1)]);
        assert_eq!(deferral.handle_removed(TWO, Seq(1)), Removal::Complete(Some(7)), "due, and not committed yet");
        assert!(!deferral.has_due() && deferral.is_empty() && deferral.bytes == 0);
        assert_eq!((deferral.used(ONE), deferral.used(TWO)), ((0, 0), (0, 0)));
        assert_eq!(deferral.handle_removed(ONE, Seq(9)), Removal::Unknown, "a row");
    }

    #[test]
    fn what_is_old_enough_is_due_together_with_what_is_half_as_old() {
        let mut deferral = Deferral::new(AFTER);
        assert_eq!(deferral.deadline(), None);
        for (seq, at) in [(1, 0), (2, 100), (3, 101)] {
            deferral.hold(store(seq, &[ONE]), 1, Duration::from_millis(at));
        }
        assert_eq!(deferral.deadline(), Some(AFTER));
        deferral.handle_time(AFTER - Duration::from_millis(1));
        assert!(!deferral.has_due());
        deferral.handle_time(AFTER);
        assert_eq!(due(&deferral), [(1, 1), (2, 1)]);
        let committed = deferral.handle_committed();
        assert_eq!(committed.iter().filter(|deferred| deferred.line == Some(1)).count(), 2);
        assert_eq!((deferral.len(), deferral.used(ONE).0), (1, 1));
        assert_eq!(deferral.deadline(), Some(Duration::from_millis(301)));
    }

    #[test]
    fn a_lost_link_a_step_and_the_end_of_a_connection_make_due_what_they_concern() {
        let mut link = deferral(&[(1, &[ONE]), (2, &[TWO]), (3, &[ONE, TWO])]);
        link.handle_link_lost(TWO);
        assert_eq!(due(&link), [(2, 1), (3, 2)]);
        let mut step = deferral(&[(1, &[ONE]), (2, &[ONE])]);
        step.handle_step(Seq(2));
        step.handle_step(Seq(9));
        assert_eq!(due(&step), [(2, 1)]);
        let mut line = deferral(&[(1, &[ONE])]);
        line.hold(store(2, &[ONE]), 8, Time::ZERO);
        line.handle_wanted(8);
        assert_eq!(due(&line), [(2, 1)]);
        line.handle_end();
        assert_eq!(due(&line), [(1, 1), (2, 1)]);
    }

    #[test]
    fn rows_of_a_bridge_appear_in_order() {
        let three = BridgeId(3);
        let stores: [(i64, &[BridgeId]); 5] =
            [(1, &[three]), (2, &[TWO]), (3, &[ONE, TWO]), (4, &[ONE]), (5, &[three])];
        let mut stored = deferral(&stores);
        stored.keep_order(&[ONE]);
        assert_eq!(due(&stored), [(2, 1), (3, 2), (4, 1)], "3 takes 2 along; a third bridge is nobody's business");
        let mut step = deferral(&stores);
        step.handle_step(Seq(3));
        step.keep_order(&[]);
        assert_eq!(due(&step), [(2, 1), (3, 2)], "younger ones wait on");
        let mut nothing = deferral(&stores);
        nothing.keep_order(&[]);
        assert!(!nothing.has_due());
    }

    #[test]
    fn a_failing_disk_refuses_once_and_what_was_refused_stays() {
        let mut deferral = deferral(&[(1, &[ONE]), (2, &[ONE])]);
        deferral.handle_step(Seq(1));
        assert_eq!(deferral.refuse_before(Time::ZERO), [(7, Seq(1))]);
        assert_eq!(deferral.refuse_before(Time::ZERO), []);
        assert_eq!((deferral.len(), due(&deferral)), (2, vec![(1, 1)]));
        assert_eq!(deferral.handle_removed(ONE, Seq(1)), Removal::Complete(None));
    }
}
