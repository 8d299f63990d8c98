#![allow(clippy::panic, clippy::expect_used)] // A test may.
mod strict;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::bridge::message::Properties;

fn decode(packet: &Packet, version: Version, server: bool) -> Packet {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes);
    if let Packet::Publish(publish) = packet {
        assert_eq!(publish.encoded_len(version), bytes.len());
    }
    let mut decoder = if server { Decoder::server(1 << 20) } else { Decoder::client(version, 1 << 20) };
    if server && !matches!(packet, Packet::Connect(_)) {
        let mut connect = Vec::new();
        encode(&Packet::Connect(Box::new(Connect::new(version, "c"))), version, &mut connect);
        decoder.decode(&mut connect.as_slice()).unwrap();
    }
    // Byte by byte, since that is what a socket may do.
    for (index, byte) in bytes.iter().enumerate() {
        let mut input = std::slice::from_ref(byte);
        match decoder.decode(&mut input).unwrap() {
            Some(packet) => {
                assert_eq!(index, bytes.len() - 1);
                return packet;
            }
            None => assert!(index < bytes.len() - 1),
        }
    }
    unreachable!("no packet")
}

fn error(bytes: &[u8], version: Version) -> ReasonCode {
    let mut decoder = Decoder::server(1000);
    let mut connect = Vec::new();
    encode(&Packet::Connect(Box::new(Connect::new(version, "c"))), version, &mut connect);
    decoder.decode(&mut connect.as_slice()).unwrap();
    decoder.decode(&mut &bytes[..]).unwrap_err().reason
}

#[test]
fn every_packet_survives_the_wire() {
    let both = [Version::V4, Version::V5];
    for version in both {
        let connect = Connect {
            clean_start: false,
            keep_alive: 3,
            username: Some("test".into()),
            password: Some(b"password123".to_vec()),
            session_expiry: if version == Version::V4 { u32::MAX } else { 604_800 },
            ..Connect::new(version, "bridge_client_123")
        };
        let mut message = Message { retain: true, ..Message::new("gone", "x", QoS::ExactlyOnce) };
        let mut delay = 0;
        if version == Version::V5 {
            message.properties = Properties { message_expiry: Some(9), other: b"\x01\x01"[..].into() };
            delay = 5;
        }
        let will = Some(Will { delay, ..Will::new(message) });
        for connect in [Connect { will, ..connect.clone() }, connect] {
            let packet = Packet::Connect(Box::new(connect));
            assert_eq!(decode(&packet, version, true), packet);
        }
        for packet in [Packet::Connack(Box::new(Connack::new(ReasonCode::SUCCESS, true))), Packet::Pingresp] {
            assert_eq!(decode(&packet, version, false), packet);
        }
        let ack = Ack::success(7);
        let filter = |filter: &str, qos| Subscription {
            filter: filter.into(),
            qos,
            no_local: version == Version::V5,
            retain_as_published: version == Version::V5,
            retain_handling: if version == Version::V5 { 1 } else { 0 },
            identifier: None,
        };
        for packet in [
            Packet::Puback(ack),
            Packet::Pubrec(ack),
            Packet::Pubrel(ack),
            Packet::Pubcomp(ack),
            Packet::Pingreq,
            Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)),
            Packet::Subscribe(Subscribe {
                packet_id: 9,
                filters: vec![filter("a/#", QoS::ExactlyOnce), filter("b", QoS::AtMostOnce)],
                identifier: None,
            }),
            Packet::Unsubscribe(Unsubscribe { packet_id: 9, filters: vec!["a/#".into(), "b".into()] }),
        ] {
            assert_eq!(decode(&packet, version, true), packet);
        }
        let packet = Packet::Suback(Suback { packet_id: 3, reasons: vec![ReasonCode(2), ReasonCode(0x80)] });
        assert_eq!(decode(&packet, version, false), packet);
    }
}

#[test]
fn what_only_mqtt_5_says_survives_too() {
    let connack = Connack {
        session_expiry: Some(60),
        receive_maximum: 10,
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        maximum_packet_size: Some(1000),
        topic_alias_maximum: 16,
        assigned_client_id: Some("auto-1".into()),
        server_keep_alive: Some(30),
        server_reference: Some("other".into()),
        reason_string: Some("because".into()),
        ..Connack::new(ReasonCode(0x9C), false)
    };
    let packet = Packet::Connack(Box::new(connack));
    assert_eq!(decode(&packet, Version::V5, false), packet);
    let connect = Connect {
        receive_maximum: 3,
        maximum_packet_size: Some(100),
        topic_alias_maximum: 7,
        request_problem_information: false,
        authentication_method: Some("m".into()),
        ..Connect::new(Version::V5, "c")
    };
    let packet = Packet::Connect(Box::new(connect));
    assert_eq!(decode(&packet, Version::V5, true), packet);
    let message = Arc::new(Message::new("t", "x", QoS::AtLeastOnce));
    let packet = Packet::Publish(Publish { subscription_ids: vec![1, 300], ..Publish::new(message, 1) });
    assert_eq!(decode(&packet, Version::V5, false), packet);
    let refused = Ack { packet_id: 1, reason: ReasonCode::QUOTA_EXCEEDED };
    for packet in [
        Packet::Puback(refused),
        Packet::Pubrec(refused),
        Packet::Pubcomp(Ack { packet_id: 1, reason: ReasonCode::PACKET_IDENTIFIER_NOT_FOUND }),
        Packet::Disconnect(Disconnect { server_reference: Some("other".into()), ..Disconnect::new(ReasonCode(0x9D)) }),
        Packet::Unsuback(Suback { packet_id: 3, reasons: vec![ReasonCode(0), ReasonCode(0x11)] }),
    ] {
        assert_eq!(decode(&packet, Version::V5, false), packet);
    }
}

#[test]
fn a_violation_is_given_its_reason_code() {
    let v5 = Version::V5;
    assert_eq!(error(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], v5), ReasonCode::MALFORMED_PACKET);
    assert_eq!(error(&[0x30, 0xE8, 0x07], v5), ReasonCode::PACKET_TOO_LARGE);
    assert_eq!(error(&[0x36, 5, 0, 1, b'a', 0, 1], v5), ReasonCode::MALFORMED_PACKET); // QoS 3
    assert_eq!(error(&[0x38, 4, 0, 1, b'a', 0], v5), ReasonCode::MALFORMED_PACKET); // DUP at QoS 0
    assert_eq!(error(&[0x32, 6, 0, 1, b'a', 0, 0, 0], v5), ReasonCode::PROTOCOL_ERROR); // packet id 0
    assert_eq!(error(&[0x30, 4, 0, 1, b'#', 0], v5), ReasonCode::TOPIC_NAME_INVALID);
    assert_eq!(error(&[0x30, 3, 0, 1, b'a'], v5), ReasonCode::MALFORMED_PACKET); // no Property Length
    assert_eq!(error(&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1], v5), ReasonCode::TOPIC_ALIAS_INVALID);
    assert_eq!(error(&[0x60, 2, 0, 1], v5), ReasonCode::MALFORMED_PACKET); // PUBREL with flags 0
    assert_eq!(error(&[0x40, 2, 0, 0], v5), ReasonCode::MALFORMED_PACKET); // PUBACK for id 0
    assert_eq!(error(&[0x82, 6, 0, 1, 0, 1, b'a', 5], Version::V4), ReasonCode::MALFORMED_PACKET); // No Local in 3.1.1
    assert_eq!(error(&[0xF0, 0], v5), ReasonCode::PROTOCOL_ERROR); // AUTH unasked
    assert_eq!(error(&[0xF0, 0], Version::V4), ReasonCode::MALFORMED_PACKET);
    assert_eq!(error(&[0xD0, 0], v5), ReasonCode::PROTOCOL_ERROR); // PINGRESP from a client
    let mut connect = Vec::new();
    encode(&Packet::Connect(Box::new(Connect::new(v5, "c"))), v5, &mut connect);
    assert_eq!(error(&connect, v5), ReasonCode::PROTOCOL_ERROR); // a second CONNECT
    let first = |bytes: &[u8]| Decoder::server(1000).decode(&mut &bytes[..]).unwrap_err().reason;
    assert_eq!(first(&[0xC0, 0]), ReasonCode::PROTOCOL_ERROR); // no CONNECT first
    connect[8] = 6;
    assert_eq!(first(&connect), ReasonCode::UNSUPPORTED_PROTOCOL_VERSION);
}

#[test]
fn secrets_do_not_show() {
    let connect = Connect { password: Some(b"password123".to_vec()), ..Connect::new(Version::V5, "c") };
    assert!(!format!("{connect:?}").contains("112"), "{connect:?}");
    assert!(!format!("{:?}", Packet::Connect(Box::new(connect))).contains("password"));
}

prop_compose! {
    fn any_publish()(
        topic in "[a-z/ü]{1,40}",
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        qos in 0u8..3,
        (dup, retain) in any::<(bool, bool)>(),
        packet_id in 1u16..,
        message_expiry in proptest::option::of(any::<u32>()),
        user_property in proptest::option::of("[a-z]{0,20}"),
    ) -> Publish {
        let qos = QoS::try_from(qos).unwrap();
        let other = user_property.map_or(Vec::new(), |text| {
            let mut bytes = vec![0x26, 0, 1, b'k', 0, text.len() as u8];
            bytes.extend(text.as_bytes());
            bytes
        });
        let properties = Properties { message_expiry, other: other.into() };
        let message = Message { retain, properties, ..Message::new(&topic, payload, qos) };
        let at_most_once = qos == QoS::AtMostOnce;
        Publish { dup: dup && !at_most_once, ..Publish::new(Arc::new(message), if at_most_once { 0 } else { packet_id }) }
    }
}

proptest! {
    #[test]
    fn any_publish_survives_the_wire(publish in any_publish()) {
        let packet = Packet::Publish(publish.clone());
        prop_assert_eq!(decode(&packet, Version::V5, true), packet);
        let Packet::Publish(received) = decode(&Packet::Publish(publish.clone()), Version::V4, true) else { unreachable!() };
        prop_assert_eq!(&received.message.payload, &publish.message.payload);
        prop_assert_eq!(received.message.properties.message_expiry, None);
    }

    /// Whole packets are read in place, those that come in pieces by the codec: both say the same.
    #[test]
    fn it_does_not_matter_in_how_many_pieces_a_packet_comes(
        publish in any_publish(),
        (kind, position, value) in (0u8..8, any::<prop::sample::Index>(), any::<u8>()),
        version in prop_oneof![Just(Version::V4), Just(Version::V5)],
    ) {
        let ack = Ack::success(publish.packet_id.max(1));
        let packet = match kind {
            0 => Packet::Puback(ack),
            1 => Packet::Pubrec(ack),
            2 => Packet::Pubrel(ack),
            3 => Packet::Pubcomp(ack),
            _ => Packet::Publish(publish),
        };
        let mut bytes = Vec::new();
        encode(&packet, version, &mut bytes);
        let index = position.index(bytes.len());
        if kind > 4 || kind == 2 {
            bytes[index] = value;
        }
        let whole = Decoder::client(version, 250).decode(&mut bytes.as_slice());
        let mut decoder = Decoder::client(version, 250);
        let mut in_pieces = Ok(None);
        for byte in &bytes {
            in_pieces = decoder.decode(&mut std::slice::from_ref(byte));
            if in_pieces != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(whole, in_pieces);
    }

    #[test]
    fn noise_is_decoded_or_refused_but_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), server: bool) {
        let mut decoder = if server { Decoder::server(1 << 16) } else { Decoder::client(Version::V5, 1 << 16) };
        let mut input = bytes.as_slice();
        while let Ok(Some(_)) = decoder.decode(&mut input) {}
    }
}
