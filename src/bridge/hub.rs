//! Local sessions that are connected, and how a message finds those that subscribe to it.
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, mpsc, watch};

use super::core::outgoing;
use super::counters::Shared;
use super::message::{Message, QoS};
use super::topic;
use super::wire::{ReasonCode, Subscription};

/// Bytes that may be on their way to one subscriber; beyond, QoS 0 is dropped, and with QoS 1 or 2 the subscriber is
/// disconnected (0x97): queues for subscribers that are away or behind come with a later version.
const MAX_SUBSCRIBER_BYTES: usize = 8 << 20;
/// What a message on its way takes besides topic and payload.
const PARCEL_OVERHEAD: usize = 128;

/// Dropped when a subscriber has the message or will never have it.
#[derive(Debug)]
pub struct Receipt {
    queued: Arc<AtomicUsize>,
    bytes: usize,
    /// Held for whoever waits until all subscribers have the message.
    _all: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
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
}

#[derive(Debug, Default)]
struct Seats {
    by_client: HashMap<Arc<str>, Seat>,
    /// Held by a client's connection from CONNECT until everything it sent is committed.
    turns: HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>,
    generation: u64,
    closing: Option<ReasonCode>,
}

/// The local sessions that are connected.
#[derive(Debug, Clone)]
pub struct Hub {
    seats: Arc<Mutex<Seats>>,
    counters: Shared,
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
        if seats.by_client.get(&self.client_id).is_some_and(|seat| seat.generation == self.generation) {
            seats.by_client.remove(&self.client_id);
            self.hub.counters.lock().clients = seats.by_client.len() as u64;
        }
        // Two hold it when nobody waits: the map and this turn.
        if seats.turns.get(&self.client_id).is_some_and(|turn| Arc::strong_count(turn) <= 2) {
            seats.turns.remove(&self.client_id);
        }
    }
}

impl Hub {
    /// A hub without sessions.
    pub fn new(counters: Shared) -> Self {
        Self { seats: Arc::default(), counters }
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends any other connection of this client, waits until everything it sent is committed, and takes its place
    /// ([MQTT-3.1.4-3]).
    pub async fn enter(&self, client_id: &Arc<str>) -> Place {
        let turn = {
            let mut seats = self.lock();
            if let Some(seat) = seats.by_client.get(client_id) {
                seat.close.send_replace(Some(ReasonCode::SESSION_TAKEN_OVER));
            }
            seats.turns.entry(client_id.clone()).or_default().clone()
        };
        let turn = turn.lock_owned().await;
        let (sender, parcels) = mpsc::unbounded_channel();
        let mut seats = self.lock();
        let (close_sender, close) = watch::channel(seats.closing);
        seats.generation += 1;
        let generation = seats.generation;
        let seat = Seat {
            generation,
            subscriptions: Vec::new(),
            parcels: sender,
            close: close_sender,
            queued: Arc::default(),
        };
        // Whoever waited together with us and came first is told to leave.
        if let Some(former) = seats.by_client.insert(client_id.clone(), seat) {
            former.close.send_replace(Some(ReasonCode::SESSION_TAKEN_OVER));
        }
        self.counters.lock().clients = seats.by_client.len() as u64;
        drop(seats);
        Place { hub: self.clone(), client_id: client_id.clone(), generation, parcels, close, _turn: turn }
    }

    /// These are a client's subscriptions from now on.
    pub fn subscribe(&self, client_id: &str, subscriptions: Vec<Subscription>) {
        if let Some(seat) = self.lock().by_client.get_mut(client_id) {
            seat.subscriptions = subscriptions;
        }
    }

    /// Hands a message to every connected session that subscribes to it, once, at the highest QoS that it asked for.
    /// `all` is dropped when each of them has it.
    pub fn publish(
        &self,
        message: &Arc<Message>,
        publisher: Option<&str>,
        all: Option<Arc<dyn std::any::Any + Send + Sync>>,
    ) {
        let seats = self.lock();
        let mut distributed = 0;
        let mut overflow = 0;
        for (client_id, seat) in &seats.by_client {
            let own = publisher == Some(&**client_id);
            let matching = seat
                .subscriptions
                .iter()
                .filter(|wanted| !(own && wanted.no_local) && topic::matches(&wanted.filter, &message.topic));
            let Some((qos, as_published)) = matching
                .map(|wanted| (wanted.qos, wanted.retain_as_published))
                .reduce(|one, other| (one.0.max(other.0), one.1 || other.1))
            else {
                continue;
            };
            let qos = qos.min(message.qos);
            let bytes = message.size() + PARCEL_OVERHEAD;
            if seat.queued.load(Ordering::Relaxed) + bytes > MAX_SUBSCRIBER_BYTES {
                overflow += 1;
                if qos != QoS::AtMostOnce {
                    seat.close.send_replace(Some(ReasonCode::QUOTA_EXCEEDED));
                }
                continue;
            }
            seat.queued.fetch_add(bytes, Ordering::Relaxed);
            let receipt = Receipt { queued: seat.queued.clone(), bytes, _all: all.clone() };
            let parcel = Parcel { message: message.clone(), qos, retain: message.retain && as_published, receipt };
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
