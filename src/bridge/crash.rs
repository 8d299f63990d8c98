//! Where tests end this process as SIGKILL does, and let it sin on purpose. Only debug builds obey; in a release build
//! nothing of it is left.
//!
//! `MQTT_BRIDGE_CRASH=point:n` ends the process at the n-th passing of a point. `MQTT_BRIDGE_SIN=ack_before_commit`
//! makes the writer of the cache answer before it commits, so that the tests can be seen to notice; with `stand_still` its
//! thread never returns from its first commit.
use super::delivery::{Progress, Write};

/// Ends the process here, if this is the passing that was asked for.
#[inline(always)]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// A write is committed, and nobody has been told.
#[inline(always)]
pub fn committed(write: &Write) {
    point(match write {
        Write::Store(_) => "store_committed",
        Write::Progress { step: Progress::Sent { .. }, .. } => "sent_committed",
        Write::Progress { step: Progress::Released { .. }, .. } => "released_committed",
        Write::Progress { step: Progress::Requeued, .. } => "requeued_committed",
        Write::Progress { step: Progress::Quarantined(_), .. } => "quarantined_committed",
        Write::Progress { step: Progress::Removed(_), .. } => "removed_committed",
        Write::Forget { .. } => "forget_committed",
        Write::Established { .. } => "established_committed",
        _ => "other_committed",
    });
}

/// Whether the writer of the cache is to answer before it commits.
#[inline(always)]
pub fn acks_before_commit() -> bool {
    #[cfg(debug_assertions)]
    return armed::sins("ack_before_commit");
    #[cfg(not(debug_assertions))]
    false
}

/// The thread ends here without ending, if that is asked for: as one does that waits for a lock that nobody gives back.
#[inline(always)]
pub fn stand_still() {
    #[cfg(debug_assertions)]
    while armed::sins("stand_still") {
        std::thread::park();
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Charge {
        point: String,
        left: AtomicU64,
    }

    static CHARGE: OnceLock<Option<Charge>> = OnceLock::new();
    static SIN: OnceLock<Option<String>> = OnceLock::new();

    fn charge() -> Option<Charge> {
        let wanted = std::env::var("MQTT_BRIDGE_CRASH").ok()?;
        let (point, passings) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some(Charge { point: point.to_owned(), left: AtomicU64::new(passings.parse().unwrap_or(1)) })
    }

    pub(super) fn pass(name: &str) {
        let Some(charge) = CHARGE.get_or_init(charge) else { return };
        if charge.point == name && charge.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // SAFETY: kill touches no memory of ours. SIGKILL cannot be held back: nothing after it is reached.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }

    pub(super) fn sins(sin: &str) -> bool {
        SIN.get_or_init(|| std::env::var("MQTT_BRIDGE_SIN").ok()).as_deref() == Some(sin)
    }
}
