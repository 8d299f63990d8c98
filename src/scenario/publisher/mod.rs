//! Open-loop publishers: one connection for each load entry that is published at the bridge.
//!
//! What is due follows from the plan and the clock alone. Where the subject's Receive Maximum or a broken connection
//! holds a message back, it waits in the publisher and is sent later than intended, which the history shows.
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use self::session::{Answer, Outgoing, Session};
use super::client::{self, ClientError, Inbox};
use super::history::Event;
use super::identity;
use super::plan::Load;
use super::recorder::Recorder;
use super::stop;
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::wire::{Ack, Connect, Disconnect, Packet, Publish, ReasonCode, Version, encode};

/// Between two tries to reach a subject that is down.
const RETRY: Duration = Duration::from_millis(50);
const KEEP_ALIVE_SECONDS: u16 = 60;
/// Longer than any scenario keeps a subject down.
const SESSION_EXPIRY_SECONDS: u32 = 86_400;
/// What is written at once.
const BATCH_BYTES: usize = 1 << 16;

/// The publisher of one load entry.
pub(crate) struct Publisher {
    index: u16,
    load: Load,
    run: u64,
    address: SocketAddr,
    recorder: Recorder,
    topic: Arc<str>,
    qos: QoS,
    session: Session,
    /// The first sequence that is not due yet.
    due: u64,
}

/// A batch on its way into the socket.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Where in `bytes` each PUBLISH ends.
    marks: std::collections::VecDeque<(usize, Event)>,
}

impl Publisher {
    /// A publisher of load `index` of the plan.
    pub(crate) fn new(index: u16, load: Load, run: u64, address: SocketAddr, recorder: Recorder) -> Self {
        let qos = QoS::try_from(load.qos).unwrap_or_default();
        let topic = load.topic.as_str().into();
        Self { index, run, address, recorder, topic, qos, session: Session::new(qos), due: 0, load }
    }

    /// Publishes until it is told to stop, over as many connections as it takes; says once when it has its first
    /// CONNACK.
    pub(crate) async fn run(mut self, connected: oneshot::Sender<()>, mut stop: watch::Receiver<bool>) {
        let mut connected = Some(connected);
        while !*stop.borrow() {
            let connect = Connect {
                clean_start: connected.is_some(),
                keep_alive: KEEP_ALIVE_SECONDS,
                session_expiry: SESSION_EXPIRY_SECONDS,
                ..Connect::new(Version::V5, &format!("lab-publisher-{}", self.index))
            };
            let connection = tokio::select! {
                connection = client::connect(self.address, connect) => connection,
                () = stop::told(&mut stop) => return,
            };
            match connection {
                Ok(connection) => {
                    let session_present = connection.connack.session_present;
                    self.recorder.record(Event::PublisherConnected { load: self.index, session_present });
                    if let Some(connected) = connected.take() {
                        // An error means that nobody waits for it any more.
                        let _ = connected.send(());
                    }
                    let Err(error) = self.publish(connection, &mut stop).await else { return };
                    let why = error.to_string();
                    self.recorder.record(Event::PublisherDisconnected { load: self.index, why });
                }
                Err(error) => tracing::debug!(load = self.index, %error, "the subject cannot be reached"),
            }
            sleep(RETRY).await;
        }
    }

    /// Publishes on one connection; returns when told to stop.
    async fn publish(
        &mut self,
        mut connection: client::Connection,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), ClientError> {
        let connack = &connection.connack;
        self.session.connected(connack.session_present, connack.receive_maximum);
        let keep_alive = connack.server_keep_alive.unwrap_or(KEEP_ALIVE_SECONDS).max(2);
        let ping = Duration::from_secs(keep_alive.into()) / 2;
        let mut pings = interval_at(Instant::now() + ping, ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut reader, mut writer) = connection.stream.split();
        let mut outbox = Outbox::default();
        loop {
            if outbox.is_empty() {
                self.fill(&mut outbox);
            }
            tokio::select! {
                biased;
                () = stop::told(stop) => return goodbye(outbox, &mut writer).await,
                written = writer.write(&outbox.bytes[outbox.written..]), if !outbox.is_empty() => {
                    outbox.advance(written?, &self.recorder);
                }
                filled = connection.inbox.fill(&mut reader) => {
                    filled?;
                    self.handle(&mut connection.inbox)?;
                }
                _ = pings.tick() => encode(&Packet::Pingreq, Version::V5, &mut outbox.bytes),
                () = self.next_due() => {}
            }
        }
    }

    fn fill(&mut self, outbox: &mut Outbox) {
        let now = self.recorder.elapsed();
        if self.recorder.origin().is_some() {
            while self.load.intended(self.due).is_some_and(|intended| intended <= now) {
                self.due += 1;
            }
        }
        self.session.due(self.due);
        while outbox.bytes.len() < BATCH_BYTES {
            match self.session.next(now.as_micros() as u64) {
                Some(Outgoing::Publish { packet_id, seq, first_us, dup, again }) => {
                    let payload = identity::encode(self.run, self.index, seq, first_us, self.load.payload).into();
                    let (topic, qos) = (self.topic.clone(), self.qos);
                    let message = Message { topic, payload, qos, retain: false, properties: Properties::default() };
                    let publish = Publish { dup, ..Publish::new(Arc::new(message), packet_id) };
                    encode(&Packet::Publish(publish), Version::V5, &mut outbox.bytes);
                    outbox.marks.push_back((outbox.bytes.len(), Event::Sent { load: self.index, seq, again }));
                }
                Some(Outgoing::Pubrel(packet_id)) => {
                    encode(&Packet::Pubrel(Ack::success(packet_id)), Version::V5, &mut outbox.bytes);
                }
                None => return,
            }
        }
    }

    fn handle(&mut self, inbox: &mut Inbox) -> Result<(), ClientError> {
        while let Some(packet) = inbox.next()? {
            let (answer, reason) = match packet {
                Packet::Puback(ack) => (self.session.puback(ack.packet_id, ack.reason.is_failure()), ack.reason),
                Packet::Pubrec(ack) => (self.session.pubrec(ack.packet_id, ack.reason.is_failure()), ack.reason),
                Packet::Pubcomp(ack) => {
                    self.session.pubcomp(ack.packet_id);
                    continue;
                }
                Packet::Pingresp => continue,
                other => return Err(ClientError::Unasked(other.name())),
            };
            let load = self.index;
            match answer {
                Answer::Acknowledged(seq) => self.recorder.record(Event::Acknowledged { load, seq }),
                Answer::Refused(seq) => self.recorder.record(Event::Refused { load, seq, reason: reason.0 }),
                Answer::Nothing => {}
            }
        }
        Ok(())
    }

    /// Returns when a message has become due, or at the start of the timeline.
    async fn next_due(&self) {
        match self.recorder.origin() {
            None => {
                self.recorder.begun().await;
            }
            Some(origin) => match self.load.intended(self.due) {
                Some(intended) => sleep_until((origin + intended).into()).await,
                None => std::future::pending().await,
            },
        }
    }
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// So many more bytes are in the socket: what is whole in it counts as sent.
    fn advance(&mut self, written: usize, recorder: &Recorder) {
        self.written += written;
        while self.marks.front().is_some_and(|(end, _)| *end <= self.written) {
            if let Some((_, event)) = self.marks.pop_front() {
                recorder.record(event);
            }
        }
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

/// DISCONNECT, unless a packet is half written or the subject does not read.
async fn goodbye(outbox: Outbox, writer: &mut WriteHalf<'_>) -> Result<(), ClientError> {
    if outbox.is_empty() {
        let mut bytes = Vec::new();
        encode(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)), Version::V5, &mut bytes);
        // The run is over: whether the subject still takes it is of no interest.
        let _ = writer.try_write(&bytes);
        let _ = writer.shutdown().await;
    }
    Ok(())
}
