//! Bytes into packets.
mod plain;

use std::sync::Arc;

use bytes::Bytes;
use mqtt::common::Cursor;
use mqtt::connection::{PacketBuildResult, PacketBuilder, PacketData, RawPacket};
use mqtt::packet::{Property, RetainHandling, SubEntry, v3_1_1, v5_0};
use mqtt::result_code::{ConnectReturnCode, MqttError};
use mqtt_protocol_core::mqtt;
use plain::Plain;

use super::{
    Ack, Connack, Connect, Disconnect, Packet, Publish, ReasonCode, Suback, Subscribe, Subscription, Unsubscribe,
    Version,
};
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::topic;

/// A violation of the protocol by the peer; the connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct WireError {
    /// What to say in the DISCONNECT or CONNACK that closes the connection (MQTT 5, section 4.13).
    pub reason: ReasonCode,
    /// Where it was seen.
    pub what: String,
}

impl WireError {
    /// A violation seen in a packet.
    pub fn new(reason: ReasonCode, what: impl Into<String>) -> Self {
        Self { reason, what: what.into() }
    }
}

/// Decodes one direction of one connection; keeps what of a packet has arrived until the rest does.
pub struct Decoder {
    builder: PacketBuilder,
    /// The builder has the beginning of a packet.
    partial: bool,
    plain: Plain,
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

    fn new(version: Option<Version>, maximum: u32, server: bool) -> Self {
        let builder = PacketBuilder::with_maximum_packet_size(maximum);
        let (plain, maximum) = (Plain::default(), maximum as usize);
        Self { builder, partial: false, plain, maximum, version, server, stored: false }
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
        let some = !input.is_empty();
        let mut cursor = Cursor::new(*input);
        let result = self.builder.feed(&mut cursor);
        *input = &input[(cursor.position() as usize).min(input.len())..];
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
            if kind != 1 {
                return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, "the first packet is no CONNECT"));
            }
            let connect = connect(&raw)?;
            self.version = Some(connect.version);
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
            Version::V4 => parse_v4(kind, &raw),
            Version::V5 => parse_v5(kind, &raw, self.stored),
        }
    }
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

fn connect(raw: &RawPacket) -> Result<Connect, WireError> {
    let body = raw.data_as_slice();
    if raw.flags() != 0 || body.len() < 8 {
        return Err(WireError::new(ReasonCode::MALFORMED_PACKET, "CONNECT"));
    }
    if &body[..6] != b"\x00\x04MQTT" {
        return Err(WireError::new(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, "CONNECT: the protocol is not MQTT"));
    }
    if body[7] & 1 != 0 {
        return Err(WireError::new(ReasonCode::MALFORMED_PACKET, "CONNECT: reserved flag")); // [MQTT-3.1.2-3]
    }
    match body[6] {
        4 => {
            let packet = parse!(raw, v3_1_1::Connect);
            Ok(Connect {
                client_id: packet.client_id().to_owned(),
                clean_start: packet.clean_session(),
                keep_alive: packet.keep_alive(),
                username: packet.user_name().map(str::to_owned),
                password: packet.password().map(<[u8]>::to_vec),
                session_expiry: if packet.clean_session() { 0 } else { u32::MAX },
                will: packet.will_flag(),
                ..Connect::new(Version::V4, "")
            })
        }
        5 => {
            let packet = parse!(raw, v5_0::Connect);
            let mut connect = Connect {
                client_id: packet.client_id().to_owned(),
                clean_start: packet.clean_start(),
                keep_alive: packet.keep_alive(),
                username: packet.user_name().map(str::to_owned),
                password: packet.password().map(<[u8]>::to_vec),
                will: packet.will_flag(),
                ..Connect::new(Version::V5, "")
            };
            for property in packet.props() {
                match property {
                    Property::SessionExpiryInterval(value) => connect.session_expiry = value.val(),
                    Property::ReceiveMaximum(value) => connect.receive_maximum = value.val(),
                    Property::MaximumPacketSize(value) => connect.maximum_packet_size = Some(value.val()),
                    _ => {}
                }
            }
            Ok(connect)
        }
        level => Err(WireError::new(
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            format!("CONNECT: protocol level {level}, this server speaks 4 (3.1.1) and 5"),
        )),
    }
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
            publish(packet.topic_name(), raw.flags(), packet.packet_id(), payload, [].iter())?
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

fn parse_v5(kind: u8, raw: &RawPacket, stored: bool) -> Result<Packet, WireError> {
    /// Acknowledgements have the same shape; an absent Reason Code means success.
    macro_rules! ack_v5 {
        ($type:ident) => {{
            let packet = parse!(raw, v5_0::$type);
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
            let is_kept = |property: &&Property| !(stored && matches!(property, Property::TopicAlias(_)));
            let properties = packet.props().iter().filter(is_kept);
            publish(packet.topic_name(), raw.flags(), packet.packet_id(), payload, properties)?
        }
        4 => Packet::Puback(ack_v5!(Puback)),
        5 => Packet::Pubrec(ack_v5!(Pubrec)),
        6 => Packet::Pubrel(ack_v5!(Pubrel)),
        7 => Packet::Pubcomp(ack_v5!(Pubcomp)),
        8 => {
            let packet = parse!(raw, v5_0::Subscribe);
            let identifier = packet.props().iter().find_map(|property| match property {
                Property::SubscriptionIdentifier(value) => Some(value.val()),
                _ => None,
            });
            Packet::Subscribe(subscribe(packet.packet_id(), packet.entries(), identifier)?)
        }
        9 => {
            let packet = parse!(raw, v5_0::Suback);
            let reasons = packet.reason_codes().into_iter().map(|code| ReasonCode(code as u8)).collect();
            Packet::Suback(Suback { packet_id: packet.packet_id(), reasons })
        }
        10 => {
            let packet = parse!(raw, v5_0::Unsubscribe);
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
            let mut disconnect = Disconnect::new(reason);
            for property in packet.props().iter().flatten() {
                match property {
                    Property::SessionExpiryInterval(value) => disconnect.session_expiry = Some(value.val()),
                    Property::ServerReference(value) => disconnect.server_reference = Some(value.val().to_owned()),
                    Property::ReasonString(value) => disconnect.reason_string = Some(value.val().to_owned()),
                    _ => {}
                }
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

fn publish<'a>(
    topic: &str,
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
    for property in properties {
        match property {
            Property::MessageExpiryInterval(value) => kept.message_expiry = Some(value.val()),
            // Both ends of ours leave Topic Alias Maximum at 0 ([MQTT-3.3.2-9]).
            Property::TopicAlias(_) => {
                return Err(WireError::new(ReasonCode::TOPIC_ALIAS_INVALID, "PUBLISH with a Topic Alias"));
            }
            Property::SubscriptionIdentifier(_) => {}
            property => other.append(&mut property.to_continuous_buffer()),
        }
    }
    topic::check_name(topic).map_err(|what| WireError::new(ReasonCode::TOPIC_NAME_INVALID, what))?;
    kept.other = other.into();
    let message = Message { topic: topic.into(), payload, qos, retain, properties: kept };
    Ok(Packet::Publish(Publish { dup, ..Publish::new(Arc::new(message), packet_id.unwrap_or(0)) }))
}

fn ack(packet_id: u16) -> Result<Ack, WireError> {
    if packet_id == 0 {
        return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, "Packet Identifier 0"));
    }
    Ok(Ack::success(packet_id))
}

fn subscribe(packet_id: u16, entries: &[SubEntry], identifier: Option<u32>) -> Result<Subscribe, WireError> {
    ack(packet_id)?;
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
    Ok(Packet::Unsubscribe(Unsubscribe { packet_id, filters: filters.collect() }))
}
