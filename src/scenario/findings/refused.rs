//! The remote refused messages, or the connection.
use super::case::Case;
use super::{Rule, Said};
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "refused-by-remote",
    mechanism: "The remote answers with a failure code: not authorized, quota exceeded, packet too large, too many in flight. \
                A bridge that repeats such a message for ever blocks what is behind it, and one that drops it loses it.",
    reference: "mosquitto#3002, mosquitto#2301, greengrass-nucleus#852",
    find,
};

fn find(case: &Case<'_>) -> Option<Said> {
    let mut evidence = Vec::new();
    for (counter, what) in [
        ("mqtt_bridge_messages_quarantined", "set aside in quarantine"),
        ("mqtt_bridge_messages_reordered_total", "sent again later after a passing refusal"),
    ] {
        if let Some(count) = case.peak(counter).filter(|count| *count > 0) {
            evidence.push(format!("{counter} reached {count}: {what}"));
        }
    }
    for known in [Known::Quarantined, Known::Refused] {
        if let Some(seen) = case.log().seen(known) {
            evidence.push(format!("the log says that the remote refuses, {}", seen.words()));
        }
    }
    if evidence.is_empty() {
        return None;
    }
    Some(Said {
        title: "The remote refused what the bridge brought".to_owned(),
        evidence,
        advice: "the remote's reason code says what to change there: its ACL, its quota, its maximum packet size or Receive \
                 Maximum; `mqtt-bridge cache list` shows what is in quarantine, `requeue` sends it again"
            .to_owned(),
    })
}
