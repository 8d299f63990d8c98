//! One connection of a local client.
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

use super::door::{Pass, Policy};
use super::welcome::Reception;
use super::{Arrival, FIRST_READ_BYTES, LAST_WRITE_TIMEOUT, LocalLeg, READ_BYTES, WRITE_TIMEOUT, make_room, told};
use crate::bridge::cache::Applied;
use crate::bridge::cache::writer::{Answer, Kept, Request, Seated, SharedRing, Written};
use crate::bridge::config;
use crate::bridge::core::client::{Client, Credentials, Effect, TOPIC_ALIAS_MAXIMUM};
use crate::bridge::crash;
use crate::bridge::delivery::BridgeId;
use crate::bridge::hub::{Parcel, Place, Receipt};
use crate::bridge::transport::Stream;
use crate::bridge::wills;
use crate::bridge::wire::{Decoder, Packet, ReasonCode};

pub(super) struct Connection {
    leg: LocalLeg,
    /// The one of its arrival.
    policy: Arc<Policy>,
    pass: Pass,
    /// The user that its certificate names.
    certified: Option<String>,
    /// Until the first bytes have come.
    reception: Option<Reception>,
    client: Client<Receipt>,
    decoder: Decoder,
    place: Option<Place>,
    /// Of its session's queue, where that is kept.
    ring: Option<(BridgeId, SharedRing)>,
    answers: mpsc::UnboundedReceiver<Vec<Written>>,
    answer: Answer,
    input: BytesMut,
    eof: bool,
    /// What waits for room was given up.
    released: bool,
    max_queued_bytes: usize,
    max_packet_size: u32,
    /// Bytes that the decoder has of a packet that is not whole.
    partial: usize,
}

/// What a connection waits for.
enum Event {
    Read(std::io::Result<usize>),
    Answer(Vec<Written>),
    Parcel(Parcel),
    Filled,
    Close(ReasonCode),
    Timeout,
}

impl Connection {
    pub(super) fn new(
        leg: LocalLeg,
        config: &config::Listener,
        policy: Arc<Policy>,
        arrival: Arrival,
        reception: Reception,
    ) -> Self {
        let (answer, answers) = Answer::channel();
        let maximum = config.max_packet_size as u32;
        Self {
            client: Client::new(config.receive_maximum, maximum, arrival.at)
                .limited(config.max_keep_alive(), config.max_session_expiry())
                .guarded(policy.guard(), arrival.at),
            decoder: Decoder::server(maximum.min(policy.max_connect_size()))
                .with_topic_alias_maximum(TOPIC_ALIAS_MAXIMUM),
            place: None,
            ring: None,
            answers,
            answer,
            input: BytesMut::with_capacity(FIRST_READ_BYTES),
            eof: false,
            released: false,
            max_queued_bytes: config.max_queued_bytes as usize,
            max_packet_size: maximum,
            partial: 0,
            certified: None,
            reception: Some(reception),
            policy,
            pass: arrival.pass,
            leg,
        }
    }

    pub(super) async fn run(mut self, mut stream: Stream) {
        self.certified = self.policy.certified(stream.peer_identity());
        while !self.client.is_finished() {
            self.decode();
            self.client.flush(self.leg.clock.now());
            if self.perform().await.is_err() {
                // Without a writer the process is ending; nothing more can be promised to the client.
                return;
            }
            if self.client.is_closing() && self.client.awaits_commit() && !self.released {
                // Whoever takes its place, and a shutdown, do not wait until there is room.
                self.released = true;
                if self.leg.requests.send(Request::Release { answer: self.answer.clone() }).await.is_err() {
                    return;
                }
            }
            if self.pump().await.is_err() {
                return;
            }
            self.client.flush(self.leg.clock.now());
            self.write(&mut stream).await;
            // A write that failed has effects as well; to wait for a closed connection would be for ever.
            let can_go_on = (self.client.wants_read() && !self.input.is_empty()) || self.client.has_effects();
            if !can_go_on && !self.client.is_finished() {
                let event = self.wait(&mut stream).await;
                self.handle(event);
            }
        }
        let ending = self.client.ending(&self.leg.routes.load(), self.leg.clock.now());
        if !ending.writes.is_empty() {
            // Where that fails the session is resumed, and the Will published, as it was committed last.
            let will = ending.will.as_ref().map(|will| (self.client.client_id(), will));
            wills::commit(ending.writes, will, &self.leg).await;
        }
        if let Some(delayed) = ending.delayed {
            self.leg.wills.insert(delayed);
        }
        // The peer may be gone already, or take nothing any more.
        let _ = tokio::time::timeout(LAST_WRITE_TIMEOUT, stream.shutdown()).await;
    }

    /// Takes what may be sent from the session's queue, and asks for more of it; fails where the writer is gone.
    async fn pump(&mut self) -> Result<(), mpsc::error::SendError<Request>> {
        let Some((bridge, ring)) = &self.ring else { return Ok(()) };
        let page = {
            let mut ring = ring.lock();
            self.client.pump(&mut ring, self.leg.clock.now());
            ring.wants_page().filter(|_| !self.client.is_closing())
        };
        match page {
            Some((after, messages, bytes)) => {
                self.leg.requests.send(Request::Page { bridge: *bridge, after, messages, bytes }).await
            }
            None => Ok(()),
        }
    }

    fn decode(&mut self) {
        let routes = self.leg.routes.load();
        while self.client.wants_read() && !self.input.is_empty() {
            let mut input = &self.input[..];
            let decoded = self.decoder.decode(&mut input);
            let taken = self.input.len() - input.len();
            self.input.advance(taken);
            match decoded {
                Ok(Some(packet)) => {
                    if matches!(packet, Packet::Connect(_)) {
                        self.decoder.set_maximum_packet_size(self.max_packet_size);
                    }
                    self.hold(0);
                    self.client.handle_packet(packet, &routes, self.leg.clock.now());
                }
                Ok(None) => self.hold(self.partial + taken),
                Err(error) => self.client.handle_violation(&error),
            }
        }
        if self.eof && self.input.is_empty() {
            self.client.handle_eof();
        }
    }

    /// The decoder has so many bytes of a packet that is not whole.
    fn hold(&mut self, bytes: usize) {
        self.partial = bytes;
        // What a read may bring is there anyway.
        if !self.pass.hold(if bytes > READ_BYTES { bytes } else { 0 }) {
            self.client.handle_close(ReasonCode::QUOTA_EXCEEDED);
        }
    }

    /// Finds out who the client is, within the time that it has for that.
    async fn authenticate(&mut self, credentials: Credentials) {
        let policy = self.policy.clone();
        let Some(accounts) = &policy.accounts else { return self.client.handle_authenticated(Ok(None)) };
        let deadline = self.client.deadline().unwrap_or_else(|| self.leg.clock.now());
        let client_id = credentials.client_id.clone();
        let authenticated = tokio::select! {
            user = accounts.authenticate(credentials, self.certified.as_deref(), self.pass.address) => user,
            () = tokio::time::sleep_until(self.leg.clock.instant(deadline)) => Err(ReasonCode::SERVER_BUSY),
            () = told(&mut self.leg.shutdown) => Err(ReasonCode::SERVER_SHUTTING_DOWN),
        };
        match &authenticated {
            Ok(user) => self.client.handle_authenticated(Ok(user.as_deref())),
            Err(reason) => {
                self.leg.door.not_let_in(self.pass.address, &client_id, &reason.to_string());
                self.client.handle_authenticated(Err(*reason));
            }
        }
    }

    /// Performs the effects; fails where the writer is gone.
    async fn perform(&mut self) -> Result<(), mpsc::error::SendError<Request>> {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Authenticate(credentials) => self.authenticate(credentials).await,
                Effect::Denied(denied) => self.pass.door().denied(self.client.client_id(), &denied),
                Effect::Open { client_id, clean_start, expiry } => {
                    self.pass.let_in();
                    let returning = client_id.clone();
                    let place = self.leg.hub.enter(&client_id, self.max_queued_bytes).await;
                    let (answer, opened) = oneshot::channel();
                    self.leg.requests.send(Request::Open { client_id, clean_start, expiry, answer }).await?;
                    match opened.await.unwrap_or(Err(ReasonCode::SERVER_SHUTTING_DOWN)) {
                        Ok(Seated { opened, ring }) => {
                            self.leg.wills.handle_return(&returning, opened.present, &self.leg).await;
                            let queue = opened.queue.as_ref().map(|(queue, _)| *queue);
                            self.ring = queue.zip(ring);
                            self.client.handle_opened(opened, self.leg.clock.now());
                            self.place = Some(place);
                            let client_id: &str = self.client.client_id();
                            info!(client_id, event = "client_connected", "client {client_id}: connected");
                        }
                        Err(reason) => self.client.handle_not_opened(reason),
                    }
                }
                Effect::Commit(writes) => {
                    if self.client.ends_with_a_refusal() {
                        self.answer.end_with_a_refusal();
                    }
                    let request = Request::Write { writes, answer: self.answer.clone(), may_wait: true };
                    self.leg.requests.send(request).await?;
                }
                Effect::Publish(message) => self.leg.hub.publish(&message, Some(self.client.client_id()), None),
                Effect::Subscriptions(subscriptions) => {
                    self.leg.hub.subscribe(self.client.client_id(), subscriptions);
                }
                Effect::Retained(subscriptions) => {
                    let bytes = self.max_queued_bytes;
                    let (answer, retained) = oneshot::channel();
                    self.leg.requests.send(Request::Retained { subscriptions, bytes, answer }).await?;
                    let retained = retained.await.unwrap_or_default().into_iter().map(|kept| {
                        let Kept { message, qos, received_at, identifiers } = kept;
                        let subscription_ids = identifiers.as_deref().unwrap_or_default().to_vec();
                        let expires_at = message.expires_at(received_at);
                        Parcel { message, qos, retain: true, subscription_ids, expires_at, receipt: None }
                    });
                    let mut coming = Vec::new();
                    while let Some(Ok(parcel)) = self.place.as_mut().map(|place| place.parcels.try_recv()) {
                        coming.push(parcel);
                    }
                    self.client.handle_retained(retained.collect(), coming);
                }
                Effect::Share => {
                    let (answer, ring) = oneshot::channel();
                    let client_id = self.client.client_id().clone();
                    self.leg.requests.send(Request::Share { client_id, answer }).await?;
                    self.ring = ring.await.ok();
                }
                Effect::Close { why } => self.log_end(&why),
            }
        }
        Ok(())
    }

    /// One that never had a session is nobody's news.
    fn log_end(&self, why: &str) {
        let client_id: &str = self.client.client_id();
        if self.place.is_some() {
            info!(client_id, event = "client_disconnected", "client {client_id}: disconnected: {why}");
        } else {
            debug!(client_id, event = "client_refused", "client {client_id}: {why}");
        }
    }

    async fn write(&mut self, stream: &mut Stream) {
        let mut patience = WRITE_TIMEOUT;
        while !self.client.transmit().is_empty() || stream.is_unflushed() {
            let closed = async {
                match self.place.as_mut() {
                    Some(place) if patience == WRITE_TIMEOUT => place.close.wait_for(Option::is_some).await.is_ok(),
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                written = write_or_flush(stream, self.client.transmit()) => match written {
                    Ok(Some(bytes)) if bytes > 0 => {
                        crash::point("answer_written");
                        self.client.handle_written(bytes);
                    }
                    Ok(None) => {}
                    _ => return self.give_up(stream),
                },
                // Whoever waits for this connection to end does not wait long for a peer that takes no byte.
                _ = closed => patience = LAST_WRITE_TIMEOUT,
                () = tokio::time::sleep(patience) => return self.give_up(stream),
            }
        }
    }

    fn give_up(&mut self, stream: &mut Stream) {
        stream.abandon();
        self.eof = true;
        self.input.clear();
        self.client.handle_written(self.client.transmit().len());
        self.client.handle_eof();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Read(Ok(bytes)) if bytes > 0 => {
                if let Some(reception) = self.reception.take() {
                    reception.first(&self.input);
                }
            }
            Event::Read(Ok(_)) => self.eof = true,
            Event::Read(Err(error)) => {
                debug!("client {}: {error}", self.client.client_id());
                self.eof = true;
            }
            Event::Answer(written) => {
                self.committed(&written);
                while let Ok(written) = self.answers.try_recv() {
                    self.committed(&written);
                }
            }
            Event::Parcel(parcel) => {
                self.client.handle_parcel(parcel);
                while let Some(Ok(parcel)) = self.place.as_mut().map(|place| place.parcels.try_recv()) {
                    self.client.handle_parcel(parcel);
                }
            }
            Event::Close(reason) => self.client.handle_close(reason),
            Event::Filled => {}
            Event::Timeout => self.client.handle_timeout(self.leg.clock.now()),
        }
    }

    fn committed(&mut self, written: &[Written]) {
        let first = |written: &Written| written.map(|applied| applied == Applied::Done);
        self.client.handle_committed(&written.iter().map(first).collect::<Vec<_>>());
    }

    async fn wait(&mut self, stream: &mut Stream) -> Event {
        let deadline = self.client.deadline().map(|deadline| self.leg.clock.instant(deadline));
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let reads = self.client.wants_read() && !self.eof;
        if self.client.is_let_in() {
            make_room(&mut self.input);
        } else if self.input.is_empty() {
            self.input.reserve(FIRST_READ_BYTES);
        }
        // It is told to close once; what it does about it takes its time.
        let place = self.place.as_mut();
        let closing = self.client.is_closing();
        let ring = self.ring.as_ref();
        let filled = async {
            match ring {
                Some((_, ring)) if !closing => ring.filled().await,
                _ => std::future::pending().await,
            }
        };
        let from_hub = async {
            match place {
                _ if closing => std::future::pending().await,
                Some(Place { parcels, close, .. }) => tokio::select! {
                    Some(parcel) = parcels.recv() => Event::Parcel(parcel),
                    Ok(reason) = close.wait_for(Option::is_some) => Event::Close(reason.unwrap_or(ReasonCode::SUCCESS)),
                },
                // Nobody knows it in the hub yet, so nobody there would tell it to close.
                None => {
                    told(&mut self.leg.shutdown).await;
                    Event::Close(ReasonCode::SERVER_SHUTTING_DOWN)
                }
            }
        };
        tokio::select! {
            // What a client has said in time counts, however late we come to read it.
            biased;
            read = stream.read_buf(&mut self.input), if reads => Event::Read(read),
            Some(answer) = self.answers.recv() => Event::Answer(answer),
            event = from_hub => event,
            () = filled => Event::Filled,
            () = timeout => Event::Timeout,
        }
    }
}

/// Writes some of it; where there is nothing to write, what was written leaves its buffer (`None`).
async fn write_or_flush(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<Option<usize>> {
    if bytes.is_empty() {
        return stream.flush().await.map(|()| None);
    }
    stream.write(bytes).await.map(Some)
}
