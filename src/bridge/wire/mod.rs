//! MQTT 3.1.1 and 5 on the wire: bytes in, packets out, and back.
//!
//! The one module that knows mqtt-protocol-core, of which it uses the codec alone: its connection state machine answers
//! a repeated QoS 2 PUBLISH before our commit does and closes a 3.1.1 connection over a Receive Maximum that its peer
//! cannot know. What a packet means is decided in [`core`](super::core). A packet of either protocol version is the
//! same [`Packet`] here; what 3.1.1 cannot say is absent when decoded and dropped when encoded.
mod decode;
mod encode;
mod frame;
mod properties;
mod reason;
mod will;

pub use decode::{Decoder, WireError};
pub use encode::encode;
pub use frame::{Frame, frame};
pub use properties::{NamedProperty, is_payload_valid, named_properties};
pub use reason::ReasonCode;
pub use will::Will;

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
mod tests;

use super::message::{Message, QoS};

/// The protocol version of a connection, by its level in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, level 4.
    V4,
    /// MQTT 5, level 5.
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V4 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

/// A Control Packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // named by the specification, section 3
pub enum Packet {
    Connect(Box<Connect>),
    Connack(Box<Connack>),
    Publish(Publish),
    Puback(Ack),
    Pubrec(Ack),
    Pubrel(Ack),
    Pubcomp(Ack),
    Subscribe(Subscribe),
    Suback(Suback),
    Unsubscribe(Unsubscribe),
    Unsuback(Suback),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect),
}

impl Packet {
    /// Its name in the specification.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "CONNECT",
            Self::Connack(_) => "CONNACK",
            Self::Publish(_) => "PUBLISH",
            Self::Puback(_) => "PUBACK",
            Self::Pubrec(_) => "PUBREC",
            Self::Pubrel(_) => "PUBREL",
            Self::Pubcomp(_) => "PUBCOMP",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Suback(_) => "SUBACK",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::Unsuback(_) => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect(_) => "DISCONNECT",
        }
    }
}

/// CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Protocol version.
    pub version: Version,
    /// Client Identifier; empty where the server shall assign one.
    pub client_id: String,
    /// Clean Start; Clean Session in 3.1.1.
    pub clean_start: bool,
    /// Keep Alive, in seconds; 0: none.
    pub keep_alive: u16,
    /// User Name.
    pub username: Option<String>,
    /// Password; never shown.
    pub password: Option<Vec<u8>>,
    /// Session Expiry Interval, in seconds; `u32::MAX`: never. In 3.1.1 it follows from Clean Session.
    pub session_expiry: u32,
    /// Receive Maximum.
    pub receive_maximum: u16,
    /// Maximum Packet Size, in bytes, where the client has a limit.
    pub maximum_packet_size: Option<u32>,
    /// Topic Alias Maximum: how many the client understands.
    pub topic_alias_maximum: u16,
    /// Request Problem Information.
    pub request_problem_information: bool,
    /// Authentication Method.
    pub authentication_method: Option<String>,
    /// Will.
    pub will: Option<Will>,
}

impl Connect {
    /// A CONNECT that asks for nothing special.
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean_start: true,
            keep_alive: 0,
            username: None,
            password: None,
            session_expiry: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_problem_information: true,
            authentication_method: None,
            will: None,
        }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("session_expiry", &self.session_expiry)
            .finish_non_exhaustive()
    }
}

/// CONNACK. Properties that 3.1.1 does not have stand at the value that MQTT 5 gives to their absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// Session Present.
    pub session_present: bool,
    /// Reason Code; the Return Codes of 3.1.1 are translated.
    pub reason: ReasonCode,
    /// Session Expiry Interval where the server grants another than was asked for, in seconds.
    pub session_expiry: Option<u32>,
    /// Receive Maximum.
    pub receive_maximum: u16,
    /// Maximum QoS.
    pub maximum_qos: QoS,
    /// Retain Available.
    pub retain_available: bool,
    /// Maximum Packet Size, in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Topic Alias Maximum: how many the server understands.
    pub topic_alias_maximum: u16,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<String>,
    /// Server Keep Alive, in seconds.
    pub server_keep_alive: Option<u16>,
    /// Server Reference, with reason 0x9C or 0x9D.
    pub server_reference: Option<String>,
    /// Reason String.
    pub reason_string: Option<String>,
}

impl Connack {
    /// A CONNACK with nothing but its Reason Code.
    pub fn new(reason: ReasonCode, session_present: bool) -> Self {
        Self {
            session_present,
            reason,
            session_expiry: None,
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            assigned_client_id: None,
            server_keep_alive: None,
            server_reference: None,
            reason_string: None,
        }
    }
}

/// PUBLISH: a message with what this transmission of it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// DUP.
    pub dup: bool,
    /// QoS of this transmission.
    pub qos: QoS,
    /// RETAIN of this transmission.
    pub retain: bool,
    /// Topic Name of this transmission, which a forward may have changed; empty where `topic_alias` stands for it.
    pub topic: Arc<str>,
    /// Topic Alias of this transmission; one that comes is resolved while it is decoded.
    pub topic_alias: Option<u16>,
    /// Subscription Identifiers of those subscriptions that it is sent for.
    pub subscription_ids: Vec<u32>,
    /// Packet Identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// Message Expiry Interval that is left, in seconds.
    pub message_expiry: Option<u32>,
    /// Payload and other properties.
    pub message: Arc<Message>,
}

impl Publish {
    /// A first transmission of a message as it is.
    pub fn new(message: Arc<Message>, packet_id: u16) -> Self {
        Self {
            dup: false,
            qos: message.qos,
            retain: message.retain,
            topic: message.topic.clone(),
            topic_alias: None,
            subscription_ids: Vec::new(),
            packet_id,
            message_expiry: message.properties.message_expiry,
            message,
        }
    }

    /// The length of the encoded packet, in bytes.
    pub fn encoded_len(&self, version: Version) -> usize {
        encode::publish_len(self, version)
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Packet Identifier.
    pub packet_id: u16,
    /// Reason Code; 3.1.1 has none and means success.
    pub reason: ReasonCode,
}

impl Ack {
    /// Success.
    pub fn success(packet_id: u16) -> Self {
        Self { packet_id, reason: ReasonCode::SUCCESS }
    }
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Packet Identifier.
    pub packet_id: u16,
    /// At least one Topic Filter with its options.
    pub filters: Vec<Subscription>,
    /// Subscription Identifier.
    pub identifier: Option<u32>,
}

/// One Topic Filter of a SUBSCRIBE with its Subscription Options (MQTT 5, section 3.8.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Topic Filter.
    pub filter: String,
    /// Maximum QoS.
    pub qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling: 0, 1 or 2.
    pub retain_handling: u8,
    /// Subscription Identifier of the SUBSCRIBE that it came with.
    pub identifier: Option<u32>,
}

/// SUBACK or UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suback {
    /// Packet Identifier.
    pub packet_id: u16,
    /// One Reason Code for each filter; an UNSUBACK of 3.1.1 has none.
    pub reasons: Vec<ReasonCode>,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Packet Identifier.
    pub packet_id: u16,
    /// At least one Topic Filter.
    pub filters: Vec<String>,
}

/// DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Reason Code.
    pub reason: ReasonCode,
    /// Session Expiry Interval, in seconds, where the client changes it.
    pub session_expiry: Option<u32>,
    /// Server Reference, with reason 0x9C or 0x9D.
    pub server_reference: Option<String>,
    /// Reason String.
    pub reason_string: Option<String>,
}

impl Disconnect {
    /// A DISCONNECT with nothing but its Reason Code.
    pub fn new(reason: ReasonCode) -> Self {
        Self { reason, session_expiry: None, server_reference: None, reason_string: None }
    }
}
