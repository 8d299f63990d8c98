//! The reference implementation: what the contract means, in maps. Kept by nothing but the process.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Applied, Cache, CacheError, Page, Usage};
use crate::bridge::core::forwarder::Restored;
use crate::bridge::core::retained::Entry;
use crate::bridge::delivery::{
    BridgeId, Delivery, Held, HeldPhase, Kept, KeptWill, Kind, NewDelivery, Origin, Progress, Seq, Session, Store,
    Time, Waiting, Write,
};
use crate::bridge::message::Message;
use crate::bridge::wire::ReasonCode;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Queued,
    Sent(u16),
    Released(u16, i64),
    Quarantined(ReasonCode),
}

/// A cache without a file.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    names: BTreeMap<BridgeId, String>,
    established: HashMap<BridgeId, String>,
    deliveries: BTreeMap<(BridgeId, Seq), (Delivery, State)>,
    received: BTreeSet<(Origin, u16)>,
    sessions: HashMap<Arc<str>, Session>,
    retained: BTreeMap<Arc<str>, (Seq, Arc<Message>, Time)>,
    wills: BTreeMap<Arc<str>, KeptWill>,
}

impl Memory {
    fn store(&mut self, store: &Store) -> Applied {
        if let Some((origin, packet_id)) = &store.received_id
            && !self.received.insert((origin.clone(), *packet_id))
        {
            return Applied::Repeated;
        }
        if store.retained && store.message.payload.is_empty() {
            self.retained.remove(&store.message.topic);
        } else if store.retained {
            let retained = (store.seq, store.message.clone(), store.received_at);
            self.retained.insert(store.message.topic.clone(), retained);
        }
        for NewDelivery { bridge, topic, qos, retain, identifiers, .. } in &store.deliveries {
            let delivery = Delivery {
                seq: store.seq,
                topic: topic.clone(),
                qos: *qos,
                retain: *retain,
                received_at: store.received_at,
                identifiers: identifiers.clone(),
                kept: Kept::Row,
                message: store.message.clone(),
            };
            self.deliveries.insert((*bridge, store.seq), (delivery, State::Queued));
        }
        Applied::Done
    }

    fn progress(&mut self, bridge: BridgeId, seq: Seq, step: Progress) {
        let Some((_, state)) = self.deliveries.get_mut(&(bridge, seq)) else { return };
        match (step, *state) {
            (Progress::Sent { .. }, State::Quarantined(_)) => {}
            (Progress::Sent { packet_id }, _) => *state = State::Sent(packet_id),
            (Progress::Released { order }, State::Sent(packet_id)) => *state = State::Released(packet_id, order),
            (Progress::Released { .. }, _) => {}
            (Progress::Requeued, _) => *state = State::Queued,
            (Progress::Quarantined(reason), _) => *state = State::Quarantined(reason),
            (Progress::Removed(_), _) => {
                self.deliveries.remove(&(bridge, seq));
            }
        }
    }

    fn register(&mut self, name: String, keys: std::ops::Range<BridgeId>) -> BridgeId {
        if let Some((id, _)) = self.names.iter().find(|(_, known)| **known == name) {
            return *id;
        }
        let last = self.names.range(keys.clone()).next_back();
        let id = last.map_or(keys.start, |(id, _)| BridgeId(id.0 + 1));
        self.names.insert(id, name);
        id
    }

    fn forget_empty(&mut self, queue: BridgeId) {
        if self.of(queue, Seq::default()).next().is_none() {
            self.names.remove(&queue);
        }
    }

    fn of(&self, bridge: BridgeId, after: Seq) -> impl Iterator<Item = &(Delivery, State)> {
        let from = (bridge, Seq(after.0.saturating_add(1)));
        self.deliveries.range(from..=(bridge, Seq(i64::MAX))).map(|(_, row)| row)
    }
}

impl Cache for Memory {
    fn bridge(&mut self, name: &str) -> Result<(BridgeId, Restored), CacheError> {
        let id = self.register(name.to_owned(), BridgeId(1)..BridgeId::FIRST_SESSION);
        let received = self.received.iter().filter(|(origin, _)| *origin == Origin::Remote(id));
        let received_ids = received.map(|(_, packet_id)| *packet_id).collect();
        let established = self.established.get(&id).cloned();
        let restored = Restored { established, held: self.held(id)?, received_ids };
        Ok((id, restored))
    }

    fn held(&mut self, queue: BridgeId) -> Result<Vec<Held>, CacheError> {
        let held = self.of(queue, Seq::default()).filter_map(|(delivery, state)| {
            let (packet_id, phase) = match *state {
                State::Sent(packet_id) => (packet_id, HeldPhase::Sent),
                State::Released(packet_id, order) => (packet_id, HeldPhase::Released(order)),
                State::Queued | State::Quarantined(_) => return None,
            };
            Some(Held { delivery: delivery.clone(), packet_id, phase })
        });
        Ok(held.collect())
    }

    fn retained_topics(&mut self) -> Result<Vec<(Arc<str>, Entry)>, CacheError> {
        let entry = |(seq, message, received_at): &(Seq, Arc<Message>, Time)| Entry::new(*seq, message, *received_at);
        Ok(self.retained.iter().map(|(topic, retained)| (topic.clone(), entry(retained))).collect())
    }

    fn retained(&mut self, topic: &str) -> Result<Option<(Seq, Arc<Message>, Time)>, CacheError> {
        Ok(self.retained.get(topic).cloned())
    }

    fn sessions(&mut self) -> Result<Vec<Arc<str>>, CacheError> {
        Ok(self.sessions.keys().cloned().collect())
    }

    fn ended(&mut self) -> Result<Option<BridgeId>, CacheError> {
        let ended = self.names.iter().find(|(id, name)| id.is_session() && name.starts_with("ended:"));
        Ok(ended.map(|(id, _)| *id))
    }

    fn apply_each(&mut self, writes: &[&Write]) -> Result<Vec<Applied>, CacheError> {
        let mut applied = Vec::with_capacity(writes.len());
        for write in writes {
            let mut outcome = Applied::Done;
            match write {
                Write::Store(store) => outcome = self.store(store),
                Write::Progress { bridge, seq, step } => self.progress(*bridge, *seq, *step),
                Write::Count { .. } => {}
                Write::Forget { origin, packet_id } => {
                    self.received.remove(&(origin.clone(), *packet_id));
                }
                Write::ForgetAll { origin } => self.received.retain(|(known, _)| known != origin),
                Write::Established { bridge, identity } => {
                    self.established.insert(*bridge, identity.clone());
                }
                Write::KeepSession { client_id, expires_at, expiry } => {
                    let session = self.sessions.entry(client_id.clone()).or_default();
                    session.expires_at = *expires_at;
                    session.expiry = *expiry;
                    let queues = BridgeId::FIRST_SESSION..BridgeId(i64::MAX);
                    let queue = self.register(format!("session:{client_id}"), queues);
                    if let Some(session) = self.sessions.get_mut(client_id) {
                        session.queue = Some(queue);
                    }
                }
                Write::EndSession { client_id } => {
                    if let Some(queue) = self.sessions.remove(client_id).and_then(|session| session.queue) {
                        self.names.insert(queue, format!("ended:{}", queue.0));
                        self.forget_empty(queue);
                    }
                    self.received.retain(|(known, _)| *known != Origin::Local(client_id.clone()));
                }
                Write::Discard { queue } => {
                    let oldest: Vec<Seq> = self.of(*queue, Seq::default()).map(|(row, _)| row.seq).take(256).collect();
                    for seq in oldest {
                        self.deliveries.remove(&(*queue, seq));
                    }
                    self.forget_empty(*queue);
                }
                Write::Subscribe { client_id, subscription } => {
                    if let Some(session) = self.sessions.get_mut(client_id) {
                        session.subscriptions.retain(|known| known.filter != subscription.filter);
                        session.subscriptions.push(subscription.clone());
                    }
                }
                Write::Unsubscribe { client_id, filter } => {
                    if let Some(session) = self.sessions.get_mut(client_id) {
                        session.subscriptions.retain(|known| known.filter != *filter);
                    }
                }
                Write::KeepWill { client_id, will, due_at } => {
                    let kept = KeptWill { client_id: client_id.clone(), will: will.clone(), due_at: *due_at };
                    self.wills.insert(client_id.clone(), kept);
                }
                Write::EndWill { client_id, due_at } => {
                    self.wills.retain(|known, kept| known != client_id || kept.due_at != *due_at);
                }
            }
            applied.push(outcome);
        }
        Ok(applied)
    }

    fn page(&mut self, bridge: BridgeId, after: Seq, messages: usize, bytes: usize) -> Result<Page, CacheError> {
        let mut queued = self.of(bridge, after).filter(|(_, state)| *state == State::Queued).map(|(row, _)| row);
        let mut page = Page::default();
        let mut read = 0;
        while page.deliveries.len() < messages && read <= bytes {
            let Some(delivery) = queued.next() else {
                page.complete = true;
                break;
            };
            read += delivery.message.size();
            page.deliveries.push(delivery.clone());
        }
        Ok(page)
    }

    fn waiting(&mut self, bridge: BridgeId, kind: Kind, after: Seq, limit: usize) -> Result<Vec<Waiting>, CacheError> {
        let queued = self.of(bridge, after).filter(|(row, state)| *state == State::Queued && kind.holds(row.qos));
        let waiting = queued.take(limit).map(|(row, _)| Waiting {
            seq: row.seq,
            topic: row.topic.clone(),
            qos: row.qos,
            bytes: row.message.size() as u64,
            received_at: row.received_at,
        });
        Ok(waiting.collect())
    }

    fn oldest(&mut self, bridge: BridgeId) -> Result<Option<Time>, CacheError> {
        let mut left = self.of(bridge, Seq::default()).filter(|(_, state)| !matches!(state, State::Quarantined(_)));
        Ok(left.next().map(|(row, _)| row.received_at))
    }

    fn usage(&self, bridge: BridgeId) -> Usage {
        let mut usage = Usage::default();
        for (delivery, state) in self.of(bridge, Seq::default()) {
            if matches!(state, State::Quarantined(_)) {
                usage.quarantined += 1;
            } else {
                usage.messages += 1;
                usage.bytes += delivery.message.size() as u64;
            }
        }
        usage
    }

    fn session(&mut self, client_id: &str) -> Result<Option<Session>, CacheError> {
        let Some((client_id, session)) = self.sessions.get_key_value(client_id) else { return Ok(None) };
        let origin = Origin::Local(client_id.clone());
        let received = self.received.iter().filter(|(known, _)| *known == origin).map(|(_, packet_id)| *packet_id);
        Ok(Some(Session { received_ids: received.collect(), ..session.clone() }))
    }

    fn wills(&mut self) -> Result<Vec<KeptWill>, CacheError> {
        Ok(self.wills.values().cloned().collect())
    }

    fn latest(&mut self) -> Result<(Seq, Time), CacheError> {
        let kept = || self.deliveries.values().map(|(delivery, _)| delivery);
        let (seq, received_at) = (kept().map(|kept| kept.seq).max(), kept().map(|kept| kept.received_at).max());
        Ok((seq.unwrap_or_default(), received_at.unwrap_or_default()))
    }

    fn close(&mut self) -> Result<(), CacheError> {
        Ok(())
    }
}

#[cfg(test)]
impl Memory {
    /// Messages that are kept, whoever they go to.
    pub(in crate::bridge) fn kept(&self) -> u64 {
        self.deliveries.keys().map(|(_, seq)| seq).collect::<BTreeSet<_>>().len() as u64
    }

    /// The oldest delivery of a bridge that is not set aside.
    pub(in crate::bridge) fn first(&self, bridge: BridgeId) -> Option<Seq> {
        let waiting = |(_, state): &&(Delivery, State)| !matches!(state, State::Quarantined(_));
        self.of(bridge, Seq::default()).find(waiting).map(|(delivery, _)| delivery.seq)
    }
}
