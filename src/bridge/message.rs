//! The Application Message, as it travels from a publisher through the cache to the remote.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::delivery::Time;

/// Quality of Service (MQTT 5, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum QoS {
    /// 0: at most once.
    #[default]
    AtMostOnce = 0,
    /// 1: at least once.
    AtLeastOnce = 1,
    /// 2: exactly once.
    ExactlyOnce = 2,
}

impl TryFrom<u8> for QoS {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(format!("QoS {number} does not exist: 0, 1 or 2")),
        }
    }
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> u8 {
        qos as u8
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", *self as u8)
    }
}

/// An Application Message: immutable once it has been received, cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic Name: no wildcards.
    pub topic: Arc<str>,
    /// Application data.
    pub payload: Bytes,
    /// The QoS it was published with.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// Its MQTT 5 properties; empty for a 3.1.1 publisher.
    pub properties: Properties,
}

impl Message {
    /// A message without properties.
    pub fn new(topic: &str, payload: impl Into<Bytes>, qos: QoS) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos, retain: false, properties: Properties::default() }
    }

    /// What it takes in a queue, in bytes: topic, payload and properties.
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.other.len()
    }

    /// When its Message Expiry Interval has passed, if it has one.
    pub fn expires_at(&self, received_at: Time) -> Option<Time> {
        self.properties.message_expiry.map(|secs| received_at + Duration::from_secs(secs.into()))
    }
}

/// PUBLISH properties that travel with a message (MQTT 5, section 3.3.2.3). Topic Alias and Subscription Identifier
/// belong to one connection and are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Message Expiry Interval, in seconds.
    pub message_expiry: Option<u32>,
    /// All others in their encoded form and original order, without the length in front.
    pub other: Bytes,
}
