//! What the subject counted, against what its publishers and receivers saw.
use super::checks::{Evidence, check};
use crate::scenario::counters;
use crate::scenario::ledger::Facts;
use crate::scenario::report::model::{Check, Verdict};

/// Messages that it has given up, whatever the reason. `None`: it does not count them, or not from the beginning.
pub(super) fn evicted(facts: &Facts) -> Option<u64> {
    whole(facts, "mqtt_bridge_messages_dropped_total")
}

/// QoS 2 messages that it has sent again although the remote may have had them.
pub(super) fn ambiguous(facts: &Facts) -> Option<u64> {
    whole(facts, "mqtt_bridge_messages_ambiguous_total")
}

/// A counter of the whole run: it begins at zero with the process, so one start is all that may have been.
fn whole(facts: &Facts, counter: &str) -> Option<u64> {
    let sample = facts.last_counters.as_ref().filter(|_| facts.subject_starts <= 1)?;
    counters::sum(sample, counter)
}

/// A subject that does not count what it is allowed: more than none of it proves nothing.
pub(super) fn or_unknown(check: Check, asked: bool, counted: Option<u64>) -> Check {
    if !asked || counted.is_some() || check.verdict != Verdict::Fail {
        return check;
    }
    let observed = format!("{}, and how many were ambiguous it does not count", check.observed);
    Check { verdict: Verdict::Inconclusive, observed, ..check }
}

/// Where the oldest are evicted, what is lost of each load is one range, and the last message before the heal is none
/// of it.
pub(super) fn survivors(evidence: &Evidence<'_>) -> Option<Check> {
    if !evidence.plan.expect.lost_if_evicted {
        return None;
    }
    let expected = "the newest of each load";
    if evidence.topics.iter().all(|topic| topic.totals.lost == 0) {
        return Some(check("survivors", Verdict::Pass, expected, "nothing was lost".to_owned()));
    }
    let holes = evidence.topics.iter().find(|topic| {
        let last = topic.lost_ranges.last().map(|range| range.last + 1);
        topic.lost_ranges.len() > 1 || last.is_some_and(|next| next >= topic.totals.intended)
    });
    Some(match holes {
        Some(topic) => {
            let ranges: Vec<String> =
                topic.lost_ranges.iter().take(3).map(|range| format!("{}..{}", range.first, range.last)).collect();
            let observed = format!("{} lost {}, which are not the oldest alone", topic.topic, ranges.join(" and "));
            check("survivors", Verdict::Fail, expected, observed)
        }
        None => check("survivors", Verdict::Pass, expected, "they are".to_owned()),
    })
}

/// Refusals: as many as the subject has counted, and none of a message that then arrived.
pub(super) fn refused(evidence: &Evidence<'_>) -> Option<Check> {
    if !evidence.plan.expect.refused_as_counted {
        return None;
    }
    let (name, expected) = ("refused", "as many as the bridge has counted, and none of them arrives");
    let total = |of: fn(&crate::scenario::report::model::Totals) -> u64| -> u64 {
        evidence.topics.iter().map(|topic| of(&topic.totals)).sum()
    };
    let (seen, arrived) = (total(|totals| totals.refused), total(|totals| totals.refused_and_received));
    let counted = whole(evidence.facts, "mqtt_bridge_publishes_refused_total");
    Some(match counted {
        _ if arrived > 0 => check(name, Verdict::Fail, expected, format!("{arrived} of {seen} arrived all the same")),
        None => check(name, Verdict::Inconclusive, expected, format!("{seen}, and it does not count them")),
        Some(counted) if counted == seen => check(name, Verdict::Pass, expected, format!("{seen}, as it has counted")),
        Some(counted) => check(name, Verdict::Fail, expected, format!("{seen}, and it has counted {counted}")),
    })
}
