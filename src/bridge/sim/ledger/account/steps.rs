//! What is committed of a delivery's way: G2, and what makes room.
use super::*;

impl Account {
    /// A write of the forwarder, or of the writer itself, is committed.
    pub(in crate::bridge::sim::ledger) fn committed(&mut self, write: &Write) {
        match write {
            Write::Progress { seq, step, .. } => self.step(*seq, *step),
            Write::Count { outcome, .. } => {
                self.counted.counts += 1;
                self.require(*outcome != Outcome::Dropped(DropReason::Full), || "G2: dropped for no reason".into());
            }
            Write::Forget { packet_id, .. } => self.session.forgotten(*packet_id),
            Write::ForgetAll { .. } => self.session.all_forgotten(),
            _ => {}
        }
    }

    pub(super) fn step(&mut self, seq: Seq, step: Progress) {
        let Some(seq) = &self.keys.get(&seq).copied() else { return };
        let holder = self.holders.iter().find(|(_, (holder, _))| holder == seq).map(|(packet_id, _)| *packet_id);
        match step {
            Progress::Sent { packet_id } => {
                let free = self.holders.get(&packet_id).is_none_or(|(holder, _)| holder == seq);
                self.require(free, || format!("Packet Identifier {packet_id} is given to {seq:?}, and has a row"));
                holder.map(|packet_id| self.holders.remove(&packet_id));
                self.holders.insert(packet_id, (*seq, false));
                return self.held(*seq);
            }
            Progress::Released { .. } => {
                holder.and_then(|packet_id| self.holders.insert(packet_id, (*seq, true)));
                return;
            }
            _ => holder.map(|packet_id| self.holders.remove(&packet_id)),
        };
        let Some(delivery) = self.deliveries.get(seq).cloned() else { return };
        let record = self.records[delivery.id].clone();
        let spec = &self.specs[delivery.id];
        let (ended, allowed) = match step {
            Progress::Requeued => return,
            Progress::Removed(Outcome::Delivered) if spec.qos == QoS::AtMostOnce || record.lowered => {
                (Ended::Delivered, record.transmitted)
            }
            Progress::Removed(Outcome::Delivered) => (Ended::Delivered, record.delivered > 0),
            Progress::Removed(Outcome::Dropped(DropReason::Expired)) => {
                // At QoS 1 a process does not know what the one before it has sent.
                let expires = spec.expiry.is_some() || self.max_age.is_some();
                let never_sent = !record.transmitted || self.kills || record.keys.len() > 1;
                (Ended::Dropped(DropReason::Expired), expires && never_sent)
            }
            Progress::Removed(Outcome::Dropped(DropReason::Evicted)) => {
                self.counted.evicted += 1;
                self.evicted_now.push(*seq);
                let may = self.limited && self.when_full.contains(&WhenFull::DropOldest);
                let never_sent = !record.transmitted || self.kills || record.keys.len() > 1;
                (Ended::Dropped(DropReason::Evicted), may && never_sent && holder.is_none())
            }
            Progress::Removed(Outcome::Dropped(reason)) => (Ended::Dropped(reason), false),
            _ => {
                let too_large = self.limits_packets && spec.size >= 200;
                (Ended::Quarantined, spec.poison || too_large || record.closes >= CLOSES_BEFORE_QUARANTINE)
            }
        };
        if delivery.ended.is_none()
            && let Some(delivery) = self.deliveries.get_mut(seq)
        {
            delivery.ended = Some(ended);
        }
        let evicted = ended == Ended::Dropped(DropReason::Evicted);
        if self.strict || evicted {
            let id = delivery.id;
            self.require(allowed, || format!("G2: message {id} left the cache as {step:?}: {record:?}"));
        }
    }

    /// It has a Packet Identifier, which is asked for when its turn to be sent has come.
    fn held(&mut self, key: Key) {
        let Some(delivery) = self.deliveries.get_mut(&key) else { return };
        let was_held = std::mem::replace(&mut delivery.held, true);
        let (id, received_at) = (delivery.id, delivery.received_at);
        let may_be_old = was_held || self.records[id].transmitted || !self.commits_promptly;
        let in_time = may_be_old || self.is_in_time(id, received_at, self.clock);
        self.require(in_time, || format!("message {id} was to be sent when it had expired"));
    }

    /// Of what one transaction has evicted: nothing that the forwarder had, and nothing better or younger than what
    /// stayed as a row: what is deferred cannot be evicted. `held` is what the forwarder has, `is_free` says of a row that it has not had it, and `before` is the
    /// first that came with the transaction.
    pub(in crate::bridge::sim) fn evicted(&mut self, before: Seq, held: &BTreeSet<Seq>, is_free: impl Fn(Seq) -> bool) {
        // Deferred when it was decided which go.
        let new_rows = std::mem::take(&mut self.new_rows);
        for key in std::mem::take(&mut self.evicted_now) {
            let Some((id, seq)) = self.deliveries.get(&key).map(|delivery| (delivery.id, delivery.seq)) else {
                continue;
            };
            self.require(!held.contains(&seq), || format!("message {id} is evicted in flight"));
            let better = |id: usize| self.specs[id].qos != QoS::AtMostOnce;
            let first = self.deliveries.iter().find(|(other, delivery)| {
                let waits = delivery.place == Place::Row
                    && delivery.ended.is_none()
                    && delivery.seq < before
                    && !new_rows.contains(&delivery.seq)
                    && is_free(delivery.seq);
                waits && (better(delivery.id), **other) < (better(id), key)
            });
            if let Some((_, delivery)) = first {
                let what = format!("message {id} is evicted before {}", delivery.id);
                self.violate(what);
            }
        }
    }
}
