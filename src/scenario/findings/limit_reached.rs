//! A limit was reached: messages were evicted, or refused at the door.
use super::case::Case;
use super::words::{messages, ranges, seconds, sent_span};
use super::{Rule, Said};
use crate::scenario::counters;
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "limit-reached",
    mechanism: "The queue for the remote has a limit, and more messages came than it holds. What is evicted was acknowledged \
                and is lost; what is refused with a reason code was promised to nobody.",
    reference: "mosquitto#1729, mosquitto#2647, mosquitto#2256, nanomq#2052, thin-edge#3083",
    find,
};

fn find(case: &Case<'_>) -> Option<Said> {
    let facts = case.facts();
    let dropped: u64 = ["evicted", "full", "expired"].into_iter().map(|reason| dropped(case, reason)).sum();
    let refused = case.totals.refused;
    let queue_full = case.log().seen(Known::QueueFull);
    let said_dropped = case.log().seen(Known::Dropped);
    let limited = dropped > 0 || queue_full.is_some() || said_dropped.is_some();
    if !limited && refused == 0 {
        return None;
    }
    let lost = case.lost();
    let mut evidence = Vec::new();
    if let Some(seen) = queue_full {
        let said = "\"Outgoing messages are being dropped for client\"";
        evidence.push(format!("the log says {said} {}; it does not say how many", seen.words()));
    }
    if let Some(seen) = said_dropped {
        evidence.push(format!("the log says what a limit dropped, {}", seen.words()));
    }
    for reason in ["evicted", "full", "expired"] {
        let count = self::dropped(case, reason);
        if count > 0 {
            evidence.push(format!("mqtt_bridge_messages_dropped_total{{reason=\"{reason}\"}} = {count}"));
        }
    }
    if refused > 0 {
        let answered: Vec<_> = case.messages().filter(|message| message.row.refused()).collect();
        evidence.push(format!("{refused} were refused, and their publishers told, {}", sent_span(&answered)));
    }
    // What was refused alone says nothing of what is lost.
    let lost = if limited { lost } else { Vec::new() };
    if !lost.is_empty() {
        evidence.push(format!("lost: {} ({}), published {}", lost.len(), ranges(&lost), sent_span(&lost)));
    }
    let keys = ["max_queued_messages", "max_queued_bytes", "disk_cache_size"];
    evidence.extend(keys.into_iter().filter_map(|key| Some(format!("{key} = {}", case.setting(key)?))));
    if let Some(limit) = case.plan.bridge.max_messages {
        evidence.push(format!("the scenario's cache.max_messages = {limit}"));
    }
    if let Some(fault) = facts.faults.iter().map(|done| &done.fault).max_by_key(|fault| fault.length()) {
        evidence.push(format!(
            "the longest fault ({}) held from {} to {}",
            fault.kind.name(),
            seconds(fault.start),
            seconds(fault.end)
        ));
    }
    let title = match (lost.len(), refused) {
        (0, 0) => "A queue's limit was reached; nothing that was acknowledged is lost".to_owned(),
        (0, refused) => format!("{} refused at the door: promised to nobody", messages(refused as usize)),
        (lost, _) => format!("The queue's limit was reached: {} dropped that had been acknowledged", messages(lost)),
    };
    Some(Said {
        title,
        evidence,
        advice: "a limit of at least the longest outage times the rate; or a policy that refuses (MQTT 5: 0x97) what does not \
                 fit, so that publishers know"
            .to_owned(),
    })
}

fn dropped(case: &Case<'_>, reason: &str) -> u64 {
    let Some(sample) = &case.facts().last_counters else { return 0 };
    let wanted = format!("reason=\"{reason}\"");
    let named = sample
        .iter()
        .filter(|(name, _)| counters::metric(name) == "mqtt_bridge_messages_dropped_total" && name.contains(&wanted));
    named.map(|(_, value)| *value as u64).sum()
}
