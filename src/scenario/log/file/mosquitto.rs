//! What is behind the lines of mosquitto's log, as far as its bridge is concerned.
use super::past::Past;
use crate::scenario::log::{Known, moment};
use crate::scenario::report::model::Finding;

pub(super) fn findings(past: &Past) -> Vec<Finding> {
    [queue_full(past), killed(past), away(past)].into_iter().flatten().collect()
}

fn dated(known: Known, past: &Past) -> Option<String> {
    let seen = past.tally.seen(known)?;
    Some(format!("{} times, {} to {}", seen.count, moment::words(seen.first), moment::words(seen.last)))
}

fn finding(rule: &str, title: &str, evidence: Vec<String>, advice: &str, reference: &str) -> Finding {
    let [rule, title, advice, reference] = [rule, title, advice, reference].map(str::to_owned);
    Finding { rule, title, evidence, advice, reference }
}

fn queue_full(past: &Past) -> Option<Finding> {
    let seen = dated(Known::QueueFull, past)?;
    let evidence = vec![format!("\"Outgoing messages are being dropped for client\" {seen}; said once for each spell")];
    Some(finding(
        "limit-reached",
        "A queue was full and messages were dropped; how many the log does not say",
        evidence,
        "max_queued_messages (default 1000) of at least the longest outage times the rate; `local.` before the client's name \
         is the bridge",
        "mosquitto#1729, mosquitto#2647, mosquitto#2256",
    ))
}

fn killed(past: &Past) -> Option<Finding> {
    let first = past.ended_offline.first()?;
    let mut evidence = vec![format!(
        "mosquitto was started again without having said `terminating`, while its bridge had no link: {} time(s), first at {}",
        past.ended_offline.len(),
        moment::words(*first)
    )];
    match dated(Known::Saved, past) {
        Some(saved) => evidence.push(format!("its queues were written to disk {saved}")),
        None => {
            evidence.push("its queues were never written to disk: no line \"Saving in-memory database\"".to_owned())
        }
    }
    Some(finding(
        "memory-part-lost",
        "What was queued since the last save is lost",
        evidence,
        "persistence true, with autosave_interval 1 and autosave_on_changes true",
        "mosquitto#2666, mosquitto#1855, mosquitto#3394",
    ))
}

fn away(past: &Past) -> Option<Finding> {
    let attempts = past.tally.seen(Known::Connecting).filter(|seen| seen.count > 2)?;
    let mut evidence = vec![format!("\"Connecting bridge\" {}", dated(Known::Connecting, past).unwrap_or_default())];
    if let Some((outage, length)) = past.longest_outage() {
        evidence.push(format!("no link from {} for {} s at the longest", moment::words(outage.from), length.as_secs()));
    }
    for (known, what) in [(Known::Timeout, "the link was silently dead"), (Known::DialFailed, "connecting failed")] {
        evidence.extend(dated(known, past).map(|seen| format!("{what} {seen}")));
    }
    Some(finding(
        "slow-reconnect",
        &format!("The bridge was away, and tried to connect {} times", attempts.count),
        evidence,
        "restart_timeout says how long it waits; keepalive_interval (60 s by default) how late it notices a silent cut",
        "mosquitto#2230, mosquitto#2097",
    ))
}

pub(super) fn unknown() -> Vec<String> {
    vec![
        "which messages, and how many: a full queue is said once, not once a message".to_owned(),
        "when a cut began: the log has the moment when it was noticed".to_owned(),
        "whether an attempt to connect came through: mosquitto does not say that its bridge is connected".to_owned(),
        "duplicates and order".to_owned(),
    ]
}
