//! What the writer is asked for.
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Answer, SharedRing};
use crate::bridge::core::admission::Limits;
use crate::bridge::core::session::Opened;
use crate::bridge::delivery::{BridgeId, Identifiers, Seq, Time, Write};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{ReasonCode, Subscription};

/// A session that has been opened.
#[derive(Debug)]
pub struct Seated {
    /// What the client is told of it.
    pub opened: Opened,
    /// The near end of its queue, where it has one.
    pub ring: Option<SharedRing>,
}

/// A retained message for a subscription.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The message itself, and not a copy, where it may still be on its way to subscribers.
    pub message: Arc<Message>,
    /// The lower of its QoS and the subscription's.
    pub qos: QoS,
    /// When it arrived.
    pub received_at: Time,
    /// Of the subscriptions that match.
    pub identifiers: Identifiers,
}

/// One thing that the writer is asked for.
#[derive(Debug)]
pub enum Request {
    /// Commit these in this order, together unless one has to wait for room. Stores are admitted first; the answers, one
    /// or more, say for each write in turn what became of it.
    Write {
        /// In order.
        writes: Vec<Write>,
        /// Answered after the commit.
        answer: Answer,
        /// Whether stores may wait for room (`when_full: block`; otherwise they are refused then) or for their remotes
        /// (`durability: deferred`), and what is asked for after them with the same answer behind them.
        may_wait: bool,
    },
    /// Whatever waits for room with this answer is refused, and whatever waits for a remote is committed.
    Release {
        /// As in [`Request::Write`].
        answer: Answer,
    },
    /// The link of a bridge is down: nothing waits for its remote any more.
    LinkLost {
        /// Which bridge.
        bridge: BridgeId,
    },
    /// These are the limits of a bridge from now on.
    Limits {
        /// Which bridge.
        bridge: BridgeId,
        /// Its limits; what is there already stays.
        limits: Limits,
    },
    /// Some time has passed: do what nobody asks for.
    Chores,
    /// Open a local session.
    Open {
        /// Client Identifier.
        client_id: Arc<str>,
        /// Clean Start.
        clean_start: bool,
        /// Session Expiry Interval in seconds.
        expiry: u32,
        /// Answered after the commit.
        answer: oneshot::Sender<Result<Seated, ReasonCode>>,
    },
    /// Read what is retained for new subscriptions of a session that is not kept.
    Retained {
        /// They.
        subscriptions: Vec<Subscription>,
        /// No further once so many bytes are read.
        bytes: usize,
        /// Answered at once.
        answer: oneshot::Sender<Vec<Kept>>,
    },
    /// A session that ends with its connection is about to have its first Shared Subscription: it needs a queue.
    Share {
        /// Client Identifier.
        client_id: Arc<str>,
        /// Answered at once.
        answer: oneshot::Sender<(BridgeId, SharedRing)>,
    },
    /// Refill a bridge's ring with rows after a sequence.
    Page {
        /// Of which bridge.
        bridge: BridgeId,
        /// After which.
        after: Seq,
        /// At most so many messages.
        messages: usize,
        /// No further once so many bytes are read.
        bytes: usize,
    },
}
