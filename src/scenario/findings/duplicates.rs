//! What arrived more than once.
use super::case::{Case, Message};
use super::words::{messages, ranges, sent_span};
use super::{Rule, Said};
use crate::scenario::ledger::Facts;
use crate::scenario::log::Known;
use crate::scenario::plan::Parameters;

pub(super) const AFTER_LOST_ACK: Rule = Rule {
    name: "duplicate-after-lost-ack",
    mechanism: "The PUBLISH reached the remote and its acknowledgement did not come back, so the bridge sent it again when it \
                had a connection. That is what QoS 1 promises: at least once.",
    reference: "mosquitto#2248, mosquitto#1467, mosquitto#398",
    find: lost_ack,
};

pub(super) const AT_QOS_2: Rule = Rule {
    name: "duplicate-at-qos2",
    mechanism: "QoS 2 is exactly once only while both sides keep their state: the remote its session with the packet ids, the \
                bridge the ids that it has sent. Where one of them forgets, what was in flight is ambiguous, and sending it \
                again may make it arrive twice.",
    reference: "mosquitto#2165, mosquitto#1726, nanomq#1864",
    find: at_qos_2,
};

fn twice<'a>(case: &Case<'a>, qos: u8) -> Vec<Message<'a>> {
    case.messages().filter(|message| message.qos == qos && message.row.copies() > 1).collect()
}

/// The faults that take acknowledgements away, in words.
fn faults(facts: &Facts) -> String {
    let mut names: Vec<&str> = facts.faults.iter().map(|done| done.fault.kind.name()).collect();
    names.dedup();
    names.join(", ")
}

fn lost_ack(case: &Case<'_>) -> Option<Said> {
    let twice = twice(case, 1);
    if twice.is_empty() {
        return None;
    }
    let mut evidence = vec![format!("{} ({}), published {}", messages(twice.len()), ranges(&twice), sent_span(&twice))];
    let facts = case.facts();
    if !facts.faults.is_empty() {
        let near = twice.iter().filter(|message| in_flight_at_a_fault(facts, message)).count();
        evidence.push(format!("faults: {}; {near} of them arrived first just before or during one", faults(facts)));
    }
    if let Some(repeated) = case.counter("mqtt_bridge_messages_repeated_total").filter(|repeated| *repeated > 0) {
        evidence.push(format!("mqtt_bridge_messages_repeated_total = {repeated}: PUBLISHes sent again with DUP"));
    }
    if let Some(resent) = case.log().seen(Known::Resending) {
        evidence.push(format!("\"resending QoS msg\" {}", resent.words()));
    }
    Some(Said {
        title: format!("{} arrived twice at QoS 1, as a lost PUBACK makes them", messages(twice.len())),
        evidence,
        advice: "QoS 2 where twice is harmful, or receivers that know a message again".to_owned(),
    })
}

fn in_flight_at_a_fault(facts: &Facts, message: &Message<'_>) -> bool {
    let Some(received) = message.row.received() else { return false };
    let near = std::time::Duration::from_secs(1);
    facts.faults.iter().any(|done| received + near >= done.fault.start && received <= done.fault.end + near)
}

fn at_qos_2(case: &Case<'_>) -> Option<Said> {
    let twice = twice(case, 2);
    if twice.is_empty() {
        return None;
    }
    let mut evidence = vec![format!("{} ({}), published {}", messages(twice.len()), ranges(&twice), sent_span(&twice))];
    let lost = case.plan.faults.iter().filter(|fault| fault.parameters == Parameters::Session { lost: true });
    let lost: Vec<_> = lost.map(|fault| format!("{:.1} s", fault.start.as_secs_f64())).collect();
    if !lost.is_empty() {
        evidence.push(format!("the remote lost its sessions at {}", lost.join(", ")));
    }
    if let Some(ambiguous) = case.counter("mqtt_bridge_messages_ambiguous_total") {
        evidence.push(format!("mqtt_bridge_messages_ambiguous_total = {ambiguous}: so many were ambiguous"));
    }
    if let Some(seen) = case.log().seen(Known::SessionLost) {
        evidence.push(format!("the log says \"the remote has lost the session\", {}", seen.words()));
    }
    Some(Said {
        title: format!("{} arrived twice at QoS 2", messages(twice.len())),
        evidence,
        advice:
            "a Session Expiry Interval above the longest outage, at the remote and in the bridge's settings (NanoMQ: \
                 conn_properties.session_expiry_interval, 0 by default), and a remote that keeps its sessions on disk"
                .to_owned(),
    })
}
