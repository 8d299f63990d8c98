//! `report.json`.
use super::model::Report;

/// The report as JSON with line breaks.
///
/// # Errors
/// Where a number cannot be written in JSON; no report has such a number.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::scenario::history::Event;
    use crate::scenario::report::model::Finding;
    use crate::scenario::story::{Story, at, plan};
    use crate::scenario::verdict;

    /// Every path in a JSON value with its type; the entries of a list are all taken to be like the first.
    fn schema(path: &str, value: &Value, lines: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| schema(&format!("{path}.{key}"), value, lines)),
            Value::Array(list) => list.iter().take(1).for_each(|value| schema(&format!("{path}[]"), value, lines)),
            Value::String(_) => lines.push(format!("{path}: string")),
            Value::Number(_) => lines.push(format!("{path}: number")),
            Value::Bool(_) => lines.push(format!("{path}: truth")),
            Value::Null => lines.push(format!("{path}: null")),
        }
    }

    #[test]
    fn the_schema_is_what_others_rely_on() {
        let scenario = "load:\n  - { topic: t, qps: 5 }\ntimeline:\n  - { at: 0s, do: publish, for: 4s }\n  \
            - { at: 1s, do: cut, for: 2s }\n";
        let story = Story::flawless(plan(scenario)).never_received(0, 6..=8);
        let counters = Event::Counters { values: [("queued".to_owned(), 1.0)].into() };
        let story = story.and(at(9, counters)).and(at(9, Event::Doubt { why: "why".into() }));
        let mut report = verdict::report(&plan(scenario), &[("mqtt-bridge".to_owned(), story.ledger())]);
        report.approximated.push("how".into());
        report.because = Some("why".into());
        report.subjects[0].unexpressed.push("what".into());
        report.subjects[0].artifacts.insert("remote".into(), "image".into());
        let word = String::new;
        let finding =
            Finding { rule: word(), title: word(), evidence: vec![word()], advice: word(), reference: word() };
        report.subjects[0].findings.push(finding);
        let text = render(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let mut lines = Vec::new();
        schema("", &serde_json::from_str(&text).unwrap(), &mut lines);
        insta::assert_snapshot!(lines.join("\n"), @r#"
.about: string
.approximated[]: string
.because: string
.environment: string
.remote: string
.scenario: string
.seed: number
.subjects[].artifacts.remote: string
.subjects[].checks[].expected: string
.subjects[].checks[].name: string
.subjects[].checks[].observed: string
.subjects[].checks[].verdict: string
.subjects[].counters.queued: number
.subjects[].doubts[]: string
.subjects[].findings[].advice: string
.subjects[].findings[].evidence[]: string
.subjects[].findings[].reference: string
.subjects[].findings[].rule: string
.subjects[].findings[].title: string
.subjects[].latency_ms.after.max: number
.subjects[].latency_ms.after.p50: number
.subjects[].latency_ms.after.p95: number
.subjects[].latency_ms.after.p99: number
.subjects[].latency_ms.before.max: number
.subjects[].latency_ms.before.p50: number
.subjects[].latency_ms.before.p95: number
.subjects[].latency_ms.before.p99: number
.subjects[].latency_ms.during.max: number
.subjects[].latency_ms.during.p50: number
.subjects[].latency_ms.during.p95: number
.subjects[].latency_ms.during.p99: number
.subjects[].name: string
.subjects[].recovery_ms.backlog: number
.subjects[].recovery_ms.drained: null
.subjects[].recovery_ms.first_delivery: number
.subjects[].summary: string
.subjects[].timeline.faults[].end_s: number
.subjects[].timeline.faults[].kind: string
.subjects[].timeline.faults[].on: string
.subjects[].timeline.faults[].start_s: number
.subjects[].timeline.received_per_second[]: number
.subjects[].topics[].acknowledged: number
.subjects[].topics[].delivered: number
.subjects[].topics[].duplicated: number
.subjects[].topics[].intended: number
.subjects[].topics[].late: number
.subjects[].topics[].lost: number
.subjects[].topics[].lost_ranges[].count: number
.subjects[].topics[].lost_ranges[].during[]: string
.subjects[].topics[].lost_ranges[].first: number
.subjects[].topics[].lost_ranges[].last: number
.subjects[].topics[].lost_ranges[].published_s[]: number
.subjects[].topics[].out_of_order: number
.subjects[].topics[].qos: number
.subjects[].topics[].received: number
.subjects[].topics[].recovered: number
.subjects[].topics[].refused: number
.subjects[].topics[].refused_and_received: number
.subjects[].topics[].sent: number
.subjects[].topics[].topic: string
.subjects[].topics[].unacknowledged: number
.subjects[].topics[].unexpected: number
.subjects[].topics[].via: string
.subjects[].totals.acknowledged: number
.subjects[].totals.delivered: number
.subjects[].totals.duplicated: number
.subjects[].totals.intended: number
.subjects[].totals.late: number
.subjects[].totals.lost: number
.subjects[].totals.out_of_order: number
.subjects[].totals.received: number
.subjects[].totals.recovered: number
.subjects[].totals.refused: number
.subjects[].totals.refused_and_received: number
.subjects[].totals.sent: number
.subjects[].totals.unacknowledged: number
.subjects[].totals.unexpected: number
.subjects[].unexpressed[]: string
.subjects[].verdict: string
.subjects[].version: string
.verdict: string
"#);
    }
}
