//! Messages that are deferred: performing what [`deferral`](crate::bridge::core::deferral) decides.
use super::{Answer, Part, Pending, Writer};
use crate::bridge::cache::{Applied, Cache};
use crate::bridge::core::deferral::Removal;
use crate::bridge::crash;
use crate::bridge::delivery::{BridgeId, Progress, Time, Write};
use crate::bridge::wire::ReasonCode;

impl<C: Cache + 'static> Writer<C> {
    /// What a remote leg reports of a message that is not committed yet: once it is done with the message there is
    /// nothing to be written, only counted; whatever else it reports is a step of a row, which it must become first.
    pub(super) fn absorb(&mut self, write: Write) -> Write {
        let Write::Progress { bridge, seq, step } = write else { return write };
        if self.deferral.is_empty() {
            return write;
        }
        let Progress::Removed(outcome) = step else {
            self.deferral.handle_step(seq);
            return write;
        };
        match self.deferral.handle_removed(bridge, seq) {
            Removal::Unknown => return write,
            Removal::Partial => {}
            Removal::Complete(line) => {
                crash::point("deferred_removed");
                if let Some(line) = line {
                    self.lines.give(line, seq, Ok(Applied::Done));
                }
            }
        }
        self.freed = true;
        Write::Count { bridge, outcome }
    }

    /// The connection ends, and waits for what it was not answered yet.
    pub(super) fn end_of_line(&mut self, answer: &Answer) {
        if let Some(line) = self.lines.of(answer) {
            self.deferral.handle_wanted(line);
        }
    }

    /// Whether time alone asks for a commit.
    pub(super) fn is_commit_overdue(&self) -> bool {
        self.deferral.deadline().is_some_and(|deadline| deadline <= self.clock.now())
    }

    /// Commits what must not wait any longer, where no other transaction has taken it along.
    pub(super) fn commit_due(&mut self) {
        if self.deferral.has_due() || self.is_commit_overdue() {
            self.commit(Vec::new(), Pending::default());
        }
    }

    /// Completes a transaction: what is committed takes along what was deferred before it for the same bridges, and in
    /// the same request of its connection.
    pub(super) fn take_along(&mut self, parts: &mut [Part]) {
        if !self.deferral.is_on() {
            return;
        }
        let mut stored: Vec<BridgeId> = Vec::new();
        for part in parts.iter_mut().rev() {
            let mut wanted = false;
            for ((write, admitted), refused) in part.writes.iter_mut().zip(&part.refused).rev() {
                if refused.is_some() {
                    continue;
                }
                let deliveries = match &*write {
                    Write::Store(store) => &store.deliveries[..],
                    _ => &[],
                };
                if let Some(admitted) = admitted.as_mut().filter(|admitted| admitted.deferred) {
                    if !wanted && !deliveries.iter().any(|delivery| stored.contains(&delivery.bridge)) {
                        continue;
                    }
                    admitted.deferred = false;
                }
                wanted |= write.changes_something();
                for delivery in deliveries {
                    if !stored.contains(&delivery.bridge) {
                        stored.push(delivery.bridge);
                    }
                }
            }
            if wanted {
                self.end_of_line(&part.answer);
            }
        }
        self.deferral.keep_order(&stored);
    }

    /// The transaction has been made: rows from now on, and their publishers are answered.
    pub(super) fn settle_due(&mut self, pending: &mut Pending) {
        for deferred in self.deferral.handle_committed() {
            crash::committed(&deferred.write);
            pending.touched.extend(deferred.bridges());
            if let (Some(line), Write::Store(store)) = (deferred.line, &deferred.write) {
                self.lines.give(line, store.seq, Ok(Applied::Done));
            }
        }
    }

    /// Refuses those whose commit the disk has held up for too long.
    pub(super) fn refuse_due(&mut self, received_before: Time, reason: ReasonCode) {
        for (line, seq) in self.deferral.refuse_before(received_before) {
            self.counters.lock().refused += 1;
            self.lines.give(line, seq, Err(reason));
        }
        // Also what the remotes have taken meanwhile.
        self.lines.flush();
    }

    /// One transaction each: one that breaks an invariant is refused.
    pub(super) fn apply_due_one_by_one(&mut self, pending: &mut Pending) {
        let stores: Vec<Write> = self.deferral.due().cloned().collect();
        for write in stores {
            let Write::Store(store) = &write else { continue };
            if let Err(error) = self.apply_alone(&write)
                && let Some(line) = self.deferral.remove(store.seq).and_then(|deferred| deferred.line)
            {
                self.lines.give(line, store.seq, Err(error));
            }
        }
        self.settle_due(pending);
    }
}
