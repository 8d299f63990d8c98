//! What the writer is asked for.
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Answer, SharedRing};
use crate::bridge::core::session::Opened;
use crate::bridge::delivery::{BridgeId, Seq, Write};
use crate::bridge::wire::ReasonCode;

/// A session that has been opened.
#[derive(Debug)]
pub struct Seated {
    /// What the client is told of it.
    pub opened: Opened,
    /// The near end of its queue, where it has one.
    pub ring: Option<SharedRing>,
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
