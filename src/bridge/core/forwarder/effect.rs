//! What the forwarder asks of its shell, and what it counts.
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use super::Forwarder;
use crate::bridge::core::intake::Ticket;
use crate::bridge::delivery::{DropReason, Seq, Write};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::ReasonCode;

/// What the shell is to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Resolve the name and open a TCP connection, each within the connect timeout; answer with
    /// [`Forwarder::handle_connected`] or [`Forwarder::handle_closed`].
    Connect,
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
    Lost { why: String, pause: Duration, attempt: u32 },
    Refused { reason: ReasonCode, explanation: String },
    SessionLost { ambiguous: usize },
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
    /// Messages from the remote that no subscription asked for.
    pub unrequested: u64,
}
