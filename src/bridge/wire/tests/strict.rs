//! What a client must not send, and what the codec alone would let through.
use super::*;

/// A CONNECT with these flags and what follows the Keep Alive.
fn connect(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT".to_vec();
    body.extend([level, flags, 0, 0]);
    body.extend(rest);
    let mut packet = vec![0x10, body.len() as u8];
    packet.extend(body);
    packet
}

fn first(bytes: &[u8]) -> Result<Packet, WireError> {
    Decoder::server(1000).decode(&mut &bytes[..]).map(|packet| packet.expect("a whole packet"))
}

/// The Reason Code, and that it says it of which version.
fn refused(bytes: &[u8]) -> (ReasonCode, Option<Version>) {
    let error = first(bytes).expect_err("a violation");
    (error.reason, error.connect)
}

#[test]
fn the_flags_of_connect_say_what_follows() {
    let malformed = |version| (ReasonCode::MALFORMED_PACKET, Some(version));
    let (v4, v5) = (Version::V4, Version::V5);
    for (bytes, expected) in [
        (connect(4, 0b0000_0011, b"\x00\x01c"), malformed(v4)), // [MQTT-3.1.2-3]
        (connect(4, 0b0001_1110, b"\x00\x01c\x00\x01t\x00\x01x"), malformed(v4)), // Will QoS 3, [MQTT-3.1.2-14]
        (connect(4, 0b0000_1010, b"\x00\x01c"), malformed(v4)), // Will QoS alone, [MQTT-3.1.2-13]
        (connect(5, 0b0010_0010, b"\x00\x00\x01c"), malformed(v5)), // Will Retain alone, [MQTT-3.1.2-15]
        (connect(4, 0b0100_0010, b"\x00\x01c\x00\x01p"), malformed(v4)), // [MQTT-3.1.2-22] of 3.1.1
        (connect(4, 0b0000_0010, b"\x00\x01c!"), malformed(v4)), // trailing bytes
        (connect(4, 0b1000_0010, b"\x00\x01c"), malformed(v4)), // no User Name
        (connect(5, 0b0000_0110, b"\x00\x00\x01c\x00\x00\x01t"), malformed(v5)), // no Will Payload
        (connect(4, 0b0000_0010, b"\x00\x01\xFF"), malformed(v4)), // [MQTT-1.5.4-1]
        (connect(4, 0b0000_0010, b"\x00\x03\xED\xA0\x80"), malformed(v4)), // a surrogate
        (connect(5, 0b0000_0010, b"\x00\x00\x01\x00"), malformed(v5)), // [MQTT-1.5.4-2]
        (connect(5, 0b0000_0010, b"\x80\x00\x00\x01c"), malformed(v5)), // [MQTT-1.5.5-1]
        (connect(5, 0b0000_0010, b"\x05\x26\x00\x00\x00\x00\x00\x01c\x00"), malformed(v5)), // trailing again
    ] {
        assert_eq!(refused(&bytes), expected, "{bytes:02x?}");
    }
    let Ok(Packet::Connect(connect)) = first(&connect(5, 0b0100_0010, b"\x00\x00\x01c\x00\x01p")) else {
        panic!("MQTT 5 allows a Password without a User Name");
    };
    assert_eq!((connect.username, connect.password), (None, Some(b"p".to_vec())));
}

#[test]
fn the_properties_of_connect_are_its_own_and_come_once() {
    for properties in [
        &b"\x06\x21\x00\x01\x21\x00\x01"[..], // Receive Maximum twice
        b"\x03\x21\x00\x00",                  // Receive Maximum 0
        b"\x05\x27\x00\x00\x00\x00",          // Maximum Packet Size 0
        b"\x02\x17\x02",                      // Request Problem Information 2
        b"\x02\x01\x01",                      // Payload Format Indicator
        b"\x04\x16\x00\x01x",                 // Authentication Data without a Method
    ] {
        let rest: Vec<u8> = properties.iter().chain(b"\x00\x01c").copied().collect();
        let expected = (ReasonCode::PROTOCOL_ERROR, Some(Version::V5));
        assert_eq!(refused(&connect(5, 2, &rest)), expected, "{properties:02x?}");
    }
    let delay_twice = b"\x00\x00\x01c\x0a\x18\x00\x00\x00\x01\x18\x00\x00\x00\x01\x00\x01t\x00\x00";
    assert_eq!(refused(&connect(5, 6, delay_twice)).0, ReasonCode::PROTOCOL_ERROR);
    let wildcard = b"\x00\x00\x01c\x00\x00\x01#\x00\x00";
    assert_eq!(refused(&connect(5, 6, wildcard)).0, ReasonCode::TOPIC_NAME_INVALID);
}

#[test]
fn another_protocol_is_refused_as_unsupported() {
    let old = b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01c";
    let expected = (ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, None);
    for bytes in [&old[..], &connect(6, 2, b"\x00\x00\x01c"), &connect(3, 2, b"\x00\x01c"), b"\x10\x06\x00\x04HTTP"] {
        assert_eq!(refused(bytes), expected, "{bytes:02x?}");
    }
    assert_eq!(refused(b"\x11\x00"), (ReasonCode::MALFORMED_PACKET, None));
}

#[test]
fn a_client_is_held_to_the_letter() {
    let v5 = Version::V5;
    let malformed = ReasonCode::MALFORMED_PACKET;
    let protocol_error = ReasonCode::PROTOCOL_ERROR;
    for (bytes, version, reason) in [
        (&b"\xC0\x80\x00"[..], v5, malformed),            // overlong Remaining Length
        (b"\x30\x87\x00\x00\x01a\x00xxx", v5, malformed), // the same, of a PUBLISH
        (b"\x30\x05\x00\x01a\x80\x00", v5, malformed),    // overlong Property Length
        (b"\x30\x04\x00\x01\x00\x00", v5, malformed),     // U+0000 in a Topic Name
        (b"\x30\x03\x00\x01\x00", Version::V4, malformed),
        (b"\x30\x03\x00\x01\xFF", Version::V4, malformed),
        (b"\x30\x0B\x00\x01a\x07\x26\x00\x01\x00\x00\x01v", v5, malformed), // U+0000 in a User Property
        (b"\x30\x09\x00\x01a\x05\x08\x00\x02+a", v5, protocol_error),       // Response Topic with a wildcard
        (b"\x30\x07\x00\x01a\x03\x08\x00\x00", v5, protocol_error),         // an empty one
        (b"\x30\x06\x00\x01a\x02\x01\x02", v5, protocol_error),             // Payload Format Indicator 2
        (b"\x30\x08\x00\x01a\x04\x01\x01\x01\x01", v5, protocol_error),     // the same twice
        (b"\x30\x06\x00\x01a\x02\x0B\x01", v5, protocol_error),             // [MQTT-3.3.4-6]
        (b"\x30\x07\x00\x01a\x03\x21\x00\x01", v5, protocol_error),         // a property of CONNECT
        (b"\x30\x03\x00\x00\x00", v5, protocol_error),                      // no Topic Name, no alias
        (b"\x82\x0B\x00\x01\x04\x0B\x01\x0B\x02\x00\x01a\x00", v5, protocol_error), // two identifiers
        (b"\x82\x09\x00\x01\x02\x0B\x00\x00\x01a\x00", v5, protocol_error), // identifier 0
        (b"\x82\x0A\x00\x01\x03\x0B\x81\x00\x00\x01a\x00", v5, malformed),  // an overlong one
        (b"\x82\x03\x00\x01\x00", v5, protocol_error),                      // [MQTT-3.8.3-2]
        (b"\x82\x02\x00\x01", Version::V4, protocol_error),
        (b"\xA2\x03\x00\x01\x00", v5, protocol_error), // [MQTT-3.10.3-2]
        (b"\x82\x07\x00\x00\x00\x00\x01a\x00", v5, protocol_error), // Packet Identifier 0
        (b"\x82\x07\x00\x01\x00\x00\x01a\x03", v5, malformed), // QoS 3
        (b"\x82\x07\x00\x01\x00\x00\x01a\x40", v5, malformed), // [MQTT-3.8.3-5]
        (b"\x82\x07\x00\x01\x00\x00\x01a\x30", v5, malformed), // Retain Handling 3
        (b"\x82\x07\x00\x01\x00\x00\x01\x00\x00", v5, malformed), // U+0000 in a Topic Filter
        (b"\x80\x07\x00\x01\x00\x00\x01a\x00", v5, malformed), // [MQTT-3.8.1-1]
        (b"\xE0\x05\x00\x03\x1C\x00\x00", v5, protocol_error), // Server Reference of a client
        (b"\xE1\x00", Version::V4, malformed),         // [MQTT-3.14.1-1]
        (b"\xE0\x01\x00", Version::V4, malformed),     // DISCONNECT with a body
        (b"\xC0\x01\x00", v5, malformed),              // PINGREQ with a body
        (b"\x40\x08\x00\x01\x00\x04\x1F\x00\x01\x00", v5, malformed), // U+0000 in a Reason String
    ] {
        assert_eq!(error(bytes, version), reason, "{bytes:02x?}");
    }
}

#[test]
fn a_remote_is_not_held_to_the_letter() {
    let mut client = Decoder::client(Version::V5, 1000);
    let null_in_a_user_property = b"\x30\x0B\x00\x01a\x07\x26\x00\x01\x00\x00\x01v";
    assert!(client.decode(&mut &null_in_a_user_property[..]).unwrap().is_some(), "or the link would never come up");
}

#[test]
fn a_topic_alias_stands_for_the_last_topic_it_was_given() {
    let mut decoder = Decoder::server(1000).with_topic_alias_maximum(2);
    let mut bytes = Vec::new();
    encode(&Packet::Connect(Box::new(Connect::new(Version::V5, "c"))), Version::V5, &mut bytes);
    decoder.decode(&mut bytes.as_slice()).unwrap();
    let mut sent = |topic: &str, topic_alias| {
        let publish = Publish { topic: topic.into(), topic_alias, ..Publish::new(message(), 0) };
        let mut bytes = Vec::new();
        encode(&Packet::Publish(publish.clone()), Version::V5, &mut bytes);
        assert_eq!(publish.encoded_len(Version::V5), bytes.len());
        match decoder.decode(&mut bytes.as_slice()) {
            Ok(Some(Packet::Publish(publish))) => {
                assert_eq!(publish.topic, publish.message.topic);
                Ok(publish.topic.to_string())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.reason),
        }
    };
    assert_eq!(sent("plant/1", Some(1)), Ok("plant/1".into()));
    assert_eq!(sent("", Some(1)), Ok("plant/1".into()));
    assert_eq!(sent("plant/2", Some(1)), Ok("plant/2".into()));
    assert_eq!(sent("", Some(1)), Ok("plant/2".into()));
    assert_eq!(sent("plant/3", None), Ok("plant/3".into()));
    assert_eq!(sent("", Some(2)), Err(ReasonCode::PROTOCOL_ERROR), "it was never given");
    assert_eq!(sent("a", Some(3)), Err(ReasonCode::TOPIC_ALIAS_INVALID), "[MQTT-3.3.2-9]");
    assert_eq!(sent("a/#", Some(1)), Err(ReasonCode::TOPIC_NAME_INVALID));
}

fn message() -> Arc<Message> {
    Arc::new(Message::new("t", "x", QoS::AtMostOnce))
}
