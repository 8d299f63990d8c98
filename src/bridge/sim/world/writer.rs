//! The thread that owns the cache: the real writer, a batch at a time.
use super::*;
use crate::bridge::delivery::{Seq, Store};

impl World {
    /// Makes the commit that is due, and begins the next: whatever has queued up.
    pub(super) fn commit(&mut self) {
        let disk_until = self.disk_until;
        while let Some(process) = &mut self.process {
            let now = process.clock.at(self.now);
            if process.next_chores.is_some_and(|at| at <= self.now) {
                process.next_chores = Some(self.now + Duration::from_secs(1));
                process.requests.push_back(Request::Chores);
            }
            if disk_until > self.now {
                return;
            }
            let before = process.writer.next();
            if process.writer.is_busy() {
                if process.commit_at > self.now {
                    return;
                }
                process.writer.finish(self.sin != Some(Sin::ForgetsWhoWaits), now);
                self.committed();
                continue;
            }
            let is_write = |request: &Request| matches!(request, Request::Write { .. });
            let writes = process.requests.iter().take_while(|request| is_write(request)).count();
            let batch: Vec<Request> = match writes {
                0 => process.requests.pop_front().into_iter().collect(),
                all => process.requests.drain(..all).collect(),
            };
            let is_overdue = process.writer.deadline().is_some_and(|deadline| deadline <= now);
            if batch.is_empty() && !is_overdue {
                return;
            }
            let is_commit = writes > 0 || batch.is_empty();
            process.first_of_batch = before;
            if !is_commit && self.sin == Some(Sin::SkipsPages) && before.0 > 20 {
                // Nobody reads what does not fit into the ring.
                continue;
            }
            process.writer.begin(batch, now);
            process.commit_at = self.now + millis(self.random.u64(0..self.plan.commit));
            if !is_commit {
                self.committed();
            }
        }
    }

    fn committed(&mut self) {
        self.sin_against_what_is_deferred();
        let Some(process) = &mut self.process else { return };
        let bridges = process.bridges();
        let now = process.clock.at(self.now);
        let log = self.ledger.committed(&bridges, &mut process.writer, now);
        if self.verbose && !log.is_empty() {
            eprintln!("{:>9.3} committed: {log:?}", self.now.as_secs_f64());
        }
        if process.writer.deadline().is_some_and(|deadline| deadline <= now) {
            self.ledger.violate("a message that is deferred is not committed in time".into());
        }
        if process.writer.waits_for_nothing() {
            self.ledger.violate("a publisher waits although there is room".into());
        }
        let counters = process.counters.lock();
        for ((account, leg), plan) in self.ledger.accounts.iter_mut().zip(&process.legs).zip(&self.plan.remotes) {
            let usage = process.writer.cache().usage(leg.bridge);
            account
                .evicted(process.first_of_batch, &leg.forwarder.held().collect(), |seq| leg.ring.lock().is_free(seq));
            if let Some(columns) = counters.bridges.get(&leg.bridge) {
                account.balance(columns, usage.messages);
            }
            let (messages, bytes) = process.writer.deferred_for(leg.bridge);
            let above =
                usage.messages + messages > plan.limits.max_messages || usage.bytes + bytes > plan.limits.max_bytes;
            // Of that twin something worse is to be seen.
            if above && self.sin != Some(Sin::KeepsWhatItEvicts) {
                account.violate(format!("{usage:?} is above the limits"));
            }
        }
        if counters.invariant_violations > 0 {
            self.ledger.violate("an invariant of the cache is broken".into());
        }
    }

    /// What twins say to publishers of messages that are not committed.
    fn sin_against_what_is_deferred(&mut self) {
        let Some(process) = &mut self.process else { return };
        let all = process.writer.deferred();
        let seqs: Vec<Seq> = match self.sin {
            Some(Sin::AcknowledgesDeferred) => all.map(|store| store.seq).collect(),
            Some(Sin::AcknowledgesAfterTheFirst) => {
                let to_all = |store: &&Store| {
                    let to = process.routes.deliveries(&store.message, None);
                    store.deliveries.len() == to.len()
                };
                all.filter(|store| !to_all(store)).map(|store| store.seq).collect()
            }
            _ => return,
        };
        process.writer.answer_too_early(seqs);
    }

    /// G7 at every moment.
    pub(super) fn look_at_the_columns(&mut self) {
        let Some(process) = &self.process else { return };
        for (account, columns) in self.ledger.accounts.iter_mut().zip(process.counters.lock().bridges.values()) {
            let (left, right) = columns.balance();
            if left != right {
                account.violate(format!("G7: {left} came, {right} are accounted for"));
            }
        }
    }
}
