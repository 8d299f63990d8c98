//! NanoMQ's queue in memory was full.
use super::case::Case;
use super::words::{messages, ranges, sent_span};
use super::{Rule, Said};
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "ring-overflow",
    mechanism: "A publish that finds its worker's slot busy goes into a queue in memory (ctx_msgs), never into SQLite. When \
                that queue is full, its oldest message is dropped, of whatever topic and QoS. The publisher had its PUBACK or \
                PUBREC before any of this.",
    reference: "nanomq#2295, nanomq#2226, nanomq#1832",
    find,
};

fn find(case: &Case<'_>) -> Option<Said> {
    let lost = case.lost();
    let overflow = case.log().seen(Known::RingOverflow);
    let (peak, length) = (case.peak("nanomq_ctx_msgs"), case.number("max_send_queue_len"));
    // Without a log, a queue that reached its length while messages vanished.
    let full =
        case.is_nanomq() && !lost.is_empty() && matches!((peak, length), (Some(peak), Some(length)) if peak >= length);
    if overflow.is_none() && !full {
        return None;
    }
    let mut evidence = Vec::new();
    if let Some(overflow) = overflow {
        evidence.push(format!(
            "the log says \"Cached Message in ctx_msgs is lost!\" {}; one message each, and {} were lost in all",
            overflow.words(),
            lost.len()
        ));
    }
    if !lost.is_empty() {
        evidence.push(format!("lost: {}, published {}", ranges(&lost), sent_span(&lost)));
    }
    if let Some(length) = length {
        evidence.push(format!("max_send_queue_len = {length}"));
    }
    if let Some(peak) = peak {
        evidence.push(format!("nanomq_ctx_msgs reached {peak}"));
    }
    let dropped = overflow.map_or(lost.len(), |overflow| overflow.count as usize);
    Some(Said {
        title: format!("NanoMQ dropped {} from its full queue in memory, oldest first", messages(dropped)),
        evidence,
        advice: "max_send_queue_len as large as the longest outage times the rate buys time, in memory that a restart loses; \
                 more workers than publishes before the cut is noticed (-n) let SQLite be reached. Neither is a guarantee: a \
                 bridge that commits before it acknowledges is"
            .to_owned(),
    })
}
