//! The one thread that owns the cache: whatever has queued up is one transaction, so the next batch fills while this
//! one is committed, and no timer is needed.
mod admit;
mod answer;
mod batch;
mod blocked;
mod chores;
mod deferred;
mod eviction;
mod failing;
mod lines;
mod outlet;
mod pulse;
mod read;
mod relief;
mod request;
mod retained;
mod sessions;
mod settle;
#[cfg(test)]
#[allow(missing_docs)] // For tests alone.
pub mod stepped;
mod wait;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::error;

pub use answer::Answer;
use batch::{Admitted, Part, Pending};
use blocked::Blocked;
use eviction::Evictions;
use lines::Lines;
pub use outlet::{Outlet, SharedRing};
pub use pulse::Pulse;
pub use request::{Kept, Request, Seated};
use retained::Retaining;
use sessions::Sessions;

use super::{Applied, Cache, CacheError};
use crate::bridge::clock::Clock;
use crate::bridge::core::deferral::Deferral;
use crate::bridge::core::drop_log::DropLog;
use crate::bridge::core::eviction::Evictor;
use crate::bridge::counters::Shared;
use crate::bridge::crash;
use crate::bridge::delivery::{BridgeId, Seq, Write};
use crate::bridge::wire::ReasonCode;

/// Requests that may wait; a sender waits for room, which slows publishers down.
const WAITING_REQUESTS: usize = 1024;
/// Between attempts while the disk fails.
const RETRY: Duration = Duration::from_millis(100);

/// What became of one write: applied, or refused with a Reason Code.
pub type Written = Result<Applied, ReasonCode>;

/// The writer's side of the requests, and what it works with.
pub struct Writer<C> {
    cache: C,
    requests: mpsc::Receiver<Request>,
    outlets: HashMap<BridgeId, Outlet>,
    counters: Shared,
    clock: Clock,
    next: Seq,
    /// The disk fails: with what stores are refused that it has held up for too long.
    failing: Option<ReasonCode>,
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
    pulse: Pulse,
    sessions: Sessions,
    retaining: Retaining,
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
            failing: None,
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
            pulse: Pulse::default(),
            sessions: Sessions::default(),
            retaining: Retaining::default(),
        };
        Ok((writer, sender))
    }

    /// With `durability: deferred`.
    pub fn deferring(mut self, commit_after: Duration) -> Self {
        self.deferral = Deferral::new(commit_after);
        self
    }

    /// That its thread lives, for whoever watches it.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Works until every sender is gone, then closes the cache. Blocks its thread.
    pub fn run(mut self) {
        let mut requests = Vec::with_capacity(WAITING_REQUESTS);
        while self.receive(&mut requests) {
            self.pulse.beat();
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
                Request::Retained { subscriptions, bytes, answer } => {
                    self.write(std::mem::take(&mut parts));
                    // A client that has gone meanwhile needs no answer.
                    let _ = answer.send(self.retained_for(&subscriptions, bytes));
                }
                Request::Share { client_id, answer } => {
                    // The same.
                    let _ = answer.send(self.share(&client_id));
                }
                Request::Limits { bridge, limits } => {
                    self.write(std::mem::take(&mut parts));
                    self.limit(bridge, limits);
                    self.admit_what_waits();
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
        while self.failing.is_some()
            && self.requests.is_empty()
            && !self.requests.is_closed()
            && !self.is_commit_overdue()
        {
            std::thread::sleep(RETRY);
            self.pulse.beat();
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
        crash::stand_still();
        self.pulse.beat();
        self.deferral.handle_time(self.clock.now());
        let applied = self.apply(&mut parts, &mut pending);
        self.settle(parts, applied, &pending);
        self.send_retained();
        for request in std::mem::take(&mut self.postponed) {
            if let Request::Page { bridge, after, messages, bytes } = request {
                self.page(bridge, after, messages, bytes);
            }
        }
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

#[cfg(test)]
mod tests;
