//! Bytes into packets.
mod aliases;
mod connect;
mod plain;
mod strict;

use std::sync::Arc;

use aliases::Aliases;
use bytes::Bytes;
use mqtt::common::Cursor;
use mqtt::connection::{PacketBuildResult, PacketBuilder, PacketData, RawPacket};
use mqtt::packet::{Property, RetainHandling, SubEntry, v3_1_1, v5_0};
use mqtt::result_code::{ConnectReturnCode, MqttError};
use mqtt_protocol_core::mqtt;
use plain::Plain;
use strict::{Header, check_properties, without_null};

use super::{
    Ack, Connack, Disconnect, Packet, Publish, ReasonCode, Suback, Subscribe, Subscription, Unsubscribe, Version,
};
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::topic;

/// MQTT Control Packet type of CONNECT.
const CONNECT: u8 = 1;

/// A violation of the protocol by the peer; the connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct WireError {
    /// What to say in the DISCONNECT or CONNACK that closes the connection (MQTT 5, section 4.13).
    pub reason: ReasonCode,
    /// Where it was seen.
    pub what: String,
    /// It is a CONNECT of this version, which a CONNACK may answer.
    pub connect: Option<Version>,
}

impl WireError {
    /// A violation seen in a packet.
    pub fn new(reason: ReasonCode, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), connect: None }
    }
}

/// Decodes one direction of one connection; keeps what of a packet has arrived until the rest does.
pub struct Decoder {
    builder: PacketBuilder,
    /// The builder has the beginning of a packet.
    partial: bool,
    header: Header,
    plain: Plain,
    aliases: Aliases,
    maximum: usize,
    version: Option<Version>,
    server: bool,
    stored: bool,
}

impl Decoder {
    /// For what a server receives: the version follows from CONNECT, which must come first and only once.
    pub fn server(maximum_packet_size: u32) -> Self {
        Self::new(None, maximum_packet_size, true)
    }

    /// For what a client receives.
    pub fn client(version: Version, maximum_packet_size: u32) -> Self {
        Self::new(Some(version), maximum_packet_size, false)
    }

    /// For what another client was about to send and has stored instead: a Topic Alias beside a Topic Name belongs to a
    /// connection that is gone, and is left out.
    pub fn stored(version: Version, maximum_packet_size: u32) -> Self {
        Self { stored: true, ..Self::new(Some(version), maximum_packet_size, false) }
    }

    /// The peer has been told this Topic Alias Maximum; 0 if nothing is said.
    pub fn with_topic_alias_maximum(self, maximum: u16) -> Self {
        Self { aliases: Aliases::new(maximum), ..self }
    }

    fn new(version: Option<Version>, maximum: u32, server: bool) -> Self {
        Self {
            builder: PacketBuilder::with_maximum_packet_size(maximum),
            partial: false,
            header: Header::default(),
            plain: Plain::default(),
            aliases: Aliases::default(),
            maximum: maximum as usize,
            version,
            server,
            stored: false,
        }
    }

    /// Takes packets up to this size from now on. Between two packets only, as right after CONNECT.
    pub fn set_maximum_packet_size(&mut self, maximum: u32) {
        if !self.partial {
            self.builder = PacketBuilder::with_maximum_packet_size(maximum);
            self.maximum = maximum as usize;
        }
    }

    /// The protocol version; `None` before the CONNECT of a client has arrived.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Takes bytes from the front of `input` until a packet is whole; `None`: all of them were taken and more are
    /// needed.
    ///
    /// # Errors
    /// [`WireError`] where the peer violates the protocol; the decoder must not be used again.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, WireError> {
        if !self.partial
            && let Some(version) = self.version
            && let Some((packet, length)) = self.plain.decode(input, version, self.maximum)
        {
            *input = &input[length..];
            return Ok(Some(packet));
        }
        if !self.partial && self.version.is_none() && input.first().is_some_and(|first| first >> 4 != CONNECT) {
            return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, "the first packet is no CONNECT"));
        }
        let some = !input.is_empty();
        let mut cursor = Cursor::new(*input);
        let result = self.builder.feed(&mut cursor);
        let (taken, rest) = input.split_at((cursor.position() as usize).min(input.len()));
        *input = rest;
        if self.server && !matches!(result, PacketBuildResult::Error(_)) {
            self.header.check(!self.partial, taken)?;
        }
        match result {
            PacketBuildResult::Incomplete => {
                self.partial |= some;
                Ok(None)
            }
            PacketBuildResult::Complete(raw) => {
                self.partial = false;
                self.parse(raw).map(Some)
            }
            PacketBuildResult::Error(error) => Err(violation(error, "fixed header")),
        }
    }

    fn parse(&mut self, raw: RawPacket) -> Result<Packet, WireError> {
        let kind = raw.packet_type();
        let Some(version) = self.version else {
            // Anything else was refused by its first byte.
            if raw.flags() != 0 {
                return Err(WireError::new(
                    ReasonCode::MALFORMED_PACKET,
                    "CONNECT: reserved flags of the fixed header",
                ));
            }
            let version = connect::version(raw.data_as_slice())?;
            let connect = connect::decode(version, raw.data_as_slice())
                .map_err(|error| WireError { connect: Some(version), ..error })?;
            self.version = Some(version);
            return Ok(Packet::Connect(Box::new(connect)));
        };
        let expected_flags = if matches!(kind, 6 | 8 | 10) { 0b0010 } else { 0 };
        if kind != 3 && raw.flags() != expected_flags {
            return Err(WireError::new(ReasonCode::MALFORMED_PACKET, "reserved flags of the fixed header"));
        }
        let from_client = matches!(kind, 1 | 8 | 10 | 12);
        let from_server = matches!(kind, 2 | 9 | 11 | 13);
        if (self.server && from_server) || (!self.server && from_client) || kind == 1 {
            return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, format!("packet type {kind} from this side")));
        }
        match version {
            // A Reason Code is MQTT 5's alone (3.1.1, sections 3.4 to 3.7).
            Version::V4 if self.server && matches!(kind, 4..=7) && raw.data_as_slice().len() != 2 => Err(
                WireError::new(ReasonCode::MALFORMED_PACKET, "an acknowledgement of more than its Packet Identifier"),
            ),
            Version::V4 => parse_v4(kind, &raw),
            Version::V5 => {
                parse_v5(kind, &raw, &mut Peer { server: self.server, stored: self.stored, aliases: &mut self.aliases })
            }
        }
    }
}

/// On which side we are of a connection of MQTT 5, and what it has agreed on.
struct Peer<'a> {
    server: bool,
    stored: bool,
    aliases: &'a mut Aliases,
}

fn violation(error: MqttError, what: &str) -> WireError {
    // The crate numbers protocol errors as the specification does and its own from 0x100 on.
    let reason = u8::try_from(error as u16).map_or(ReasonCode::PROTOCOL_ERROR, ReasonCode);
    WireError::new(reason, what)
}

/// Parses a whole body with one of the crate's packet types.
macro_rules! parse {
    ($raw:expr, $version:ident::$type:ident) => {
        $raw.parse_exact($version::$type::parse).map_err(|error| violation(error, stringify!($type)))?
    };
}

fn parse_v4(kind: u8, raw: &RawPacket) -> Result<Packet, WireError> {
    Ok(match kind {
        2 => {
            let packet = parse!(raw, v3_1_1::Connack);
            let reason = match packet.return_code() {
                ConnectReturnCode::Accepted => ReasonCode::SUCCESS,
                ConnectReturnCode::UnacceptableProtocolVersion => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
                ConnectReturnCode::IdentifierRejected => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
                ConnectReturnCode::ServerUnavailable => ReasonCode::SERVER_UNAVAILABLE,
                ConnectReturnCode::BadUserNameOrPassword => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
                ConnectReturnCode::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
            };
            Packet::Connack(Box::new(Connack::new(reason, packet.session_present())))
        }
        3 => {
            let packet =
                v3_1_1::Publish::parse(raw.flags(), shared(raw)).map_err(|error| violation(error, "Publish"))?.0;
            let payload = Bytes::copy_from_slice(packet.payload().as_slice());
            let topic = name(packet.topic_name(), Version::V4)?;
            publish(topic, raw.flags(), packet.packet_id(), payload, [].iter())?
        }
        4 => Packet::Puback(ack(parse!(raw, v3_1_1::Puback).packet_id())?),
        5 => Packet::Pubrec(ack(parse!(raw, v3_1_1::Pubrec).packet_id())?),
        6 => Packet::Pubrel(ack(parse!(raw, v3_1_1::Pubrel).packet_id())?),
        7 => Packet::Pubcomp(ack(parse!(raw, v3_1_1::Pubcomp).packet_id())?),
        8 => {
            let packet = parse!(raw, v3_1_1::Subscribe);
            let subscribe = subscribe(packet.packet_id(), packet.entries(), None)?;
            // 3.1.1 knows no option but the QoS ([MQTT-3-8.3-4] there).
            let options =
                |filter: &Subscription| filter.no_local || filter.retain_as_published || filter.retain_handling != 0;
            if subscribe.filters.iter().any(options) {
                return Err(WireError::new(ReasonCode::MALFORMED_PACKET, "SUBSCRIBE with reserved options"));
            }
            Packet::Subscribe(subscribe)
        }
        9 => {
            let packet = parse!(raw, v3_1_1::Suback);
            let reasons = packet.return_codes().into_iter().map(|code| ReasonCode(code as u8)).collect();
            Packet::Suback(Suback { packet_id: packet.packet_id(), reasons })
        }
        10 => {
            let packet = parse!(raw, v3_1_1::Unsubscribe);
            unsubscribe(packet.packet_id(), packet.entries().iter().map(|entry| entry.as_str().to_owned()))?
        }
        11 => {
            let packet_id = parse!(raw, v3_1_1::Unsuback).packet_id();
            Packet::Unsuback(Suback { packet_id, reasons: Vec::new() })
        }
        12 => {
            parse!(raw, v3_1_1::Pingreq);
            Packet::Pingreq
        }
        13 => {
            parse!(raw, v3_1_1::Pingresp);
            Packet::Pingresp
        }
        14 => {
            parse!(raw, v3_1_1::Disconnect);
            Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS))
        }
        _ => return Err(WireError::new(ReasonCode::MALFORMED_PACKET, format!("packet type {kind}"))),
    })
}

fn parse_v5(kind: u8, raw: &RawPacket, peer: &mut Peer<'_>) -> Result<Packet, WireError> {
    /// Acknowledgements have the same shape; an absent Reason Code means success.
    macro_rules! ack_v5 {
        ($type:ident) => {{
            let packet = parse!(raw, v5_0::$type);
            if let Some(properties) = packet.props().as_ref().filter(|_| peer.server) {
                check_properties(&raw.data_as_slice()[3..], properties, stringify!($type))?;
            }
            let reason = packet.reason_code().map_or(ReasonCode::SUCCESS, |code| ReasonCode(code as u8));
            Ack { reason, ..ack(packet.packet_id())? }
        }};
    }
    Ok(match kind {
        2 => Packet::Connack(Box::new(connack_v5(&parse!(raw, v5_0::Connack)))),
        3 => {
            let body = raw.data_as_slice();
            let packet = v5_0::Publish::parse(raw.flags(), shared(raw)).map_err(|error| violation(error, "Publish"))?.0;
            let before_properties = 2 + packet.topic_name().len() + if packet.packet_id().is_some() { 2 } else { 0 };
            if body.len() <= before_properties {
                return Err(WireError::new(ReasonCode::MALFORMED_PACKET, "PUBLISH without Property Length"));
            }
            let payload = Bytes::copy_from_slice(packet.payload().as_slice());
            if peer.server {
                check_properties(&body[before_properties..], packet.props(), "PUBLISH")?;
            }
            let alias = packet.props().iter().find_map(|property| match property {
                Property::TopicAlias(alias) if !peer.stored => Some(alias.val()),
                _ => None,
            });
            let topic = match alias {
                Some(alias) => {
                    if !packet.topic_name().is_empty() {
                        name(packet.topic_name(), Version::V5)?;
                    }
                    peer.aliases.resolve(alias, packet.topic_name())?
                }
                None => name(packet.topic_name(), Version::V5)?,
            };
            let decoded = publish(topic, raw.flags(), packet.packet_id(), payload, packet.props().iter())?;
            if peer.server && matches!(&decoded, Packet::Publish(publish) if !publish.subscription_ids.is_empty()) {
                let what = "PUBLISH of a client with a Subscription Identifier"; // [MQTT-3.3.4-6]
                return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
            }
            decoded
        }
        4 => Packet::Puback(ack_v5!(Puback)),
        5 => Packet::Pubrec(ack_v5!(Pubrec)),
        6 => Packet::Pubrel(ack_v5!(Pubrel)),
        7 => Packet::Pubcomp(ack_v5!(Pubcomp)),
        8 => {
            let packet = parse!(raw, v5_0::Subscribe);
            check_properties(raw.data_as_slice().get(2..).unwrap_or_default(), packet.props(), "SUBSCRIBE")?;
            let mut identifiers = packet.props().iter().filter_map(|property| match property {
                Property::SubscriptionIdentifier(value) => Some(value.val()),
                _ => None,
            });
            let identifier = identifiers.next();
            if identifiers.next().is_some() {
                let what = "SUBSCRIBE with two Subscription Identifiers"; // section 3.8.2.1.2
                return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
            }
            Packet::Subscribe(subscribe(packet.packet_id(), packet.entries(), identifier)?)
        }
        9 => {
            let packet = parse!(raw, v5_0::Suback);
            let reasons = packet.reason_codes().into_iter().map(|code| ReasonCode(code as u8)).collect();
            Packet::Suback(Suback { packet_id: packet.packet_id(), reasons })
        }
        10 => {
            let packet = parse!(raw, v5_0::Unsubscribe);
            check_properties(raw.data_as_slice().get(2..).unwrap_or_default(), packet.props(), "UNSUBSCRIBE")?;
            unsubscribe(packet.packet_id(), packet.entries().iter().map(|entry| entry.as_str().to_owned()))?
        }
        11 => {
            let packet = parse!(raw, v5_0::Unsuback);
            let reasons = packet.reason_codes().into_iter().map(|code| ReasonCode(code as u8)).collect();
            Packet::Unsuback(Suback { packet_id: packet.packet_id(), reasons })
        }
        12 => {
            parse!(raw, v5_0::Pingreq);
            Packet::Pingreq
        }
        13 => {
            parse!(raw, v5_0::Pingresp);
            Packet::Pingresp
        }
        14 => {
            let packet = parse!(raw, v5_0::Disconnect);
            let reason = packet.reason_code().map_or(ReasonCode::SUCCESS, |code| ReasonCode(code as u8));
            let properties = packet.props().as_deref().unwrap_or_default();
            if peer.server && !properties.is_empty() {
                check_properties(&raw.data_as_slice()[1..], properties, "DISCONNECT")?;
            }
            let mut disconnect = Disconnect::new(reason);
            for property in properties {
                match property {
                    Property::SessionExpiryInterval(value) => disconnect.session_expiry = Some(value.val()),
                    Property::ServerReference(value) => disconnect.server_reference = Some(value.val().to_owned()),
                    Property::ReasonString(value) => disconnect.reason_string = Some(value.val().to_owned()),
                    _ => {}
                }
            }
            if peer.server && disconnect.server_reference.is_some() {
                let what = "DISCONNECT of a client with a Server Reference"; // section 3.14.2.2.5
                return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
            }
            Packet::Disconnect(disconnect)
        }
        // We never offer an Authentication Method, so no AUTH may come ([MQTT-4.12.0-6]).
        15 => return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, "AUTH without an Authentication Method")),
        _ => return Err(WireError::new(ReasonCode::MALFORMED_PACKET, format!("packet type {kind}"))),
    })
}

fn connack_v5(packet: &v5_0::Connack) -> Connack {
    let mut connack = Connack::new(ReasonCode(packet.reason_code() as u8), packet.session_present());
    for property in packet.props() {
        match property {
            Property::SessionExpiryInterval(value) => connack.session_expiry = Some(value.val()),
            Property::ReceiveMaximum(value) => connack.receive_maximum = value.val(),
            Property::MaximumQos(value) => {
                connack.maximum_qos = if value.val() == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            }
            Property::RetainAvailable(value) => connack.retain_available = value.val() != 0,
            Property::MaximumPacketSize(value) => connack.maximum_packet_size = Some(value.val()),
            Property::AssignedClientIdentifier(value) => connack.assigned_client_id = Some(value.val().to_owned()),
            Property::ServerKeepAlive(value) => connack.server_keep_alive = Some(value.val()),
            Property::ServerReference(value) => connack.server_reference = Some(value.val().to_owned()),
            Property::ReasonString(value) => connack.reason_string = Some(value.val().to_owned()),
            Property::TopicAliasMaximum(value) => connack.topic_alias_maximum = value.val(),
            _ => {}
        }
    }
    connack
}

fn shared(raw: &RawPacket) -> Arc<[u8]> {
    match &raw.data {
        PacketData::Publish(data) => data.clone(),
        PacketData::Normal(data) => data.as_slice().into(),
    }
}

/// A Topic Name as it must be ([MQTT-3.3.2-1], [MQTT-3.3.2-2]).
fn name(topic: &str, version: Version) -> Result<Arc<str>, WireError> {
    without_null(topic, "PUBLISH")?;
    if topic.is_empty() && version == Version::V5 {
        let what = "PUBLISH without Topic Name or Topic Alias"; // section 3.3.2.1
        return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
    }
    topic::check_name(topic).map_err(|what| WireError::new(ReasonCode::TOPIC_NAME_INVALID, what))?;
    Ok(topic.into())
}

fn publish<'a>(
    topic: Arc<str>,
    flags: u8,
    packet_id: Option<u16>,
    payload: Bytes,
    properties: impl Iterator<Item = &'a Property>,
) -> Result<Packet, WireError> {
    let qos = QoS::try_from((flags >> 1) & 3).map_err(|what| WireError::new(ReasonCode::MALFORMED_PACKET, what))?;
    let (dup, retain) = (flags & 0b1000 != 0, flags & 1 != 0);
    if dup && qos == QoS::AtMostOnce {
        return Err(WireError::new(ReasonCode::MALFORMED_PACKET, "PUBLISH with DUP at QoS 0")); // [MQTT-3.3.1-2]
    }
    if packet_id == Some(0) {
        return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, "PUBLISH with Packet Identifier 0"));
    }
    let mut kept = Properties::default();
    let mut other = Vec::new();
    let mut subscription_ids = Vec::new();
    for property in properties {
        match property {
            Property::MessageExpiryInterval(value) => kept.message_expiry = Some(value.val()),
            Property::TopicAlias(_) => {}
            Property::SubscriptionIdentifier(value) => subscription_ids.push(value.val()),
            property => other.append(&mut property.to_continuous_buffer()),
        }
    }
    kept.other = other.into();
    let message = Message { topic, payload, qos, retain, properties: kept };
    Ok(Packet::Publish(Publish { dup, subscription_ids, ..Publish::new(Arc::new(message), packet_id.unwrap_or(0)) }))
}

fn ack(packet_id: u16) -> Result<Ack, WireError> {
    if packet_id == 0 {
        return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, "Packet Identifier 0"));
    }
    Ok(Ack::success(packet_id))
}

fn subscribe(packet_id: u16, entries: &[SubEntry], identifier: Option<u32>) -> Result<Subscribe, WireError> {
    ack(packet_id)?;
    entries.iter().try_for_each(|entry| without_null(entry.topic_filter(), "SUBSCRIBE"))?;
    let filters = entries
        .iter()
        .map(|entry| {
            let options = entry.sub_opts();
            Subscription {
                filter: entry.topic_filter().to_owned(),
                qos: match options.qos() {
                    mqtt::packet::Qos::AtMostOnce => QoS::AtMostOnce,
                    mqtt::packet::Qos::AtLeastOnce => QoS::AtLeastOnce,
                    mqtt::packet::Qos::ExactlyOnce => QoS::ExactlyOnce,
                },
                no_local: options.nl(),
                retain_as_published: options.rap(),
                retain_handling: match options.rh() {
                    RetainHandling::SendRetained => 0,
                    RetainHandling::SendRetainedIfNotExists => 1,
                    RetainHandling::DoNotSendRetained => 2,
                },
                identifier,
            }
        })
        .collect();
    Ok(Subscribe { packet_id, filters, identifier })
}

fn unsubscribe(packet_id: u16, filters: impl Iterator<Item = String>) -> Result<Packet, WireError> {
    ack(packet_id)?;
    let filters: Vec<String> = filters.collect();
    filters.iter().try_for_each(|filter| without_null(filter, "UNSUBSCRIBE"))?;
    Ok(Packet::Unsubscribe(Unsubscribe { packet_id, filters }))
}
