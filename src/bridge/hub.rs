//! Local clients that are connected, who takes over from whom, and how a message finds those of them whose session ends
//! with the connection. (Sessions that are kept get it from the cache.)
mod state;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, mpsc, watch};

use super::clock::Clock;
use super::core::{limits, outgoing};
use super::counters::Shared;
use super::message::{Message, QoS};
use super::topic;
use super::wire::{ReasonCode, Subscription};

/// What a message on its way takes besides topic and payload.
const PARCEL_OVERHEAD: usize = 128;

/// Dropped when a subscriber has the message or will never have it.
#[derive(Debug)]
pub struct Receipt {
    queued: Arc<AtomicUsize>,
    /// Of all sessions together.
    memory: Arc<AtomicUsize>,
    bytes: usize,
    /// Held for whoever waits until all connected subscribers have the message.
    _all: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
        self.memory.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A message on its way to a local subscriber.
pub type Parcel = outgoing::Parcel<Receipt>;

#[derive(Debug)]
struct Seat {
    generation: u64,
    subscriptions: Vec<Subscription>,
    parcels: mpsc::UnboundedSender<Parcel>,
    close: watch::Sender<Option<ReasonCode>>,
    queued: Arc<AtomicUsize>,
    /// Bytes that may be on their way to this subscriber.
    limit: usize,
}

#[derive(Debug, Default)]
struct Seats {
    by_client: HashMap<Arc<str>, Seat>,
    /// Held by a client's connection from CONNECT until everything it sent is committed.
    turns: HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>,
    /// Of each client that has a turn, which of its connections came last.
    latest: HashMap<Arc<str>, u64>,
    generation: u64,
    closing: Option<ReasonCode>,
}

/// The local sessions that are connected.
#[derive(Debug, Clone)]
pub struct Hub {
    seats: Arc<Mutex<Seats>>,
    /// Bytes that are on their way to all sessions together.
    memory: Arc<AtomicUsize>,
    /// So many there may be.
    max_memory: Arc<AtomicUsize>,
    /// The bridge's own messages about itself, the latest of each topic, for whoever subscribes.
    states: Arc<Mutex<BTreeMap<Arc<str>, Arc<Message>>>>,
    counters: Shared,
    clock: Clock,
}

/// A connection's seat in the hub; given up when dropped.
#[derive(Debug)]
pub struct Place {
    hub: Hub,
    client_id: Arc<str>,
    generation: u64,
    /// Messages for this client.
    pub parcels: mpsc::UnboundedReceiver<Parcel>,
    /// Why the connection is to be closed, once it is.
    pub close: watch::Receiver<Option<ReasonCode>>,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.hub.lock();
        let own = |seat: &&Seat| seat.generation == self.generation;
        if seats.by_client.get(&self.client_id).filter(own).is_some() {
            seats.by_client.remove(&self.client_id);
        }
        self.hub.count(&seats);
        // Two hold it when nobody waits: the map and this turn.
        if seats.turns.get(&self.client_id).is_some_and(|turn| Arc::strong_count(turn) <= 2) {
            seats.turns.remove(&self.client_id);
            seats.latest.remove(&self.client_id);
        }
    }
}

impl Hub {
    /// A hub without sessions. At most `max_memory` bytes are to be on their way to all of them together.
    pub fn new(max_memory: usize, counters: Shared, clock: Clock) -> Self {
        let (seats, states, memory) = Default::default();
        Self { seats, states, memory, max_memory: Arc::new(max_memory.into()), counters, clock }
    }

    /// So many from now on.
    pub fn set_max_memory(&self, max_memory: usize) {
        self.max_memory.store(max_memory, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, seats: &Seats) {
        self.counters.lock().clients = seats.by_client.len() as u64;
    }

    /// Ends any other connection of this client, waits until everything it sent is committed, and takes its place
    /// ([MQTT-3.1.4-3]). At most `limit` bytes are to be on their way to it.
    pub async fn enter(&self, client_id: &Arc<str>, limit: usize) -> Place {
        let (generation, turn) = {
            let mut seats = self.lock();
            seats.generation += 1;
            let generation = seats.generation;
            seats.latest.insert(client_id.clone(), generation);
            if let Some(seat) = seats.by_client.get(client_id) {
                seat.close.send_replace(Some(ReasonCode::SESSION_TAKEN_OVER));
            }
            (generation, seats.turns.entry(client_id.clone()).or_default().clone())
        };
        let turn = turn.lock_owned().await;
        let mut seats = self.lock();
        // Whoever came while this one waited for its turn could not tell it to leave: it has had no seat.
        let overtaken = seats.latest.get(client_id).is_some_and(|latest| *latest != generation);
        let closing = seats.closing.or(overtaken.then_some(ReasonCode::SESSION_TAKEN_OVER));
        let (close_sender, close) = watch::channel(closing);
        let (sender, parcels) = mpsc::unbounded_channel();
        let (subscriptions, queued) = (Vec::new(), Arc::default());
        let seat = Seat { generation, subscriptions, parcels: sender, close: close_sender, queued, limit };
        seats.by_client.insert(client_id.clone(), seat);
        self.count(&seats);
        drop(seats);
        let (hub, client_id) = (self.clone(), client_id.clone());
        Place { hub, client_id, generation, parcels, close, _turn: turn }
    }

    /// These are a client's subscriptions from now on.
    pub fn subscribe(&self, client_id: &str, subscriptions: Vec<Subscription>) {
        if let Some(seat) = self.lock().by_client.get_mut(client_id) {
            self.hand_states(seat, &subscriptions);
            seat.subscriptions = subscriptions;
        }
    }

    /// Hands a message to every session that subscribes to it, once, at the highest QoS that it asked for. Beyond a session's
    /// limit QoS 0 is dropped, and otherwise the client is disconnected (0x97). `all` is dropped when every one has the
    /// message.
    ///
    /// Topics of [`topic::SYS`] are the bridge's own, and nobody else's messages on them are handed to anybody.
    pub fn publish(
        &self,
        message: &Arc<Message>,
        publisher: Option<&str>,
        all: Option<Arc<dyn std::any::Any + Send + Sync>>,
    ) {
        if !message.topic.starts_with(topic::SYS) {
            self.distribute(message, publisher, all);
        }
    }

    fn distribute(
        &self,
        message: &Arc<Message>,
        publisher: Option<&str>,
        all: Option<Arc<dyn std::any::Any + Send + Sync>>,
    ) {
        let seats = self.lock();
        let now = self.clock.now();
        let expires_at = message.expires_at(now);
        let (mut distributed, mut overflow) = (0, 0);
        let (sharers, max_memory) = (seats.by_client.len(), self.max_memory.load(Ordering::Relaxed));
        for (client_id, seat) in &seats.by_client {
            let own = publisher == Some(&**client_id);
            let mut subscription_ids = Vec::new();
            let matching = seat
                .subscriptions
                .iter()
                .filter(|wanted| !(own && wanted.no_local) && topic::matches(&wanted.filter, &message.topic));
            let Some((qos, as_published)) = matching
                .inspect(|wanted| subscription_ids.extend(wanted.identifier))
                .map(|wanted| (wanted.qos, wanted.retain_as_published))
                .reduce(|one, other| (one.0.max(other.0), one.1 || other.1))
            else {
                continue;
            };
            let qos = qos.min(message.qos);
            let bytes = message.size() + PARCEL_OVERHEAD;
            let (queued, total) = (seat.queued.load(Ordering::Relaxed), self.memory.load(Ordering::Relaxed));
            if !limits::has_room(queued, bytes, seat.limit, total, max_memory, sharers) {
                overflow += 1;
                if qos != QoS::AtMostOnce {
                    seat.close.send_replace(Some(ReasonCode::QUOTA_EXCEEDED));
                }
                continue;
            }
            seat.queued.fetch_add(bytes, Ordering::Relaxed);
            self.memory.fetch_add(bytes, Ordering::Relaxed);
            let (queued, memory) = (seat.queued.clone(), self.memory.clone());
            let receipt = Receipt { queued, memory, bytes, _all: all.clone() };
            let parcel = Parcel {
                message: message.clone(),
                qos,
                retain: message.retain && as_published,
                subscription_ids,
                expires_at,
                receipt: Some(receipt),
            };
            // A connection that has just ended drops it, which is what its receipt is for.
            distributed += u64::from(seat.parcels.send(parcel).is_ok());
        }
        drop(seats);
        if distributed + overflow > 0 {
            let mut counters = self.counters.lock();
            counters.distributed += distributed;
            counters.subscriber_overflow += overflow;
        }
    }

    /// Closes every connection, and every one that is still to come.
    pub fn close(&self, reason: ReasonCode) {
        let mut seats = self.lock();
        seats.closing = Some(reason);
        for seat in seats.by_client.values() {
            seat.close.send_replace(Some(reason));
        }
    }
}
