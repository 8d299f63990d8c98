//! What the subject counted, against what its publishers and receivers saw.
use std::time::Duration;

use super::checks::{Evidence, check};
use crate::scenario::counters;
use crate::scenario::ledger::Facts;
use crate::scenario::plan::Load;
use crate::scenario::report::model::{Check, TopicReport, Verdict};

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

/// Where the oldest are evicted, what is lost of each load is one range, and its last message is none of it. After the
/// heal rows in flight are passed over: holes behind these there may be as many as there were messages still to come.
pub(super) fn survivors(evidence: &Evidence<'_>) -> Option<Check> {
    if !evidence.plan.expect.lost_if_evicted {
        return None;
    }
    let expected = "the newest of each load";
    if evidence.topics.iter().all(|topic| topic.totals.lost == 0) {
        return Some(check("survivors", Verdict::Pass, expected, "nothing was lost".to_owned()));
    }
    let mut passed_over: u64 = evidence.facts.heal().map_or(0, |heal| {
        evidence.plan.loads.iter().zip(evidence.topics).map(|(load, topic)| due_after(load, topic, heal)).sum()
    });
    let culprit = evidence.topics.iter().find(|topic| {
        let last = topic.lost_ranges.last().map(|range| range.last + 1);
        let holes: u64 = topic.lost_ranges.iter().skip(1).map(|range| range.last + 1 - range.first).sum();
        let too_many = holes > passed_over;
        passed_over = passed_over.saturating_sub(holes);
        too_many || last.is_some_and(|next| next >= topic.totals.intended)
    });
    Some(match culprit {
        Some(topic) => {
            let ranges: Vec<String> =
                topic.lost_ranges.iter().take(3).map(|range| format!("{}..{}", range.first, range.last)).collect();
            let observed = format!("{} lost {}, which are not the oldest alone", topic.topic, ranges.join(" and "));
            check("survivors", Verdict::Fail, expected, observed)
        }
        None => check("survivors", Verdict::Pass, expected, "they are".to_owned()),
    })
}

fn due_after(load: &Load, topic: &TopicReport, heal: Duration) -> u64 {
    (0..topic.totals.intended).rev().take_while(|seq| load.intended(*seq).is_some_and(|due| due >= heal)).count() as u64
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

#[cfg(test)]
mod tests {
    use super::super::judge;
    use super::*;
    use crate::scenario::history::{Event, Role};
    use crate::scenario::report::model::Verdict::{Fail, Inconclusive, Pass};
    use crate::scenario::story::{Story, at, plan};

    /// 16 messages at QoS 1 and 8 at QoS 2.
    fn story(expect: &str) -> Story {
        Story::flawless(plan(&format!(
            "load:\n  - {{ topic: one, qos: 1, qps: 4 }}\n  - {{ topic: two, qos: 2, qps: 2 }}\ntimeline:\n  \
             - {{ at: 0s, do: publish, for: 4s }}\n  - {{ at: 1s, do: cut, for: 2s }}\nexpect: {{ {expect} }}\n"
        )))
    }

    fn counted(story: Story, counters: &[(&str, f64)]) -> Story {
        let values = counters.iter().map(|(name, value)| (format!("mqtt_bridge_{name}_total"), *value)).collect();
        story.and(at(5000, Event::Counters { values }))
    }

    fn verdict_of(name: &str, story: Story) -> (Verdict, String) {
        let plan = story.plan.clone();
        let report = judge(&plan, &story.ledger());
        let check = report.checks.into_iter().find(|check| check.name == name).unwrap();
        (check.verdict, check.observed)
    }

    #[test]
    fn as_many_may_come_twice_as_were_ambiguous() {
        let twice = || story("duplicated: { qos2: ambiguous }").received(3900, 1, 2).received(3901, 1, 3);
        let verdict = |counters: &[(&str, f64)]| verdict_of("duplicated at QoS 2", counted(twice(), counters)).0;
        assert_eq!(verdict(&[("messages_ambiguous", 2.0)]), Pass);
        assert_eq!(verdict(&[("messages_ambiguous", 1.0)]), Fail);
        assert_eq!(verdict(&[]), Inconclusive);
        let started = |story: Story| {
            (0..2).fold(story, |story, pid| story.and(at(0, Event::ProcessStarted { role: Role::Subject, pid })))
        };
        let again = started(counted(twice(), &[("messages_ambiguous", 2.0)]));
        assert_eq!(verdict_of("duplicated at QoS 2", again).0, Inconclusive, "counters begin anew with the process");
    }

    #[test]
    fn what_is_lost_was_evicted_and_is_the_oldest() {
        let lost = |range| counted(story("lost: evicted").never_received(0, range), &[("messages_dropped", 3.0)]);
        assert_eq!(verdict_of("lost", lost(5..=7)).0, Pass);
        assert_eq!(verdict_of("lost", lost(5..=8)).0, Fail);
        assert_eq!(verdict_of("survivors", lost(5..=7)), (Pass, "they are".into()));
        let newest = verdict_of("survivors", lost(13..=15));
        assert_eq!(newest, (Fail, "one lost 13..15, which are not the oldest alone".into()));
        // Six are due after the heal: four of one, two of two. Behind those in flight as many may be evicted.
        let holes = |range| verdict_of("survivors", lost(2..=2).never_received(0, range)).0;
        assert_eq!(holes(6..=11), Pass);
        assert_eq!(holes(6..=12), Fail);
        assert_eq!(verdict_of("survivors", story("lost: evicted")), (Pass, "nothing was lost".into()));
    }

    #[test]
    fn what_is_refused_is_counted_and_does_not_arrive() {
        let refused = |arrives: bool| {
            let story = story("refused: counted").never_acknowledged(0, 5..=6);
            let story = if arrives { story } else { story.never_received(0, 5..=6) };
            [5, 6]
                .iter()
                .fold(story, |story, seq| story.and(at(1500, Event::Refused { load: 0, seq: *seq, reason: 0x97 })))
        };
        let verdict = |story, count| verdict_of("refused", counted(story, &[("publishes_refused", count)]));
        assert_eq!(verdict(refused(false), 2.0), (Pass, "2, as it has counted".into()));
        assert_eq!(verdict(refused(false), 1.0), (Fail, "2, and it has counted 1".into()));
        assert_eq!(verdict(refused(true), 2.0), (Fail, "2 of 2 arrived all the same".into()));
        assert_eq!(verdict_of("refused", refused(false)).0, Inconclusive);
    }
}
