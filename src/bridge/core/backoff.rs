//! Pauses between connection attempts.
use std::time::Duration;

/// Doubles from `min` to `max`; each pause is shortened by up to half at random, so that many bridges do not come back
/// in step.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// A back-off whose randomness follows from `seed`.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, next: min, random: fastrand::Rng::with_seed(seed) }
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + self.random.f64() / 2.0);
        self.next = (self.next * 2).min(self.max);
        pause
    }

    /// The pauses are from now on within these.
    pub fn limit(&mut self, min: Duration, max: Duration) {
        (self.min, self.max) = (min, max);
        self.next = self.next.clamp(min, max);
    }

    /// The remote has proved to be useful; the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew_after_a_success() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(min, max, 1);
        for expected in [100u64, 200, 400, 800, 1000, 1000] {
            let expected = Duration::from_millis(expected);
            let pause = backoff.pause();
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} for {expected:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}
