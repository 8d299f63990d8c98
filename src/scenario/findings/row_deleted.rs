//! Rows that left the cache before the remote had them.
use std::time::Duration;

use super::case::{Case, Message};
use super::words::{messages, ranges, seconds};
use super::{Rule, Said};
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "row-deleted-before-sent",
    mechanism: "The row is deleted from SQLite, and only then written to the connection; no acknowledgement is waited for. A \
                connection that is dead and not yet known to be takes one row each resend_interval, and all of them are gone.",
    reference: "nanomq#2432, nanomq#1741",
    find,
};

/// A backlog was draining when the link went, and what is lost of it stands between what arrived before and after.
fn find(case: &Case<'_>) -> Option<Said> {
    for fault in case.silent() {
        let waited = case.messages().filter(|message| message.sent < fault.start);
        let mut holes: Vec<Message<'_>> = Vec::new();
        let (mut before, mut after) = (0, 0);
        for message in waited {
            let Some(received) = message.row.received() else {
                if message.lost() {
                    holes.push(message);
                }
                continue;
            };
            let late = received.saturating_sub(message.sent) > PROMPT;
            before += usize::from(late && received < fault.start);
            after += usize::from(received > fault.end);
        }
        let Some((first, last)) = span(&holes) else { continue };
        let later = case.messages().any(|message| {
            message.sent > last && message.sent < fault.start && message.row.received().is_some_and(|at| at > fault.end)
        });
        let earlier = case.messages().any(|message| {
            message.sent < first
                && message.row.received().is_some_and(|at| at < fault.start && at > message.sent + PROMPT)
        });
        if !later || !earlier {
            continue;
        }
        let mut evidence = vec![
            format!(
                "lost: {}, all published before the {} at {}",
                ranges(&holes),
                fault.kind.name(),
                seconds(fault.start)
            ),
            format!(
                "a backlog was draining: {before} of it arrived before the {}, {after} after the heal",
                fault.kind.name()
            ),
        ];
        if let super::case::Noticed::At(noticed) = case.noticed(fault) {
            let window = noticed - fault.start;
            let mut said = format!("the cut was noticed {:.1} s later", window.as_secs_f64());
            if let Some(interval) = case.number("resend_interval").filter(|_| case.is_nanomq()) {
                let ticks = window.as_millis() as u64 / interval.max(1);
                said += &format!(": resend_interval = {interval} ms is one row each, {ticks} in that time");
            }
            evidence.push(said);
        }
        if let Some(delivered) = case.log().seen(Known::AckFailed) {
            evidence.push(format!(
                "\"QoS msg ack failed\" {}: the rows that were delivered, not those that were lost",
                delivered.words()
            ));
        }
        if let Some(rows) = case.peak("nanomq_sqlite_rows") {
            evidence.push(format!("{rows} rows stood in the cache at most (nanomq_sqlite_rows)"));
        }
        return Some(Said {
            title: format!("{} left the cache before the remote had them", messages(holes.len())),
            evidence,
            advice: "none: NanoMQ up to the version of this report cannot; a long resend_interval loses fewer rows and drains \
                     as slowly"
                .to_owned(),
        });
    }
    None
}

/// What arrives later than this after it was sent had waited somewhere.
const PROMPT: Duration = Duration::from_secs(2);

fn span(messages: &[Message<'_>]) -> Option<(Duration, Duration)> {
    let sent = messages.iter().map(|message| message.sent);
    Some((sent.clone().min()?, sent.max()?))
}
