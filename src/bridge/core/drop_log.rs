//! Drops as lines of the log: which bridge, topic, reason and sequences, and not a line for each.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::bridge::delivery::{BridgeId, DropReason, Seq, Time};

/// Between two lines of the same bridge.
const PAUSE: Duration = Duration::from_secs(10);
/// Lines at a time; the rest are one.
const LINES: usize = 10;

/// What was dropped of one topic for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Of which bridge.
    pub bridge: BridgeId,
    /// Why.
    pub reason: DropReason,
    /// Topic Name; `None`: several.
    pub topic: Option<Arc<str>>,
    /// How many.
    pub count: u64,
    /// The first of them and the last.
    pub seqs: (Seq, Seq),
}

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.seqs.0.0, self.seqs.1.0);
        let topic = self.topic.as_deref().map_or("of further topics".to_owned(), |topic| format!("of topic {topic}"));
        let (count, reason) = (self.count, self.reason.label());
        write!(formatter, "{count} dropped {topic}: {reason} (sequences {first} to {last})")
    }
}

/// Why, and of which topic.
type Key = (DropReason, Option<Arc<str>>);

#[derive(Debug, Default)]
struct Collected {
    said: Option<Time>,
    dropped: BTreeMap<Key, (u64, Seq, Seq)>,
}

/// Collects drops and says when they are worth a line: the first at once, further ones together.
#[derive(Debug, Default)]
pub struct DropLog(BTreeMap<BridgeId, Collected>);

impl DropLog {
    /// A delivery was dropped.
    pub fn record(&mut self, bridge: BridgeId, reason: DropReason, topic: &Arc<str>, seq: Seq) {
        let dropped = &mut self.0.entry(bridge).or_default().dropped;
        let mut key = (reason, Some(topic.clone()));
        if dropped.len() >= LINES && !dropped.contains_key(&key) {
            key.1 = None;
        }
        let (count, first, last) = dropped.entry(key).or_insert((0, seq, seq));
        (*count, *first, *last) = (*count + 1, seq.min(*first), seq.max(*last));
    }

    /// Whether nothing is to be said, now or later.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|collected| collected.dropped.is_empty())
    }

    /// What is to be said now.
    pub fn poll(&mut self, now: Time) -> Vec<Dropped> {
        let mut lines = Vec::new();
        for (bridge, collected) in &mut self.0 {
            let due = collected.said.is_none_or(|said| now.saturating_sub(said) >= PAUSE);
            if !due || collected.dropped.is_empty() {
                continue;
            }
            collected.said = Some(now);
            for ((reason, topic), (count, first, last)) in std::mem::take(&mut collected.dropped) {
                lines.push(Dropped { bridge: *bridge, reason, topic, count, seqs: (first, last) });
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_what_follows_together() {
        let mut log = DropLog::default();
        let record = |log: &mut DropLog, topic: &str, seq| {
            log.record(BridgeId(1), DropReason::Evicted, &topic.into(), Seq(seq));
        };
        let at = Duration::from_secs;
        record(&mut log, "a", 7);
        let said: Vec<String> = log.poll(at(100)).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["1 dropped of topic a: evicted (sequences 7 to 7)"]);
        for seq in 8..18 {
            record(&mut log, if seq % 2 == 0 { "a" } else { "b" }, seq);
        }
        assert_eq!(log.poll(at(109)), []);
        let said: Vec<_> = log.poll(at(110)).into_iter().map(|line| (line.count, line.seqs)).collect();
        assert_eq!(said, [(5, (Seq(8), Seq(16))), (5, (Seq(9), Seq(17)))]);
        assert_eq!(log.poll(at(200)), [], "nothing to say");
    }

    #[test]
    fn as_many_topics_as_a_publisher_invents_are_a_few_lines() {
        let mut log = DropLog::default();
        for seq in 0..10_000 {
            log.record(BridgeId(1), DropReason::Evicted, &format!("t/{seq}").into(), Seq(seq));
        }
        let lines = log.poll(Duration::ZERO);
        assert_eq!((lines.len(), lines.iter().map(|line| line.count).sum::<u64>()), (LINES + 1, 10_000));
    }
}
