//! What the service manager is told (systemd; sd_notify(3)): that the bridge is ready, how it is, that it lives, that it
//! stops. Where no NOTIFY_SOCKET is, nothing is done at all.
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use super::cache::writer::Pulse;
use super::counters::{Counters, Shared};

/// Between looks at what the status line says.
const LOOK: Duration = Duration::from_secs(5);
/// Looks, at least, within the time after which the service manager ends a process that is silent.
const LOOKS_IN_TIME: u32 = 4;

/// Every listener listens; from now on it is told how things are. Belongs into the runtime of the event loop: a loop
/// that stands still pings no more.
pub fn ready(counters: Shared, pulse: Pulse) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let status = status(&counters.lock());
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let mut microseconds = 0;
    let patience = sd_notify::watchdog_enabled(false, &mut microseconds).then(|| Duration::from_micros(microseconds));
    tokio::spawn(attend(counters, Watch::new(pulse, patience), status));
}

/// It stops on purpose.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: what was taken in is committed")]);
}

async fn attend(counters: Shared, mut watch: Watch, mut told: String) {
    let mut looks = tokio::time::interval(watch.period);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let lives = watch.look();
        let status = status(&counters.lock());
        let changed = (status != told).then(|| status.clone());
        told = status;
        if changed.is_none() && !lives {
            continue;
        }
        // Sending waits for a service manager that does not read; the messages must not.
        let telling = tokio::task::spawn_blocking(move || {
            let mut states: Vec<NotifyState<'_>> = changed.iter().map(|status| NotifyState::Status(status)).collect();
            states.extend(lives.then_some(NotifyState::Watchdog));
            tell(&states);
        });
        if let Err(error) = telling.await {
            warn!("telling the service manager: {error}");
        }
    }
}

/// One that cannot be told loses a word, and the bridge nothing.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        warn!("telling the service manager through NOTIFY_SOCKET: {error}");
    }
}

/// One line for `systemctl status`.
fn status(counters: &Counters) -> String {
    let mut parts = Vec::new();
    if let Some(error) = &counters.cache_error {
        parts.push(format!("failing: {error}"));
    }
    for bridge in counters.bridges.values() {
        let link = if bridge.connected { "up" } else { "down" };
        parts.push(format!("{}: link {link}, {} queued", bridge.name, bridge.queued));
    }
    parts.push(format!("{} clients", counters.clients));
    // A line end would be the end of what is told.
    parts.join("; ").replace(['\n', '\r'], " ")
}

/// Whether the cache's thread has moved since the last look.
struct Watch {
    pulse: Pulse,
    seen: Option<u64>,
    /// `None`: nobody waits for a ping.
    patience: Option<Duration>,
    /// Between looks.
    period: Duration,
    /// Looks in a row without a beat.
    still: u32,
}

impl Watch {
    fn new(pulse: Pulse, patience: Option<Duration>) -> Self {
        // An interval of nothing does not exist.
        let shortest = Duration::from_millis(1);
        let period = patience.map_or(LOOK, |patience| LOOK.min(patience / LOOKS_IN_TIME).max(shortest));
        Self { pulse, seen: None, patience, period, still: 0 }
    }

    /// Whether to ping.
    fn look(&mut self) -> bool {
        let Some(patience) = self.patience else { return false };
        let beats = self.pulse.beats();
        if self.seen.replace(beats) != Some(beats) {
            self.still = 0;
            return true;
        }
        self.still += 1;
        let (late, stands) = (patience * 3 / 4, self.period * self.still);
        if stands >= late && stands - self.period < late {
            error!(
                "the thread of the cache has not moved for {stands:?}; the service manager ends this process after {patience:?}"
            );
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::counters::BridgeCounters;
    use crate::bridge::delivery::BridgeId;

    #[test]
    fn it_pings_only_while_the_thread_of_the_cache_moves() {
        let pulse = Pulse::default();
        let mut watch = Watch::new(pulse.clone(), Some(Duration::from_secs(60)));
        assert!(watch.look(), "it has just become ready");
        assert!(!watch.look() && !watch.look());
        pulse.beat();
        assert!(watch.look() && !watch.look());
        let mut unwatched = Watch::new(pulse.clone(), None);
        pulse.beat();
        assert!(!unwatched.look(), "nobody asked for it");
    }

    #[test]
    fn the_status_is_one_line() {
        let mut counters = Counters { clients: 3, ..Counters::default() };
        let bridge = BridgeCounters { name: "emqx1".into(), queued: 12, ..BridgeCounters::default() };
        counters.bridges.insert(BridgeId(1), bridge);
        assert_eq!(status(&counters), "emqx1: link down, 12 queued; 3 clients");
        counters.cache_error = Some("the disk\nis full".into());
        assert_eq!(status(&counters), "failing: the disk is full; emqx1: link down, 12 queued; 3 clients");
    }
}
