//! The verdict's reason in one line that needs no legend.
use super::timing::Backlog;
use crate::scenario::report::model::{Check, TopicReport, Verdict};

/// How many lost ranges the line names.
const RANGES: usize = 3;

pub(super) fn summary(
    verdict: Verdict,
    checks: &[Check],
    doubts: &[String],
    topics: &[TopicReport],
    backlog: Option<Backlog>,
) -> String {
    match verdict {
        Verdict::Pass => passed(topics, backlog),
        Verdict::Fail => {
            // A backlog of which something is lost never drains: the loss says it already.
            let lost = checks.iter().any(|check| check.name == "lost" && check.verdict == Verdict::Fail);
            let said = checks.iter().filter(|check| check.verdict == Verdict::Fail);
            let said = said.filter(|check| !(lost && check.observed.starts_with("never")));
            said.map(|check| failed(check, topics)).collect::<Vec<_>>().join("; ")
        }
        Verdict::Inconclusive => {
            // Where there are doubts, checks are open because of them.
            let open = checks.iter().filter(|check| check.verdict == Verdict::Inconclusive && doubts.is_empty());
            let open = open.map(|check| format!("{}: {}", check.name, check.observed));
            doubts.iter().cloned().chain(open).collect::<Vec<_>>().join("; ")
        }
    }
}

/// Acknowledged messages, and those of them that did not arrive, at effective QoS 1 and 2.
fn promised(topics: &[TopicReport]) -> (u64, u64) {
    let topics = topics.iter().filter(|topic| topic.qos > 0);
    topics.fold((0, 0), |(acknowledged, lost), topic| {
        (acknowledged + topic.totals.acknowledged, lost + topic.totals.lost)
    })
}

fn passed(topics: &[TopicReport], backlog: Option<Backlog>) -> String {
    let sum = |of: fn(&TopicReport) -> u64| topics.iter().map(of).sum::<u64>();
    let any = |qos| topics.iter().any(|topic| topic.qos == qos);
    let (acknowledged, lost) = promised(topics);
    let mut said = Vec::new();
    if any(1) || any(2) {
        said.push(format!("{} of {acknowledged} acknowledged messages arrived", acknowledged - lost));
    }
    if any(0) {
        let (sent, lost) = topics
            .iter()
            .filter(|topic| topic.qos == 0)
            .fold((0, 0), |(sent, lost), topic| (sent + topic.totals.sent, lost + topic.totals.lost));
        said.push(format!("{} of {sent} at QoS 0 arrived", sent - lost));
    }
    let number = |count: u64| if count == 0 { "none".to_owned() } else { count.to_string() };
    if any(2) {
        let twice = sum(|topic| if topic.qos == 2 { topic.totals.duplicated } else { 0 });
        said.push(format!("{} twice at QoS 2", number(twice)));
    }
    let twice = sum(|topic| if topic.qos == 1 { topic.totals.duplicated } else { 0 });
    if twice > 0 {
        said.push(format!("{twice} twice at QoS 1, as it may be"));
    }
    said.push(format!("{} out of order", number(sum(|topic| topic.totals.out_of_order))));
    for (count, what) in [
        (sum(|topic| topic.totals.refused), "refused"),
        (sum(|topic| topic.totals.unacknowledged), "never acknowledged"),
    ] {
        if count > 0 {
            said.push(format!("{count} {what}"));
        }
    }
    let mut said = said.join(", ");
    if let Some((backlog, drained)) =
        backlog.and_then(|backlog| Some((backlog.recovery.backlog, backlog.recovery.drained?)))
        && backlog > 0
    {
        said += &format!("; backlog of {backlog} drained {} after the heal", seconds(drained));
    }
    said
}

fn failed(check: &Check, topics: &[TopicReport]) -> String {
    let (expected, observed) = (&check.expected, &check.observed);
    match check.name.as_str() {
        "lost" => {
            let (acknowledged, _) = promised(topics);
            format!("lost {observed} of {acknowledged} acknowledged messages ({})", ranges(topics))
        }
        "duplicated at QoS 1" => format!("{} arrived twice at QoS 1", messages(observed)),
        "duplicated at QoS 2" => format!("{} arrived twice at QoS 2", messages(observed)),
        "out of order" => format!("{} arrived out of order", messages(observed)),
        "late" => format!("{} arrived only after the settle limit", messages(observed)),
        "unexpected" => format!("unexpected arrivals: {observed}"),
        "drained within" => format!("backlog drained after {observed}, expected within {expected}"),
        "first delivery within" => format!("first delivery after {observed}, expected within {expected}"),
        "counters add up" => format!("counters do not add up: {observed}"),
        name => format!("{name}: {observed}"),
    }
}

fn messages(number: &str) -> String {
    format!("{number} message{}", if number == "1" { "" } else { "s" })
}

fn ranges(topics: &[TopicReport]) -> String {
    let all = topics.iter().filter(|topic| topic.qos > 0);
    let all = all.flat_map(|topic| topic.lost_ranges.iter().map(move |range| (topic, range)));
    let count = all.clone().count();
    let named = all.take(RANGES).map(|(topic, range)| {
        if range.count == 1 {
            return format!("{} {}", topic.topic, range.first);
        }
        format!("{} {}..{}", topic.topic, range.first, range.last)
    });
    let mut said: Vec<String> = named.collect();
    if count > RANGES {
        said.push("...".to_owned());
    }
    said.join(", ")
}

fn seconds(millis: f64) -> String {
    if millis < 100.0 { format!("{millis:.0} ms") } else { format!("{:.1} s", millis / 1000.0) }
}
