//! Local sessions that are kept: who subscribes, where messages wait for them, and their end.
//!
//! A message is matched against their subscriptions in the order of the requests, so a SUBSCRIBE and a PUBLISH have one
//! order; its deliveries are committed with it.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::{Outlet, Seated, SharedRing, Writer};
use crate::bridge::cache::{Cache, CacheError};
use crate::bridge::config;
use crate::bridge::core::admission::{Limits, Place};
use crate::bridge::core::ring::Ring;
use crate::bridge::core::session;
use crate::bridge::core::subscriptions::Subscriptions;
use crate::bridge::crash;
use crate::bridge::delivery::{BridgeId, DropReason, Held, NewDelivery, Store, Time, Write};
use crate::bridge::message::QoS;
use crate::bridge::wire::ReasonCode;

/// The near end of the queue of a session that is connected.
const RING_MESSAGES: usize = 100;
const RING_BYTES: usize = 64 << 10;
/// Sessions that end in one transaction.
const ENDED: usize = 64;

/// One that is kept.
#[derive(Debug)]
struct Kept {
    queue: BridgeId,
    connected: bool,
    expires_at: Option<Time>,
}

/// All that are kept.
#[derive(Debug)]
pub(super) struct Sessions {
    limits: Limits,
    longest_expiry: u32,
    subscriptions: Subscriptions,
    by_client: HashMap<Arc<str>, Kept>,
    /// For the log.
    clients: HashMap<BridgeId, Arc<str>>,
    /// The next key of a session that ends with its connection.
    next_volatile: BridgeId,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(&config::Sessions::default())
    }
}

impl Sessions {
    fn new(config: &config::Sessions) -> Self {
        let limits = Limits {
            max_messages: config.max_messages,
            max_bytes: config.max_bytes,
            max_age: None,
            when_full: config.when_full.into(),
            cache_qos0: false,
        };
        Self {
            limits,
            longest_expiry: config.longest_expiry(),
            subscriptions: Subscriptions::default(),
            by_client: HashMap::new(),
            clients: HashMap::new(),
            next_volatile: BridgeId::FIRST_VOLATILE,
        }
    }

    /// Where messages wait for a session.
    pub(super) fn queue(&self, client_id: &str) -> Option<BridgeId> {
        self.by_client.get(client_id).map(|session| session.queue)
    }

    /// Whose queue it is.
    pub(super) fn name(&self, queue: BridgeId) -> Option<&Arc<str>> {
        self.clients.get(&queue)
    }

    /// The longest Session Expiry Interval that is granted.
    pub(super) fn longest_expiry(&self) -> u32 {
        self.longest_expiry
    }

    /// Adds a delivery for every session that wants a message. QoS 0 is not kept for one that is away.
    pub(super) fn add_deliveries(&mut self, store: &mut Store) {
        if self.subscriptions.is_empty() {
            return;
        }
        let (message, by_client) = (&store.message, &self.by_client);
        let is_connected = |client_id: &str| by_client.get(client_id).is_some_and(|session| session.connected);
        for wanted in self.subscriptions.matching(&message.topic, store.publisher.as_deref(), is_connected) {
            let Some(session) = by_client.get(&wanted.client_id) else { continue };
            let qos = wanted.qos.min(message.qos);
            if qos == QoS::AtMostOnce && !session.connected {
                continue;
            }
            store.deliveries.push(NewDelivery {
                bridge: session.queue,
                topic: message.topic.clone(),
                qos,
                retain: message.retain && wanted.retain_as_published,
                when_full: None,
                identifiers: wanted.identifiers,
            });
        }
    }

    /// A session whose queue is full keeps nobody else from the message, unless it is configured to.
    ///
    /// # Errors
    /// 0x97 then.
    pub(super) fn decide(&self, places: &mut [Place]) -> Result<(), ReasonCode> {
        for place in places.iter_mut().filter(|place| **place == Place::Rejected) {
            if self.limits.when_full == config::WhenFull::Reject {
                return Err(ReasonCode::QUOTA_EXCEEDED);
            }
            *place = Place::Dropped(DropReason::Full);
        }
        Ok(())
    }
}

impl<C: Cache + 'static> Writer<C> {
    /// With these limits, and the sessions that the cache holds.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    pub fn keeping(mut self, config: &config::Sessions) -> Result<Self, CacheError> {
        self.sessions = Sessions::new(config);
        self.load_sessions()?;
        Ok(self)
    }

    /// Takes up the sessions that the cache holds. Those that were connected when the process ended are away since now.
    fn load_sessions(&mut self) -> Result<(), CacheError> {
        let now = self.clock.now();
        let mut writes = Vec::new();
        for client_id in self.cache.sessions()? {
            let Some(session) = self.cache.session(&client_id)? else { continue };
            let Some(queue) = session.queue else { continue };
            let expires_at = session.expires_at.or_else(|| {
                let expiry = session.expiry;
                (expiry < u32::MAX).then(|| now + Duration::from_secs(expiry.into()))
            });
            if expires_at != session.expires_at {
                writes.push(Write::KeepSession { client_id: client_id.clone(), expires_at, expiry: session.expiry });
            }
            for subscription in &session.subscriptions {
                self.sessions.subscriptions.subscribe(&client_id, subscription);
            }
            self.seat(&client_id, Kept { queue, connected: false, expires_at }, &[]);
        }
        if let Err(error) = self.cache.apply(&writes) {
            warn!("when sessions end that were connected could not be noted: {error}");
        }
        Ok(())
    }

    /// What is there of a session from now on; its ring.
    fn seat(&mut self, client_id: &Arc<str>, session: Kept, held: &[Held]) -> SharedRing {
        let queue = session.queue;
        let mut ring = Ring::new(RING_MESSAGES, RING_BYTES, held.iter().map(|held| held.delivery.seq));
        ring.set_link_up(session.connected);
        let ring = SharedRing::new(ring);
        self.outlets.insert(queue, Outlet { limits: self.sessions.limits, ring: ring.clone() });
        // It knows rows by whether the last ring had them.
        self.evictors.remove(&queue);
        self.sessions.clients.insert(queue, client_id.clone());
        self.sessions.by_client.insert(client_id.clone(), session);
        ring
    }

    fn unseat(&mut self, client_id: &str) {
        self.sessions.subscriptions.remove(client_id);
        if let Some(session) = self.sessions.by_client.remove(client_id) {
            self.outlets.remove(&session.queue);
            self.evictors.remove(&session.queue);
            self.sessions.clients.remove(&session.queue);
        }
    }

    /// A client connects.
    pub(super) fn open(&mut self, client_id: &Arc<str>, clean_start: bool, expiry: u32) -> Result<Seated, ReasonCode> {
        self.try_open(client_id, clean_start, expiry).map_err(|error| {
            self.failed(&error);
            ReasonCode::SERVER_UNAVAILABLE
        })
    }

    fn try_open(&mut self, client_id: &Arc<str>, clean_start: bool, expiry: u32) -> Result<Seated, CacheError> {
        let kept = self.cache.session(client_id)?;
        let expiry = (expiry, self.sessions.longest_expiry());
        let mut opened = session::open(client_id, kept, clean_start, expiry, self.clock.now());
        self.cache.apply(&opened.writes)?;
        crash::point("session_committed");
        if !opened.present {
            self.unseat(client_id);
        }
        let queue = match opened.session.queue {
            None if opened.expiry.0 > 0 => self.cache.session(client_id)?.and_then(|session| session.queue),
            queue => queue,
        };
        let Some(queue) = queue else { return Ok(Seated { opened, ring: None }) };
        let held = self.cache.held(queue)?;
        let ring = self.seat(client_id, Kept { queue, connected: true, expires_at: None }, &held);
        opened.queue = Some((queue, held));
        Ok(Seated { opened, ring: Some(ring) })
    }

    /// A session that ends with its connection takes part in groups: what it gets of them waits in memory alone.
    pub(super) fn share(&mut self, client_id: &Arc<str>) -> (BridgeId, SharedRing) {
        let queue = self.sessions.next_volatile;
        self.sessions.next_volatile.0 += 1;
        let ring = self.seat(client_id, Kept { queue, connected: true, expires_at: None }, &[]);
        ring.lock().refill(Vec::new(), true);
        (queue, ring)
    }

    /// A write has its place in the order: what it means for the sessions.
    pub(super) fn note(&mut self, write: &Write) {
        match write {
            Write::Subscribe { client_id, subscription } if self.sessions.by_client.contains_key(client_id) => {
                let is_new = self.sessions.subscriptions.subscribe(client_id, subscription);
                self.retaining.subscribes(client_id, subscription, is_new, self.next);
            }
            Write::Unsubscribe { client_id, filter } => self.sessions.subscriptions.unsubscribe(client_id, filter),
            Write::EndSession { client_id } => self.unseat(client_id),
            // The end of its connection; a beginning does not come as a write.
            Write::KeepSession { client_id, expires_at, .. } => {
                if let Some(session) = self.sessions.by_client.get(client_id) {
                    let away = Kept { queue: session.queue, connected: false, expires_at: *expires_at };
                    self.seat(client_id, away, &[]);
                }
            }
            _ => {}
        }
    }

    /// Ends what has expired, and discards a little of what waits for sessions that have ended; whether there is more.
    pub(super) fn end_sessions(&mut self) -> bool {
        let now = self.clock.now();
        let has_expired = |session: &Kept| session.expires_at.is_some_and(|expires_at| expires_at <= now);
        let expired = self.sessions.by_client.iter().filter(|(_, session)| has_expired(session));
        let mut writes: Vec<Write> =
            expired.take(ENDED).map(|(client_id, _)| Write::EndSession { client_id: client_id.clone() }).collect();
        if writes.is_empty() {
            match self.cache.ended() {
                Ok(queue) => writes.extend(queue.map(|queue| Write::Discard { queue })),
                Err(error) => warn!("looking for sessions that have ended: {error}"),
            }
        }
        if writes.is_empty() {
            return false;
        }
        if let Err(error) = self.cache.apply(&writes) {
            self.failed(&error);
            return false;
        }
        writes.iter().for_each(|write| self.note(write));
        true
    }
}
