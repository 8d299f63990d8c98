//! The one clock of the bridge.
use std::time::{Duration, Instant, SystemTime};

use super::delivery::Time;

/// Set once, then monotonic: jumps of the wall clock while running change nothing.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Time,
    origin: Instant,
}

impl Clock {
    /// Starts at the wall clock's time, or at the latest time that the cache knows where the wall clock has been set
    /// back: what is cached does not become younger.
    pub fn start(latest: Time) -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { base: wall.max(latest), origin: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.base + self.origin.elapsed()
    }

    /// A moment for tokio's timers.
    pub fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.origin + time.saturating_sub(self.base)).into()
    }
}
