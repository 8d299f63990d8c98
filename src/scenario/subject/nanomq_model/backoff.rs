//! When NanoMQ reaches for the remote again (`mqtt_tcptran_ep_connect`, and the dialer of nng above it).
use std::time::Duration;

/// nng's own pause before each attempt but the first: random, below its default `reconnect-time-min`.
const DIALER_MILLIS: u64 = 1_000;
/// What the first attempt draws, without waiting for it.
const FIRST_MILLIS: u64 = 2_000;
/// What is drawn when the doubled wait would be longer than `backoff_max`.
const AGAIN_MILLIS: u64 = 1_000;

/// The waits of one bridge; nothing resets them, a successful connect neither.
#[derive(Debug)]
pub(super) struct Backoff {
    last: u64,
    max: u64,
    rng: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(max: Duration, seed: u64) -> Self {
        Self { last: 0, max: max.as_millis() as u64, rng: fastrand::Rng::with_seed(seed) }
    }

    /// The pause of the dialer after a failure or a disconnect.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(..DIALER_MILLIS))
    }

    /// The wait of the transport behind it; `None`: it connects at once.
    pub(super) fn wait(&mut self) -> Option<Duration> {
        if self.last == 0 {
            self.last = self.rng.u64(..FIRST_MILLIS);
            return None;
        }
        self.last *= 2;
        if self.last > self.max {
            self.last = self.rng.u64(..AGAIN_MILLIS);
        }
        Some(Duration::from_millis(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_until_it_would_be_too_long_and_then_begins_anew() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(Duration::from_secs(10), seed);
            assert_eq!(backoff.wait(), None);
            let waits: Vec<u128> = (0..40).map(|_| backoff.wait().unwrap_or_default().as_millis()).collect();
            for pair in waits.windows(2) {
                // After a 0 it draws as for the first time, and does not wait for what it draws.
                let doubled = pair[1] == 2 * pair[0] || pair[0] == 0;
                assert!(doubled || (2 * pair[0] > 10_000 && pair[1] < 1_000), "{seed}: {pair:?}");
            }
        }
    }
}
