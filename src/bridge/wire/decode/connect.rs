//! CONNECT (MQTT 5, section 3.1). The codec's own parser takes the flags as they come, and refuses a Password without a
//! User Name, which MQTT 5 allows.
use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Property;

use super::strict::Reader;
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::topic;
use crate::bridge::wire::{Connect, ReasonCode, Version, Will, WireError};

/// The name and level of the protocol that 3.1 had, before it was a standard.
const OLD_NAME: &[u8] = b"\x00\x06MQIsdp";
const NAME: &[u8] = b"\x00\x04MQTT";

const WILL: u8 = 0b0000_0100;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// The version that a CONNECT speaks, where we speak it too.
///
/// # Errors
/// Where it is another (0x84), or the packet is too short to say.
pub(super) fn version(body: &[u8]) -> Result<Version, WireError> {
    let unsupported = |what: String| Err(WireError::new(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, what));
    if body.starts_with(OLD_NAME) {
        return unsupported("CONNECT: MQTT 3.1, this server speaks 3.1.1 and 5".to_owned());
    }
    let Some(level) = body.strip_prefix(NAME).map(<[u8]>::first) else {
        return unsupported("CONNECT: the protocol is not MQTT".to_owned());
    };
    match level {
        Some(4) => Ok(Version::V4),
        Some(5) => Ok(Version::V5),
        Some(level) => unsupported(format!("CONNECT: protocol level {level}, this server speaks 4 (3.1.1) and 5")),
        None => Err(WireError::new(ReasonCode::MALFORMED_PACKET, "CONNECT: it ends too early")),
    }
}

pub(super) fn decode(version: Version, body: &[u8]) -> Result<Connect, WireError> {
    let mut body = Reader::new(body.get(NAME.len() + 1..).unwrap_or_default(), "CONNECT");
    let flags = body.byte()?;
    check_flags(version, flags)?;
    let mut connect = Connect::new(version, "");
    connect.clean_start = flags & 0b10 != 0;
    connect.keep_alive = body.two_bytes()?;
    match version {
        Version::V4 => connect.session_expiry = if connect.clean_start { 0 } else { u32::MAX },
        Version::V5 => properties(&mut connect, &body.properties(is_of_connect)?)?,
    }
    body.string()?.clone_into(&mut connect.client_id);
    if flags & WILL != 0 {
        connect.will = Some(will(version, flags, &mut body)?);
    }
    if flags & USER_NAME != 0 {
        connect.username = Some(body.string()?.to_owned());
    }
    if flags & PASSWORD != 0 {
        connect.password = Some(body.binary()?.to_vec());
    }
    body.end()?;
    Ok(connect)
}

/// [MQTT-3.1.2-3], [MQTT-3.1.2-11] to [MQTT-3.1.2-15]; 3.1.1 also [MQTT-3.1.2-22].
fn check_flags(version: Version, flags: u8) -> Result<(), WireError> {
    let malformed = |why: &str| Err(WireError::new(ReasonCode::MALFORMED_PACKET, format!("CONNECT: {why}")));
    if flags & 1 != 0 {
        return malformed("reserved flag");
    }
    if flags & 0b0001_1000 == 0b0001_1000 {
        return malformed("Will QoS 3");
    }
    if flags & WILL == 0 && flags & 0b0011_1000 != 0 {
        return malformed("Will QoS or Will Retain without a Will");
    }
    if version == Version::V4 && flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return malformed("Password without User Name");
    }
    Ok(())
}

fn is_of_connect(property: &Property) -> bool {
    matches!(
        property,
        Property::SessionExpiryInterval(_)
            | Property::ReceiveMaximum(_)
            | Property::MaximumPacketSize(_)
            | Property::TopicAliasMaximum(_)
            | Property::RequestResponseInformation(_)
            | Property::RequestProblemInformation(_)
            | Property::UserProperty(_)
            | Property::AuthenticationMethod(_)
            | Property::AuthenticationData(_)
    )
}

fn properties(connect: &mut Connect, properties: &[Property]) -> Result<(), WireError> {
    let mut data = false;
    for property in properties {
        match property {
            Property::SessionExpiryInterval(value) => connect.session_expiry = value.val(),
            Property::ReceiveMaximum(value) => connect.receive_maximum = value.val(),
            Property::MaximumPacketSize(value) => connect.maximum_packet_size = Some(value.val()),
            Property::TopicAliasMaximum(value) => connect.topic_alias_maximum = value.val(),
            Property::RequestProblemInformation(value) => connect.request_problem_information = value.val() != 0,
            Property::AuthenticationMethod(value) => connect.authentication_method = Some(value.val().to_owned()),
            Property::AuthenticationData(_) => data = true,
            _ => {}
        }
    }
    if data && connect.authentication_method.is_none() {
        let what = "CONNECT: Authentication Data without an Authentication Method";
        return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
    }
    Ok(())
}

fn will(version: Version, flags: u8, body: &mut Reader<'_>) -> Result<Will, WireError> {
    let mut delay = 0;
    let mut kept = Properties::default();
    if version == Version::V5 {
        let mut other = Vec::new();
        for property in body.properties(is_of_will)? {
            match property {
                Property::WillDelayInterval(value) => delay = value.val(),
                Property::MessageExpiryInterval(value) => kept.message_expiry = Some(value.val()),
                property => other.append(&mut property.to_continuous_buffer()),
            }
        }
        kept.other = other.into();
    }
    let name = body.string()?;
    topic::check_name(name)
        .map_err(|why| WireError::new(ReasonCode::TOPIC_NAME_INVALID, format!("CONNECT: Will Topic: {why}")))?;
    let message = Message {
        topic: name.into(),
        payload: Bytes::copy_from_slice(body.binary()?),
        qos: QoS::try_from((flags >> 3) & 3).map_err(|what| WireError::new(ReasonCode::MALFORMED_PACKET, what))?,
        retain: flags & 0b0010_0000 != 0,
        properties: kept,
    };
    Ok(Will { delay, message: Arc::new(message) })
}

fn is_of_will(property: &Property) -> bool {
    matches!(
        property,
        Property::WillDelayInterval(_)
            | Property::PayloadFormatIndicator(_)
            | Property::MessageExpiryInterval(_)
            | Property::ContentType(_)
            | Property::ResponseTopic(_)
            | Property::CorrelationData(_)
            | Property::UserProperty(_)
    )
}
