//! Deliveries counted by bridge and topic.
use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Readable, Selection, State, TopicStats};
use crate::bridge::cache::CacheError;

/// Every topic of every bridge, those with the most deliveries first; and how many rows could not be read. It takes a look
/// at each delivery, page by page.
pub(super) fn topics(file: &dyn Readable) -> Result<(Vec<TopicStats>, u64), CacheError> {
    let mut topics: BTreeMap<(String, String), TopicStats> = BTreeMap::new();
    let unreadable = file.list(&Selection::default(), usize::MAX, &mut |row| {
        let key = (row.bridge, row.topic);
        let topic = topics.entry(key.clone()).or_insert_with(|| TopicStats {
            bridge: key.0,
            topic: key.1,
            queued: 0,
            in_flight: 0,
            quarantined: 0,
            bytes: 0,
            oldest: None,
        });
        match row.state {
            State::Queued => topic.queued += 1,
            State::InFlight => topic.in_flight += 1,
            State::Quarantined => topic.quarantined += 1,
        }
        if row.state != State::Quarantined {
            topic.bytes += row.bytes;
            topic.oldest = topic.oldest.into_iter().chain([row.received_at]).min();
        }
        true
    })?;
    let mut topics: Vec<TopicStats> = topics.into_values().collect();
    topics.sort_by_key(|topic| Reverse(topic.queued + topic.in_flight + topic.quarantined));
    topics.sort_by(|one, other| one.bridge.cmp(&other.bridge));
    Ok((topics, unreadable))
}
