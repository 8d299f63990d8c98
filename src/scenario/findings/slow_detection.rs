//! A dead link was taken for good for long.
use std::time::Duration;

use super::case::{Case, Noticed};
use super::words::seconds;
use super::{Rule, Said};
use crate::scenario::log::Program;

pub(super) const RULE: Rule = Rule {
    name: "slow-detection",
    mechanism: "Without FIN or RST only the Keep Alive tells that a link is dead, and its time-out is counted from the last \
                packet. TCP itself gives up after minutes, since its retransmissions come ever later.",
    reference: "mosquitto#2230, mosquitto#539, emqx#19090, emqx#19123",
    find,
};

/// Beyond this the detection is what the outage is remembered for.
const LONG: Duration = Duration::from_secs(6);

fn find(case: &Case<'_>) -> Option<Said> {
    let mut evidence = Vec::new();
    let mut longest = Duration::ZERO;
    for fault in case.silent() {
        let (after, said) = match case.noticed(fault) {
            Noticed::At(at) => (at - fault.start, format!("noticed at {}", seconds(at))),
            Noticed::Never => (fault.length(), "not noticed while it held".to_owned()),
            Noticed::Unknown => continue,
        };
        if after >= LONG {
            longest = longest.max(after);
            evidence.push(format!(
                "{} at {}: {said}, {:.1} s later",
                fault.kind.name(),
                seconds(fault.start),
                after.as_secs_f64()
            ));
        }
    }
    if evidence.is_empty() {
        return None;
    }
    let own = ["keepalive", "resend_interval", "keepalive_interval"];
    let own: Vec<String> = own.into_iter().filter_map(|key| Some(format!("{key} = {}", case.setting(key)?))).collect();
    if own.is_empty() {
        evidence.push(format!("the scenario's keep_alive = {}", seconds(case.plan.bridge.keep_alive)));
    }
    evidence.extend(own);
    Some(Said {
        title: format!("The bridge took a dead link for good for {:.1} s", longest.as_secs_f64()),
        evidence,
        advice: match case.log().program() {
            Some(Program::Nanomq) => "a shorter keepalive, and a resend_interval far below it: both are waited for",
            Some(Program::Mosquitto) => {
                "keepalive_interval 5 is mosquitto's least; bridge_tcp_user_timeout where there is one"
            }
            _ => "a shorter Keep Alive",
        }
        .to_owned(),
    })
}
