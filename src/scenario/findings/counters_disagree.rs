//! The subject's own counters contradict each other, or what was seen.
use super::case::Case;
use super::{Rule, Said};

pub(super) const RULE: Rule = Rule {
    name: "counters-disagree",
    mechanism: "A metric that disagrees with what publishers and receivers saw hides losses from whoever watches it.",
    reference: "emqx#11657, iotedge#5438, mosquitto#2097",
    find,
};

fn find(case: &Case<'_>) -> Option<Said> {
    let facts = case.facts();
    let mut evidence = Vec::new();
    if let Some(first) = &facts.first_imbalance {
        evidence.push(format!(
            "{} of {} samples do not add up; the first: {first}",
            facts.imbalances, facts.samples_checked
        ));
    }
    // Counters begin anew with the process.
    if facts.subject_starts <= 1 {
        evidence.extend(against_the_ledger(case));
    }
    if evidence.is_empty() {
        return None;
    }
    Some(Said {
        title: "The bridge's own counters disagree with what was seen".to_owned(),
        evidence,
        advice: "do not watch these counters for losses; report it to the bridge's authors".to_owned(),
    })
}

/// What the last sample says of messages that never arrived.
fn against_the_ledger(case: &Case<'_>) -> Option<String> {
    let lost = case.lost().len() as u64;
    case.facts().settled?;
    let counter = |name: &str| case.counter(&format!("mqtt_bridge_messages_{name}"));
    let elsewhere = ["queued", "in_flight", "quarantined", "dropped_total"].map(|name| counter(name).unwrap_or(0));
    let elsewhere: u64 = elsewhere.into_iter().sum();
    let delivered = counter("delivered_total")?;
    (lost > elsewhere).then(|| {
        format!(
            "{lost} acknowledged messages never arrived; the bridge counts {delivered} delivered, and {elsewhere} queued, in \
             flight, quarantined or dropped"
        )
    })
}
