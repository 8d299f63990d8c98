//! Packets into bytes: appended to a buffer that the caller writes in one go.
use bytes::BufMut;

use super::{
    Ack, Connack, Connect, Disconnect, Packet, Publish, ReasonCode, Suback, Subscribe, Unsubscribe, Version, Will,
};
use crate::bridge::message::QoS;

/// Identifiers of the properties that we send (MQTT 5, section 2.2.2.2).
mod property {
    pub(super) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub(super) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub(super) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(super) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(super) const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub(super) const SERVER_REFERENCE: u8 = 0x1C;
    pub(super) const REASON_STRING: u8 = 0x1F;
    pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(super) const TOPIC_ALIAS: u8 = 0x23;
    pub(super) const MAXIMUM_QOS: u8 = 0x24;
    pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
}

/// Appends a packet. Strings must be shorter than 64 KiB, which configuration and decoder see to.
pub fn encode(packet: &Packet, version: Version, out: &mut Vec<u8>) {
    match packet {
        Packet::Publish(packet) => publish(packet, version, out),
        Packet::Puback(packet) => ack(0x40, packet, version, out),
        Packet::Pubrec(packet) => ack(0x50, packet, version, out),
        Packet::Pubrel(packet) => ack(0x62, packet, version, out),
        Packet::Pubcomp(packet) => ack(0x70, packet, version, out),
        Packet::Pingreq => out.extend([0xC0, 0]),
        Packet::Pingresp => out.extend([0xD0, 0]),
        Packet::Connect(packet) => framed(0x10, out, |body| connect(packet, body)),
        Packet::Connack(packet) => framed(0x20, out, |body| connack(packet, version, body)),
        Packet::Subscribe(packet) => framed(0x82, out, |body| subscribe(packet, version, body)),
        Packet::Suback(packet) => framed(0x90, out, |body| suback(packet, version, body)),
        Packet::Unsubscribe(packet) => framed(0xA2, out, |body| unsubscribe(packet, version, body)),
        Packet::Unsuback(packet) => framed(0xB0, out, |body| unsuback(packet, version, body)),
        Packet::Disconnect(packet) => framed(0xE0, out, |body| disconnect(packet, version, body)),
    }
}

/// A packet whose body is small and rare enough to be built aside.
fn framed(header: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    out.push(header);
    varint(body.len(), out);
    out.append(&mut body);
}

fn ack(header: u8, packet: &Ack, version: Version, out: &mut Vec<u8>) {
    let with_reason = version == Version::V5 && packet.reason != ReasonCode::SUCCESS;
    out.extend([header, if with_reason { 3 } else { 2 }]);
    out.put_u16(packet.packet_id);
    if with_reason {
        out.push(packet.reason.0);
    }
}

fn publish(packet: &Publish, version: Version, out: &mut Vec<u8>) {
    let remaining = remaining_len(packet, version);
    out.reserve(remaining + 5);
    let flags = u8::from(packet.dup) << 3 | (packet.qos as u8) << 1 | u8::from(packet.retain);
    out.push(0x30 | flags);
    varint(remaining, out);
    string(&packet.topic, out);
    if packet.qos != QoS::AtMostOnce {
        out.put_u16(packet.packet_id);
    }
    if version == Version::V5 {
        varint(properties_len(packet), out);
        if let Some(seconds) = packet.message_expiry {
            out.push(property::MESSAGE_EXPIRY_INTERVAL);
            out.put_u32(seconds);
        }
        if let Some(alias) = packet.topic_alias {
            out.push(property::TOPIC_ALIAS);
            out.put_u16(alias);
        }
        for identifier in &packet.subscription_ids {
            out.push(property::SUBSCRIPTION_IDENTIFIER);
            varint(*identifier as usize, out);
        }
        out.extend_from_slice(&packet.message.properties.other);
    }
    out.extend_from_slice(&packet.message.payload);
}

pub(super) fn publish_len(packet: &Publish, version: Version) -> usize {
    let remaining = remaining_len(packet, version);
    1 + varint_len(remaining) + remaining
}

fn remaining_len(packet: &Publish, version: Version) -> usize {
    let packet_id = if packet.qos == QoS::AtMostOnce { 0 } else { 2 };
    let properties = match version {
        Version::V4 => 0,
        Version::V5 => varint_len(properties_len(packet)) + properties_len(packet),
    };
    2 + packet.topic.len() + packet_id + properties + packet.message.payload.len()
}

fn properties_len(packet: &Publish) -> usize {
    let identifiers: usize = packet.subscription_ids.iter().map(|id| 1 + varint_len(*id as usize)).sum();
    let (expiry, alias) = (packet.message_expiry.is_some(), packet.topic_alias.is_some());
    packet.message.properties.other.len() + if expiry { 5 } else { 0 } + if alias { 3 } else { 0 } + identifiers
}

fn connect(packet: &Connect, out: &mut Vec<u8>) {
    string("MQTT", out);
    out.push(match packet.version {
        Version::V4 => 4,
        Version::V5 => 5,
    });
    let username = u8::from(packet.username.is_some()) << 7;
    let password = u8::from(packet.password.is_some()) << 6;
    let will = packet
        .will
        .as_ref()
        .map_or(0, |will| 1 << 2 | (will.message.qos as u8) << 3 | u8::from(will.message.retain) << 5);
    out.push(username | password | will | u8::from(packet.clean_start) << 1);
    out.put_u16(packet.keep_alive);
    if packet.version == Version::V5 {
        let mut properties = Vec::new();
        if packet.session_expiry != 0 {
            properties.push(property::SESSION_EXPIRY_INTERVAL);
            properties.put_u32(packet.session_expiry);
        }
        receive_limits(packet.receive_maximum, packet.maximum_packet_size, &mut properties);
        topic_alias_maximum(packet.topic_alias_maximum, &mut properties);
        if !packet.request_problem_information {
            properties.extend([property::REQUEST_PROBLEM_INFORMATION, 0]);
        }
        if let Some(method) = &packet.authentication_method {
            properties.push(property::AUTHENTICATION_METHOD);
            string(method, &mut properties);
        }
        prefixed(properties, out);
    }
    string(&packet.client_id, out);
    if let Some(will) = &packet.will {
        will_fields(will, packet.version, out);
    }
    if let Some(username) = &packet.username {
        string(username, out);
    }
    if let Some(password) = &packet.password {
        binary(password, out);
    }
}

fn will_fields(will: &Will, version: Version, out: &mut Vec<u8>) {
    let message = &will.message;
    if version == Version::V5 {
        let mut properties = Vec::new();
        if will.delay != 0 {
            properties.push(property::WILL_DELAY_INTERVAL);
            properties.put_u32(will.delay);
        }
        if let Some(seconds) = message.properties.message_expiry {
            properties.push(property::MESSAGE_EXPIRY_INTERVAL);
            properties.put_u32(seconds);
        }
        properties.extend_from_slice(&message.properties.other);
        prefixed(properties, out);
    }
    string(&message.topic, out);
    binary(&message.payload, out);
}

fn topic_alias_maximum(maximum: u16, properties: &mut Vec<u8>) {
    if maximum != 0 {
        properties.push(property::TOPIC_ALIAS_MAXIMUM);
        properties.put_u16(maximum);
    }
}

fn connack(packet: &Connack, version: Version, out: &mut Vec<u8>) {
    out.push(u8::from(packet.session_present));
    if version == Version::V4 {
        out.push(match packet.reason {
            ReasonCode::SUCCESS => 0,
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD => 4,
            ReasonCode::NOT_AUTHORIZED => 5,
            _ => 3,
        });
        return;
    }
    out.push(packet.reason.0);
    let mut properties = Vec::new();
    if let Some(seconds) = packet.session_expiry {
        properties.push(property::SESSION_EXPIRY_INTERVAL);
        properties.put_u32(seconds);
    }
    receive_limits(packet.receive_maximum, packet.maximum_packet_size, &mut properties);
    topic_alias_maximum(packet.topic_alias_maximum, &mut properties);
    if packet.maximum_qos != QoS::ExactlyOnce {
        properties.extend([property::MAXIMUM_QOS, packet.maximum_qos as u8]);
    }
    if !packet.retain_available {
        properties.extend([property::RETAIN_AVAILABLE, 0]);
    }
    if let Some(client_id) = &packet.assigned_client_id {
        properties.push(property::ASSIGNED_CLIENT_IDENTIFIER);
        string(client_id, &mut properties);
    }
    if let Some(seconds) = packet.server_keep_alive {
        properties.push(property::SERVER_KEEP_ALIVE);
        properties.put_u16(seconds);
    }
    explanation(&packet.server_reference, &packet.reason_string, &mut properties);
    prefixed(properties, out);
}

fn receive_limits(receive_maximum: u16, maximum_packet_size: Option<u32>, properties: &mut Vec<u8>) {
    if receive_maximum != u16::MAX {
        properties.push(property::RECEIVE_MAXIMUM);
        properties.put_u16(receive_maximum);
    }
    if let Some(bytes) = maximum_packet_size {
        properties.push(property::MAXIMUM_PACKET_SIZE);
        properties.put_u32(bytes);
    }
}

fn explanation(server_reference: &Option<String>, reason_string: &Option<String>, properties: &mut Vec<u8>) {
    if let Some(text) = server_reference {
        properties.push(property::SERVER_REFERENCE);
        string(text, properties);
    }
    if let Some(text) = reason_string {
        properties.push(property::REASON_STRING);
        string(text, properties);
    }
}

fn subscribe(packet: &Subscribe, version: Version, out: &mut Vec<u8>) {
    out.put_u16(packet.packet_id);
    if version == Version::V5 {
        let mut properties = Vec::new();
        if let Some(identifier) = packet.identifier {
            properties.push(property::SUBSCRIPTION_IDENTIFIER);
            varint(identifier as usize, &mut properties);
        }
        prefixed(properties, out);
    }
    for subscription in &packet.filters {
        string(&subscription.filter, out);
        let options = match version {
            Version::V4 => 0,
            Version::V5 => {
                subscription.retain_handling << 4
                    | u8::from(subscription.retain_as_published) << 3
                    | u8::from(subscription.no_local) << 2
            }
        };
        out.push(options | subscription.qos as u8);
    }
}

fn suback(packet: &Suback, version: Version, out: &mut Vec<u8>) {
    out.put_u16(packet.packet_id);
    if version == Version::V5 {
        out.push(0);
    }
    // 3.1.1 knows one failure only ([MQTT-3.9.3-2] there).
    let code = |reason: &ReasonCode| if version == Version::V4 && reason.is_failure() { 0x80 } else { reason.0 };
    out.extend(packet.reasons.iter().map(code));
}

fn unsuback(packet: &Suback, version: Version, out: &mut Vec<u8>) {
    out.put_u16(packet.packet_id);
    if version == Version::V5 {
        out.push(0);
        out.extend(packet.reasons.iter().map(|reason| reason.0));
    }
}

fn unsubscribe(packet: &Unsubscribe, version: Version, out: &mut Vec<u8>) {
    out.put_u16(packet.packet_id);
    if version == Version::V5 {
        out.push(0);
    }
    for filter in &packet.filters {
        string(filter, out);
    }
}

fn disconnect(packet: &Disconnect, version: Version, out: &mut Vec<u8>) {
    if version == Version::V4 {
        return;
    }
    out.push(packet.reason.0);
    let mut properties = Vec::new();
    if let Some(seconds) = packet.session_expiry {
        properties.push(property::SESSION_EXPIRY_INTERVAL);
        properties.put_u32(seconds);
    }
    explanation(&packet.server_reference, &packet.reason_string, &mut properties);
    prefixed(properties, out);
}

fn prefixed(mut properties: Vec<u8>, out: &mut Vec<u8>) {
    varint(properties.len(), out);
    out.append(&mut properties);
}

fn string(text: &str, out: &mut Vec<u8>) {
    binary(text.as_bytes(), out);
}

fn binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.put_u16(bytes.len() as u16);
    out.extend_from_slice(bytes);
}

fn varint_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Variable Byte Integer (MQTT 5, section 1.5.5).
fn varint(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}
