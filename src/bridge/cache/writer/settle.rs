//! What follows a commit: what was decided is counted, handed on to the remote legs, and answered.
use super::{Admitted, Evictions, Part, Pending, Writer};
use crate::bridge::cache::{Applied, Cache, Usage};
use crate::bridge::counters::{BridgeCounters, Counters};
use crate::bridge::crash;
use crate::bridge::delivery::{BridgeId, Delivery, DropReason, Kept, NewDelivery, Progress, Store, Write};

impl<C: Cache + 'static> Writer<C> {
    /// Counts, hands on and answers what has been committed.
    pub(super) fn settle(&mut self, parts: Vec<Part>, applied: Vec<Applied>, pending: &Pending) {
        let mut applied = applied.into_iter();
        let counters = self.counters.clone();
        let mut counters = counters.lock();
        let mut touched = pending.touched.clone();
        let evictions = &pending.evictions;
        self.count_evicted(evictions, &mut counters, &mut touched);
        self.freed |= !touched.is_empty();
        for part in parts {
            let mut reply = self.lines.reply(part.answer, part.writes.len());
            for ((write, admitted), refused) in part.writes.into_iter().zip(part.refused) {
                if let Some(reason) = refused {
                    reject(&write, &mut counters);
                    self.lines.push(&mut reply, Err(reason));
                    continue;
                }
                let (write, admitted) = match (write, admitted) {
                    (Write::Store(store), Some(admitted)) if admitted.deferred => {
                        counters.received += 1;
                        let line = self.lines.defer(&mut reply, store.seq);
                        let until = self.deferral.hold(store.clone(), line, self.clock.now());
                        let kept = Kept::Deferred { until };
                        self.hand_on(*store, admitted, kept, evictions, &mut counters, &mut touched);
                        crash::point("store_deferred");
                        continue;
                    }
                    committed => committed,
                };
                let applied = applied.next().unwrap_or(Applied::Done);
                crash::committed(&write);
                match write {
                    Write::Store(store) if applied == Applied::Done => {
                        if store.retained {
                            self.retaining.committed(&store);
                        }
                        counters.received += 1;
                        let admitted = admitted.unwrap_or_default();
                        self.hand_on(*store, admitted, Kept::Row, evictions, &mut counters, &mut touched);
                    }
                    Write::Store(_) => {
                        counters.repeated += 1;
                        // Room was kept for it.
                        self.freed = true;
                    }
                    Write::Progress { bridge, step, .. } => {
                        count_step(counters.columns(bridge), step);
                        self.freed |= matches!(step, Progress::Removed(_) | Progress::Quarantined(_));
                        touched.push(bridge);
                    }
                    Write::Count { bridge, outcome } => counters.columns(bridge).finish(outcome),
                    _ => {}
                }
                self.lines.push(&mut reply, Ok(applied));
            }
            self.lines.send(reply);
        }
        self.lines.flush();
        if self.deferral.is_on() {
            counters.deferred = self.deferral.len() as u64;
        }
        if !self.drop_log.is_empty() {
            self.log_drops(&counters);
        }
        touched.sort_unstable();
        touched.dedup();
        for bridge in touched {
            let Usage { messages, bytes, .. } = self.cache.usage(bridge);
            if !bridge.is_session() {
                let columns = counters.columns(bridge);
                (columns.cached, columns.cached_bytes) = (messages, bytes);
            }
            if let Some(outlet) = self.outlets.get(&bridge) {
                outlet.ring.notify();
            }
        }
    }

    /// Puts what has been committed, or deferred, into the rings.
    fn hand_on(
        &mut self,
        store: Store,
        admitted: Admitted,
        kept: Kept,
        evictions: &Evictions,
        counters: &mut Counters,
        touched: &mut Vec<BridgeId>,
    ) {
        let Admitted { memory, dropped, .. } = admitted;
        for (delivery, reason) in dropped {
            let NewDelivery { bridge, topic, .. } = delivery;
            counters.columns(bridge).drop_at_once(reason, &topic);
            self.drop_log.record(bridge, reason, &topic, store.seq);
        }
        let rows = store.deliveries.into_iter().map(|delivery| (delivery, kept));
        for (new, kept) in rows.chain(memory.into_iter().map(|delivery| (delivery, Kept::Volatile))) {
            let bridge = new.bridge;
            touched.push(bridge);
            if kept == Kept::Row && evictions.is_stillborn(bridge, store.seq) {
                counters.columns(bridge).drop_at_once(DropReason::Evicted, &new.topic);
                self.drop_log.record(bridge, DropReason::Evicted, &new.topic, store.seq);
                // It may have left more than what it went for needed.
                self.freed = true;
                continue;
            }
            let delivery = Delivery {
                seq: store.seq,
                topic: new.topic,
                qos: new.qos,
                retain: new.retain,
                received_at: store.received_at,
                identifiers: new.identifiers,
                kept,
                message: store.message.clone(),
            };
            let columns = counters.columns(bridge);
            let Some(outlet) = self.outlets.get(&bridge) else { continue };
            // Counted before it can be taken, or a column would go below zero.
            columns.accept();
            let mut ring = outlet.ring.lock();
            if let Err(delivery) = ring.push(delivery) {
                columns.give_up(DropReason::Qos0Offline, &delivery.topic);
            } else if kept != Kept::Row && ring.is_spilled() {
                // It is to be read back, so it must be a row.
                self.deferral.handle_step(store.seq);
            }
        }
    }
}

fn reject(write: &Write, counters: &mut Counters) {
    counters.refused += 1;
    if let Write::Store(store) = write {
        for delivery in &store.deliveries {
            counters.columns(delivery.bridge).rejected += 1;
        }
    }
}

fn count_step(columns: &mut BridgeCounters, step: Progress) {
    match step {
        Progress::Removed(outcome) => columns.finish(outcome),
        Progress::Quarantined(_) => columns.quarantine(),
        Progress::Sent { .. } | Progress::Released { .. } | Progress::Requeued => {}
    }
}
