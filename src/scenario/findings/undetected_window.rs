//! Messages published after the link was gone and before the bridge knew.
use std::collections::BTreeSet;
use std::time::Duration;

use super::case::{Case, Message, Noticed};
use super::words::{messages, ranges, seconds};
use super::{Rule, Said, memory_part_lost};
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "undetected-window",
    mechanism: "A silent cut sends neither FIN nor RST: TCP goes on accepting bytes, and the bridge takes the link for good \
                until a PINGREQ stays unanswered. What it took in meanwhile is acknowledged to the publisher and stands \
                nowhere but in memory.",
    reference: "nanomq#1873, nanomq#2295, emqx#19090, hivemq-edge#1290, mosquitto#2230",
    find,
};

/// How long a NanoMQ takes to notice, by its settings.
pub(super) fn expected(case: &Case<'_>) -> Option<Duration> {
    if !case.is_nanomq() {
        return None;
    }
    let keep_alive = case.number("keepalive").map_or(case.plan.bridge.keep_alive, Duration::from_secs);
    Some(keep_alive + Duration::from_millis(case.number("resend_interval").unwrap_or(5000)))
}

fn find(case: &Case<'_>) -> Option<Said> {
    // A queue that is full loses messages for a reason of its own.
    if [Known::QueueFull, Known::Dropped].iter().any(|known| case.log().seen(*known).is_some()) {
        return None;
    }
    // Nor is it the window's fault what the end of the process took with it.
    let taken = memory_part_lost::taken(case);
    let taken = |message: &Message<'_>| {
        taken.iter().any(|(_, _, all)| all.iter().any(|other| (other.load, other.seq) == (message.load, message.seq)))
    };
    // Nor what the remote refuses: where it sets messages aside, of such a topic nothing ever arrives.
    let sets_aside = case.log().seen(Known::Quarantined).is_some();
    let arrives: BTreeSet<u16> =
        case.messages().filter(|message| message.row.received().is_some()).map(|message| message.load).collect();
    let refused = |message: &Message<'_>| sets_aside && !arrives.contains(&message.load);
    let lost = case.lost().into_iter().filter(|message| !taken(message) && !refused(message));
    let lost: Vec<Message<'_>> = lost.collect();
    let mut evidence = Vec::new();
    let mut all: Vec<Message<'_>> = Vec::new();
    for fault in case.silent() {
        let (until, how) = match case.noticed(fault) {
            Noticed::At(at) => (at, "noticed"),
            Noticed::Never => (fault.end, "healed, unnoticed"),
            Noticed::Unknown => match expected(case) {
                Some(after) => ((fault.start + after).min(fault.end), "to be noticed, by its settings"),
                None => continue,
            },
        };
        let within: Vec<_> =
            lost.iter().filter(|message| (fault.start..until).contains(&message.sent)).copied().collect();
        if within.is_empty() {
            continue;
        }
        evidence.push(format!(
            "{} at {}, {how} at {} ({:.1} s later): of {} published meanwhile {} never arrived: {}",
            fault.kind.name(),
            seconds(fault.start),
            seconds(until),
            (until - fault.start).as_secs_f64(),
            messages(case.sent_within(fault.start, until)),
            within.len(),
            ranges(&within),
        ));
        all.extend(within);
    }
    if all.is_empty() {
        return None;
    }
    Some(Said {
        title: format!("{} acknowledged while the link was already dead, and lost", messages(all.len())),
        evidence,
        advice: "a shorter Keep Alive narrows the window and never closes it; only a bridge that commits before it \
                 acknowledges loses nothing in it"
            .to_owned(),
    })
}
