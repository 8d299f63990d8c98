//! How fast a backlog may reach the remote (`drain: { max_rate: 500/s }`).
//!
//! # Rule
//! At most `max_rate`, in bursts of at most 50 ms worth. After a connect the rate begins at a tenth of it and doubles
//! every second, so that it is reached after four; where nothing waits any more before that, at once. There is one queue,
//! so what is published while a backlog drains waits behind it, and nothing overtakes.
use std::time::Duration;

use crate::bridge::delivery::Time;

/// What may be sent at once after a pause.
const BURST: Duration = Duration::from_millis(50);
/// The rate doubles as often: 0.1, 0.2, 0.4, 0.8, 1.
const STEP: Duration = Duration::from_secs(1);
const STEPS: u32 = 4;
const FIRST_OF: u32 = 10;

/// Says when the next message may be sent.
#[derive(Debug, Clone)]
pub struct Governor {
    /// Between two messages at `max_rate`.
    interval: Duration,
    /// When the slow start began; `None`: it is over.
    started: Option<Time>,
    next: Time,
}

impl Governor {
    /// So long between two messages, at least.
    pub fn new(interval: Duration) -> Self {
        Self { interval, started: None, next: Time::ZERO }
    }

    /// The link is up again: slow start.
    pub fn handle_connected(&mut self, now: Time) {
        self.started = Some(now);
        self.next = self.next.max(now);
    }

    /// Nothing waits: there is no backlog to be slow with.
    pub fn handle_drained(&mut self) {
        self.started = None;
    }

    /// When the next message may be sent; a time that has passed: now.
    pub fn next(&self) -> Time {
        self.next
    }

    /// A message is sent.
    pub fn handle_sent(&mut self, now: Time) {
        self.next = self.next.max(now.saturating_sub(BURST)) + self.pause(now);
    }

    fn pause(&mut self, now: Time) -> Duration {
        let Some(started) = self.started else { return self.interval };
        let steps = now.saturating_sub(started).as_millis() / STEP.as_millis();
        let steps = u32::try_from(steps).unwrap_or(STEPS);
        if steps >= STEPS {
            self.started = None;
            return self.interval;
        }
        self.interval * FIRST_OF / 2u32.pow(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages in each of the first seconds, where always one waits.
    fn backlog(governor: &mut Governor, from: Time, seconds: usize) -> Vec<u32> {
        let mut sent = vec![0; seconds];
        loop {
            let at = governor.next().max(from);
            let second = (at - from).as_secs() as usize;
            if second >= seconds {
                return sent;
            }
            sent[second] += 1;
            governor.handle_sent(at);
        }
    }

    #[test]
    fn a_backlog_begins_at_a_tenth_and_doubles_every_second() {
        let mut governor = Governor::new(Duration::from_millis(2));
        governor.handle_connected(Duration::from_secs(100));
        let sent = backlog(&mut governor, Duration::from_secs(100), 7);
        for (second, (sent, expected)) in sent.into_iter().zip([50, 100, 200, 400, 500, 500, 500]).enumerate() {
            let burst = 500 * BURST.as_millis() as u32 / 1000;
            assert!(sent <= expected + burst + 1 && sent + 1 >= expected, "{sent} in second {second}");
        }
    }

    #[test]
    fn live_traffic_below_the_rate_is_never_held() {
        let mut governor = Governor::new(Duration::from_millis(2));
        governor.handle_connected(Duration::ZERO);
        governor.handle_drained();
        for number in 0..5_000 {
            // 500 a second, in bursts of ten.
            let now = Duration::from_millis(1_000 + number / 10 * 20);
            assert!(governor.next() <= now, "{number}");
            governor.handle_sent(now);
        }
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let mut governor = Governor::new(Duration::from_millis(2));
        governor.handle_sent(Duration::ZERO);
        let sent = backlog(&mut governor, Duration::from_secs(60), 1);
        assert!((500..=526).contains(&sent[0]), "{sent:?}");
    }
}
