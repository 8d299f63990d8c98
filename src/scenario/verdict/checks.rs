//! The checks: what was expected against what was seen, each with a verdict of its own.
use std::time::Duration;

use super::counted;
use super::doubts::Doubts;
use super::timing::Backlog;
use crate::bridge::units::format_duration;
use crate::scenario::history::Role;
use crate::scenario::ledger::Facts;
use crate::scenario::plan::{Load, Plan};
use crate::scenario::report::model::{Check, TopicReport, Totals, Verdict};

/// What the checks look at.
pub(super) struct Evidence<'a> {
    pub(super) plan: &'a Plan,
    pub(super) facts: &'a Facts,
    pub(super) topics: &'a [TopicReport],
    pub(super) backlog: Option<Backlog>,
    pub(super) doubts: &'a Doubts,
}

pub(super) fn all(evidence: &Evidence<'_>) -> Vec<Check> {
    let (expect, facts) = (&evidence.plan.expect, evidence.facts);
    let twice = Class { of: |totals| totals.duplicated, ..ARRIVED };
    let lost = Class {
        of: |totals| totals.lost,
        tried: |totals| totals.acknowledged,
        nothing: "nothing was acknowledged",
        excuse: Doubts::explain_missing,
    };
    let mut checks = Vec::new();
    let evicted = |lost: u64| lost.saturating_add(counted::evicted(facts).unwrap_or(0));
    let allowed = if expect.lost_if_evicted { expect.lost.map(evicted) } else { expect.lost };
    checks.extend(evidence.count("lost", allowed, |qos| qos > 0, lost));
    checks.extend(evidence.count("duplicated at QoS 1", expect.duplicated_qos1, |qos| qos == 1, twice));
    let ambiguous = |twice: u64| twice.saturating_add(counted::ambiguous(facts).unwrap_or(0));
    let allowed = if expect.duplicated_qos2_if_ambiguous {
        expect.duplicated_qos2.map(ambiguous)
    } else {
        expect.duplicated_qos2
    };
    let check = evidence.count("duplicated at QoS 2", allowed, |qos| qos == 2, twice);
    checks.extend(
        check.map(|check| counted::or_unknown(check, expect.duplicated_qos2_if_ambiguous, counted::ambiguous(facts))),
    );
    checks.extend(evidence.count("out of order", expect.out_of_order, |_| true, ARRIVED));
    checks.extend(drained(evidence));
    checks.extend(first_delivery(evidence));
    checks.extend(late(evidence));
    checks.extend(unexpected(evidence));
    checks.extend(counted::survivors(evidence));
    checks.extend(counted::refused(evidence));
    checks.extend(counters(evidence.facts));
    checks.extend(process(evidence.facts));
    checks
}

/// A class of messages.
#[derive(Clone, Copy)]
struct Class {
    /// How many there are.
    of: fn(&Totals) -> u64,
    /// How many could have been one.
    tried: fn(&Totals) -> u64,
    /// What to say where there were none of these.
    nothing: &'static str,
    /// The doubt that could explain them.
    excuse: for<'a> fn(&'a Doubts, &Load) -> Option<&'a str>,
}

const ARRIVED: Class = Class {
    of: |totals| totals.out_of_order,
    tried: |totals| totals.delivered + totals.late,
    nothing: "nothing arrived",
    excuse: Doubts::explain_arrival,
};

impl Evidence<'_> {
    /// At most so many messages of a class on the loads whose effective QoS is concerned; no check where there are none
    /// of these, or where everything is allowed.
    fn count(&self, name: &str, allowed: Option<u64>, concerned: fn(u8) -> bool, class: Class) -> Option<Check> {
        let allowed = allowed?;
        let (mut certain, mut doubtful, mut tried, mut excuse) = (0, 0, 0, None);
        let loads = self.plan.loads.iter().zip(self.topics).filter(|(_, topic)| concerned(topic.qos));
        for (load, topic) in loads.clone() {
            tried += (class.tried)(&topic.totals);
            let count = (class.of)(&topic.totals);
            match (class.excuse)(self.doubts, load).filter(|_| count > 0) {
                Some(why) => {
                    doubtful += count;
                    excuse = Some(why);
                }
                None => certain += count,
            }
        }
        let seen = certain + doubtful;
        let expected = if allowed == 0 { "0".to_owned() } else { format!("at most {allowed}") };
        let (verdict, observed) = match excuse {
            _ if loads.count() == 0 => return None,
            _ if certain > allowed => (Verdict::Fail, seen.to_string()),
            Some(why) if seen > allowed => (Verdict::Inconclusive, format!("{seen}, but {why}")),
            _ if tried == 0 => (Verdict::Inconclusive, class.nothing.to_owned()),
            _ => (Verdict::Pass, seen.to_string()),
        };
        Some(check(name, verdict, &expected, observed))
    }
}

/// What arrives only after the settle limit; not mentioned where nothing did.
fn late(evidence: &Evidence<'_>) -> Option<Check> {
    evidence.topics.iter().find(|topic| topic.totals.late > 0)?;
    let late = Class { of: |totals| totals.late, excuse: Doubts::explain_missing, ..ARRIVED };
    evidence.count("late", Some(0), |_| true, late)
}

/// What was never sent like that; no doubt explains it, and it is not mentioned where there was none.
fn unexpected(evidence: &Evidence<'_>) -> Option<Check> {
    let on_topics: u64 = evidence.topics.iter().map(|topic| topic.totals.unexpected).sum();
    let count = on_topics + evidence.facts.unexpected_elsewhere;
    let mut observed = count.to_string();
    if !evidence.facts.unexpected_examples.is_empty() {
        observed += &format!(", such as {}", evidence.facts.unexpected_examples.join("; "));
    }
    (count > 0).then(|| check("unexpected", Verdict::Fail, "0", observed))
}

fn drained(evidence: &Evidence<'_>) -> Option<Check> {
    after_heal(evidence, "drained within", evidence.plan.expect.drained_within?, |backlog| {
        match backlog.recovery.drained {
            Some(millis) => Seen::After(millis),
            None if backlog.missing > 0 => {
                Seen::Never(format!("never: {} of {} messages are missing", backlog.missing, backlog.promised))
            }
            None => Seen::NothingToSee("nothing was promised before the heal"),
        }
    })
}

fn first_delivery(evidence: &Evidence<'_>) -> Option<Check> {
    let limit = evidence.plan.expect.first_delivery_within?;
    after_heal(evidence, "first delivery within", limit, |backlog| match backlog.recovery.first_delivery {
        Some(millis) => Seen::After(millis),
        None if backlog.missing > 0 => Seen::Never("nothing arrived after the heal".to_owned()),
        None => Seen::NothingToSee("there was nothing to deliver after the heal"),
    })
}

/// What was seen after the last heal of something that had to happen then.
enum Seen {
    /// It happened after so many milliseconds.
    After(f64),
    /// It did not happen.
    Never(String),
    /// It could not happen.
    NothingToSee(&'static str),
}

fn after_heal(evidence: &Evidence<'_>, name: &str, limit: Duration, seen: fn(&Backlog) -> Seen) -> Option<Check> {
    let (verdict, observed) = match evidence.backlog.as_ref().map(seen) {
        None => (Verdict::Inconclusive, "no fault was healed".to_owned()),
        Some(Seen::NothingToSee(why)) => (Verdict::Inconclusive, why.to_owned()),
        Some(Seen::Never(what)) => (Verdict::Fail, what),
        Some(Seen::After(millis)) => {
            let in_time = millis <= limit.as_secs_f64() * 1000.0;
            (if in_time { Verdict::Pass } else { Verdict::Fail }, format!("{:.3} s", millis / 1000.0))
        }
    };
    let expected = format!("{} of the heal", format_duration(limit));
    match evidence.plan.loads.iter().find_map(|load| evidence.doubts.explain_missing(load)) {
        Some(why) if verdict == Verdict::Fail => {
            Some(check(name, Verdict::Inconclusive, &expected, format!("{observed}, but {why}")))
        }
        _ => Some(check(name, verdict, &expected, observed)),
    }
}

/// The subject's own counters must add up at every moment they were sampled at.
fn counters(facts: &Facts) -> Option<Check> {
    let (verdict, observed) = match &facts.first_imbalance {
        Some(said) => {
            (Verdict::Fail, format!("{} of {} samples do not: {said}", facts.imbalances, facts.samples_checked))
        }
        None => (Verdict::Pass, format!("{} samples do", facts.samples_checked)),
    };
    (facts.samples_checked > 0).then(|| check("counters add up", verdict, "in every sample", observed))
}

/// A subject that ends by itself is at fault, whatever it delivered.
fn process(facts: &Facts) -> Option<Check> {
    let ended = facts.ended.iter().find(|ended| ended.role == Role::Subject)?;
    let observed = format!("it ended by itself at {:.1} s: {}", ended.at.as_secs_f64(), ended.status);
    Some(check("process", Verdict::Fail, "it lives", observed))
}

pub(super) fn check(name: &str, verdict: Verdict, expected: &str, observed: String) -> Check {
    Check { name: name.to_owned(), verdict, expected: expected.to_owned(), observed }
}
