//! What is counted, in one place (G7), by double entry: what leaves one column enters another under one lock, so that
//! at every moment accepted + restored = delivered + queued + in_flight + quarantined + dropped.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::core::forwarder::Statistics;
use super::delivery::{BridgeId, DropReason, Outcome, Time};

/// The columns of one bridge. Counters begin at zero with the process.
#[derive(Debug, Clone, Default)]
pub struct BridgeCounters {
    /// Its name.
    pub name: String,
    /// Deliveries taken in since the start.
    pub accepted: u64,
    /// Deliveries that were there at the start.
    pub restored: u64,
    /// Deliveries that the remote has.
    pub delivered: u64,
    /// Deliveries that wait.
    pub queued: u64,
    /// Deliveries that the remote leg has taken from the queue and is not done with.
    pub in_flight: u64,
    /// Deliveries that the remote refused for good.
    pub quarantined: u64,
    /// Deliveries given up, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// The same by topic, where it is known.
    pub dropped_topics: DroppedTopics,
    /// Publishes refused because the queue was full.
    pub rejected: u64,
    /// Whether the link is up.
    pub connected: bool,
    /// The server that it is connected to, or tries to be.
    pub server: String,
    /// Since when the link is as it is.
    pub since: Time,
    /// Why there was no link, the last time that there was none.
    pub last_error: Option<String>,
    /// When the oldest message arrived that waits in the cache or is in flight, as of the writer's last look.
    pub oldest: Option<Time>,
    /// Messages and bytes that may wait; `None`: no cache.
    pub limits: Option<(u64, u64)>,
    /// Rows that wait, as the cache counts them.
    pub cached: u64,
    /// Their bytes.
    pub cached_bytes: u64,
    /// What the forwarder counts besides.
    pub statistics: Statistics,
}

impl BridgeCounters {
    /// A delivery is taken in.
    pub fn accept(&mut self) {
        self.accepted += 1;
        self.queued += 1;
    }

    /// A delivery is given up before it was queued.
    pub fn drop_at_once(&mut self, reason: DropReason, topic: &Arc<str>) {
        self.accepted += 1;
        *self.dropped.entry(reason).or_default() += 1;
        self.dropped_topics.count(reason, topic);
    }

    /// A delivery is given up that has waited, and that the remote leg has not taken.
    pub fn give_up(&mut self, reason: DropReason, topic: &Arc<str>) {
        self.queued = self.queued.saturating_sub(1);
        *self.dropped.entry(reason).or_default() += 1;
        self.dropped_topics.count(reason, topic);
    }

    /// The remote leg has taken deliveries from the queue.
    pub fn take(&mut self, deliveries: u64) {
        self.queued = self.queued.saturating_sub(deliveries);
        self.in_flight += deliveries;
    }

    /// The remote leg is done with a delivery.
    pub fn finish(&mut self, outcome: Outcome) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Dropped(reason) => *self.dropped.entry(reason).or_default() += 1,
        }
    }

    /// The remote leg has set a delivery aside.
    pub fn quarantine(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.quarantined += 1;
    }

    /// How old the oldest message is that the remote does not have; `None`: there is none.
    pub fn oldest_age(&self, now: Time) -> Option<Duration> {
        self.oldest.filter(|_| self.cached > 0).map(|oldest| now.saturating_sub(oldest))
    }

    /// Both sides of G7's identity; they are equal.
    pub fn balance(&self) -> (u64, u64) {
        let dropped: u64 = self.dropped.values().sum();
        let gone = self.delivered + self.quarantined + dropped;
        (self.accepted + self.restored, gone + self.queued + self.in_flight)
    }
}

/// Topics that are counted by name; what a publisher invents must not fill the memory.
pub const NAMED_TOPICS: usize = 100;
/// What all further topics are counted as.
pub const OTHER_TOPICS: &str = "other";

/// Deliveries given up, by topic and reason: the first [`NAMED_TOPICS`] topics by name, then [`OTHER_TOPICS`].
#[derive(Debug, Clone, Default)]
pub struct DroppedTopics(BTreeMap<Arc<str>, BTreeMap<DropReason, u64>>);

impl DroppedTopics {
    /// A delivery of this topic is given up.
    pub fn count(&mut self, reason: DropReason, topic: &Arc<str>) {
        let known = self.0.contains_key(topic) || self.0.len() < NAMED_TOPICS;
        let name = if known { topic.clone() } else { OTHER_TOPICS.into() };
        *self.0.entry(name).or_default().entry(reason).or_default() += 1;
    }

    /// Topic, reason, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (&str, DropReason, u64)> {
        self.0.iter().flat_map(|(topic, reasons)| reasons.iter().map(|(reason, count)| (&**topic, *reason, *count)))
    }
}

/// Everything that is counted.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// By bridge.
    pub bridges: BTreeMap<BridgeId, BridgeCounters>,
    /// All local sessions that are kept, together; of its columns only those of what has left count.
    pub sessions: BridgeCounters,
    /// Local clients that are connected.
    pub clients: u64,
    /// PUBLISHes received from local clients that were new.
    pub received: u64,
    /// PUBLISHes that were repetitions of one that is kept.
    pub repeated: u64,
    /// PUBLISHes refused.
    pub refused: u64,
    /// Messages handed to local subscribers.
    pub distributed: u64,
    /// PUBLISHes that their client may not send, or whose topic is beyond a limit.
    pub publishes_denied: u64,
    /// Subscriptions that their client may not have, or that are beyond a limit.
    pub subscriptions_denied: u64,
    /// CONNECTs that were refused for what they showed.
    pub logins_refused: u64,
    /// Connections closed because there were as many as there may be.
    pub connections_refused: u64,
    /// Connections closed because too many had not been let in.
    pub connections_half_open_closed: u64,
    /// Messages dropped because a local subscriber did not keep up.
    pub subscriber_overflow: u64,
    /// Local clients whose acknowledgements wait for room (`when_full: block`).
    pub blocked: u64,
    /// Messages that are not committed yet while their remotes have time to take them (`durability: deferred`).
    pub deferred: u64,
    /// Commits that changed something.
    pub commits: u64,
    /// Writes that violated an invariant of the cache; each is logged.
    pub invariant_violations: u64,
    /// Configurations that were read again and put in force.
    pub reloads: u64,
    /// Why the cache does not work; `None` while it does.
    pub cache_error: Option<String>,
}

impl Counters {
    /// The columns of a queue.
    pub fn columns(&mut self, queue: BridgeId) -> &mut BridgeCounters {
        if queue.is_session() { &mut self.sessions } else { self.bridges.entry(queue).or_default() }
    }
}

/// [`Counters`] that all threads share.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<Counters>>, Arc<Notify>);

impl Shared {
    /// Locks them for one consistent reading or change.
    pub fn lock(&self) -> MutexGuard<'_, Counters> {
        // A reader that panicked has changed nothing half.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link is up or down, or its server has said something new.
    pub fn link_has_changed(&self) {
        self.1.notify_one();
    }

    /// Waits until that is so; for one who waits.
    pub async fn until_a_link_changes(&self) {
        self.1.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_balance_whatever_happens() {
        let mut counters = BridgeCounters { restored: 2, queued: 2, ..BridgeCounters::default() };
        for _ in 0..3 {
            counters.accept();
        }
        counters.drop_at_once(DropReason::Full, &"t".into());
        counters.accept();
        counters.give_up(DropReason::Evicted, &"t".into());
        counters.take(4);
        counters.finish(Outcome::Delivered);
        counters.finish(Outcome::Dropped(DropReason::Expired));
        counters.quarantine();
        let (left, right) = counters.balance();
        assert_eq!(left, right);
        assert_eq!((counters.queued, counters.in_flight), (1, 1));
    }

    #[test]
    fn topics_beyond_the_first_hundred_are_counted_together() {
        let mut topics = DroppedTopics::default();
        for round in 0..2 {
            for number in 0..NAMED_TOPICS + 50 {
                topics.count(DropReason::Evicted, &format!("t/{number}").into());
            }
            topics.count(DropReason::Full, &"t/7".into());
            let counted: Vec<_> = topics.iter().collect();
            let other = counted.iter().find(|(topic, ..)| *topic == OTHER_TOPICS);
            assert_eq!(other, Some(&(OTHER_TOPICS, DropReason::Evicted, 50 * (round + 1))));
            assert!(counted.contains(&("t/7", DropReason::Full, round + 1)));
            assert_eq!(counted.len(), NAMED_TOPICS + 2, "one line a topic, one for the rest, one more reason");
        }
    }
}
