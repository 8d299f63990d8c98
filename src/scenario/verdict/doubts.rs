//! What casts doubt on a run, and which observations each doubt could explain.
//!
//! The rule: **a doubt that could explain an observation takes its force as evidence; a doubt that could not leaves it
//! alone; and no run with a doubt passes.** A message missing at a receiver that was disconnected proves nothing; a
//! message received twice at QoS 2 proves the same whether or not the load was on time.
use std::time::Duration;

use super::timing::percentiles;
use crate::scenario::history::Role;
use crate::scenario::ledger::{Ledger, received_at};
use crate::scenario::plan::{Fault, Load, Plan, Side};

/// A publisher later than this (99 of 100 messages must not be) did not make the load that the plan asks for. Far above
/// what a busy machine does to a timer, far below what changes a story.
const DRIFT_LIMIT: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Could explain anything: what the runner itself reported.
    anything: Vec<String>,
    /// A receiver was away: explains what is missing there, and what came twice or in another order after its return.
    away: Vec<(Side, String)>,
    /// The run was not finished: explains what has not arrived.
    unfinished: Vec<String>,
    /// The load was not what it should have been: explains nothing, but it was not the run that was asked for.
    other: Vec<String>,
}

impl Doubts {
    pub(super) fn of(plan: &Plan, ledger: &Ledger) -> Self {
        let facts = ledger.facts();
        let mut doubts = Self { anything: facts.doubts.clone(), ..Self::default() };
        for side in [Side::Remote, Side::Bridge] {
            if plan.loads.iter().all(|load| received_at(load) != side) {
                continue;
            }
            let place = if side == Side::Remote { "remote" } else { "bridge" };
            if !facts.had_receiver(side) {
                doubts.away.push((side, format!("there never was a receiver at the {place}")));
            } else if let Some(gone) = facts.receiver_gone(side) {
                let at = gone.at.as_secs_f64();
                doubts
                    .away
                    .push((side, format!("the receiver at the {place} was disconnected at {at:.1} s: {}", gone.why)));
            }
        }
        for ended in facts.ended.iter().filter(|ended| ended.role == Role::Remote) {
            let at = ended.at.as_secs_f64();
            doubts.anything.push(format!("the remote ended by itself at {at:.1} s: {}", ended.status));
        }
        if facts.interrupted {
            doubts.unfinished.push(format!("interrupted at {:.1} s", facts.last.as_secs_f64()));
        } else if facts.settled.is_none() {
            doubts.unfinished.push(match facts.run {
                Some(_) => format!("the history ends at {:.1} s, before the run was over", facts.last.as_secs_f64()),
                None => "it was not run".to_owned(),
            });
        } else {
            doubts.other.extend(not_done(plan, ledger));
        }
        if doubts.unfinished.is_empty() {
            for (index, load) in plan.loads.iter().enumerate() {
                doubts.other.extend(behind(load, index, ledger));
            }
        }
        doubts
    }

    /// Why a message of this load that has not arrived may have an innocent reason.
    pub(super) fn explain_missing(&self, load: &Load) -> Option<&str> {
        self.explain_arrival(load).or_else(|| first(&self.unfinished))
    }

    /// Why a message of this load that arrived twice, or out of order, may have an innocent reason.
    pub(super) fn explain_arrival(&self, load: &Load) -> Option<&str> {
        let away = self.away.iter().find(|(side, _)| *side == received_at(load)).map(|(_, why)| why.as_str());
        first(&self.anything).or(away)
    }

    /// All of them, the gravest first.
    pub(super) fn all(&self) -> Vec<String> {
        let away = self.away.iter().map(|(_, why)| why);
        self.unfinished.iter().chain(&self.anything).chain(away).chain(&self.other).cloned().collect()
    }
}

/// The faults that were to be done and were not.
fn not_done(plan: &Plan, ledger: &Ledger) -> Vec<String> {
    let done = &ledger.facts().faults;
    let planned = plan.faults.iter().enumerate();
    let missing: Vec<&Fault> =
        planned.filter(|(index, _)| done.iter().all(|done| done.index != *index)).map(|(_, fault)| fault).collect();
    let waited = missing.iter().filter_map(|fault| {
        Some(format!("the {} never began: it never came to {}", fault.kind.name(), fault.when?.words()))
    });
    let at_their_moment = missing.iter().filter(|fault| fault.when.is_none()).count();
    let some = format!("{} of {} faults were done", done.len(), plan.faults.len());
    waited.chain((at_their_moment > 0).then_some(some)).collect()
}

fn first(reasons: &[String]) -> Option<&str> {
    reasons.first().map(String::as_str)
}

/// How a load was not what it should have been. A publisher that lost its connection may be late: that is part of the
/// story where the subject is killed.
fn behind(load: &Load, index: usize, ledger: &Ledger) -> Option<String> {
    let kept = ledger.facts().publisher_losses.get(index).is_none_or(|losses| *losses == 0);
    let mut drifts: Vec<Duration> = Vec::new();
    let mut not_sent = 0u64;
    for (seq, row) in ledger.rows(index) {
        match (row.sent(), load.intended(seq)) {
            (Some(sent), Some(intended)) => drifts.push(sent.saturating_sub(intended)),
            _ => not_sent += 1,
        }
    }
    let (topic, intended) = (&load.topic, load.count());
    if drifts.is_empty() {
        return Some(format!("nothing was sent on {topic}"));
    }
    if not_sent > 0 && kept {
        return Some(format!(
            "{not_sent} of {intended} messages on {topic} were never sent, though its publisher was connected"
        ));
    }
    let p99 = percentiles(&drifts)?.p99;
    let late = kept && p99 > DRIFT_LIMIT.as_secs_f64() * 1000.0;
    late.then(|| {
        format!("the load on {topic} was behind its schedule: one message in a hundred by {p99:.0} ms or more")
    })
}
