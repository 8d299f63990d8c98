//! Deciding what becomes of each store before it is tried: the rules stand in [`admission`], what they need is read here.
use super::{Admitted, Answer, Part, Pending, Writer};
use crate::bridge::cache::Cache;
use crate::bridge::config::WhenFull;
use crate::bridge::core::admission::{self, Place, Queue};
use crate::bridge::core::deferral;
use crate::bridge::delivery::{DropReason, NewDelivery, Write};
use crate::bridge::topic;
use crate::bridge::wire::ReasonCode;

impl<C: Cache + 'static> Writer<C> {
    /// Admits writes up to the first that has to wait for room; also returns that one and what follows.
    pub(super) fn part(
        &mut self,
        writes: Vec<Write>,
        answer: Answer,
        may_wait: bool,
        pending: &mut Pending,
    ) -> (Part, Vec<Write>) {
        let mut part = Part { writes: Vec::with_capacity(writes.len()), refused: Vec::new(), answer };
        let mut writes = writes.into_iter();
        while let Some(write) = writes.next() {
            if part.answer.refuses(&write) {
                part.writes.push((write, None));
                part.refused.push(Some(ReasonCode::QUOTA_EXCEEDED));
                continue;
            }
            match self.admit(write, may_wait, pending) {
                Ok((write, refused)) => {
                    part.answer.note(refused);
                    part.writes.push(write);
                    part.refused.push(refused);
                }
                Err(waits) => return (part, std::iter::once(waits).chain(writes).collect()),
            }
        }
        (part, Vec::new())
    }

    /// Decides where the deliveries of a store wait, and gives it its sequence; gives it back where it has to wait.
    #[allow(clippy::type_complexity)] // A pair that goes straight into a part.
    pub(super) fn admit(
        &mut self,
        write: Write,
        may_wait: bool,
        pending: &mut Pending,
    ) -> Result<((Write, Option<Admitted>), Option<ReasonCode>), Write> {
        let Write::Store(mut store) = write else {
            self.note(&write);
            return Ok(((self.absorb(write), None), None));
        };
        let forwards = store.deliveries.iter().filter(|delivery| !delivery.bridge.is_session()).count();
        let is_copy = store.deliveries.iter().any(|delivery| delivery.bridge.is_session());
        // What the bridge says about itself stays in memory, and nobody else says it.
        if !is_copy && !store.message.topic.starts_with(topic::SYS) {
            store.retained = self.retaining.takes(&store.message);
            self.sessions.add_deliveries(&mut store);
        }
        let size = store.message.size() as u64;
        // Nobody but a local publisher waits for part of an answer.
        let mut deferred = may_wait && self.broken.is_none() && !store.retained && self.deferral.takes(&store);
        let mut places = Vec::with_capacity(store.deliveries.len());
        for delivery in &store.deliveries {
            let (place, may_be_deferred) = self.place(delivery, size, pending);
            deferred &= may_be_deferred;
            places.push(place);
        }
        deferred &= places.contains(&Place::Row);
        // What a session that is kept has not acknowledged yet is a row, or its publisher waits for all of them.
        deferred &= places[forwards..].iter().all(|place| matches!(place, Place::Memory | Place::Dropped(_)));
        for (place, delivery) in places.iter_mut().zip(&store.deliveries) {
            if *place == Place::Blocked && !may_wait {
                *place = Place::without_eviction(delivery.qos);
            }
        }
        if places.contains(&Place::Blocked) {
            // They may be others when it has its turn.
            store.deliveries.truncate(forwards);
            return Err(Write::Store(store));
        }
        store.seq = self.next;
        self.next.0 += 1;
        for (place, delivery) in places.iter_mut().zip(&store.deliveries) {
            if let Place::Evicting(need) = *place {
                *place = match self.evict(delivery, need, &mut pending.evictions) {
                    Some((messages, bytes)) => {
                        pending.grow(delivery.bridge, -i64::try_from(messages).unwrap_or(i64::MAX), bytes);
                        Place::Row
                    }
                    None => Place::without_eviction(delivery.qos),
                };
            }
        }
        let (to_bridges, to_sessions) = places.split_at_mut(forwards);
        if let Err(reason) = admission::decide(to_bridges).and_then(|()| self.sessions.decide(to_sessions)) {
            return Ok(((Write::Store(store), None), Some(reason)));
        }
        let mut admitted = Admitted { deferred, ..Admitted::default() };
        let deliveries = std::mem::take(&mut store.deliveries);
        for (delivery, place) in deliveries.into_iter().zip(places) {
            match place {
                Place::Row => {
                    pending.grow(delivery.bridge, 1, size);
                    if !deferred && self.evicts(&delivery) {
                        pending.evictions.expect(&store, &delivery);
                    }
                    store.deliveries.push(delivery);
                }
                Place::Memory => admitted.memory.push(delivery),
                Place::Dropped(reason) => admitted.dropped.push((delivery, reason)),
                Place::Rejected | Place::Evicting(_) | Place::Blocked => {}
            }
        }
        Ok(((Write::Store(store), Some(admitted)), None))
    }

    /// Where a delivery waits, and whether it leaves it to its message whether that is deferred.
    pub(super) fn place(&self, delivery: &NewDelivery, size: u64, pending: &Pending) -> (Place, bool) {
        let Some(outlet) = self.outlets.get(&delivery.bridge) else { return (Place::Rejected, true) };
        if delivery.bridge.is_volatile() {
            let place =
                if outlet.ring.lock().takes_volatile() { Place::Memory } else { Place::Dropped(DropReason::Full) };
            return (place, true);
        }
        let usage = self.cache.usage(delivery.bridge);
        let (messages, bytes) = pending.grown.get(&delivery.bridge).copied().unwrap_or_default();
        let deferred = self.deferral.used(delivery.bridge);
        let queue = Queue {
            messages: (usage.messages + deferred.0).saturating_add_signed(messages),
            bytes: (usage.bytes + deferred.1).saturating_add_signed(bytes),
            takes_volatile: outlet.ring.lock().takes_volatile(),
        };
        let place = admission::place(&outlet.limits, delivery.when_full, delivery.qos, size, queue);
        let may_be_deferred = match place {
            Place::Row => self.deferral.is_on() && deferral::may_wait(&outlet.limits, place, delivery.qos, queue),
            Place::Memory | Place::Dropped(_) | Place::Rejected => true,
            Place::Evicting(_) | Place::Blocked => false,
        };
        (place, may_be_deferred)
    }

    /// Whether the delivery may have to go for another of the same transaction.
    pub(super) fn evicts(&self, delivery: &NewDelivery) -> bool {
        let default = || self.outlets.get(&delivery.bridge).map(|outlet| outlet.limits.when_full);
        delivery.when_full.or_else(default) == Some(WhenFull::DropOldest)
    }
}
