//! What one transaction is made of.
use std::collections::HashMap;

use super::{Answer, Evictions};
use crate::bridge::delivery::{BridgeId, DropReason, NewDelivery, Write};
use crate::bridge::wire::ReasonCode;

/// What a batch will change, once it is committed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By how many messages and bytes each queue grows.
    pub(super) grown: HashMap<BridgeId, (i64, i64)>,
    pub(super) evictions: Evictions,
    /// Bridges of messages that were deferred and are rows now.
    pub(super) touched: Vec<BridgeId>,
}

impl Pending {
    pub(super) fn grow(&mut self, bridge: BridgeId, messages: i64, bytes: u64) {
        let grown = self.grown.entry(bridge).or_default();
        *grown = (grown.0 + messages, grown.1 + messages.signum() * i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// A store that has been admitted: where its deliveries go besides the cache.
#[derive(Default)]
pub(super) struct Admitted {
    /// It is not committed yet; its remotes may take it first.
    pub(super) deferred: bool,
    pub(super) memory: Vec<NewDelivery>,
    pub(super) dropped: Vec<(NewDelivery, DropReason)>,
}

/// One request's part of a batch.
pub(super) struct Part {
    pub(super) writes: Vec<(Write, Option<Admitted>)>,
    /// Of each write: refused before it was tried, or not.
    pub(super) refused: Vec<Option<ReasonCode>>,
    pub(super) answer: Answer,
}
