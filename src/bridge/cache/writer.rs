//! The one thread that owns the cache: whatever has queued up is one transaction, so the next batch fills while this
//! one is committed, and no timer is needed.
mod answer;
mod blocked;
mod chores;
mod deferred;
mod eviction;
mod failing;
mod lines;
#[cfg(test)]
#[allow(missing_docs)] // For tests alone.
pub mod stepped;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, warn};

pub use answer::Answer;
use blocked::Blocked;
use eviction::Evictions;
use lines::Lines;

use super::{Applied, Cache, CacheError, Usage};
use crate::bridge::clock::Clock;
use crate::bridge::config::WhenFull;
use crate::bridge::core::admission::{self, Limits, Place, Queue};
use crate::bridge::core::deferral::{self, Deferral};
use crate::bridge::core::drop_log::DropLog;
use crate::bridge::core::eviction::Evictor;
use crate::bridge::core::ring::Ring;
use crate::bridge::core::session::{self, Opened};
use crate::bridge::counters::{Counters, Shared};
use crate::bridge::crash;
use crate::bridge::delivery::{BridgeId, Delivery, DropReason, Kept, NewDelivery, Progress, Seq, Store, Write};
use crate::bridge::wire::ReasonCode;

/// Requests that may wait; a sender waits for room, which slows publishers down.
const WAITING_REQUESTS: usize = 1024;
/// Between attempts while the disk fails.
const RETRY: Duration = Duration::from_millis(100);

/// What a batch will change, once it is committed.
#[derive(Debug, Default)]
struct Pending {
    /// By how many messages and bytes each queue grows.
    grown: HashMap<BridgeId, (i64, i64)>,
    evictions: Evictions,
    /// Bridges of messages that were deferred and are rows now.
    touched: Vec<BridgeId>,
}

impl Pending {
    fn grow(&mut self, bridge: BridgeId, messages: i64, bytes: u64) {
        let grown = self.grown.entry(bridge).or_default();
        *grown = (grown.0 + messages, grown.1 + messages.signum() * i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// What became of one write: applied, or refused with a Reason Code.
pub type Written = Result<Applied, ReasonCode>;

/// What the writer is asked for.
#[derive(Debug)]
pub enum Request {
    /// Commit these in this order, together unless one has to wait for room. Stores are admitted first; the answers, one
    /// or more, say for each write in turn what became of it.
    Write {
        /// In order.
        writes: Vec<Write>,
        /// Answered after the commit.
        answer: Answer,
        /// Whether stores may wait for room (`when_full: block`; otherwise they are refused then) or for their remotes
        /// (`durability: deferred`), and what is asked for after them with the same answer behind them.
        may_wait: bool,
    },
    /// Whatever waits for room with this answer is refused, and whatever waits for a remote is committed.
    Release {
        /// As in [`Request::Write`].
        answer: Answer,
    },
    /// The link of a bridge is down: nothing waits for its remote any more.
    LinkLost {
        /// Which bridge.
        bridge: BridgeId,
    },
    /// Some time has passed: do what nobody asks for.
    Chores,
    /// Open a local session.
    Open {
        /// Client Identifier.
        client_id: Arc<str>,
        /// Clean Start.
        clean_start: bool,
        /// Session Expiry Interval in seconds.
        expiry: u32,
        /// Answered after the commit.
        answer: oneshot::Sender<Result<Opened, ReasonCode>>,
    },
    /// Refill a bridge's ring with rows after a sequence.
    Page {
        /// Of which bridge.
        bridge: BridgeId,
        /// After which.
        after: Seq,
        /// At most so many messages.
        messages: usize,
        /// No further once so many bytes are read.
        bytes: usize,
    },
}

/// A bridge's ring, shared by the writer, which fills it, and the remote leg, which takes from it.
#[derive(Debug, Clone)]
pub struct SharedRing {
    ring: Arc<Mutex<Ring>>,
    filled: Arc<Notify>,
}

impl SharedRing {
    /// Shares a ring.
    pub fn new(ring: Ring) -> Self {
        Self { ring: Arc::new(Mutex::new(ring)), filled: Arc::new(Notify::new()) }
    }

    /// Locks it.
    pub fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has been put in.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}

/// What the writer needs to know of a bridge.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Its limits.
    pub limits: Limits,
    /// Its ring.
    pub ring: SharedRing,
}

/// The writer's side of the requests, and what it works with.
pub struct Writer<C> {
    cache: C,
    requests: mpsc::Receiver<Request>,
    outlets: HashMap<BridgeId, Outlet>,
    counters: Shared,
    clock: Clock,
    next: Seq,
    failing: bool,
    /// Found to be corrupted: what is written there now cannot be relied on, so nothing is acknowledged any more.
    broken: Option<String>,
    /// Came while the disk failed: at most one page of each bridge.
    postponed: Vec<Request>,
    blocked: Blocked,
    /// Something has left a queue since those who wait for room were looked at.
    freed: bool,
    evictors: HashMap<BridgeId, Evictor>,
    /// Up to where nothing is left that could be too old.
    swept: HashMap<BridgeId, Seq>,
    chores_due: bool,
    drop_log: DropLog,
    deferral: Deferral,
    lines: Lines,
}

/// A store that has been admitted: where its deliveries go besides the cache.
#[derive(Default)]
struct Admitted {
    /// It is not committed yet; its remotes may take it first.
    deferred: bool,
    memory: Vec<NewDelivery>,
    dropped: Vec<(NewDelivery, DropReason)>,
}

/// One request's part of a batch.
struct Part {
    writes: Vec<(Write, Option<Admitted>)>,
    /// Of each write: refused before it was tried, or not.
    refused: Vec<Option<ReasonCode>>,
    answer: Answer,
}

impl<C: Cache + 'static> Writer<C> {
    /// A writer for a cache, and where to send it requests.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    pub fn new(
        mut cache: C,
        outlets: HashMap<BridgeId, Outlet>,
        counters: Shared,
        clock: Clock,
    ) -> Result<(Self, mpsc::Sender<Request>), CacheError> {
        let (latest, _) = cache.latest()?;
        let (sender, requests) = mpsc::channel(WAITING_REQUESTS);
        let writer = Self {
            cache,
            requests,
            outlets,
            counters,
            clock,
            next: Seq(latest.0 + 1),
            failing: false,
            broken: None,
            postponed: Vec::new(),
            blocked: Blocked::default(),
            freed: false,
            evictors: HashMap::new(),
            swept: HashMap::new(),
            chores_due: false,
            drop_log: DropLog::default(),
            deferral: Deferral::default(),
            lines: Lines::default(),
        };
        Ok((writer, sender))
    }

    /// With `durability: deferred`.
    pub fn deferring(mut self, commit_after: Duration) -> Self {
        self.deferral = Deferral::new(commit_after);
        self
    }

    /// Works until every sender is gone, then closes the cache. Blocks its thread.
    pub fn run(mut self) {
        let mut requests = Vec::with_capacity(WAITING_REQUESTS);
        while self.receive(&mut requests) {
            self.work(requests.drain(..));
        }
        self.deferral.handle_end();
        self.commit_due();
        if let Err(error) = self.cache.close() {
            error!("closing the cache: {error}");
        }
    }

    /// Does what has queued up, in its order.
    fn work(&mut self, requests: impl Iterator<Item = Request>) {
        let mut parts = Vec::new();
        for request in requests {
            match request {
                Request::Write { writes, answer, may_wait } => parts.push((writes, answer, may_wait)),
                // These read what stands before them.
                Request::Open { client_id, clean_start, expiry, answer } => {
                    self.write(std::mem::take(&mut parts));
                    let opened = self.open(&client_id, clean_start, expiry);
                    // A client that has gone meanwhile needs no answer.
                    let _ = answer.send(opened);
                }
                Request::Page { bridge, after, messages, bytes } => {
                    self.write(std::mem::take(&mut parts));
                    self.page(bridge, after, messages, bytes);
                }
                Request::Release { answer } => {
                    self.write(std::mem::take(&mut parts));
                    self.end_of_line(&answer);
                    if let Some(part) = self.release(&answer) {
                        self.commit(vec![part], Pending::default());
                        self.count_blocked();
                    }
                    self.commit_due();
                }
                Request::LinkLost { bridge } => {
                    self.write(std::mem::take(&mut parts));
                    self.deferral.handle_link_lost(bridge);
                    self.commit_due();
                }
                Request::Chores => self.chores_due = true,
            }
        }
        self.write(parts);
        self.do_chores();
    }

    /// Waits for requests, or until something that was deferred must be committed; false where nobody can ask for
    /// anything any more. While the cache fails it is tried meanwhile: a publisher that was refused may never come
    /// back, and then nothing else would show that the disk has room again.
    fn receive(&mut self, requests: &mut Vec<Request>) -> bool {
        while self.failing && self.requests.is_empty() && !self.requests.is_closed() && !self.is_commit_overdue() {
            std::thread::sleep(RETRY);
            self.probe();
        }
        match self.deferral.deadline() {
            None => self.requests.blocking_recv_many(requests, WAITING_REQUESTS) > 0,
            Some(deadline) => {
                let patience = deadline.saturating_sub(self.clock.now());
                wait::receive_within(&mut self.requests, requests, WAITING_REQUESTS, patience) != Some(0)
            }
        }
    }

    fn write(&mut self, requests: Vec<(Vec<Write>, Answer, bool)>) {
        if requests.is_empty() {
            return self.commit_due();
        }
        let (parts, pending) = self.prepare(requests);
        self.commit(parts, pending);
        self.commit_due();
        self.admit_what_waits();
    }

    /// Decides what becomes of each write; what goes for it is taken away from the forwarders here.
    fn prepare(&mut self, requests: Vec<(Vec<Write>, Answer, bool)>) -> (Vec<Part>, Pending) {
        let mut pending = Pending::default();
        let mut parts = Vec::with_capacity(requests.len());
        for (writes, answer, may_wait) in requests {
            self.take_in(writes, answer, may_wait, &mut parts, &mut pending);
        }
        (parts, pending)
    }

    /// What a commit has made room for may be the last that anybody hears of the queue, so it is looked at here.
    fn admit_what_waits(&mut self) {
        while !self.blocked.is_empty() && std::mem::take(&mut self.freed) {
            let (mut parts, mut pending) = (Vec::new(), Pending::default());
            self.unblock(&mut parts, &mut pending);
            self.commit(parts, pending);
            self.commit_due();
        }
        self.count_blocked();
    }

    fn commit(&mut self, mut parts: Vec<Part>, mut pending: Pending) {
        if crash::acks_before_commit() {
            answer_too_early(&mut parts);
        }
        crash::point("before_commit");
        self.deferral.handle_time(self.clock.now());
        let applied = self.apply(&mut parts, &mut pending);
        self.settle(parts, applied, &pending);
        for request in std::mem::take(&mut self.postponed) {
            if let Request::Page { bridge, after, messages, bytes } = request {
                self.page(bridge, after, messages, bytes);
            }
        }
    }

    /// Admits writes up to the first that has to wait for room; also returns that one and what follows.
    fn part(
        &mut self,
        writes: Vec<Write>,
        answer: Answer,
        may_wait: bool,
        pending: &mut Pending,
    ) -> (Part, Vec<Write>) {
        let mut part = Part { writes: Vec::with_capacity(writes.len()), refused: Vec::new(), answer };
        let mut writes = writes.into_iter();
        while let Some(write) = writes.next() {
            if part.answer.refuses(&write) {
                part.writes.push((write, None));
                part.refused.push(Some(ReasonCode::QUOTA_EXCEEDED));
                continue;
            }
            match self.admit(write, may_wait, pending) {
                Ok((write, refused)) => {
                    part.answer.note(refused);
                    part.writes.push(write);
                    part.refused.push(refused);
                }
                Err(waits) => return (part, std::iter::once(waits).chain(writes).collect()),
            }
        }
        (part, Vec::new())
    }

    /// Decides where the deliveries of a store wait, and gives it its sequence; gives it back where it has to wait.
    #[allow(clippy::type_complexity)] // A pair that goes straight into a part.
    fn admit(
        &mut self,
        write: Write,
        may_wait: bool,
        pending: &mut Pending,
    ) -> Result<((Write, Option<Admitted>), Option<ReasonCode>), Write> {
        let Write::Store(mut store) = write else { return Ok(((self.absorb(write), None), None)) };
        let size = store.message.size() as u64;
        // Nobody but a local publisher waits for part of an answer.
        let mut deferred = may_wait && self.broken.is_none() && self.deferral.takes(&store);
        let mut places = Vec::with_capacity(store.deliveries.len());
        for delivery in &store.deliveries {
            let (place, may_be_deferred) = self.place(delivery, size, pending);
            deferred &= may_be_deferred;
            places.push(place);
        }
        deferred &= places.contains(&Place::Row);
        for (place, delivery) in places.iter_mut().zip(&store.deliveries) {
            if *place == Place::Blocked && !may_wait {
                *place = Place::without_eviction(delivery.qos);
            }
        }
        if places.contains(&Place::Blocked) {
            return Err(Write::Store(store));
        }
        store.seq = self.next;
        self.next.0 += 1;
        for (place, delivery) in places.iter_mut().zip(&store.deliveries) {
            if let Place::Evicting(need) = *place {
                *place = match self.evict(delivery, need, &mut pending.evictions) {
                    Some((messages, bytes)) => {
                        pending.grow(delivery.bridge, -i64::try_from(messages).unwrap_or(i64::MAX), bytes);
                        Place::Row
                    }
                    None => Place::without_eviction(delivery.qos),
                };
            }
        }
        if let Err(reason) = admission::decide(&mut places) {
            return Ok(((Write::Store(store), None), Some(reason)));
        }
        let mut admitted = Admitted { deferred, ..Admitted::default() };
        let deliveries = std::mem::take(&mut store.deliveries);
        for (delivery, place) in deliveries.into_iter().zip(places) {
            match place {
                Place::Row => {
                    pending.grow(delivery.bridge, 1, size);
                    if !deferred && self.evicts(&delivery) {
                        pending.evictions.expect(&store, &delivery);
                    }
                    store.deliveries.push(delivery);
                }
                Place::Memory => admitted.memory.push(delivery),
                Place::Dropped(reason) => admitted.dropped.push((delivery, reason)),
                Place::Rejected | Place::Evicting(_) | Place::Blocked => {}
            }
        }
        Ok(((Write::Store(store), Some(admitted)), None))
    }

    /// Where a delivery waits, and whether it leaves it to its message whether that is deferred.
    fn place(&self, delivery: &NewDelivery, size: u64, pending: &Pending) -> (Place, bool) {
        let Some(outlet) = self.outlets.get(&delivery.bridge) else { return (Place::Rejected, true) };
        let usage = self.cache.usage(delivery.bridge);
        let (messages, bytes) = pending.grown.get(&delivery.bridge).copied().unwrap_or_default();
        let deferred = self.deferral.used(delivery.bridge);
        let queue = Queue {
            messages: (usage.messages + deferred.0).saturating_add_signed(messages),
            bytes: (usage.bytes + deferred.1).saturating_add_signed(bytes),
            takes_volatile: outlet.ring.lock().takes_volatile(),
        };
        let place = admission::place(&outlet.limits, delivery.when_full, delivery.qos, size, queue);
        let may_be_deferred = match place {
            Place::Row => self.deferral.is_on() && deferral::may_wait(&outlet.limits, place, delivery.qos, queue),
            Place::Memory | Place::Dropped(_) | Place::Rejected => true,
            Place::Evicting(_) | Place::Blocked => false,
        };
        (place, may_be_deferred)
    }

    /// Whether the delivery may have to go for another of the same transaction.
    fn evicts(&self, delivery: &NewDelivery) -> bool {
        let default = || self.outlets.get(&delivery.bridge).map(|outlet| outlet.limits.when_full);
        delivery.when_full.or_else(default) == Some(WhenFull::DropOldest)
    }

    /// Counts, hands on and answers what has been committed.
    fn settle(&mut self, parts: Vec<Part>, applied: Vec<Applied>, pending: &Pending) {
        let mut applied = applied.into_iter();
        let counters = self.counters.clone();
        let mut counters = counters.lock();
        let mut touched = pending.touched.clone();
        let evictions = &pending.evictions;
        self.count_evicted(evictions, &mut counters, &mut touched);
        self.freed |= !touched.is_empty();
        for part in parts {
            let mut reply = self.lines.reply(part.answer, part.writes.len());
            for ((write, admitted), refused) in part.writes.into_iter().zip(part.refused) {
                if let Some(reason) = refused {
                    reject(&write, &mut counters);
                    self.lines.push(&mut reply, Err(reason));
                    continue;
                }
                let (write, admitted) = match (write, admitted) {
                    (Write::Store(store), Some(admitted)) if admitted.deferred => {
                        counters.received += 1;
                        let line = self.lines.defer(&mut reply, store.seq);
                        let until = self.deferral.hold(store.clone(), line, self.clock.now());
                        let kept = Kept::Deferred { until };
                        self.hand_on(*store, admitted, kept, evictions, &mut counters, &mut touched);
                        crash::point("store_deferred");
                        continue;
                    }
                    committed => committed,
                };
                let applied = applied.next().unwrap_or(Applied::Done);
                crash::committed(&write);
                match write {
                    Write::Store(store) if applied == Applied::Done => {
                        counters.received += 1;
                        let admitted = admitted.unwrap_or_default();
                        self.hand_on(*store, admitted, Kept::Row, evictions, &mut counters, &mut touched);
                    }
                    Write::Store(_) => {
                        counters.repeated += 1;
                        // Room was kept for it.
                        self.freed = true;
                    }
                    Write::Progress { bridge, step, .. } => {
                        count_step(counters.bridges.entry(bridge).or_default(), step);
                        self.freed |= matches!(step, Progress::Removed(_) | Progress::Quarantined(_));
                        touched.push(bridge);
                    }
                    Write::Count { bridge, outcome } => counters.bridges.entry(bridge).or_default().finish(outcome),
                    _ => {}
                }
                self.lines.push(&mut reply, Ok(applied));
            }
            self.lines.send(reply);
        }
        self.lines.flush();
        if self.deferral.is_on() {
            counters.deferred = self.deferral.len() as u64;
        }
        if !self.drop_log.is_empty() {
            self.log_drops(&counters);
        }
        touched.sort_unstable();
        touched.dedup();
        for bridge in touched {
            let Usage { messages, bytes, .. } = self.cache.usage(bridge);
            let columns = counters.bridges.entry(bridge).or_default();
            (columns.cached, columns.cached_bytes) = (messages, bytes);
            if let Some(outlet) = self.outlets.get(&bridge) {
                outlet.ring.filled.notify_one();
            }
        }
    }

    /// Puts what has been committed, or deferred, into the rings.
    fn hand_on(
        &mut self,
        store: Store,
        admitted: Admitted,
        kept: Kept,
        evictions: &Evictions,
        counters: &mut Counters,
        touched: &mut Vec<BridgeId>,
    ) {
        let Admitted { memory, dropped, .. } = admitted;
        for (delivery, reason) in dropped {
            let NewDelivery { bridge, topic, .. } = delivery;
            counters.bridges.entry(bridge).or_default().drop_at_once(reason, &topic);
            self.drop_log.record(bridge, reason, &topic, store.seq);
        }
        let rows = store.deliveries.into_iter().map(|delivery| (delivery, kept));
        for (new, kept) in rows.chain(memory.into_iter().map(|delivery| (delivery, Kept::Volatile))) {
            let bridge = new.bridge;
            touched.push(bridge);
            if kept == Kept::Row && evictions.is_stillborn(bridge, store.seq) {
                counters.bridges.entry(bridge).or_default().drop_at_once(DropReason::Evicted, &new.topic);
                self.drop_log.record(bridge, DropReason::Evicted, &new.topic, store.seq);
                // It may have left more than what it went for needed.
                self.freed = true;
                continue;
            }
            let delivery = Delivery {
                seq: store.seq,
                topic: new.topic,
                qos: new.qos,
                retain: new.retain,
                received_at: store.received_at,
                kept,
                message: store.message.clone(),
            };
            let columns = counters.bridges.entry(bridge).or_default();
            let Some(outlet) = self.outlets.get(&bridge) else { continue };
            // Counted before it can be taken, or a column would go below zero.
            columns.accept();
            let mut ring = outlet.ring.lock();
            if let Err(delivery) = ring.push(delivery) {
                columns.give_up(DropReason::Qos0Offline, &delivery.topic);
            } else if kept != Kept::Row && ring.is_spilled() {
                // It is to be read back, so it must be a row.
                self.deferral.handle_step(store.seq);
            }
        }
    }

    fn open(&mut self, client_id: &Arc<str>, clean_start: bool, expiry: u32) -> Result<Opened, ReasonCode> {
        let opened = self.cache.session(client_id).and_then(|kept| {
            let opened = session::open(client_id, kept, clean_start, expiry, self.clock.now());
            self.cache.apply(&opened.writes)?;
            crash::point("session_committed");
            Ok(opened)
        });
        opened.map_err(|error| {
            self.failed(&error);
            ReasonCode::SERVER_UNAVAILABLE
        })
    }

    fn page(&mut self, bridge: BridgeId, after: Seq, messages: usize, bytes: usize) {
        let Some(outlet) = self.outlets.get(&bridge).cloned() else { return };
        match self.cache.page(bridge, after, messages, bytes) {
            Ok(page) => outlet.ring.lock().refill(page.deliveries, page.complete),
            Err(error) => {
                if error.is_corruption() {
                    self.failed(&error);
                } else {
                    warn!("reading the queue: {error}");
                }
                outlet.ring.lock().page_failed();
                std::thread::sleep(RETRY);
            }
        }
        outlet.ring.filled.notify_one();
    }
}

/// The sin that the crash tests must notice: a promise that nothing keeps yet, for long enough to reach the publisher.
fn answer_too_early(parts: &mut [Part]) {
    for part in parts {
        let done = |refused: &Option<ReasonCode>| refused.map_or(Ok(Applied::Done), Err);
        part.answer.send(part.refused.iter().map(done).collect());
        part.answer = Answer::channel().0;
    }
    std::thread::sleep(RETRY);
}

fn reject(write: &Write, counters: &mut Counters) {
    counters.refused += 1;
    if let Write::Store(store) = write {
        for delivery in &store.deliveries {
            counters.bridges.entry(delivery.bridge).or_default().rejected += 1;
        }
    }
}

fn count_step(columns: &mut crate::bridge::counters::BridgeCounters, step: Progress) {
    match step {
        Progress::Removed(outcome) => columns.finish(outcome),
        Progress::Quarantined(_) => columns.quarantine(),
        Progress::Sent { .. } | Progress::Released { .. } | Progress::Requeued => {}
    }
}

#[cfg(test)]
mod tests;
