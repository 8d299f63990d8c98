//! Committing where the disk may fail: what is held, what is refused in time, and when it works again.
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use super::{Admitted, Evictions, Part, Pending, RETRY, Request, Writer};
use crate::bridge::cache::{Applied, Cache, CacheError};
use crate::bridge::delivery::{Store, Write};
use crate::bridge::wire::ReasonCode;

/// How long a publisher's acknowledgement is held while the disk fails, before it is refused.
const HOLD: Duration = Duration::from_secs(10);
/// Bytes that must fit for a cache that failed to count as working again.
const PROBE_BYTES: usize = 64 * 1024;

impl<C: Cache + 'static> Writer<C> {
    /// Applies what is not refused, as often as it takes: a passing error of the disk holds the answers, and after
    /// [`HOLD`] refuses the stores; what the remote legs report is kept until it can be written, and holds up nobody
    /// else's refusal meanwhile.
    pub(super) fn apply(&mut self, parts: &mut Vec<Part>, pending: &mut Pending) -> Vec<Applied> {
        loop {
            self.take_along(parts);
            let Evictions { before, after, .. } = &pending.evictions;
            let (first, last) = (before.len() + self.deferral.due().count(), after.len());
            let writes = before.iter().chain(self.deferral.due()).chain(wanted(parts)).chain(after);
            let writes: Vec<&Write> = writes.collect();
            if writes.is_empty() {
                return Vec::new();
            }
            let changes = writes.iter().any(|write| write.changes_something());
            let applied = match &self.broken {
                Some(what) => Err(CacheError::Broken { what: what.clone() }),
                None => self.cache.apply_each(&writes),
            };
            match applied {
                Ok(mut applied) => {
                    applied.drain(..first);
                    applied.truncate(applied.len() - last);
                    // What changes nothing says nothing of the disk.
                    if changes {
                        self.recovered();
                        self.counters.lock().commits += 1;
                        self.settle_due(pending);
                    }
                    return applied;
                }
                Err(error) if is_invariant(&error) => return self.apply_one_by_one(parts, pending, &error),
                Err(error) => {
                    self.failed(&error);
                    if matches!(error, CacheError::Full) {
                        self.relieve(parts);
                    }
                }
            }
            std::thread::sleep(RETRY);
            self.refuse_overdue(parts, pending);
            self.take_in_meanwhile(parts, pending);
        }
    }

    /// Refuses the stores that have been held for long enough, and answers whoever waits for nothing else.
    fn refuse_overdue(&mut self, parts: &mut Vec<Part>, pending: &mut Pending) {
        let now = self.clock.now();
        let reason = self.failing.unwrap_or(ReasonCode::UNSPECIFIED_ERROR);
        if now >= HOLD {
            self.refuse_due(now - HOLD, reason);
        }
        let is_overdue = |store: &Store| now.saturating_sub(store.received_at) >= HOLD;
        if parts.iter().any(|part| unrefused(part).any(is_overdue)) {
            self.leave_no_doubt();
        }
        let mut waiting: Vec<Part> = Vec::with_capacity(parts.len());
        for mut part in parts.drain(..) {
            for ((write, _), refused) in part.writes.iter().zip(&mut part.refused) {
                if let Write::Store(store) = write
                    && refused.is_none()
                    && (is_overdue(store) || part.answer.refuses(write))
                {
                    *refused = Some(reason);
                    part.answer.note(*refused);
                    let size = store.message.size() as u64;
                    for delivery in &store.deliveries {
                        pending.grow(delivery.bridge, -1, size);
                    }
                }
            }
            // Answers are told apart by their order alone.
            let is_first = !waiting.iter().any(|earlier| earlier.answer.same_channel(&part.answer));
            if is_first && part.refused.iter().all(Option::is_some) {
                self.settle(vec![part], Vec::new(), &Pending::default());
            } else {
                waiting.push(part);
            }
        }
        *parts = waiting;
    }

    /// While the disk fails, whoever comes is held and refused in time like those who were there first.
    fn take_in_meanwhile(&mut self, parts: &mut Vec<Part>, pending: &mut Pending) {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Write { writes, answer, may_wait } => {
                    self.take_in(writes, answer, may_wait, parts, pending);
                }
                Request::Release { answer } => {
                    self.end_of_line(&answer);
                    parts.extend(self.release(&answer));
                }
                Request::LinkLost { bridge } => self.deferral.handle_link_lost(bridge),
                Request::Limits { bridge, limits } => self.limit(bridge, limits),
                Request::Chores => {}
                Request::Retained { subscriptions, bytes, answer } => {
                    // A client that has gone meanwhile needs no answer.
                    let _ = answer.send(self.retained_for(&subscriptions, bytes));
                }
                Request::Share { client_id, answer } => {
                    // The same.
                    let _ = answer.send(self.share(&client_id));
                }
                Request::Open { answer, .. } => {
                    // A client that has gone meanwhile needs no answer.
                    let _ = answer.send(Err(ReasonCode::SERVER_UNAVAILABLE));
                }
                // Reads what stands before it, so it waits for that.
                page @ Request::Page { .. } => self.postponed.push(page),
            }
        }
    }

    /// A write that breaks an invariant must not stop the others for ever; a message that cannot be stored is refused.
    fn apply_one_by_one(&mut self, parts: &mut [Part], pending: &mut Pending, error: &CacheError) -> Vec<Applied> {
        error!("an invariant of the cache is broken, writing one by one: {error}");
        self.apply_evictions(&pending.evictions.before);
        self.apply_due_one_by_one(pending);
        let mut applied = Vec::new();
        for part in parts {
            for ((write, admitted), refused) in part.writes.iter().zip(&mut part.refused) {
                if refused.is_some() || is_deferred(admitted) {
                    continue;
                }
                match self.apply_alone(write) {
                    Ok(outcome) => applied.push(outcome),
                    Err(reason) => *refused = Some(reason),
                }
            }
        }
        self.apply_evictions(&pending.evictions.after);
        applied
    }

    /// Applies one write, or leaves it out; a store is refused then.
    pub(super) fn apply_alone(&mut self, write: &Write) -> Result<Applied, ReasonCode> {
        loop {
            match self.cache.apply(std::slice::from_ref(write)) {
                Ok(outcomes) => return Ok(outcomes.first().copied().unwrap_or(Applied::Done)),
                Err(error) if !is_invariant(&error) && !matches!(write, Write::Store(_)) => {
                    self.failed(&error);
                    std::thread::sleep(RETRY);
                }
                Err(error) => {
                    error!("left out {write:?}: {error}");
                    self.counters.lock().invariant_violations += u64::from(is_invariant(&error));
                    return match write {
                        Write::Store(_) => Err(refusal(&error)),
                        _ => Ok(Applied::Done),
                    };
                }
            }
        }
    }

    /// They break no invariant, so only the disk can keep them from being written.
    fn apply_evictions(&mut self, evictions: &[Write]) {
        while let Err(error) = self.cache.apply(evictions) {
            if is_invariant(&error) {
                error!("left out {evictions:?}: {error}");
                self.counters.lock().invariant_violations += 1;
                return;
            }
            self.failed(&error);
            if self.broken.is_some() {
                return;
            }
            std::thread::sleep(RETRY);
        }
    }

    pub(super) fn failed(&mut self, error: &CacheError) {
        self.pulse.beat();
        if error.is_corruption() && self.broken.is_none() {
            let broken = CacheError::Broken { what: error.to_string() };
            error!("{broken}; nothing is acknowledged any more");
            self.counters.lock().cache_error = Some(broken.to_string());
            (self.broken, self.failing) = (Some(error.to_string()), Some(ReasonCode::UNSPECIFIED_ERROR));
        }
        if self.broken.is_some() {
            return;
        }
        if self.failing.is_none() {
            error!("{error}; nothing is acknowledged until it can be written");
        }
        self.failing = Some(refusal(error));
        self.counters.lock().cache_error = Some(error.to_string());
    }

    fn recovered(&mut self) {
        // What makes room can be written while what takes room cannot.
        if self.failing.is_some() && self.cache.has_room() {
            self.failing = None;
            info!("the cache can be written again");
            self.counters.lock().cache_error = None;
        }
    }

    /// A transaction that failed at its sync may be in the WAL whole, and come back after a kill: a Packet Identifier that
    /// its publisher was told is free would be open, and the next message under it be taken for a repetition. Whatever is
    /// written next is written over it.
    fn leave_no_doubt(&mut self) {
        if self.broken.is_none() {
            let client_id: Arc<str> = "\0doubt".into();
            let keep = Write::KeepSession { client_id: client_id.clone(), expires_at: Some(Duration::ZERO), expiry: 0 };
            // It does what it is for even where it fails at its own sync.
            let _ = self.cache.apply(&[keep]).and_then(|_| self.cache.apply(&[Write::EndSession { client_id }]));
        }
    }

    /// Commits a session that nobody can have, of some size, and its end. In one transaction SQLite would write
    /// nothing of it.
    pub(super) fn probe(&mut self) {
        if self.broken.is_some() {
            return;
        }
        let client_id: Arc<str> = format!("\0{}", "probe".repeat(PROBE_BYTES / 5)).into();
        let keep = Write::KeepSession { client_id: client_id.clone(), expires_at: Some(Duration::ZERO), expiry: 0 };
        if !self.cache.has_room() {
            return self.failed(&CacheError::Full);
        }
        let tried = self.cache.apply(&[keep]).and_then(|_| self.cache.apply(&[Write::EndSession { client_id }]));
        match tried {
            Ok(_) => self.recovered(),
            Err(error) => self.failed(&error),
        }
    }
}

fn wanted(parts: &[Part]) -> impl Iterator<Item = &Write> {
    let writes = parts.iter().flat_map(|part| part.writes.iter().zip(&part.refused));
    let wanted = writes.filter(|((_, admitted), refused)| refused.is_none() && !is_deferred(admitted));
    wanted.map(|((write, _), _)| write)
}

fn unrefused(part: &Part) -> impl Iterator<Item = &Store> {
    part.writes.iter().zip(&part.refused).filter_map(|((write, _), refused)| match write {
        Write::Store(store) if refused.is_none() => Some(&**store),
        _ => None,
    })
}

fn is_deferred(admitted: &Option<Admitted>) -> bool {
    admitted.as_ref().is_some_and(|admitted| admitted.deferred)
}

/// What a publisher is told that can do something about it, or wait: a full disk empties, and what else fails may not.
fn refusal(error: &CacheError) -> ReasonCode {
    match error {
        CacheError::Full => ReasonCode::QUOTA_EXCEEDED,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    }
}

/// Not the disk's fault: it will not pass.
fn is_invariant(error: &CacheError) -> bool {
    matches!(error, CacheError::Sqlite(error)
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation))
}
