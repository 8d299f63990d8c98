//! What was overtaken.
use std::time::Duration;

use super::case::{Case, Message};
use super::words::{messages, ranges};
use super::{Rule, Said};

pub(super) const RULE: Rule = Rule {
    name: "out-of-order",
    mechanism: "Messages that were kept during the outage and live ones go to the remote by different ways, and the live ones \
                do not wait. Order within a topic holds only where there is one queue for both.",
    reference: "nanomq#894, nanomq#897, nanomq#1980, emqx#4658",
    find,
};

fn find(case: &Case<'_>) -> Option<Said> {
    let overtaken: Vec<Message<'_>> = case.messages().filter(|message| message.row.out_of_order()).collect();
    if overtaken.is_empty() {
        return None;
    }
    let heal = case.heal();
    let cached =
        |message: &&Message<'_>| heal.is_some_and(|heal| message.sent < heal && message.row.received() >= Some(heal));
    let by_live: Vec<Message<'_>> = overtaken.iter().filter(cached).copied().collect();
    let mut evidence = vec![format!("{} of {}: {}", overtaken.len(), case.messages().count(), ranges(&overtaken))];
    if let Some(heal) = heal {
        evidence.push(format!(
            "{} of them were published before the heal at {:.1} s and arrived after it",
            by_live.len(),
            heal.as_secs_f64()
        ));
        if let Some((message, by)) = furthest(case, &by_live, heal) {
            evidence.push(format!(
                "{} {} arrived {:.1} s after {by}, which was published after the heal",
                message.topic,
                message.seq,
                by_how_long(case, &message, by).as_secs_f64()
            ));
        }
    }
    let title = match by_live.is_empty() {
        true => format!("{} arrived out of order", messages(overtaken.len())),
        false => format!("Kept messages were overtaken by live ones: {} out of order", messages(overtaken.len())),
    };
    Some(Said {
        title,
        evidence,
        advice: match case.is_nanomq() {
            true => "none: this bridge cannot; receivers must sort by a sequence of their own",
            false => {
                "one queue for kept and live messages; receivers that need order must sort by a sequence of their own"
            }
        }
        .to_owned(),
    })
}

/// The kept message that arrived last of all, and the first live one of its load that had overtaken it.
fn furthest<'a>(case: &Case<'a>, by_live: &[Message<'a>], heal: Duration) -> Option<(Message<'a>, u64)> {
    let message = by_live.iter().max_by_key(|message| message.row.received())?;
    let live = case.messages().find(|live| {
        live.load == message.load
            && live.sent >= heal
            && live.row.received() < message.row.received()
            && live.row.copies() > 0
    });
    Some((*message, live?.seq))
}

fn by_how_long(case: &Case<'_>, message: &Message<'_>, live: u64) -> Duration {
    let live = case.messages().find(|other| other.load == message.load && other.seq == live);
    let received = live.and_then(|live| live.row.received());
    message.row.received().zip(received).map_or(Duration::ZERO, |(late, early)| late.saturating_sub(early))
}
