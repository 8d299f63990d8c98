//! What of a subject's report is compared.
use super::rule::{Kind, Value};
use crate::scenario::report::model::{Percentiles, Recovery, SubjectReport, TopicReport, Totals};

/// One measure of a subject.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) value: Value,
}

/// A count that is compared, of one topic.
type Count = (&'static str, Kind, fn(&TopicReport) -> u64);

/// Losses at QoS 0 are counted and not condemned.
const COUNTS: [Count; 12] = [
    ("lost", Kind::Count, |topic| if topic.qos > 0 { topic.totals.lost } else { 0 }),
    ("duplicated at QoS 2", Kind::Count, |topic| if topic.qos == 2 { topic.totals.duplicated } else { 0 }),
    ("duplicated at QoS 1", Kind::Count, |topic| if topic.qos < 2 { topic.totals.duplicated } else { 0 }),
    ("out of order", Kind::Count, |topic| topic.totals.out_of_order),
    ("unexpected", Kind::Count, |topic| topic.totals.unexpected),
    ("late", Kind::Count, |topic| topic.totals.late),
    ("lost at QoS 0", Kind::Shown, |topic| if topic.qos == 0 { topic.totals.lost } else { 0 }),
    ("refused", Kind::Shown, |topic| topic.totals.refused),
    ("unacknowledged", Kind::Shown, |topic| topic.totals.unacknowledged),
    ("recovered", Kind::Shown, |topic| topic.totals.recovered),
    ("sent", Kind::Shown, |topic| topic.totals.sent),
    ("received", Kind::Shown, |topic| topic.totals.received),
];

/// Every measure, the same ones in the same order for every subject.
pub(super) fn measures(subject: &SubjectReport) -> Vec<Measure> {
    let mut measures: Vec<Measure> = COUNTS
        .iter()
        .map(|(name, kind, of)| {
            let mut count: u64 = subject.topics.iter().map(of).sum();
            if *name == "unexpected" {
                // What belongs to no topic is in the totals alone.
                count = subject.totals.unexpected;
            }
            Measure { name: (*name).to_owned(), kind: *kind, value: Value::Number(count as f64) }
        })
        .collect();
    let Recovery { first_delivery, drained, backlog } = subject.recovery_ms;
    // Where nothing was healed there is nothing to wait for.
    let healed = first_delivery.is_some() || backlog > 0 || !subject.timeline.faults.is_empty();
    for (name, time) in [("first delivery after the heal", first_delivery), ("drained after the heal", drained)] {
        let value = match time {
            Some(millis) => Value::Number(millis),
            None if healed => Value::Never,
            None => Value::Absent,
        };
        measures.push(Measure { name: name.to_owned(), kind: Kind::Recovery, value });
    }
    let latency = &subject.latency_ms;
    for (phase, percentiles) in
        [("before the fault", latency.before), ("during", latency.during), ("after the heal", latency.after)]
    {
        for (name, kind, of) in PERCENTILES {
            let value = percentiles.as_ref().map_or(Value::Absent, |percentiles| Value::Number(of(percentiles)));
            measures.push(Measure { name: format!("latency {phase}, {name}"), kind, value });
        }
    }
    measures
}

type Percentile = (&'static str, Kind, fn(&Percentiles) -> f64);

/// The longest is one message's, and is shown only.
const PERCENTILES: [Percentile; 4] = [
    ("p50", Kind::Latency, |percentiles| percentiles.p50),
    ("p95", Kind::Latency, |percentiles| percentiles.p95),
    ("p99", Kind::Latency, |percentiles| percentiles.p99),
    ("max", Kind::Shown, |percentiles| percentiles.max),
];

/// On which topics a count differs: `test1 +365, test2 +74`.
pub(super) fn by_topic(measure: &str, before: &SubjectReport, after: &SubjectReport) -> String {
    let Some((_, _, of)) = COUNTS.iter().find(|(name, _, _)| *name == measure) else { return String::new() };
    let differing = after.topics.iter().filter_map(|topic| {
        let same = |other: &&TopicReport| (&other.topic, other.via) == (&topic.topic, topic.via);
        let before = before.topics.iter().find(same).map_or(0, of);
        let difference = i128::from(of(topic)) - i128::from(before);
        (difference != 0).then(|| format!("{} {difference:+}", topic.topic))
    });
    differing.collect::<Vec<_>>().join(", ")
}

/// What was to be published, which counts are shares of.
pub(super) fn intended(totals: &Totals) -> u64 {
    totals.intended.max(1)
}

/// Whether as many were lost, as a share: a message that never arrives has no latency, so that whoever loses the late ones
/// would look fast, and whoever brings them slow.
pub(super) fn as_many_arrived(before: &Totals, after: &Totals) -> bool {
    let share = |one: &Totals, other: &Totals| u128::from(one.lost) * u128::from(intended(other));
    share(before, after) == share(after, before)
}
