//! That the writer's thread lives, whatever the disk does.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Beats as often as the thread takes requests, commits or tries again; at least once a second, since it is reminded of
/// its chores. It stands still where the thread waits for what does not come: a lock, or a system call that hangs.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// How often it has beaten.
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(in crate::bridge) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
