//! The remote leg: connects, and carries bytes between the socket and the [`Forwarder`].
mod log;
mod low_water;

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::cache::writer::{Answer, Request, SharedRing, Written};
use super::clock::Clock;
use super::config::{self, Server};
use super::core::forwarder::{Effect, Forwarder, Settings};
use super::core::intake::Ticket;
use super::core::routes::SharedRoutes;
use super::counters::Shared;
use super::crash;
use super::delivery::{BridgeId, NewDelivery, Time};
use super::hub::Hub;
use super::listener::{READ_BYTES, make_room, told};
use super::transport::connect::Connector;
use super::transport::tls::ClientIdentity;
use super::transport::{Ready, Stream, explain};
use super::wire::{Decoder, ReasonCode, Version};

/// Largest packet that the remote may send: the protocol's own limit.
const MAXIMUM_PACKET_SIZE: u32 = 268_435_460;
/// How long the last bytes of a connection may take.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The remote leg of one bridge.
pub struct RemoteLeg {
    forwarder: Forwarder,
    bridge: BridgeId,
    name: String,
    server: Server,
    version: Version,
    connector: Connector,
    ring: SharedRing,
    requests: mpsc::Sender<Request>,
    hub: Hub,
    routes: SharedRoutes,
    configured: mpsc::UnboundedReceiver<Configured>,
    counters: Shared,
    clock: Clock,
    link: Option<Link>,
    answers: mpsc::UnboundedReceiver<Vec<Written>>,
    answer: Answer,
    delivered: mpsc::UnboundedReceiver<(Ticket, Vec<NewDelivery>)>,
    delivering: mpsc::UnboundedSender<(Ticket, Vec<NewDelivery>)>,
    connecting: Option<tokio::task::JoinHandle<Result<Stream, String>>>,
    /// The link was up at the last look.
    up: bool,
}

struct Link {
    stream: Stream,
    decoder: Decoder,
    input: BytesMut,
    /// Bytes that must have come before it is read (SO_RCVLOWAT).
    low_water: usize,
}

/// Dropped when every local session that was connected has the message.
struct AllDelivered {
    ticket: Ticket,
    deliveries: Vec<NewDelivery>,
    to: mpsc::UnboundedSender<(Ticket, Vec<NewDelivery>)>,
}

impl Drop for AllDelivered {
    fn drop(&mut self) {
        // The remote leg may have ended: then the remote sends the message again to the next process.
        let _ = self.to.send((self.ticket, std::mem::take(&mut self.deliveries)));
    }
}

/// What the leg waits for.
enum Event {
    Connected(Result<Stream, String>),
    Ready(Ready),
    Answer(Vec<Written>),
    Delivered(Ticket, Vec<NewDelivery>),
    Filled,
    Configured(Configured),
    Timeout,
    Shutdown,
}

/// What the configuration of a bridge has become.
#[derive(Debug)]
pub struct Configured {
    /// Its own.
    pub config: Box<config::Bridge>,
    /// A message that has not been sent once by this age is dropped.
    pub max_age: Option<Duration>,
}

/// What a remote leg works with.
pub struct Surroundings {
    /// Certificates and CAs, where the server is reached over TLS.
    pub tls: Option<Arc<ClientIdentity>>,
    /// Its queue's near end.
    pub ring: SharedRing,
    /// To the cache's writer.
    pub requests: mpsc::Sender<Request>,
    /// Local sessions.
    pub hub: Hub,
    /// Where messages go.
    pub routes: SharedRoutes,
    /// What its configuration becomes.
    pub configured: mpsc::UnboundedReceiver<Configured>,
    /// What is counted.
    pub counters: Shared,
    /// The clock.
    pub clock: Clock,
}

impl RemoteLeg {
    /// A remote leg that is about to connect.
    pub fn new(settings: &Settings, forwarder: Forwarder, with: Surroundings) -> Self {
        let (answer, answers) = Answer::channel();
        let (delivering, delivered) = mpsc::unbounded_channel();
        let Surroundings { tls, ring, requests, hub, routes, configured, counters, clock } = with;
        Self {
            forwarder,
            bridge: settings.bridge,
            name: settings.config.name.clone(),
            server: settings.config.server.clone(),
            version: settings.version,
            connector: Connector {
                tls,
                limit: settings.config.connect_timeout,
                ack_timeout: settings.config.ack_timeout,
                max_packet_size: MAXIMUM_PACKET_SIZE as usize,
            },
            ring,
            requests,
            hub,
            routes,
            configured,
            counters,
            clock,
            link: None,
            answers,
            answer,
            delivered,
            delivering,
            connecting: None,
            up: false,
        }
    }

    /// Runs until shutdown, and then until everything is committed.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut stopping = false;
        while self.step().await && !self.forwarder.is_stopped() {
            let event = self.wait(&mut shutdown, stopping).await;
            stopping |= matches!(event, Event::Shutdown);
            self.handle(event);
        }
        self.perform().await;
    }

    /// Does what can be done without waiting for anybody; false where the writer is gone.
    async fn step(&mut self) -> bool {
        loop {
            let (before, now) = (self.forwarder.taken(), self.clock.now());
            let page = {
                let mut ring = self.ring.lock();
                self.forwarder.pump(&mut ring, now);
                ring.wants_page()
            };
            self.count(self.forwarder.taken() - before);
            if let Some((after, messages, bytes)) = page {
                let request = Request::Page { bridge: self.bridge, after, messages, bytes };
                if self.requests.send(request).await.is_err() {
                    return false;
                }
            }
            if !self.perform().await {
                return false;
            }
            // After what the remote has acknowledged last.
            let was_up = std::mem::replace(&mut self.up, self.forwarder.is_connected());
            if was_up && !self.up && self.requests.send(Request::LinkLost { bridge: self.bridge }).await.is_err() {
                return false;
            }
            // What the socket has taken makes room for more.
            if self.write_what_goes().await == 0 {
                return true;
            }
        }
    }

    fn count(&self, taken: u64) {
        let mut counters = self.counters.lock();
        let columns = counters.bridges.entry(self.bridge).or_default();
        columns.take(taken);
        let connected = self.forwarder.is_connected();
        if columns.connected != connected {
            (columns.connected, columns.since) = (connected, self.clock.now());
            self.counters.link_has_changed();
        }
        columns.statistics = self.forwarder.statistics;
    }

    async fn perform(&mut self) -> bool {
        while let Some(effect) = self.forwarder.poll_effect() {
            match effect {
                Effect::Connect => {
                    let (connector, server) = (self.connector.clone(), self.server.clone());
                    self.connecting = Some(tokio::spawn(async move { connector.connect(&server).await }));
                }
                Effect::Close(last) => self.close(last).await,
                Effect::Commit(writes) => {
                    let request = Request::Write { writes, answer: self.answer.clone(), may_wait: false };
                    if self.requests.send(request).await.is_err() {
                        return false;
                    }
                }
                Effect::Deliver(ticket, message) => {
                    let deliveries = self.routes.load().deliveries(&message, Some(self.bridge));
                    let all = AllDelivered { ticket, deliveries, to: self.delivering.clone() };
                    let all: Arc<dyn Any + Send + Sync> = Arc::new(all);
                    self.hub.publish(&message, None, Some(all));
                }
                Effect::Log(notice) => self.log(&notice),
            }
        }
        true
    }

    /// Writes as much as the socket takes at once; says how much that was.
    async fn write_what_goes(&mut self) -> usize {
        let written = std::future::poll_fn(|context| Poll::Ready(self.write_now(context))).await;
        if self.link.as_ref().is_some_and(|link| link.stream.is_unflushed()) {
            std::future::poll_fn(|context| self.flush_now(context)).await;
        }
        written
    }

    /// What does not go at once goes when the socket is writable.
    fn flush_now(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(link) = &mut self.link
            && let Poll::Ready(Err(error)) = Pin::new(&mut link.stream).poll_flush(context)
        {
            self.broken(&error);
        }
        Poll::Ready(())
    }

    fn write_now(&mut self, context: &mut Context<'_>) -> usize {
        let mut written = 0;
        while let Some(link) = &mut self.link {
            let out = self.forwarder.transmit();
            if out.is_empty() {
                break;
            }
            match link.stream.write_now(context, out) {
                Ok(bytes) => {
                    crash::point("remote_written");
                    written += bytes;
                    self.forwarder.handle_written(bytes, self.clock.now());
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.lost(&explain(&error, &self.server.address()), false);
                    break;
                }
            }
        }
        written
    }

    async fn wait(&mut self, shutdown: &mut watch::Receiver<bool>, stopping: bool) -> Event {
        let deadline = self.forwarder.deadline().map(|deadline| self.clock.instant(deadline));
        let low_water = self.forwarder.receive_low_water();
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let connected = async {
            match &mut self.connecting {
                Some(task) => task.await.unwrap_or_else(|error| Err(error.to_string())),
                None => std::future::pending().await,
            }
        };
        let writes = !self.forwarder.transmit().is_empty();
        let socket = async {
            match &mut self.link {
                Some(Link { stream, input, low_water: set, .. }) => {
                    make_room(input);
                    if *set != low_water
                        && let Some(tcp) = stream.plain()
                    {
                        *set = low_water;
                        low_water::set(tcp, low_water);
                    }
                    Event::Ready(stream.ready(input, writes).await)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            connected = connected => Event::Connected(connected),
            event = socket => event,
            Some(answer) = self.answers.recv() => Event::Answer(answer),
            Some((ticket, deliveries)) = self.delivered.recv() => Event::Delivered(ticket, deliveries),
            () = self.ring.filled() => Event::Filled,
            Some(configured) = self.configured.recv() => Event::Configured(configured),
            () = timeout => Event::Timeout,
            () = told(shutdown), if !stopping => Event::Shutdown,
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Connected(result) => {
                self.connecting = None;
                match result {
                    Ok(stream) => {
                        let decoder = Decoder::client(self.version, MAXIMUM_PACKET_SIZE);
                        let input = BytesMut::with_capacity(READ_BYTES);
                        self.link = Some(Link { stream, decoder, input, low_water: 1 });
                        self.forwarder.handle_connected(now);
                    }
                    Err(why) => self.forwarder.handle_closed(&why, false, now),
                }
            }
            Event::Ready(Ready::Read(Ok(bytes))) if bytes > 0 => self.decode(now),
            Event::Ready(Ready::Read(Ok(_))) => self.lost("closed by the remote", true),
            Event::Ready(Ready::Read(Err(error)) | Ready::Writable(Err(error))) => self.broken(&error),
            Event::Answer(written) => {
                self.committed(&written, now);
                while let Ok(written) = self.answers.try_recv() {
                    self.committed(&written, now);
                }
            }
            Event::Delivered(ticket, deliveries) => self.forwarder.handle_delivered(ticket, deliveries, now),
            Event::Configured(Configured { config, max_age }) => {
                (self.connector.limit, self.connector.ack_timeout) = (config.connect_timeout, config.ack_timeout);
                self.forwarder.handle_config(&config, max_age, now);
            }
            Event::Ready(Ready::Writable(Ok(()))) | Event::Filled | Event::Timeout => {}
            Event::Shutdown => self.forwarder.handle_shutdown(now),
        }
    }

    fn committed(&mut self, written: &[Written], now: Time) {
        let outcomes: Vec<Result<(), ReasonCode>> = written.iter().map(|written| written.map(|_| ())).collect();
        self.forwarder.handle_committed(&outcomes, now);
    }

    fn decode(&mut self, now: Time) {
        while let Some(link) = &mut self.link {
            let mut input = &link.input[..];
            let decoded = link.decoder.decode(&mut input);
            let taken = link.input.len() - input.len();
            // The alert with which TLS answers what is none (RFC 8446, section 5.1).
            let speaks_tls = decoded.is_err() && link.input.starts_with(&[0x15, 0x03]);
            link.input.advance(taken);
            match decoded {
                Ok(Some(packet)) => {
                    crash::point(packet.name());
                    self.forwarder.handle_packet(packet, now);
                }
                Ok(None) => break,
                Err(_) if speaks_tls => {
                    let address = self.server.address();
                    return self.lost(&format!("{address} speaks TLS at this port: mqtts:// or wss:// for it"), false);
                }
                Err(error) => {
                    self.forwarder.violated(&error, now);
                    break;
                }
            }
            if !self.forwarder.has_connection() {
                break;
            }
        }
    }

    fn broken(&mut self, error: &std::io::Error) {
        // A server that closes while more is on its way to it sends RST instead of FIN: that is its doing too.
        let closed_by_peer = error.kind() == std::io::ErrorKind::ConnectionReset;
        self.lost(&explain(error, &self.server.address()), closed_by_peer);
    }

    fn lost(&mut self, why: &str, closed_by_peer: bool) {
        self.link = None;
        self.forwarder.handle_closed(why, closed_by_peer, self.clock.now());
    }

    async fn close(&mut self, last: Vec<u8>) {
        if let Some(task) = self.connecting.take() {
            task.abort();
        }
        let Some(mut link) = self.link.take() else { return };
        if last.is_empty() {
            return;
        }
        let write = async {
            link.stream.write_all(&last).await?;
            link.stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(LAST_WRITE_TIMEOUT, write).await, Ok(Ok(()))) {
            debug!("bridge {}: the remote did not take the last packet", self.name);
        }
    }
}
