//! Where passed bridges are counted without being asked for.
use super::{Bridge, Config};

/// Bridges that a message may pass.
const MAX_HOPS: u8 = 8;

/// A count is a property that every subscriber sees, so it is added only where messages can go round as far as this file
/// shows: by a bridge in both directions, or between two brokers, of which each may have a bridge of its own to the other.
pub(super) fn resolve(config: &mut Config) {
    let between_brokers = config.source.is_some();
    for bridge in &mut config.bridges {
        let both_ways = !bridge.forwards.is_empty() && !bridge.subscriptions.is_empty();
        let default = if bridge.protocol == 5 && (both_ways || between_brokers) { MAX_HOPS } else { 0 };
        bridge.max_hops.get_or_insert(default);
    }
}

/// What is counted by the leg to the source: as much as any of the bridges does.
pub(super) fn of_the_source(bridges: &[Bridge]) -> Option<u8> {
    bridges.iter().filter_map(|bridge| bridge.max_hops).max()
}
