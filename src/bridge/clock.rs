//! The one clock of the bridge, and the rule by which messages age (Message Expiry Interval, `max_age`).
//!
//! While the process runs, time is monotonic: whatever happens to the wall clock, a message ages second by second, also
//! while the process is stopped (a machine that sleeps does not age it on Linux). A start reads the wall clock once. What
//! it says later than the latest arrival in the cache counts as time that has passed, also where somebody has set it
//! forward; where it has been set back no time has passed: no message becomes younger than it was when the latest one
//! arrived, and none is taken to come from the future.
use std::time::{Duration, Instant, SystemTime};

use super::delivery::Time;

/// Set once, then monotonic: jumps of the wall clock while running change nothing.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Time,
    /// `None`: it stands still.
    origin: Option<Instant>,
}

impl Clock {
    /// Starts at the wall clock's time, or at the latest time that the cache knows where the wall clock has been set
    /// back: what is cached does not become younger.
    pub fn start(latest: Time) -> Self {
        Self::at(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO), latest)
    }

    /// The same, where the wall clock says this.
    fn at(wall: Time, latest: Time) -> Self {
        Self { base: wall.max(latest), origin: Some(Instant::now()) }
    }

    /// A clock that stands still, for whoever simulates time.
    #[cfg(test)]
    pub fn still(now: Time) -> Self {
        Self { base: now, origin: None }
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.base + self.origin.map_or(Duration::ZERO, |origin| origin.elapsed())
    }

    /// A moment for tokio's timers.
    pub fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.origin.unwrap_or_else(Instant::now) + time.saturating_sub(self.base)).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bridge::cache::Cache;
    use crate::bridge::cache::sqlite::Sqlite;
    use crate::bridge::config::Synchronous;
    use crate::bridge::delivery::{NewDelivery, Seq, Store, Write};
    use crate::bridge::message::{Message, QoS};

    const HOUR: Duration = Duration::from_secs(3600);
    /// What a test may take.
    const MOMENT: Duration = Duration::from_secs(600);

    /// Of messages that arrived within ten minutes, how old the first and the last are at a restart under this wall
    /// clock. (The last arrived at 100 h.)
    fn ages(wall: Time) -> (Duration, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let mut cache = Sqlite::open(&path, Synchronous::Full).unwrap();
        let (bridge, _) = cache.bridge("b").unwrap();
        let arrivals = [HOUR * 100 - MOMENT, HOUR * 100];
        for (seq, received_at) in (1..).zip(arrivals) {
            let message = Arc::new(Message::new("t", "x", QoS::AtLeastOnce));
            let to = NewDelivery {
                bridge,
                topic: message.topic.clone(),
                qos: message.qos,
                retain: false,
                when_full: None,
                identifiers: None,
            };
            let store = Store {
                seq: Seq(seq),
                message,
                received_at,
                deliveries: vec![to],
                received_id: None,
                publisher: None,
                retained: false,
            };
            cache.apply(&[Write::Store(Box::new(store))]).unwrap();
        }
        drop(cache);
        let mut cache = Sqlite::open(&path, Synchronous::Full).unwrap();
        let now = Clock::at(wall, cache.latest().unwrap().1).now();
        let [first, last] = arrivals.map(|received_at| now.checked_sub(received_at).expect("from the future"));
        (first, last)
    }

    #[test]
    fn a_wall_clock_that_was_set_back_ages_nothing_and_makes_nothing_younger() {
        for wall in [HOUR * 100, HOUR * 95, HOUR * 24, Duration::ZERO] {
            let (first, last) = ages(wall);
            assert!(last < MOMENT, "{wall:?}: the last is {last:?} old");
            assert!((MOMENT..MOMENT * 2).contains(&first), "{wall:?}: the first is {first:?} old");
        }
    }

    #[test]
    fn a_wall_clock_that_has_gone_on_or_was_set_forward_ages_by_that_and_no_more() {
        for hours in [1, 5, 1000] {
            let (first, last) = ages(HOUR * (100 + hours));
            assert!((HOUR * hours..HOUR * hours + MOMENT).contains(&last), "{hours} h: the last is {last:?} old");
            assert!(first - last == MOMENT, "{first:?} and {last:?}");
        }
    }

    #[test]
    fn restarts_in_turn_under_jumping_wall_clocks_never_go_back() {
        let mut latest = HOUR * 100;
        for wall in [HOUR * 90, HOUR * 110, HOUR * 3, HOUR * 109, HOUR * 111, Duration::ZERO] {
            let now = Clock::at(wall, latest).now();
            assert!(now >= latest && now >= wall, "{now:?} after {latest:?} under {wall:?}");
            assert!(now < wall.max(latest) + MOMENT);
            latest = now;
        }
    }
}
