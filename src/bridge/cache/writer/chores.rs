//! What nobody asks for and has to be done: what is too old leaves, space returns to the file system, drops are told.
//! One small step at a time, so that whoever comes meanwhile waits for one step at most.
use std::time::Duration;

use tracing::warn;

use super::{Pending, Writer};
use crate::bridge::cache::{Cache, CacheError};
use crate::bridge::delivery::{BridgeId, DropReason, Kind, Seq};
use crate::bridge::wire::ReasonCode;

/// Rows that leave in one transaction.
const SWEPT: usize = 256;

impl<C: Cache + 'static> Writer<C> {
    /// Does what is due: a step, and more of them as long as nobody waits.
    pub(super) fn do_chores(&mut self) {
        while self.chores_due {
            // A full disk is one more reason.
            if self.failing.is_some_and(|reason| reason != ReasonCode::QUOTA_EXCEEDED) {
                self.chores_due = false;
                return;
            }
            if !self.sweep() && !self.end_sessions() && !self.expire_retained() {
                // A busy cache needs its free pages soon again; a step a tick is for one that is busy for ever.
                self.chores_due = self.shrink() && self.requests.is_empty();
                self.note_the_oldest();
                self.log_drops(&self.counters.clone().lock());
            }
            if !self.requests.is_empty() {
                return;
            }
        }
    }

    /// Removes a page of what is older than its bridge's `max_age`; whether there may be more.
    fn sweep(&mut self) -> bool {
        let limits = self.outlets.iter().filter_map(|(bridge, outlet)| Some((*bridge, outlet.limits.max_age?)));
        let limits: Vec<(BridgeId, Duration)> = limits.collect();
        let mut pending = Pending::default();
        let mut more = false;
        for (bridge, max_age) in limits {
            match self.overdue(bridge, max_age, &mut pending) {
                Ok(page_is_full) => more |= page_is_full,
                Err(error) => warn!("looking for what is too old: {error}"),
            }
        }
        if !pending.evictions.before.is_empty() {
            self.commit(Vec::new(), pending);
            self.admit_what_waits();
        }
        more
    }

    fn overdue(&mut self, bridge: BridgeId, max_age: Duration, pending: &mut Pending) -> Result<bool, CacheError> {
        let Some(outlet) = self.outlets.get(&bridge) else { return Ok(false) };
        let now = self.clock.now();
        let swept = self.swept.entry(bridge).or_default();
        let after = (*swept).max(outlet.ring.lock().taken());
        let page = self.cache.waiting(bridge, Kind::Any, after, SWEPT)?;
        let is_full = page.len() == SWEPT;
        // They stand in order of arrival, so the first that is young enough ends it.
        let old = page.iter().take_while(|waiting| now.saturating_sub(waiting.received_at) >= max_age).count();
        *swept = match page.get(old) {
            Some(young) => Seq(young.seq.0 - 1),
            None => page.last().map_or(*swept, |last| last.seq),
        };
        for waiting in page.into_iter().take(old) {
            // The forwarder asks for the age itself before it sends.
            if outlet.ring.lock().claim(waiting.seq) {
                if let Some(evictor) = self.evictors.get_mut(&bridge) {
                    evictor.forget_through(waiting.seq);
                }
                pending.evictions.push(bridge, waiting, DropReason::Expired);
            }
        }
        Ok(is_full && old == SWEPT)
    }

    fn note_the_oldest(&mut self) {
        // A session has no columns of its own, and there may be many.
        let bridges: Vec<BridgeId> = self.outlets.keys().copied().filter(|queue| !queue.is_session()).collect();
        for bridge in bridges {
            let waits = self.cache.usage(bridge).messages > 0;
            let oldest = if waits { self.cache.oldest(bridge) } else { Ok(None) };
            match oldest {
                Ok(oldest) => self.counters.lock().bridges.entry(bridge).or_default().oldest = oldest,
                Err(error) => warn!("looking for the oldest: {error}"),
            }
        }
    }

    pub(super) fn shrink(&mut self) -> bool {
        self.cache.shrink().unwrap_or_else(|error| {
            warn!("giving space back to the file system: {error}");
            false
        })
    }
}
