//! The link was good again, and the bridge did not come back.
use std::time::Duration;

use super::case::Case;
use super::words::seconds;
use super::{Rule, Said};
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "slow-reconnect",
    mechanism: "Between attempts a bridge waits longer each time, and a heal is noticed at the next attempt. An attempt that \
                hangs at the heal, in connect or in a name that does not resolve, adds its own time-out.",
    reference: "nanomq#1741, mosquitto#2097",
    find,
};

const LONG: Duration = Duration::from_secs(2);

fn find(case: &Case<'_>) -> Option<Said> {
    let heal = case.heal()?;
    let arrived = case.messages().filter_map(|message| message.row.received()).filter(|at| *at >= heal).min();
    // It was never away: what comes late then has other reasons.
    let down = case.log().link_changes().iter().rev().find(|(at, _)| *at <= heal).is_some_and(|(_, up)| !up);
    let linked = case.linked_after(heal).filter(|_| down)?;
    // A log may be dated by whole seconds, and what arrives proves a link.
    let linked = arrived.map_or(linked, |arrived| arrived.min(linked));
    let after = linked.saturating_sub(heal);
    if after < LONG {
        return None;
    }
    let mut evidence = vec![format!("healed at {}, link back at {}", seconds(heal), seconds(linked))];
    if let Some(arrived) = arrived {
        evidence.push(format!("first arrival at {}", seconds(arrived)));
    }
    if let Some(seen) = case.log().seen(Known::Backoff) {
        let longest =
            case.log().longest_wait().map_or(String::new(), |wait| format!("; the longest wait {}", seconds(wait)));
        evidence.push(format!("\"reconnect to ... in N ms\" {}{longest}", seen.words()));
    }
    if let Some(seen) = case.log().seen(Known::NoName) {
        evidence.push(format!("the remote's name did not resolve, {}", seen.words()));
    }
    if let Some(seen) = case.log().seen(Known::Connecting) {
        evidence.push(format!("\"Connecting bridge\" {}", seen.words()));
    }
    let own = ["backoff_max", "restart_timeout"];
    evidence.extend(own.into_iter().filter_map(|key| Some(format!("{key} = {}", case.setting(key)?))));
    Some(Said {
        title: format!("The bridge came back {:.1} s after the heal", after.as_secs_f64()),
        evidence,
        advice: "a shorter longest wait (NanoMQ: backoff_max, mosquitto: restart_timeout), and a resolver that answers at once \
                 (in containers `dns_options: timeout:1, attempts:1`)"
            .to_owned(),
    })
}
