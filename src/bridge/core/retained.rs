//! Which topics have a retained message, without the messages (MQTT 5, section 3.3.1.3).
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use crate::bridge::delivery::{Seq, Time};
use crate::bridge::message::Message;
use crate::bridge::topic;

/// What is known of a retained message.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in the order of arrival.
    pub seq: Seq,
    /// What it takes.
    pub bytes: u64,
    /// When it is no longer to be sent.
    pub expires_at: Option<Time>,
    /// The message, where somebody still has it: the same, and not a copy.
    pub alive: Weak<Message>,
}

impl Entry {
    /// Of a message that arrived then.
    pub fn new(seq: Seq, message: &Arc<Message>, received_at: Time) -> Self {
        let expiry = message.properties.message_expiry.map(|secs| Time::from_secs(secs.into()));
        Self {
            seq,
            bytes: message.size() as u64,
            expires_at: expiry.map(|expiry| received_at + expiry),
            alive: Arc::downgrade(message),
        }
    }
}

/// The topics that have one.
#[derive(Debug)]
pub struct Retained {
    topics: BTreeMap<Arc<str>, Entry>,
    bytes: u64,
    max_messages: u64,
    max_bytes: u64,
}

impl Retained {
    /// None, and at most so many.
    pub fn new(max_messages: u64, max_bytes: u64) -> Self {
        Self { topics: BTreeMap::new(), bytes: 0, max_messages, max_bytes }
    }

    /// How many there are, and their bytes.
    pub fn used(&self) -> (u64, u64) {
        (self.topics.len() as u64, self.bytes)
    }

    /// Whether a message can be retained, in place of what its topic has.
    pub fn has_room(&self, message: &Message) -> bool {
        let (count, bytes) = self.topics.get(&message.topic).map_or((0, 0), |entry| (1, entry.bytes));
        let size = message.size() as u64;
        message.payload.is_empty()
            || (self.topics.len() as u64 + 1 - count <= self.max_messages
                && self.bytes - bytes + size <= self.max_bytes)
    }

    /// A topic has this one from now on.
    pub fn set(&mut self, topic: &Arc<str>, entry: Entry) {
        self.bytes += entry.bytes;
        if let Some(former) = self.topics.insert(topic.clone(), entry) {
            self.bytes -= former.bytes;
        }
    }

    /// A topic has none any more.
    pub fn remove(&mut self, topic: &str) {
        if let Some(former) = self.topics.remove(topic) {
            self.bytes -= former.bytes;
        }
    }

    /// The topics that a filter matches, of messages that have not expired.
    pub fn matching(&self, filter: &str, now: Time) -> Vec<(Arc<str>, Entry)> {
        let fixed = &filter[..filter.find(['+', '#']).unwrap_or(filter.len())];
        // `a/#` matches `a` as well.
        let from = fixed.strip_suffix('/').filter(|_| filter.ends_with('#')).unwrap_or(fixed);
        let there = self.topics.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        there
            .take_while(|(name, _)| name.starts_with(from))
            .filter(|(name, entry)| is_valid(entry, now) && topic::matches(filter, name))
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect()
    }

    /// The topics of some that have expired.
    pub fn expired(&self, now: Time, limit: usize) -> Vec<Arc<str>> {
        let expired = self.topics.iter().filter(|(_, entry)| !is_valid(entry, now));
        expired.take(limit).map(|(name, _)| name.clone()).collect()
    }
}

fn is_valid(entry: &Entry, now: Time) -> bool {
    entry.expires_at.is_none_or(|expires_at| now < expires_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::QoS;
    use std::time::Duration;

    fn entry(bytes: u64, expires_at: Option<u64>) -> Entry {
        let expires_at = expires_at.map(Duration::from_secs);
        Entry { seq: Seq(1), bytes, expires_at, alive: Weak::new() }
    }

    fn found(retained: &Retained, filter: &str) -> Vec<String> {
        retained.matching(filter, Duration::from_secs(10)).into_iter().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn a_filter_finds_what_it_matches_and_is_not_expired() {
        let mut retained = Retained::new(100, 100);
        for name in ["a", "a/b", "a/b/c", "a0", "b/b", "/", "$SYS/x", "a/\u{10ffff}"] {
            retained.set(&name.into(), entry(1, None));
        }
        retained.set(&"a/x".into(), entry(1, Some(10)));
        retained.set(&"a/y".into(), entry(1, Some(11)));
        assert_eq!(found(&retained, "a/b"), ["a/b"]);
        assert_eq!(found(&retained, "a/#"), ["a", "a/b", "a/b/c", "a/y", "a/\u{10ffff}"]);
        assert_eq!(found(&retained, "a/+"), ["a/b", "a/y", "a/\u{10ffff}"]);
        assert_eq!(found(&retained, "+/b"), ["a/b", "b/b"]);
        assert_eq!(found(&retained, "#").len(), 8, "but not what begins with $");
        assert_eq!(retained.expired(Duration::from_secs(10), 5), ["a/x".into()]);
    }

    #[test]
    fn limits_count_what_is_replaced_once() {
        let mut retained = Retained::new(2, 10);
        let message = |topic: &str, payload: &'static str| Message::new(topic, payload, QoS::AtMostOnce);
        retained.set(&"a".into(), entry(4, None));
        retained.set(&"b".into(), entry(4, None));
        assert!(!retained.has_room(&message("c", "x")), "two messages");
        assert!(retained.has_room(&message("c", "")), "it takes nothing");
        assert!(retained.has_room(&message("b", "12345")), "instead of the other");
        assert!(!retained.has_room(&message("b", "123456")), "eleven bytes");
        retained.set(&"b".into(), entry(6, None));
        retained.remove("a");
        retained.remove("a");
        assert_eq!(retained.used(), (1, 6));
    }
}
