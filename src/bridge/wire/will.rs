//! The Will of a CONNECT (MQTT 5, section 3.1.3.2).
use std::sync::Arc;

use crate::bridge::message::Message;

/// What the server publishes when the connection ends without a DISCONNECT of reason 0x00.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Will Delay Interval, in seconds.
    pub delay: u32,
    /// Will Topic, Payload, QoS, Retain and those properties that become the message's.
    pub message: Arc<Message>,
}

impl Will {
    /// A Will that is published at once.
    pub fn new(message: Message) -> Self {
        Self { delay: 0, message: Arc::new(message) }
    }
}
