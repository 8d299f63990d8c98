//! All of NanoMQ's slots were taken before it noticed the cut, and SQLite was never reached.
use super::case::{Case, Noticed};
use super::words::seconds;
use super::{Rule, Said};
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "bistable-slots",
    mechanism: "Each worker has one slot for a message in flight, and only an acknowledgement frees it; a closed connection \
                does not. If fewer workers than publishes come before the cut is noticed, every slot is stuck, nothing ever \
                completes, and the way to SQLite, which begins at a free slot, is closed for the whole outage. One free slot \
                more, and everything goes to SQLite.",
    reference: "nanomq#1873, nanomq#2226, nanomq#2295",
    find,
};

fn find(case: &Case<'_>) -> Option<Said> {
    if !case.is_nanomq() || case.lost().is_empty() {
        return None;
    }
    let workers = case.workers()?;
    let (fault, noticed) = case.silent().find_map(|fault| match case.noticed(fault) {
        Noticed::At(at) => Some((fault, at)),
        // The time that its own settings give.
        _ => Some((fault, fault.start + super::undetected_window::expected(case)?)),
    })?;
    let stuck = case.sent_within(fault.start, noticed.min(fault.end)) as u64;
    if stuck < workers {
        return None;
    }
    let mut evidence = vec![format!(
        "{stuck} messages were published between the {} at {} and {}, when the link was closed; {workers} workers (-n) have \
         {workers} slots",
        fault.kind.name(),
        seconds(fault.start),
        seconds(noticed),
    )];
    let keys =
        ["keepalive", "resend_interval"].into_iter().filter_map(|key| Some(format!("{key} = {}", case.setting(key)?)));
    let keys: Vec<String> = keys.collect();
    if !keys.is_empty() {
        evidence.push(format!("a dead link is noticed after keepalive + resend_interval: {}", keys.join(", ")));
    }
    match case.peak("nanomq_sqlite_rows") {
        Some(0) => evidence.push("no row ever stood in the SQLite cache (nanomq_sqlite_rows)".to_owned()),
        Some(rows) => evidence.push(format!("at most {rows} rows stood in the SQLite cache (nanomq_sqlite_rows)")),
        None if case.log().lines() > 0 && case.log().seen(Known::AckFailed).is_none() => {
            evidence.push("no row of the cache was ever delivered: no line \"QoS msg ack failed\"".to_owned());
        }
        None => {}
    }
    Some(Said {
        title: format!("All {workers} slots were stuck before the cut was noticed: the SQLite cache was never reached"),
        evidence,
        advice: format!(
            "start NanoMQ with more workers than messages in that time (-n {} or more, with room for the rate's peaks), or a \
             shorter keepalive; a clean disconnect leaves slots free",
            (stuck + 1).next_multiple_of(8)
        ),
    })
}
