//! Retained messages: which are kept, and who gets them when it subscribes.
use std::sync::Arc;

use tracing::warn;

use super::{Answer, Kept, Pending, Writer};
use crate::bridge::cache::{Cache, CacheError};
use crate::bridge::config;
use crate::bridge::core::retained::{Entry, Retained};
use crate::bridge::core::subscriptions::is_shared;
use crate::bridge::delivery::{BridgeId, NewDelivery, Seq, Store, Write};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::Subscription;

/// Messages that one transaction takes.
const AT_ONCE: usize = 256;

/// What is retained, and who has subscribed and is still to be given it.
#[derive(Debug)]
pub(super) struct Retaining {
    index: Retained,
    /// Of sessions that are kept; what is committed from this sequence on they get anyway.
    subscribed: Vec<(Arc<str>, Subscription, Seq)>,
    /// The log has said that there is no more room.
    said: bool,
}

impl Default for Retaining {
    fn default() -> Self {
        Self::new(&config::Retained::default())
    }
}

impl Retaining {
    fn new(config: &config::Retained) -> Self {
        let index = Retained::new(config.max_messages, config.max_bytes);
        Self { index, subscribed: Vec::new(), said: false }
    }

    /// A session that is kept subscribes ([MQTT-3.3.1-9] to [MQTT-3.3.1-11]).
    pub(super) fn subscribes(&mut self, client_id: &Arc<str>, subscription: &Subscription, is_new: bool, at: Seq) {
        let wanted = subscription.retain_handling == 0 || (subscription.retain_handling == 1 && is_new);
        if wanted && !is_shared(&subscription.filter) {
            self.subscribed.push((client_id.clone(), subscription.clone(), at));
        }
    }

    /// Whether the message is to be retained.
    pub(super) fn takes(&mut self, message: &Message) -> bool {
        if !message.retain {
            return false;
        }
        let has_room = self.index.has_room(message);
        if !has_room && !self.said {
            let (count, bytes) = self.index.used();
            warn!("topic {}: not retained: {count} messages of {bytes} bytes are, see `retained`", message.topic);
        }
        self.said = !has_room;
        has_room
    }

    /// It has been committed.
    pub(super) fn committed(&mut self, store: &Store) {
        if store.message.payload.is_empty() {
            self.index.remove(&store.message.topic);
        } else {
            self.index.set(&store.message.topic, Entry::new(store.seq, &store.message, store.received_at));
        }
    }
}

impl<C: Cache + 'static> Writer<C> {
    /// With these limits, and the retained messages that the cache holds.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    pub fn retaining(mut self, config: &config::Retained) -> Result<Self, CacheError> {
        self.retaining = Retaining::new(config);
        for (topic, entry) in self.cache.retained_topics()? {
            // Sequences are not given twice, also where the message has left its queues.
            self.next = self.next.max(Seq(entry.seq.0 + 1));
            self.retaining.index.set(&topic, entry);
        }
        Ok(self)
    }

    /// What is retained of these topics for a subscription.
    fn read_retained(&mut self, topics: &[(Arc<str>, Entry)], subscription: &Subscription) -> Vec<Kept> {
        let mut kept = Vec::with_capacity(topics.len());
        for (topic, entry) in topics {
            match self.cache.retained(topic) {
                Ok(Some((_, message, received_at))) => kept.push(Kept {
                    qos: message.qos.min(subscription.qos),
                    message: entry.alive.upgrade().unwrap_or(message),
                    received_at,
                    identifiers: subscription.identifier.map(|identifier| [identifier].into()),
                }),
                Ok(None) => {}
                Err(error) => warn!("reading what is retained of topic {topic}: {error}"),
            }
        }
        kept
    }

    /// What is retained for subscriptions, as far as there is room for it at the subscriber.
    pub(super) fn retained_for(&mut self, subscriptions: &[Subscription], mut bytes: usize) -> Vec<Kept> {
        let mut found = Vec::new();
        for subscription in subscriptions {
            let topics = self.retaining.index.matching(&subscription.filter, self.clock.now());
            let fit = topics.iter().take_while(|(_, entry)| {
                let left = bytes.checked_sub(usize::try_from(entry.bytes).unwrap_or(usize::MAX));
                bytes = left.unwrap_or_default();
                left.is_some()
            });
            let fit = fit.count();
            if fit < topics.len() {
                let left_out = (topics.len() - fit) as u64;
                let filter = &subscription.filter;
                warn!("filter {filter}: {left_out} retained messages are left out: `max_queued_bytes` of the listener");
                self.counters.lock().subscriber_overflow += left_out;
            }
            found.extend(self.read_retained(&topics[..fit], subscription));
        }
        found
    }

    /// Commits what is retained for those who have subscribed, as messages that wait for them.
    pub(super) fn send_retained(&mut self) {
        for (client_id, subscription, before) in std::mem::take(&mut self.retaining.subscribed) {
            let mut topics = self.retaining.index.matching(&subscription.filter, self.clock.now());
            topics.retain(|(_, entry)| entry.seq < before);
            for topics in topics.chunks(AT_ONCE) {
                let Some(queue) = self.sessions.queue(&client_id) else { break };
                let kept = self.read_retained(topics, &subscription);
                let writes = kept.into_iter().map(|kept| Write::Store(Box::new(copy(kept, queue)))).collect();
                // Nobody waits for an answer.
                let (answer, _) = Answer::channel();
                let mut pending = Pending::default();
                let (part, _) = self.part(writes, answer, false, &mut pending);
                self.commit(vec![part], pending);
            }
        }
    }

    /// Removes some that have expired; whether there may be more.
    pub(super) fn expire_retained(&mut self) -> bool {
        let now = self.clock.now();
        let expired = self.retaining.index.expired(now, AT_ONCE);
        let writes = expired.iter().map(|topic| {
            let message = Message { retain: true, ..Message::new(topic, "", QoS::AtMostOnce) };
            Write::Store(Box::new(Store {
                seq: Seq::default(),
                message: Arc::new(message),
                received_at: now,
                deliveries: Vec::new(),
                received_id: None,
                publisher: None,
                retained: true,
            }))
        });
        let writes: Vec<Write> = writes.collect();
        if let Err(error) = self.cache.apply(&writes) {
            self.failed(&error);
            return false;
        }
        expired.iter().for_each(|topic| self.retaining.index.remove(topic));
        expired.len() == AT_ONCE
    }
}

/// A retained message as one that waits for a session alone, with RETAIN ([MQTT-3.3.1-8]).
fn copy(kept: Kept, queue: BridgeId) -> Store {
    let Kept { message, qos, received_at, identifiers } = kept;
    let delivery =
        NewDelivery { bridge: queue, topic: message.topic.clone(), qos, retain: true, when_full: None, identifiers };
    Store {
        seq: Seq::default(),
        message,
        received_at,
        deliveries: vec![delivery],
        received_id: None,
        publisher: None,
        retained: false,
    }
}
