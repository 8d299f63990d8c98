//! Where answers go, and whether what comes after a refusal is refused too.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::Written;
use crate::bridge::delivery::Write;
use crate::bridge::wire::ReasonCode;

/// To one connection.
#[derive(Debug, Clone)]
pub struct Answer {
    sender: mpsc::UnboundedSender<Vec<Written>>,
    /// Of a connection that ends with the first refusal: whether there was one.
    refused: Option<Arc<AtomicBool>>,
}

impl Answer {
    /// Another connection.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Vec<Written>>) {
        let (sender, answers) = mpsc::unbounded_channel();
        (Self { sender, refused: None }, answers)
    }

    /// From here on no store is taken after one that was refused: a publisher of 3.1.1 hears of a refusal by the end of
    /// its connection, and sends again in its order what was not acknowledged. What was taken behind the refused one
    /// would stand before it.
    pub fn end_with_a_refusal(&mut self) {
        self.refused.get_or_insert_default();
    }

    /// What comes now is taken again.
    pub fn resume(&mut self) {
        // What is on its way keeps the old one.
        self.refused = Some(Arc::default());
    }

    /// Whether a write is refused because one before it was.
    pub(super) fn refuses(&self, write: &Write) -> bool {
        let refused = self.refused.as_ref().is_some_and(|refused| refused.load(Ordering::Relaxed));
        refused && matches!(write, Write::Store(_))
    }

    /// A write was refused or not.
    pub(super) fn note(&self, refusal: Option<ReasonCode>) {
        if let Some(refused) = self.refused.as_ref().filter(|_| refusal.is_some()) {
            refused.store(true, Ordering::Relaxed);
        }
    }

    /// A client that has gone meanwhile needs no answer.
    pub(super) fn send(&self, written: Vec<Written>) {
        let _ = self.sender.send(written);
    }

    pub(super) fn same_channel(&self, other: &Self) -> bool {
        self.sender.same_channel(&other.sender)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
