//! What one client may ask of the bridge, and how fast.
use std::time::Duration;

use crate::bridge::delivery::Time;

/// Limits of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// From the connection until it is let in.
    pub connect_timeout: Duration,
    /// Levels of a topic or filter.
    pub max_topic_levels: usize,
    /// Bytes of a topic or filter.
    pub max_topic_length: usize,
    /// Subscriptions of its session.
    pub max_subscriptions: usize,
    /// Between two PUBLISHes, and how many may come at once.
    pub publish: Option<(Duration, u32)>,
}

impl Default for ClientLimits {
    /// None but that of time.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            max_topic_levels: usize::MAX,
            max_topic_length: usize::MAX,
            max_subscriptions: usize::MAX,
            publish: None,
        }
    }
}

impl ClientLimits {
    /// Whether a topic or filter is short and shallow enough.
    pub fn takes_topic(&self, topic: &str) -> bool {
        // No topic has more levels than bytes and one, so the count is bounded by the first.
        topic.len() <= self.max_topic_length
            && topic.bytes().filter(|byte| *byte == b'/').count() < self.max_topic_levels
    }
}

/// How fast a client is read from: so many PUBLISHes at once, then one every interval.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    interval: Duration,
    /// What may come at once, as time.
    burst: Duration,
    /// When the next would be due if they came evenly.
    due: Time,
    /// Nothing is read until then.
    until: Option<Time>,
}

impl Pace {
    /// `None`: as fast as it comes.
    pub fn new(publish: Option<(Duration, u32)>) -> Self {
        let (interval, burst) = publish.unwrap_or_default();
        Self { interval, burst: interval * burst.saturating_sub(1), ..Self::default() }
    }

    /// A PUBLISH has come.
    pub fn handle_publish(&mut self, now: Time) {
        if self.interval.is_zero() {
            return;
        }
        self.due = self.due.max(now) + self.interval;
        // The next may be read as soon as it is no earlier than its due time less the burst.
        let next = self.due.saturating_sub(self.burst);
        self.until = (next > now).then_some(next);
    }

    /// Until when nothing is read, if so.
    pub fn until(&self) -> Option<Time> {
        self.until
    }

    /// Time has passed; whether reading goes on since just now.
    pub fn handle_time(&mut self, now: Time) -> bool {
        let over = self.until.is_some_and(|until| until <= now);
        if over {
            self.until = None;
        }
        over
    }
}

/// Whether a subscriber's queue may grow: up to its own limit as long as all queues together are below theirs, and beyond
/// that up to its equal share, so that who has filled the memory is who has no room.
pub fn has_room(queued: usize, bytes: usize, own_limit: usize, all: usize, all_limit: usize, sharers: usize) -> bool {
    let own = queued.saturating_add(bytes);
    let share = all_limit / sharers.max(1);
    own <= own_limit && (all.saturating_add(bytes) <= all_limit || own <= share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_measured_in_bytes_and_levels() {
        let limits = ClientLimits { max_topic_levels: 3, max_topic_length: 8, ..ClientLimits::default() };
        let taken = ["a/b/c", "a/b/c/d", "////", "12345678", "123456789", "//"].map(|topic| limits.takes_topic(topic));
        assert_eq!(taken, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_burst_comes_at_once_and_then_one_every_interval() {
        let interval = Duration::from_millis(100);
        let mut pace = Pace::new(Some((interval, 3)));
        let start = Duration::from_secs(1000);
        let mut now = start;
        for _ in 0..3 {
            assert_eq!(pace.until(), None);
            pace.handle_publish(now);
        }
        for number in 1..=5 {
            now = pace.until().expect("it is too fast");
            assert_eq!(now, start + interval * number);
            assert!(pace.handle_time(now) && !pace.handle_time(now));
            pace.handle_publish(now);
        }
        // A pause gives the burst back, and no more.
        now += Duration::from_secs(100);
        assert!(pace.handle_time(now));
        for number in 0..3 {
            assert_eq!(pace.until(), None, "{number}");
            pace.handle_publish(now);
        }
        assert_eq!(pace.until(), Some(now + interval));
    }

    #[test]
    fn without_a_rate_nothing_is_slowed() {
        let mut pace = Pace::new(None);
        for _ in 0..100_000 {
            pace.handle_publish(Duration::ZERO);
        }
        assert_eq!(pace.until(), None);
    }

    #[test]
    fn who_has_filled_the_memory_is_who_has_no_room() {
        assert!(has_room(0, 10, 100, 0, 1000, 4) && !has_room(95, 10, 100, 95, 1000, 4));
        // All are at 1000 of 1000; the share of four is 250.
        assert!(!has_room(700, 10, 800, 1000, 1000, 4));
        assert!(has_room(100, 10, 800, 1000, 1000, 4));
        assert!(has_room(0, 10, 100, 5000, 1000, 0));
    }
}
