//! What the forwarder asks of its shell, and what it counts.
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use super::Forwarder;
use crate::bridge::config::Server;
use crate::bridge::core::intake::Ticket;
use crate::bridge::delivery::{DropReason, Seq, Write};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::ReasonCode;

/// What the shell is to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Resolve the name of this server, by its place in the list, and open a TCP connection, each within the connect
    /// timeout; answer with [`Forwarder::handle_connected`] or [`Forwarder::handle_closed`].
    Connect(usize),
    /// Open a connection to this server as [`Effect::Connect`] would, say nothing on it, close it, and answer with
    /// [`Forwarder::handle_probed`].
    Probe(usize),
    /// What comes after a refusal is taken again (see `Answer::end_with_a_refusal`); the source's leg alone.
    Resume,
    /// Close the connection, after an attempt to write these bytes.
    Close(Vec<u8>),
    /// Commit in this order; answer with [`Forwarder::handle_committed`], in the order of these effects. A message of
    /// the remote ([`Write::Store`]) may be refused; whatever else they hold is tried until it is committed.
    Commit(Vec<Write>),
    /// Deliver to local sessions; answer with [`Forwarder::handle_delivered`] when all of them have it.
    Deliver(Ticket, Arc<Message>),
    /// Worth a line in the log.
    Log(Notice),
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Notice {
    Connected { session_present: bool, resumed: usize },
    Lost { server: Server, why: String, pause: Duration, attempt: u32 },
    Moved { to: Server },
    Refused { reason: ReasonCode, explanation: String },
    SessionLost { ambiguous: usize },
    HeldBack { reason: ReasonCode },
    Looped { topic: Arc<str>, count: u64 },
    ShorterSession { granted: u32 },
    LowerQoS { maximum: QoS },
    SubscriptionRefused { filter: String, reason: ReasonCode },
    UnsubscribeRefused { filter: String, reason: ReasonCode },
    Quarantined { seq: Seq, topic: Arc<str>, reason: ReasonCode },
    Dropped { seq: Seq, topic: Arc<str>, reason: DropReason },
    Unrequested { topic: Arc<str> },
    Unexpected { packet: &'static str, packet_id: u16 },
}

/// What is counted besides the deliveries themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections that got as far as a CONNACK with success.
    pub connections: u64,
    /// QoS 2 messages sent again because the remote had lost the session: they may arrive twice.
    pub ambiguous: u64,
    /// Messages sent again later after a passing refusal, out of their order.
    pub reordered: u64,
    /// PUBLISHes sent again with DUP.
    pub repeated: u64,
    /// Acknowledgements for nothing that was in flight.
    pub unexpected_acks: u64,
    /// Sessions that the remote did not have any more although it was to keep them: what it had queued is lost.
    pub sessions_lost: u64,
    /// Changes from one server to another.
    pub moves: u64,
    /// Which server is in use, from 0.
    pub server: u64,
    /// Messages dropped because they had passed too many bridges.
    pub looped: u64,
    /// Messages of the source that the cache did not take when they were offered; each is offered again.
    pub held_back: u64,
    /// Messages from the remote that no subscription asked for.
    pub unrequested: u64,
}
