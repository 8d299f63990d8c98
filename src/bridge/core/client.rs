//! A local client's connection: CONNECT, publishing, subscribing, Keep Alive, and its end.
//!
//! Call a `handle_*` method for whatever happened, then [`flush`](Client::flush), then write
//! [`transmit`](Client::transmit) and perform each [`Effect`], and wait.
mod connecting;
mod guard;
mod subscribing;
mod will;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use guard::{Credentials, Denied, Guard};

use super::intake::{Accepted, Intake, Release, Ticket};
use super::outgoing::{Outgoing, Parcel};
use super::ring::Ring;
use super::routes::Routes;
use super::session::{self, Opened};
use super::session_queue::{SessionQueue, Step};
use super::topic_aliases::TopicAliases;
use crate::bridge::delivery::{Delivery, Origin, Seq, Store, Time, Write};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{
    Connack, Connect, Disconnect, Packet, Publish, ReasonCode, Suback, Subscribe, Subscription, Unsubscribe, Version,
    Will, WireError, encode, is_payload_valid,
};
pub use will::Ending;

/// How long a client may acknowledge nothing of what it has been sent.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
/// Unsent bytes above which no further PUBLISH is encoded.
const HIGH_WATER: usize = 64 * 1024;
/// Receive Maximum that is assumed of 3.1.1 clients, which cannot say theirs.
const RECEIVE_MAXIMUM_V4: u16 = 100;
/// Topic Alias Maximum that is announced: as many Topic Names are kept for a connection, at most.
pub const TOPIC_ALIAS_MAXIMUM: u16 = 16;

/// What the shell is to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Find out whether it is who it says; answer with [`Client::handle_authenticated`].
    Authenticate(Credentials),
    /// End any other connection of this client, open its session, and answer with [`Client::handle_opened`].
    Open {
        /// Client Identifier.
        client_id: Arc<str>,
        /// Clean Start.
        clean_start: bool,
        /// Session Expiry Interval in seconds.
        expiry: u32,
    },
    /// Commit in this order; answer with [`Client::handle_committed`], in the order of these effects.
    Commit(Vec<Write>),
    /// Deliver to local subscribers.
    Publish(Arc<Message>),
    /// These are the client's subscriptions from now on.
    Subscriptions(Vec<Subscription>),
    /// Read what is retained for these, and answer with [`Client::handle_retained`].
    Retained(Vec<Subscription>),
    /// The session is about to have its first Shared Subscription, and ends with the connection: it needs a ring, from which
    /// [`Client::pump`] takes.
    Share,
    /// Close the connection, after an attempt to write what is encoded.
    Close {
        /// Why, for the log.
        why: String,
    },
    /// It was refused, and is to be counted.
    Denied(Denied),
}

#[derive(Debug)]
enum State {
    /// CONNECT must come until then.
    Expecting(Time),
    /// It must be known who it is until then.
    Authenticating(Box<Connect>, Time),
    Opening(Box<Connect>),
    /// The session is open, and CONNACK waits for the commit of the Will.
    Arming,
    Open,
    Closed,
}

#[derive(Debug)]
enum After {
    Stored(Ticket, Arc<Message>),
    Forgotten(u16),
    /// Of the session's queue: what to send next is known there.
    Progressed(u16),
    Send(Packet),
    Armed(Box<Connack>),
    Nothing,
}

/// One connection of a local client. `R` is what subscribers' receipts are.
#[derive(Debug)]
pub struct Client<R> {
    state: State,
    version: Version,
    client_id: Arc<str>,
    /// The client has none of its own.
    assigned: bool,
    guard: Guard,
    expiry: u32,
    /// The longest that is granted, by the listener and by the sessions' own configuration.
    longest_expiry: u32,
    /// The sending side, where the session is kept.
    queue: Option<SessionQueue>,
    /// CONNECT asked for a session that outlives the connection.
    may_keep: bool,
    max_keep_alive: Option<u16>,
    keep_alive: Option<Duration>,
    heard: Time,
    receive_maximum: u16,
    maximum_packet_size: u32,
    /// The client's own Maximum Packet Size.
    peer_maximum: usize,
    /// The client wants Reason Strings (Request Problem Information).
    explains: bool,
    aliases: TopicAliases,
    /// The cache has a Will of this connection.
    armed: bool,
    /// What is published unless the client says DISCONNECT first.
    will: Option<Will>,
    /// PUBLISHes of this connection without PUBACK or PUBCOMP.
    unanswered: usize,
    /// Since when the client has acknowledged nothing of what it was sent at QoS 1 and 2.
    waiting_since: Option<Time>,
    intake: Intake,
    /// The sending side, where it ends with the connection.
    outgoing: Outgoing<R>,
    subscriptions: Vec<Subscription>,
    /// What of them the shell was told, where the session is kept.
    told: Vec<Subscription>,
    /// They have changed since the shell was told.
    resubscribed: bool,
    /// Those of them that are to be given what is retained.
    wanting: Vec<Subscription>,
    /// Retained messages that the client was given, and may get once more from who published them a moment ago.
    given: Vec<Weak<Message>>,
    /// It has a ring although its session ends with the connection.
    shares: bool,
    writes: Vec<Write>,
    after: Vec<After>,
    /// In the order in which it was given to be committed, which is the order of the answers.
    committing: VecDeque<After>,
    out: Vec<u8>,
    effects: VecDeque<Effect>,
    /// Why, and what more there is to say about it.
    closing: Option<(ReasonCode, Option<String>)>,
}

impl<R> Client<R> {
    /// A TCP connection has been accepted.
    pub fn new(receive_maximum: u16, maximum_packet_size: u32, now: Time) -> Self {
        Self {
            state: State::Expecting(now + Guard::default().limits.connect_timeout),
            version: Version::V5,
            client_id: "".into(),
            assigned: false,
            guard: Guard::default(),
            expiry: 0,
            longest_expiry: u32::MAX,
            queue: None,
            may_keep: false,
            max_keep_alive: None,
            keep_alive: None,
            heard: now,
            receive_maximum,
            maximum_packet_size,
            peer_maximum: usize::MAX,
            explains: true,
            aliases: TopicAliases::new(0),
            armed: false,
            will: None,
            unanswered: 0,
            waiting_since: None,
            intake: Intake::new(receive_maximum, []),
            outgoing: Outgoing::new(u16::MAX, None),
            subscriptions: Vec::new(),
            told: Vec::new(),
            resubscribed: false,
            wanting: Vec::new(),
            given: Vec::new(),
            shares: false,
            writes: Vec::new(),
            after: Vec::new(),
            committing: VecDeque::new(),
            out: Vec::new(),
            effects: VecDeque::new(),
            closing: None,
        }
    }

    /// The same, held to more than the protocol.
    #[must_use]
    pub fn guarded(self, guard: Guard, now: Time) -> Self {
        Self { state: State::Expecting(now + guard.limits.connect_timeout), guard, ..self }
    }

    /// Whether it is known who it is.
    pub fn is_let_in(&self) -> bool {
        matches!(self.state, State::Opening(_) | State::Arming | State::Open)
    }

    /// Whether more may be read from the client.
    pub fn wants_read(&self) -> bool {
        let open = matches!(self.state, State::Expecting(_) | State::Open) && self.closing.is_none();
        open && !self.guard.paced() && self.intake.has_room() && self.out.len() < HIGH_WATER
    }

    /// Whether the connection is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether it is closed, or closes as soon as what has been read is committed.
    pub fn is_closing(&self) -> bool {
        self.is_closed() || self.closing.is_some()
    }

    /// Whether it is closed, all that was read from it is committed, and no effect is left to perform.
    pub fn is_finished(&self) -> bool {
        self.is_closed() && self.committing.is_empty() && self.writes.is_empty() && self.effects.is_empty()
    }

    /// Whether something that was read from it is neither committed nor refused.
    pub fn awaits_commit(&self) -> bool {
        !self.committing.is_empty()
    }

    /// Whether a PUBLISH can be refused by the end of the connection alone.
    pub fn ends_with_a_refusal(&self) -> bool {
        self.version == Version::V4
    }

    /// Client Identifier; empty before CONNECT.
    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// Bytes to be written to the socket.
    pub fn transmit(&self) -> &[u8] {
        &self.out
    }

    /// The socket has taken so many of them.
    pub fn handle_written(&mut self, bytes: usize) {
        self.out.drain(..bytes);
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether there is something to be done.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Expecting(until) | State::Authenticating(_, until) => Some(until),
            // Nothing is heard of a client that is not read from, and that is not its silence.
            State::Open if self.wants_read() => [self.silent_at(), self.stuck_at()].into_iter().flatten().min(),
            State::Open if self.closing.is_none() => self.guard.deadline(),
            State::Open | State::Opening(_) | State::Arming | State::Closed => None,
        }
    }

    fn silent_at(&self) -> Option<Time> {
        self.keep_alive.map(|keep_alive| self.heard + keep_alive.mul_f64(1.5))
    }

    fn stuck_at(&self) -> Option<Time> {
        self.waiting_since.map(|since| since + ACK_TIMEOUT)
    }

    /// Time has passed ([MQTT-3.1.2-22]).
    pub fn handle_timeout(&mut self, now: Time) {
        if self.guard.pace.handle_time(now) {
            self.heard = now;
            return;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            match self.state {
                State::Expecting(_) => self.close_at_once("no CONNECT within limits.connect_timeout"),
                State::Authenticating(..) => {
                    self.handle_authenticated(Err(ReasonCode::SERVER_BUSY));
                }
                // Others may wait for it: the remote is acknowledged when every connected subscriber has a message.
                _ if self.stuck_at().is_some_and(|at| at <= now) => {
                    self.close(ReasonCode::UNSPECIFIED_ERROR, Some("it acknowledges none of its messages"));
                }
                _ => self.close(ReasonCode::KEEP_ALIVE_TIMEOUT, None),
            }
        }
    }

    /// Another connection has taken over, the bridge shuts down, or the queue has overflowed: what has been read is
    /// still committed and acknowledged, then the connection is closed.
    pub fn handle_close(&mut self, reason: ReasonCode) {
        self.close(reason, None);
    }

    /// The socket is gone.
    pub fn handle_eof(&mut self) {
        self.intake.handle_closed();
        self.close_at_once("closed by the client");
    }

    /// A packet has come.
    pub fn handle_packet(&mut self, packet: Packet, routes: &Routes, now: Time) {
        self.heard = now;
        let result = match (&self.state, packet) {
            (State::Expecting(_), Packet::Connect(connect)) => {
                self.handle_connect(connect);
                Ok(())
            }
            (State::Open, packet) => self.handle_open_packet(packet, routes, now),
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.handle_violation(&error);
        }
    }

    fn handle_open_packet(&mut self, packet: Packet, routes: &Routes, now: Time) -> Result<(), WireError> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(&publish, routes, now)?,
            Packet::Pubrel(ack) => {
                if let Release::Forget(packet_id) = self.intake.handle_pubrel(ack.packet_id)? {
                    if self.expiry > 0 {
                        let write = Write::Forget { origin: self.origin(), packet_id };
                        self.write(write, After::Forgotten(packet_id));
                    } else {
                        self.intake.handle_forgotten(packet_id);
                    }
                }
            }
            Packet::Puback(ack) => {
                self.waiting_since = None;
                match &mut self.queue {
                    Some(queue) => {
                        let step = queue.handle_puback(ack);
                        self.take(step);
                    }
                    None => self.outgoing.handle_puback(ack),
                }
            }
            Packet::Pubrec(ack) => {
                self.waiting_since = None;
                let step = match &mut self.queue {
                    Some(queue) => queue.handle_pubrec(ack),
                    None => self.outgoing.handle_pubrec(ack).map(Step::Send),
                };
                self.take(step);
            }
            Packet::Pubcomp(ack) => {
                self.waiting_since = None;
                match &mut self.queue {
                    Some(queue) => {
                        let step = queue.handle_pubcomp(ack);
                        self.take(step);
                    }
                    None => self.outgoing.handle_pubcomp(ack),
                }
            }
            Packet::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(&unsubscribe)?,
            Packet::Pingreq => self.send(&Packet::Pingresp),
            Packet::Disconnect(disconnect) => {
                if let Some(expiry) = disconnect.session_expiry {
                    if !self.may_keep && expiry != 0 {
                        let what = "DISCONNECT: a session that was to end cannot be kept"; // [MQTT-3.14.2-2]
                        return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
                    }
                    self.expiry = expiry.min(self.longest_expiry);
                }
                if disconnect.reason == ReasonCode::SUCCESS {
                    self.will = None; // [MQTT-3.1.2-10]
                }
                self.close_at_once("DISCONNECT");
            }
            other => {
                let what = format!("{} from a client", other.name());
                return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
            }
        }
        Ok(())
    }

    fn origin(&self) -> Origin {
        Origin::Local(self.client_id.clone())
    }

    fn handle_publish(&mut self, publish: &Publish, routes: &Routes, now: Time) -> Result<(), WireError> {
        self.guard.pace.handle_publish(now);
        let Accepted::Submit(ticket) = self.intake.handle_publish(publish)? else { return Ok(()) };
        if publish.qos != QoS::AtMostOnce {
            self.unanswered += 1;
            if self.version == Version::V5 && self.unanswered > usize::from(self.receive_maximum) {
                let what = format!("more than {} PUBLISHes unacknowledged", self.receive_maximum);
                return Err(WireError::new(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, what));
            }
        }
        if let Some(reason) = self.guard.refuses(&publish.topic) {
            self.effects.push_back(Effect::Denied(Denied::Publish(publish.topic.clone())));
            // 3.1.1 can only acknowledge it or close the connection, and whoever comes back would send it again, for
            // ever, and nothing behind it ([MQTT-3.3.5-2] there).
            let outcome = if self.version == Version::V5 { Err(reason) } else { Ok(()) };
            self.intake.handle_stored(ticket, outcome);
            return Ok(());
        }
        if !is_payload_valid(&publish.message.properties.other, &publish.message.payload) {
            let (reason, what) = (ReasonCode::PAYLOAD_FORMAT_INVALID, "PUBLISH: the payload is not the UTF-8 it says");
            self.intake.handle_stored(ticket, Err(reason));
            // Nothing else says so at QoS 0.
            return if publish.qos == QoS::AtMostOnce { Err(WireError::new(reason, what)) } else { Ok(()) };
        }
        // A session that ends with the connection has nothing to resume: its identifiers live in memory.
        let recorded = publish.qos == QoS::ExactlyOnce && self.expiry > 0;
        let message = publish.message.clone();
        let store = Store {
            seq: Seq::default(),
            received_at: now,
            deliveries: routes.deliveries(&message, None),
            received_id: recorded.then(|| (self.origin(), publish.packet_id)),
            publisher: Some(self.client_id.clone()),
            retained: false,
            message: message.clone(),
        };
        self.write(Write::Store(Box::new(store)), After::Stored(ticket, message));
        Ok(())
    }

    /// The next writes, in their order, have been committed or refused, be they one commit's or a part of it; whether
    /// each store was the first of its message.
    pub fn handle_committed(&mut self, outcomes: &[Result<bool, ReasonCode>]) {
        for outcome in outcomes {
            let Some(after) = self.committing.pop_front() else { return };
            match after {
                After::Stored(ticket, message) => {
                    if *outcome == Ok(true) {
                        self.effects.push_back(Effect::Publish(message));
                    }
                    if outcome.is_err() && self.ends_with_a_refusal() && !self.is_closed() {
                        // What was stored before it must not be sent again: where the queue stays full that would be
                        // for ever.
                        self.send_replies();
                        // 3.1.1 has no other way to refuse a message: the publisher keeps it, and comes back.
                        self.close_at_once("a PUBLISH could not be stored");
                    }
                    self.intake.handle_stored(ticket, outcome.map(|_| ()));
                }
                After::Forgotten(packet_id) => self.intake.handle_forgotten(packet_id),
                After::Progressed(packet_id) => {
                    let packets = self.queue.as_mut().map(|queue| queue.handle_committed(packet_id));
                    packets.unwrap_or_default().into_iter().for_each(|packet| self.send_aliased(packet));
                }
                After::Send(packet) => self.send(&packet),
                After::Armed(connack) => self.handle_armed(*connack, *outcome),
                After::Nothing => {}
            }
        }
    }

    /// Takes from the near end of the session's queue what may be sent.
    pub fn pump(&mut self, ring: &mut Ring, now: Time) {
        if !matches!(self.state, State::Open) || self.closing.is_some() || self.out.len() >= HIGH_WATER {
            return;
        }
        let Some(queue) = &mut self.queue else {
            while self.outgoing.is_idle()
                && let Some(delivery) = ring.take()
            {
                let Delivery { message, qos, retain, received_at, identifiers, .. } = delivery;
                let subscription_ids = identifiers.as_deref().unwrap_or_default().to_vec();
                let expires_at = message.expires_at(received_at);
                self.outgoing.push(Parcel { message, qos, retain, subscription_ids, expires_at, receipt: None });
            }
            return;
        };
        for step in queue.pump(ring, self.version, now) {
            self.take(Some(step));
        }
    }

    fn take(&mut self, step: Option<Step>) {
        match step {
            Some(Step::Send(packet)) => self.send_aliased(packet),
            Some(Step::Commit(write, then)) => self.write(write, then.map_or(After::Nothing, After::Progressed)),
            None => {}
        }
    }

    /// A message for this client.
    pub fn handle_parcel(&mut self, parcel: Parcel<R>) {
        if !self.given.is_empty() {
            self.given.retain(|given| given.strong_count() > 0);
            if self.given.iter().any(|given| std::ptr::eq(given.as_ptr(), Arc::as_ptr(&parcel.message))) {
                return;
            }
        }
        self.outgoing.push(parcel);
    }

    /// What is retained for the subscriptions that were asked for, with RETAIN ([MQTT-3.3.1-8]); `coming` is on its way to
    /// the client already, and later than what is retained of the same topic.
    pub fn handle_retained(&mut self, retained: Vec<Parcel<R>>, coming: Vec<Parcel<R>>) {
        for parcel in retained {
            let topic = &parcel.message.topic;
            if !coming.iter().any(|coming| coming.message.retain && coming.message.topic == *topic) {
                self.given.push(Arc::downgrade(&parcel.message));
                self.outgoing.push(parcel);
            }
        }
        coming.into_iter().for_each(|parcel| self.handle_parcel(parcel));
    }

    /// Encodes acknowledgements and messages, and gives what has been read to be committed, as one.
    pub fn flush(&mut self, now: Time) {
        if self.guard.pace.handle_time(now) {
            // Nothing is heard of a client that is not read from.
            self.heard = now;
        }
        // Once for all that came together: as many copies as SUBSCRIBEs would let one segment fill the memory.
        if std::mem::take(&mut self.resubscribed) {
            self.tell_subscriptions();
        }
        if !self.wanting.is_empty() {
            self.effects.push_back(Effect::Retained(std::mem::take(&mut self.wanting)));
        }
        if !self.writes.is_empty() {
            self.committing.extend(self.after.drain(..));
            self.effects.push_back(Effect::Commit(std::mem::take(&mut self.writes)));
        }
        if !matches!(self.state, State::Open) {
            return;
        }
        self.send_replies();
        while self.closing.is_none() && self.out.len() < HIGH_WATER {
            let Some(packet) = self.outgoing.poll(self.version, now) else { break };
            self.send_aliased(packet);
        }
        let waits = self.queue.as_ref().map_or_else(|| self.outgoing.is_waiting(), SessionQueue::is_waiting);
        self.waiting_since = self.waiting_since.or(Some(now)).filter(|_| waits);
        if self.committing.is_empty()
            && let Some((reason, why)) = self.closing.take()
        {
            if self.version == Version::V5 {
                let reason_string = why.clone().filter(|_| self.explains);
                self.send(&Packet::Disconnect(Disconnect { reason_string, ..Disconnect::new(reason) }));
            }
            self.close_at_once(&said(reason, why.as_deref()));
        }
    }

    fn send_replies(&mut self) {
        while let Some(packet) = self.intake.poll_reply() {
            self.count_answer(&packet);
            self.send(&packet);
        }
    }

    fn count_answer(&mut self, packet: &Packet) {
        let answered = match packet {
            Packet::Puback(_) | Packet::Pubcomp(_) => true,
            Packet::Pubrec(ack) => ack.reason.is_failure(),
            _ => false,
        };
        self.unanswered -= usize::from(answered && self.unanswered > 0);
    }

    /// What is to be committed of the session when its connection has ended: its expiry begins, or it ends. Nothing: it
    /// was not kept.
    fn closing_writes(&self, now: Time) -> Vec<Write> {
        let Some(queue) = &self.queue else {
            let end = || Write::EndSession { client_id: self.client_id.clone() };
            return self.shares.then(end).into_iter().collect();
        };
        let mut writes = if self.expiry > 0 { queue.leave() } else { Vec::new() };
        writes.push(session::close(&self.client_id, self.expiry, now));
        writes
    }

    fn close(&mut self, reason: ReasonCode, why: Option<&str>) {
        if !self.is_closed() && self.closing.is_none() {
            self.closing = Some((reason, why.map(str::to_owned)));
        }
        if !matches!(self.state, State::Open) {
            self.close_at_once(&said(reason, why));
        }
    }

    fn close_at_once(&mut self, why: &str) {
        if !self.is_closed() {
            self.state = State::Closed;
            self.effects.push_back(Effect::Close { why: why.to_owned() });
        }
    }

    fn write(&mut self, write: Write, after: After) {
        self.writes.push(write);
        self.after.push(after);
    }

    /// The same with a Topic Alias, where the client takes them.
    fn send_aliased(&mut self, mut packet: Packet) {
        if let Packet::Publish(publish) = &mut packet {
            self.aliases.apply(publish, self.peer_maximum);
        }
        self.send(&packet);
    }

    /// Encodes a packet, unless the client's Maximum Packet Size forbids it ([MQTT-3.1.2-24]).
    fn send(&mut self, packet: &Packet) {
        let before = self.out.len();
        encode(packet, self.version, &mut self.out);
        if self.out.len() - before > self.peer_maximum {
            self.out.truncate(before);
            self.send_shorter(packet);
        }
    }

    /// A Reason String is left out first ([MQTT-3.2.2-19], [MQTT-3.14.2-3]).
    fn send_shorter(&mut self, packet: &Packet) {
        match packet {
            Packet::Connack(connack) if connack.reason_string.is_some() => {
                self.send(&Packet::Connack(Box::new(Connack { reason_string: None, ..(**connack).clone() })));
            }
            Packet::Disconnect(disconnect) if disconnect.reason_string.is_some() => {
                self.send(&Packet::Disconnect(Disconnect { reason_string: None, ..disconnect.clone() }));
            }
            packet => self.close_at_once(&format!("its Maximum Packet Size leaves no room for a {}", packet.name())),
        }
    }
}

fn said(reason: ReasonCode, why: Option<&str>) -> String {
    why.map_or_else(|| reason.to_string(), |why| format!("{why}: {reason}"))
}

#[cfg(test)]
mod tests;
