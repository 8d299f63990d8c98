//! The local leg: accepts TCP connections and carries bytes between each and its [`Client`].
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::cache::Applied;
use super::cache::writer::{Answer, Request, Written};
use super::clock::Clock;
use super::config;
use super::core::client::{Client, Effect};
use super::core::routes::Routes;
use super::crash;
use super::hub::{Hub, Parcel, Place, Receipt};
use super::wire::{Decoder, ReasonCode};

/// Read from a socket at a time, at most and at least.
pub(super) const READ_BYTES: usize = 64 * 1024;
const LEAST_READ: usize = READ_BYTES / 4;
/// How long a client may refuse to take a byte before its connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same, once the connection is to be closed.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after accept fails for want of descriptors or memory.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of the local leg works with.
#[derive(Clone)]
pub struct LocalLeg {
    /// To the cache's writer.
    pub requests: mpsc::Sender<Request>,
    /// Local sessions.
    pub hub: Hub,
    /// Where messages go.
    pub routes: Arc<Routes>,
    /// The clock.
    pub clock: Clock,
    /// Told when the bridge shuts down.
    pub shutdown: watch::Receiver<bool>,
}

/// Waits until the bridge shuts down, or whoever would say so is gone.
pub(super) async fn told(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the same.
    let _ = shutdown.wait_for(|down| *down).await;
}

/// Room for a read that is worth its system call: what was taken from the front is given back only when asked for.
pub(super) fn make_room(input: &mut BytesMut) {
    if input.capacity() - input.len() < LEAST_READ {
        input.reserve(READ_BYTES);
    }
}

/// Accepts until shutdown. Ends when every connection has.
pub async fn serve(listener: TcpListener, config: config::Listener, leg: LocalLeg) {
    let mut connections = tokio::task::JoinSet::new();
    let mut shutdown = leg.shutdown.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    debug!("{address} connected");
                    connections.spawn(Connection::new(leg.clone(), &config).run(stream));
                }
                Err(error) => {
                    warn!("accepting a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = told(&mut shutdown) => break,
        }
    }
    drop(listener);
    leg.hub.close(ReasonCode::SERVER_SHUTTING_DOWN);
    while connections.join_next().await.is_some() {}
}

struct Connection {
    leg: LocalLeg,
    client: Client<Receipt>,
    decoder: Decoder,
    place: Option<Place>,
    answers: mpsc::UnboundedReceiver<Vec<Written>>,
    answer: Answer,
    input: BytesMut,
    eof: bool,
    /// What waits for room was given up.
    released: bool,
    max_queued_bytes: usize,
}

/// What a connection waits for.
enum Event {
    Read(std::io::Result<usize>),
    Answer(Vec<Written>),
    Parcel(Parcel),
    Close(ReasonCode),
    Timeout,
}

impl Connection {
    fn new(leg: LocalLeg, config: &config::Listener) -> Self {
        let (answer, answers) = Answer::channel();
        let maximum = config.max_packet_size as u32;
        Self {
            client: Client::new(config.receive_maximum, maximum, leg.clock.now()),
            decoder: Decoder::server(maximum),
            place: None,
            answers,
            answer,
            input: BytesMut::with_capacity(READ_BYTES),
            eof: false,
            released: false,
            max_queued_bytes: config.max_queued_bytes as usize,
            leg,
        }
    }

    async fn run(mut self, mut stream: TcpStream) {
        // A small acknowledgement must not wait for the next.
        if let Err(error) = stream.set_nodelay(true) {
            debug!("TCP_NODELAY: {error}");
        }
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
            self.client.flush(self.leg.clock.now());
            self.write(&mut stream).await;
            // A write that failed has effects as well; to wait for a closed connection would be for ever.
            let can_go_on = (self.client.wants_read() && !self.input.is_empty()) || self.client.has_effects();
            if !can_go_on && !self.client.is_finished() {
                let event = self.wait(&mut stream).await;
                self.handle(event);
            }
        }
        if let Some(write) = self.client.closing_write(self.leg.clock.now()) {
            let (answer, mut committed) = Answer::channel();
            // Without a writer the session is resumed as it was committed last.
            if self.leg.requests.send(Request::Write { writes: vec![write], answer, may_wait: false }).await.is_ok() {
                committed.recv().await;
            }
        }
        // The peer may be gone already.
        let _ = stream.shutdown().await;
        let left = self.client.leave(self.leg.clock.now());
        if let (Some(place), Some((outgoing, expires_at))) = (self.place, left) {
            place.leave(outgoing, expires_at);
        }
    }

    fn decode(&mut self) {
        while self.client.wants_read() && !self.input.is_empty() {
            let mut input = &self.input[..];
            let decoded = self.decoder.decode(&mut input);
            let taken = self.input.len() - input.len();
            self.input.advance(taken);
            match decoded {
                Ok(Some(packet)) => self.client.handle_packet(packet, &self.leg.routes, self.leg.clock.now()),
                Ok(None) => {}
                Err(error) => self.client.handle_violation(&error),
            }
        }
        if self.eof && self.input.is_empty() {
            self.client.handle_eof();
        }
    }

    /// Performs the effects; fails where the writer is gone.
    async fn perform(&mut self) -> Result<(), mpsc::error::SendError<Request>> {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Open { client_id, clean_start, expiry } => {
                    let mut place = self.leg.hub.enter(&client_id, self.max_queued_bytes).await;
                    let (answer, opened) = oneshot::channel();
                    self.leg.requests.send(Request::Open { client_id, clean_start, expiry, answer }).await?;
                    match opened.await.unwrap_or(Err(ReasonCode::SERVER_SHUTTING_DOWN)) {
                        Ok(opened) => {
                            let outgoing = place.opened(opened.present);
                            self.client.handle_opened(opened, outgoing, self.leg.clock.now());
                            self.place = Some(place);
                        }
                        Err(reason) => {
                            place.not_opened();
                            self.client.handle_not_opened(reason);
                        }
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
                Effect::Close { why } => debug!("client {}: {why}", self.client.client_id()),
                Effect::Warn(what) => warn!("{what}"),
            }
        }
        Ok(())
    }

    async fn write(&mut self, stream: &mut TcpStream) {
        let mut patience = WRITE_TIMEOUT;
        while !self.client.transmit().is_empty() {
            let closed = async {
                match self.place.as_mut() {
                    Some(place) if patience == WRITE_TIMEOUT => place.close.wait_for(Option::is_some).await.is_ok(),
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                written = stream.write(self.client.transmit()) => match written {
                    Ok(bytes) if bytes > 0 => {
                        crash::point("answer_written");
                        self.client.handle_written(bytes);
                    }
                    _ => return self.give_up(),
                },
                // Whoever waits for this connection to end does not wait long for a peer that takes no byte.
                _ = closed => patience = LAST_WRITE_TIMEOUT,
                () = tokio::time::sleep(patience) => return self.give_up(),
            }
        }
    }

    fn give_up(&mut self) {
        self.eof = true;
        self.input.clear();
        self.client.handle_written(self.client.transmit().len());
        self.client.handle_eof();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Read(Ok(bytes)) if bytes > 0 => {}
            Event::Read(_) => self.eof = true,
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
            Event::Timeout => self.client.handle_timeout(self.leg.clock.now()),
        }
    }

    fn committed(&mut self, written: &[Written]) {
        let first = |written: &Written| written.map(|applied| applied == Applied::Done);
        self.client.handle_committed(&written.iter().map(first).collect::<Vec<_>>());
    }

    async fn wait(&mut self, stream: &mut TcpStream) -> Event {
        let deadline = self.client.deadline().map(|deadline| self.leg.clock.instant(deadline));
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let reads = self.client.wants_read() && !self.eof;
        make_room(&mut self.input);
        // It is told to close once; what it does about it takes its time.
        let place = self.place.as_mut();
        let closing = self.client.is_closing();
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
            () = timeout => Event::Timeout,
        }
    }
}
