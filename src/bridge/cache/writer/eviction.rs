//! Rows that make room, or are too old: chosen in the core, removed in the transaction that needs the room, counted.
use std::collections::{HashMap, HashSet};

use tracing::warn;

use super::Writer;
use crate::bridge::cache::Cache;
use crate::bridge::core::eviction::{Evictor, Need, Unborn};
use crate::bridge::counters::Counters;
use crate::bridge::delivery::{BridgeId, DropReason, NewDelivery, Outcome, Progress, Seq, Store, Waiting, Write};
use crate::bridge::log::UNLIMITED;

/// What has been chosen for one transaction. The forwarder cannot take it any more, so it is committed whatever becomes
/// of the message that needs the room.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    rows: Vec<(BridgeId, Waiting, DropReason)>,
    /// Removes the rows: before anything is stored, since that is what makes room on a full disk too.
    pub(super) before: Vec<Write>,
    /// Removes what the same transaction has stored.
    pub(super) after: Vec<Write>,
    stillborn: HashSet<(BridgeId, Seq)>,
    /// Stored by the same transaction, of bridges that evict.
    unborn: HashMap<BridgeId, Unborn>,
}

impl Evictions {
    /// A row goes.
    pub(super) fn push(&mut self, bridge: BridgeId, waiting: Waiting, reason: DropReason) {
        self.before.push(removal(bridge, waiting.seq, reason));
        self.rows.push((bridge, waiting, reason));
    }

    /// A delivery will be a row; others of the same transaction may need its room.
    pub(super) fn expect(&mut self, store: &Store, delivery: &NewDelivery) {
        self.unborn.entry(delivery.bridge).or_default().push(Waiting {
            seq: store.seq,
            topic: delivery.topic.clone(),
            qos: delivery.qos,
            bytes: store.message.size() as u64,
            received_at: store.received_at,
        });
    }

    /// Whether a delivery was evicted by the transaction that has stored it.
    pub(super) fn is_stillborn(&self, bridge: BridgeId, seq: Seq) -> bool {
        !self.stillborn.is_empty() && self.stillborn.contains(&(bridge, seq))
    }
}

fn removal(bridge: BridgeId, seq: Seq, reason: DropReason) -> Write {
    Write::Progress { bridge, seq, step: Progress::Removed(Outcome::Dropped(reason)) }
}

impl<C: Cache + 'static> Writer<C> {
    /// Makes room for a delivery; how many messages and bytes that is, or `None` where there is not enough to evict.
    pub(super) fn evict(
        &mut self,
        delivery: &NewDelivery,
        need: Need,
        evictions: &mut Evictions,
    ) -> Option<(u64, u64)> {
        let bridge = delivery.bridge;
        let outlet = self.outlets.get(&bridge)?;
        let evictor: &mut Evictor = self.evictors.entry(bridge).or_default();
        let unborn = evictions.unborn.entry(bridge).or_default();
        let cache = &mut self.cache;
        let read = |kind, after, limit| cache.waiting(bridge, kind, after, limit);
        // The lock is what keeps the forwarder from taking one that is being chosen.
        let chosen = match evictor.choose(need, delivery.qos, &mut outlet.ring.lock(), unborn, read) {
            Ok(chosen) => chosen?,
            Err(error) => {
                warn!("looking for what could be evicted: {error}");
                return None;
            }
        };
        let mut freed = (0, 0);
        for chosen in chosen {
            let (seq, bytes) = (chosen.waiting.seq, chosen.waiting.bytes);
            freed = (freed.0 + 1, freed.1 + bytes);
            if chosen.is_row {
                evictions.push(bridge, chosen.waiting, DropReason::Evicted);
            } else {
                evictions.after.push(removal(bridge, seq, DropReason::Evicted));
                evictions.stillborn.insert((bridge, seq));
            }
        }
        Some(freed)
    }

    /// The rows are gone.
    pub(super) fn count_evicted(
        &mut self,
        evictions: &Evictions,
        counters: &mut Counters,
        touched: &mut Vec<BridgeId>,
    ) {
        for (bridge, waiting, reason) in &evictions.rows {
            counters.columns(*bridge).give_up(*reason, &waiting.topic);
            self.drop_log.record(*bridge, *reason, &waiting.topic, waiting.seq);
            touched.push(*bridge);
        }
    }

    /// Says what has been dropped, as far as it is time for that.
    pub(super) fn log_drops(&mut self, counters: &Counters) {
        for line in self.drop_log.poll(self.clock.now()) {
            match self.sessions.name(line.bridge) {
                Some(client_id) => {
                    let client_id: &str = client_id;
                    warn!(target: UNLIMITED, client_id, event = "dropped", "session {client_id}: {line}");
                }
                None => {
                    let name = counters.bridges.get(&line.bridge).map_or("", |columns| columns.name.as_str());
                    warn!(target: UNLIMITED, bridge = name, event = "dropped", "bridge {name}: {line}");
                }
            }
        }
    }
}
