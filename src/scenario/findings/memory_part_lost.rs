//! What a bridge held in memory alone when its process ended.
use std::time::Duration;

use super::case::{Case, Message};
use super::words::{messages, ranges, seconds, sent_span};
use super::{Rule, Said};
use crate::scenario::plan::{FaultKind, Side};

pub(super) const RULE: Rule = Rule {
    name: "memory-part-lost",
    mechanism: "The cache is written to disk in lumps, and what came since the last one stands in memory alone, though it is \
                acknowledged. A process that is killed loses it; NanoMQ loses it at SIGTERM too, for its handler does not \
                flush.",
    reference: "nanomq#1741, mosquitto#2666, mosquitto#1855, vernemq#2098",
    find,
};

/// What each end of the process took with it: when, how, and the messages.
pub(super) fn taken<'a>(case: &Case<'a>) -> Vec<(Duration, String, Vec<Message<'a>>)> {
    let lost = case.lost();
    let of = |(at, how): (Duration, String)| {
        let before: Vec<_> = lost.iter().filter(|message| message.sent <= at).copied().collect();
        Some((at, how, tail(case, &before, at)?))
    };
    ends(case).into_iter().filter_map(of).collect()
}

fn find(case: &Case<'_>) -> Option<Said> {
    let mut evidence = Vec::new();
    let mut all: Vec<Message<'_>> = Vec::new();
    for (at, how, tail) in taken(case) {
        evidence.push(format!(
            "{how} at {}: the newest {} before it never arrived: {}, published {}",
            seconds(at),
            messages(tail.len()),
            ranges(&tail),
            sent_span(&tail)
        ));
        let threshold = case.number("flush_mem_threshold").filter(|_| case.is_nanomq());
        if let Some(threshold) = threshold.filter(|threshold| *threshold > 0) {
            let offline = since_offline(case, at);
            evidence.push(format!(
                "flush_mem_threshold = {threshold}: {offline} messages came since the link was gone, and {offline} mod \
                 {threshold} = {}",
                offline as u64 % threshold
            ));
        }
        all.extend(tail);
    }
    if all.is_empty() {
        return None;
    }
    let own = ["autosave_interval", "autosave_on_changes"];
    evidence.extend(own.into_iter().filter_map(|key| Some(format!("{key} = {}", case.setting(key)?))));
    Some(Said {
        title: format!("{} stood in memory alone when the process ended", messages(all.len())),
        evidence,
        advice: match case.is_nanomq() {
            true => "flush_mem_threshold = 1 makes the part in memory as small as it gets",
            false => "write to disk at each message (mosquitto: autosave_interval 1 with autosave_on_changes true)",
        }
        .to_owned(),
    })
}

/// When the subject's process ended, wanted by the scenario or not.
pub(super) fn ends(case: &Case<'_>) -> Vec<(Duration, String)> {
    let ours = |kind| matches!(kind, FaultKind::Kill | FaultKind::Stop | FaultKind::Restart);
    let faults = case.facts().faults.iter().map(|done| &done.fault);
    let wanted = faults.filter(|fault| fault.on == Side::Bridge && ours(fault.kind));
    let wanted = wanted.map(|fault| (fault.start, fault.kind.name().to_owned()));
    let itself = case.facts().ended.iter().filter(|ended| ended.role == crate::scenario::history::Role::Subject);
    wanted.chain(itself.map(|ended| (ended.at, format!("the process ended ({})", ended.status)))).collect()
}

/// The newest before the end, as far back as nothing at all survived.
fn tail<'a>(case: &Case<'a>, lost: &[Message<'a>], at: Duration) -> Option<Vec<Message<'a>>> {
    // What was under way at that moment may have come through.
    let last = lost.iter().map(|message| message.sent).max().filter(|last| at - *last < Duration::from_secs(2))?;
    let mut sent: Vec<Message<'_>> = case.messages().filter(|message| message.sent <= last).collect();
    sent.sort_by_key(|message| message.sent);
    let mut tail: Vec<Message<'_>> = sent.iter().rev().take_while(|message| message.lost()).copied().collect();
    tail.sort_by_key(|message| (message.load, message.seq));
    (!tail.is_empty()).then_some(tail)
}

/// Messages since the link was last seen to go, before a moment.
fn since_offline(case: &Case<'_>, at: Duration) -> usize {
    let down =
        case.log().link_changes().iter().rev().find(|(moment, up)| *moment <= at && !up).map(|(moment, _)| *moment);
    let fault = || case.facts().faults.iter().map(|done| done.fault.start).filter(|start| *start < at).max();
    // The log may be dated by whole seconds; the fault itself is exact where the link broke at once.
    let from = match (down, fault()) {
        (Some(down), Some(fault)) if down.abs_diff(fault) < Duration::from_secs(1) => Some(fault),
        (down, fault) => down.or(fault),
    };
    from.map_or(0, |from| case.sent_within(from, at))
}
