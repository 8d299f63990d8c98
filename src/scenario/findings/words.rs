//! Numbers as evidence is written.
use std::time::Duration;

use super::case::Message;

/// Ranges that one sentence names.
const RANGES: usize = 6;

/// `10.0 s`.
pub(super) fn seconds(moment: Duration) -> String {
    format!("{:.1} s", moment.as_secs_f64())
}

/// `1 message`, `2 messages`.
pub(super) fn messages(count: usize) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}

/// `test1 52..416, test2 11..84`: sequences that follow each other are together.
pub(super) fn ranges(messages: &[Message<'_>]) -> String {
    let mut ranges: Vec<(&str, u16, u64, u64)> = Vec::new();
    for message in messages {
        match ranges.last_mut() {
            Some((_, load, _, last)) if *load == message.load && *last + 1 == message.seq => *last = message.seq,
            _ => ranges.push((message.topic, message.load, message.seq, message.seq)),
        }
    }
    let named = ranges.iter().take(RANGES).map(|(topic, _, first, last)| match first == last {
        true => format!("{topic} {first}"),
        false => format!("{topic} {first}..{last}"),
    });
    let mut said: Vec<String> = named.collect();
    if ranges.len() > RANGES {
        said.push(format!("and {} more ranges", ranges.len() - RANGES));
    }
    said.join(", ")
}

/// The first and the last moment at which messages were sent.
pub(super) fn sent_span(messages: &[Message<'_>]) -> String {
    let sent = messages.iter().map(|message| message.sent);
    match (sent.clone().min(), sent.max()) {
        (Some(first), Some(last)) if last > first => format!("{} to {}", seconds(first), seconds(last)),
        (Some(first), _) => seconds(first),
        (None, _) => "never".to_owned(),
    }
}
