//! One message of an export: a line of JSON.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::State;

/// A message with all its deliveries. `payload` and `properties` (the MQTT 5 properties in their encoded form, without
/// the Message Expiry Interval) are base64; `received_at` is in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedMessage {
    /// Its place in the order of arrival; an import gives it a new one, in the same order.
    pub seq: i64,
    /// Topic Name.
    pub topic: String,
    /// QoS it was published with.
    pub qos: u8,
    /// RETAIN it was published with.
    pub retain: bool,
    /// When it arrived.
    pub received_at: i64,
    /// Message Expiry Interval in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_expiry: Option<u32>,
    /// Other properties.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "encode", deserialize_with = "decode")]
    pub properties: Vec<u8>,
    /// Application data.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub payload: Vec<u8>,
    /// Where it goes; empty where that could not be read.
    pub deliveries: Vec<ExportedDelivery>,
}

/// A message on its way to one remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedDelivery {
    /// The bridge's name.
    pub bridge: String,
    /// Topic Name at the remote.
    pub topic: String,
    /// Effective QoS.
    pub qos: u8,
    /// RETAIN at the remote.
    pub retain: bool,
    /// How far it is. What is in flight is queued by an import: its Packet Identifier means nothing in another session.
    pub state: State,
    /// Why it is in quarantine: a Reason Code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<u8>,
}

fn encode<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
