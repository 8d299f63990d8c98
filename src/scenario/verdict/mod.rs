//! The verdict: a plan and a ledger in, a report out; pure, so that a recorded run can be judged again.
//!
//! Every message is in one class (`tally`), every expectation is a check with three values (`checks`), and doubts
//! are weighed against what they could explain (`doubts`). Together: **fail** where a check failed; else
//! **inconclusive** where a check could not be concluded or there is a doubt; else **pass**.
mod checks;
mod counted;
mod doubts;
mod summary;
mod tally;
mod timing;

pub(super) use tally::{Fate, effective_qos, fate};
pub(super) use timing::latencies;

use super::findings::{self, Case};
use super::history::VIRTUAL;
use super::ledger::Ledger;
use super::plan::Plan;
use super::report::model::{FaultSpan, Recovery, Report, SubjectReport, Timeline, TopicReport, Totals, Verdict};

/// Judges one subject.
pub fn judge(plan: &Plan, ledger: &Ledger) -> SubjectReport {
    let facts = ledger.facts();
    let faults = facts.faults();
    let topic = |(index, load): (usize, &super::plan::Load)| TopicReport {
        topic: load.topic.clone(),
        qos: tally::effective_qos(load),
        via: load.via,
        totals: tally::totals(load, index, ledger),
        lost_ranges: tally::lost_ranges(load, index, ledger, &faults),
    };
    let topics: Vec<TopicReport> = plan.loads.iter().enumerate().map(topic).collect();
    let mut totals = Totals { unexpected: facts.unexpected_elsewhere, ..Totals::default() };
    topics.iter().for_each(|topic| totals += topic.totals);

    let backlog = timing::backlog(plan, ledger);
    let doubts = doubts::Doubts::of(plan, ledger);
    let checks = checks::all(&checks::Evidence { plan, facts, topics: &topics, backlog, doubts: &doubts });
    let doubts = doubts.all();
    let doubted = if doubts.is_empty() { Verdict::Pass } else { Verdict::Inconclusive };
    let verdict = Verdict::all(checks.iter().map(|check| check.verdict).chain([doubted]));
    let summary = summary::summary(verdict, &checks, &doubts, &topics, backlog);

    let findings = findings::all(&Case { plan, ledger, totals, doubts: &doubts });

    let run = facts.run.clone().unwrap_or_default();
    let span = |done: &super::ledger::Done| FaultSpan {
        kind: done.fault.kind,
        on: done.fault.on,
        start_s: done.fault.start.as_secs_f64(),
        end_s: done.fault.end.as_secs_f64(),
        waited_for: plan.faults.get(done.index).and_then(|fault| fault.when).map(super::plan::When::words),
    };
    SubjectReport {
        name: run.subject,
        version: run.version,
        artifacts: run.artifacts,
        unexpressed: run.unexpressed,
        verdict,
        summary,
        checks,
        doubts,
        totals,
        latency_ms: timing::latency(plan, ledger, &faults),
        recovery_ms: backlog.map_or(Recovery::default(), |backlog| backlog.recovery),
        counters: facts.last_counters.clone().unwrap_or_default(),
        findings,
        timeline: Timeline {
            received_per_second: ledger.received_per_second().to_vec(),
            faults: facts.faults.iter().map(span).collect(),
        },
        topics,
    }
}

/// Judges a whole run: the ledgers of its subjects, each with the subject's name, in the order they were tried.
pub fn report(plan: &Plan, ledgers: &[(String, Ledger)]) -> Report {
    let judged = ledgers.iter().map(|(name, ledger)| SubjectReport { name: name.clone(), ..judge(plan, ledger) });
    let subjects: Vec<SubjectReport> = judged.collect();
    let runs = ledgers.iter().filter_map(|(_, ledger)| ledger.facts().run.clone());
    // A simulated subject has no environment; beside others it is theirs that is shown.
    let run = runs.min_by_key(|run| run.environment == VIRTUAL).unwrap_or_default();
    Report {
        scenario: plan.name.clone(),
        about: plan.about.clone(),
        environment: run.environment,
        because: run.because,
        approximated: run.approximated,
        remote: run.remote,
        seed: plan.seed,
        // A run of nothing shows nothing.
        verdict: match subjects.is_empty() {
            true => Verdict::Inconclusive,
            false => Verdict::all(subjects.iter().map(|subject| subject.verdict)),
        },
        subjects,
    }
}

#[cfg(test)]
mod tests;
