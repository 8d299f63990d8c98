//! /healthz and /readyz.
use std::fmt::Write as _;

use crate::bridge::counters::Counters;

/// `/healthz`: whether the bridge can keep its word; whoever supervises the process may end it where it cannot for long.
/// Red where the bridge cannot acknowledge anything. A link that is down is no illness: that is what the cache is for.
pub(super) fn health(counters: &Counters) -> (bool, String) {
    let mut text = match &counters.cache_error {
        Some(error) => format!("failing: {error}\n"),
        None => "ok\n".to_owned(),
    };
    for bridge in counters.bridges.values() {
        let link = if bridge.connected { "up" } else { "down" };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "bridge {}: link {link}, {} queued, {} in flight, {} quarantined",
            bridge.name, bridge.queued, bridge.in_flight, bridge.quarantined
        );
    }
    (counters.cache_error.is_none(), text)
}

/// `/readyz`: whether local clients should be sent here: the listeners are bound, the cache is open and can be written,
/// and the bridge is not stopping. Links may be down. Nothing answers before the listeners do.
pub(super) fn readiness(counters: &Counters, stopping: bool) -> (bool, String) {
    match &counters.cache_error {
        _ if stopping => (false, "stopping\n".to_owned()),
        Some(error) => (false, format!("failing: {error}\n")),
        None => (true, "ready\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::counters::BridgeCounters;
    use crate::bridge::delivery::BridgeId;

    #[test]
    fn a_cache_that_fails_is_red_and_a_link_that_is_down_is_not() {
        let mut counters = Counters::default();
        counters.bridges.insert(BridgeId(1), BridgeCounters::default());
        assert!(health(&counters).0 && readiness(&counters, false).0);
        counters.cache_error = Some("the disk is full".into());
        let (healthy, text) = health(&counters);
        assert!(!healthy && text.starts_with("failing: the disk is full\n"), "{text}");
        assert_eq!(readiness(&counters, false), (false, "failing: the disk is full\n".to_owned()));
    }

    #[test]
    fn a_bridge_that_stops_is_healthy_and_not_ready() {
        let counters = Counters::default();
        assert!(health(&counters).0);
        assert_eq!(readiness(&counters, true), (false, "stopping\n".to_owned()));
    }
}
