//! The one thread that owns the cache: whatever has queued up is one transaction, so the next batch fills while this
//! one is committed, and no timer is needed.
mod failing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, warn};

use super::{Applied, Cache, CacheError, Usage};
use crate::bridge::clock::Clock;
use crate::bridge::core::admission::{self, Limits, Place};
use crate::bridge::core::ring::Ring;
use crate::bridge::core::session::{self, Opened};
use crate::bridge::counters::{Counters, Shared};
use crate::bridge::delivery::{BridgeId, Delivery, NewDelivery, Progress, Seq, Store, Write};
use crate::bridge::wire::ReasonCode;

/// Requests that may wait; a sender waits for room, which slows publishers down.
const WAITING_REQUESTS: usize = 1024;
/// Between attempts while the disk fails.
const RETRY: Duration = Duration::from_millis(100);

type Answer = mpsc::UnboundedSender<Vec<Written>>;
/// Messages and bytes of a batch that are admitted and not yet committed.
type Pending = HashMap<BridgeId, (u64, u64)>;

/// What became of one write: applied, or refused with a Reason Code.
pub type Written = Result<Applied, ReasonCode>;

/// What the writer is asked for.
#[derive(Debug)]
pub enum Request {
    /// Commit these together, in this order. Stores are admitted first; the answer says for each write what became of
    /// it.
    Write {
        /// In order.
        writes: Vec<Write>,
        /// Answered after the commit.
        answer: mpsc::UnboundedSender<Vec<Written>>,
    },
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
}

/// A store that has been admitted: where its deliveries go besides the cache.
struct Admitted {
    memory: Vec<NewDelivery>,
    dropped: Vec<(BridgeId, crate::bridge::delivery::DropReason)>,
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
        };
        Ok((writer, sender))
    }

    /// Works until every sender is gone, then closes the cache. Blocks its thread.
    pub fn run(mut self) {
        let mut requests = Vec::with_capacity(WAITING_REQUESTS);
        while self.receive(&mut requests) > 0 {
            let mut parts = Vec::new();
            for request in requests.drain(..) {
                match request {
                    Request::Write { writes, answer } => parts.push((writes, answer)),
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
                }
            }
            self.write(parts);
        }
        if let Err(error) = self.cache.close() {
            error!("closing the cache: {error}");
        }
    }

    /// Waits for requests. While the cache fails it is tried meanwhile: a publisher that was refused may never come
    /// back, and then nothing else would show that the disk has room again.
    fn receive(&mut self, requests: &mut Vec<Request>) -> usize {
        while self.failing && self.requests.is_empty() && !self.requests.is_closed() {
            std::thread::sleep(RETRY);
            self.probe();
        }
        self.requests.blocking_recv_many(requests, WAITING_REQUESTS)
    }

    fn write(&mut self, requests: Vec<(Vec<Write>, Answer)>) {
        if requests.is_empty() {
            return;
        }
        let mut pending = Pending::new();
        let mut parts = Vec::with_capacity(requests.len());
        for (writes, answer) in requests {
            parts.push(self.part(writes, answer, &mut pending));
        }
        let applied = self.apply(&mut parts, &mut pending);
        self.settle(parts, applied);
        for request in std::mem::take(&mut self.postponed) {
            if let Request::Page { bridge, after, messages, bytes } = request {
                self.page(bridge, after, messages, bytes);
            }
        }
    }

    fn part(&mut self, writes: Vec<Write>, answer: Answer, pending: &mut Pending) -> Part {
        let mut part = Part { writes: Vec::with_capacity(writes.len()), refused: Vec::new(), answer };
        for write in writes {
            let (write, refused) = self.admit(write, pending);
            part.writes.push(write);
            part.refused.push(refused);
        }
        part
    }

    /// Decides where the deliveries of a store wait, and gives it its sequence.
    fn admit(&mut self, write: Write, pending: &mut Pending) -> ((Write, Option<Admitted>), Option<ReasonCode>) {
        let Write::Store(mut store) = write else { return ((write, None), None) };
        store.seq = self.next;
        self.next.0 += 1;
        let size = store.message.size() as u64;
        let outlet = |delivery: &NewDelivery| self.outlets.get(&delivery.bridge);
        let mut places: Vec<Place> = store
            .deliveries
            .iter()
            .map(|delivery| {
                let Some(outlet) = outlet(delivery) else { return Place::Rejected };
                let usage = self.cache.usage(delivery.bridge);
                let (messages, bytes) = pending.get(&delivery.bridge).copied().unwrap_or_default();
                let volatile = outlet.ring.lock().takes_volatile();
                let (messages, bytes) = (usage.messages + messages, usage.bytes + bytes);
                admission::place(&outlet.limits, delivery.qos, size, messages, bytes, volatile)
            })
            .collect();
        if let Err(reason) = admission::decide(&mut places) {
            return ((Write::Store(store), None), Some(reason));
        }
        let mut admitted = Admitted { memory: Vec::new(), dropped: Vec::new() };
        let deliveries = std::mem::take(&mut store.deliveries);
        for (delivery, place) in deliveries.into_iter().zip(places) {
            match place {
                Place::Row => {
                    let (messages, bytes) = pending.entry(delivery.bridge).or_default();
                    (*messages, *bytes) = (*messages + 1, *bytes + size);
                    store.deliveries.push(delivery);
                }
                Place::Memory => admitted.memory.push(delivery),
                Place::Dropped(reason) => admitted.dropped.push((delivery.bridge, reason)),
                Place::Rejected => {}
            }
        }
        ((Write::Store(store), Some(admitted)), None)
    }

    /// Counts, hands on and answers what has been committed.
    fn settle(&mut self, parts: Vec<Part>, applied: Vec<Applied>) {
        let mut applied = applied.into_iter();
        let counters = self.counters.clone();
        let mut counters = counters.lock();
        let mut touched = Vec::new();
        for part in parts {
            let mut written = Vec::with_capacity(part.writes.len());
            for ((write, admitted), refused) in part.writes.into_iter().zip(part.refused) {
                if let Some(reason) = refused {
                    reject(&write, &mut counters);
                    written.push(Err(reason));
                    continue;
                }
                let applied = applied.next().unwrap_or(Applied::Done);
                match write {
                    Write::Store(store) if applied == Applied::Done => {
                        counters.received += 1;
                        self.hand_on(*store, admitted, &mut counters, &mut touched);
                    }
                    Write::Store(_) => counters.repeated += 1,
                    Write::Progress { bridge, step, .. } => {
                        count_step(counters.bridges.entry(bridge).or_default(), step);
                        touched.push(bridge);
                    }
                    Write::Count { bridge, outcome } => counters.bridges.entry(bridge).or_default().finish(outcome),
                    _ => {}
                }
                written.push(Ok(applied));
            }
            // A client that has gone meanwhile needs no answer.
            let _ = part.answer.send(written);
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

    /// Puts what has been committed into the rings.
    fn hand_on(&self, store: Store, admitted: Option<Admitted>, counters: &mut Counters, touched: &mut Vec<BridgeId>) {
        let Admitted { memory, dropped } = admitted.unwrap_or(Admitted { memory: Vec::new(), dropped: Vec::new() });
        for (bridge, reason) in dropped {
            counters.bridges.entry(bridge).or_default().drop_at_once(reason);
        }
        let rows = store.deliveries.into_iter().map(|delivery| (delivery, true));
        for (new, stored) in rows.chain(memory.into_iter().map(|delivery| (delivery, false))) {
            let bridge = new.bridge;
            touched.push(bridge);
            let delivery = Delivery {
                seq: store.seq,
                topic: new.topic,
                qos: new.qos,
                retain: new.retain,
                received_at: store.received_at,
                stored,
                message: store.message.clone(),
            };
            let columns = counters.bridges.entry(bridge).or_default();
            let Some(outlet) = self.outlets.get(&bridge) else { continue };
            // Counted before it can be taken, or a column would go below zero.
            columns.accept();
            if outlet.ring.lock().push(delivery).is_err() {
                columns.queued -= 1;
                columns.accepted -= 1;
                columns.drop_at_once(crate::bridge::delivery::DropReason::Qos0Offline);
            }
        }
    }

    fn open(&mut self, client_id: &Arc<str>, clean_start: bool, expiry: u32) -> Result<Opened, ReasonCode> {
        let opened = self.cache.session(client_id).and_then(|kept| {
            let opened = session::open(client_id, kept, clean_start, expiry, self.clock.now());
            self.cache.apply(&opened.writes)?;
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
