//! The backlog waited for the next publish.
use std::time::Duration;

use super::case::Case;
use super::words::{messages, seconds};
use super::{Rule, Said};

pub(super) const RULE: Rule = Rule {
    name: "backlog-waits-for-publish",
    mechanism: "The queue is emptied when a publish completes, and a reconnect is no publish. A bridge that is quiet after the \
                outage keeps its backlog until somebody publishes something.",
    reference: "nanomq#2423, nanomq#1910, nanomq#1476, hivemq-edge#1290",
    find,
};

/// A link that is up and a backlog that does not move for so long wait for something.
const LEAST: Duration = Duration::from_secs(5);

fn find(case: &Case<'_>) -> Option<Said> {
    let heal = case.heal()?;
    let linked = case.linked_after(heal).unwrap_or(heal);
    let waiting: Vec<_> = case
        .messages()
        .filter(|message| message.sent < heal && message.row.acknowledged())
        .filter(|message| message.row.received().is_none_or(|at| at >= heal))
        .collect();
    if waiting.is_empty() {
        return None;
    }
    let first = waiting.iter().filter_map(|message| message.row.received()).min();
    let until = first.unwrap_or(case.facts().last);
    let next = case.messages().map(|message| message.sent).filter(|sent| *sent >= heal && *sent <= until).min();
    // Quiet since the heal, and the first publish is what set it going.
    let (quiet, set_going) = match (first, next) {
        (Some(first), Some(next)) => (next.saturating_sub(linked), first.saturating_sub(next) < Duration::from_secs(1)),
        (None, None) => (until.saturating_sub(linked), true),
        _ => return None,
    };
    if quiet < LEAST || !set_going {
        return None;
    }
    let mut evidence = vec![format!(
        "healed at {}, link back at {}, {} waiting",
        seconds(heal),
        seconds(linked),
        messages(waiting.len())
    )];
    evidence.push(match (first, next) {
        (Some(first), Some(next)) => {
            format!(
                "nothing was published until {}; the first of the backlog arrived at {}",
                seconds(next),
                seconds(first)
            )
        }
        _ => format!("nothing was published after the heal, and nothing had arrived by {}", seconds(until)),
    });
    Some(Said {
        title: format!("The backlog did not move for {:.1} s, until the next publish", quiet.as_secs_f64()),
        evidence,
        advice: "a heartbeat: publish something small every few seconds on a forwarded topic".to_owned(),
    })
}
