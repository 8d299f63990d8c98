//! What CONNECT and CONNACK agree on, and what is sent within it.
use super::*;
use crate::bridge::delivery::BridgeId;
use crate::bridge::message::Properties;
use crate::bridge::wire::{Ack, Unsubscribe};

fn granted(limits: (Option<u16>, Option<u32>), connect: Connect) -> (Client<()>, Connack) {
    let version = connect.version;
    let mut client = Client::new(10, 1 << 20, NOW).limited(limits.0, limits.1);
    client.handle_packet(Packet::Connect(Box::new(connect)), &Routes::default(), NOW);
    let Some(Effect::Open { expiry, .. }) = client.poll_effect() else { panic!("it is to be opened") };
    let queue = (expiry > 0).then(|| (BridgeId::FIRST_SESSION, Vec::new()));
    client.handle_opened(Opened { queue, ..opened(expiry) }, NOW);
    client.flush(NOW);
    let mut packets = said(&mut client, version);
    match packets.pop() {
        Some(Packet::Connack(connack)) => (client, *connack),
        other => panic!("{other:?} instead of CONNACK"),
    }
}

fn refused(connect: Connect) -> (ReasonCode, Option<String>) {
    let mut client: Client<()> = Client::new(10, 1 << 20, NOW);
    client.handle_packet(Packet::Connect(Box::new(connect)), &Routes::default(), NOW);
    client.flush(NOW);
    assert!(client.is_closed());
    match said(&mut client, Version::V5).pop() {
        Some(Packet::Connack(connack)) => (connack.reason, connack.reason_string),
        other => panic!("{other:?} instead of CONNACK"),
    }
}

fn ending(client: &mut Client<()>) -> Vec<Write> {
    client.ending(&Routes::default(), NOW).writes
}

fn kept(expiry: u32) -> Write {
    let expires_at = Some(NOW + Duration::from_secs(expiry.into()));
    Write::KeepSession { client_id: "c".into(), expires_at, expiry }
}

#[test]
fn what_is_granted_is_said_and_held() {
    let wanted = |keep_alive, session_expiry| Connect { keep_alive, session_expiry, ..Connect::new(Version::V5, "c") };
    let limits = (Some(60), Some(3600));
    for (connect, keep_alive, expiry) in [
        (wanted(30, 60), None, None),
        (wanted(61, 3601), Some(60), Some(3600)),
        (wanted(0, u32::MAX), Some(60), Some(3600)),
    ] {
        let silence = keep_alive.unwrap_or(connect.keep_alive);
        let (client, connack) = granted(limits, connect);
        assert_eq!((connack.server_keep_alive, connack.session_expiry), (keep_alive, expiry));
        assert_eq!(client.deadline(), Some(NOW + Duration::from_secs(silence.into()).mul_f64(1.5)));
        assert_eq!(connack.topic_alias_maximum, TOPIC_ALIAS_MAXIMUM);
    }
    // 3.1.1 has no words for it, and is held to it all the same.
    let (mut client, _) = granted(limits, Connect { session_expiry: u32::MAX, ..Connect::new(Version::V4, "c") });
    assert_eq!(client.deadline(), Some(NOW + Duration::from_secs(90)));
    assert_eq!(ending(&mut client), [kept(3600)]);
}

#[test]
fn disconnect_changes_the_session_expiry_within_what_is_granted() {
    let (mut client, _) = granted((None, Some(100)), Connect { session_expiry: 60, ..Connect::new(Version::V5, "c") });
    let longer = Disconnect { session_expiry: Some(1000), ..Disconnect::new(ReasonCode::SUCCESS) };
    client.handle_packet(Packet::Disconnect(longer.clone()), &Routes::default(), NOW);
    assert_eq!(ending(&mut client), [kept(100)]);
    let (mut client, _) = granted((None, None), Connect::new(Version::V5, "c"));
    client.handle_packet(Packet::Disconnect(longer), &Routes::default(), NOW);
    client.flush(NOW);
    let said = said(&mut client, Version::V5);
    assert!(matches!(&said[..], [Packet::Disconnect(why)] if why.reason == ReasonCode::PROTOCOL_ERROR), "{said:?}");
}

#[test]
fn connect_is_refused_with_its_reason() {
    let authentication_method = Some("SCRAM-SHA-1".to_owned());
    let connect = Connect { authentication_method, ..Connect::new(Version::V5, "c") };
    let (reason, why) = refused(connect.clone());
    assert_eq!(reason, ReasonCode::BAD_AUTHENTICATION_METHOD);
    assert!(why.unwrap().contains("SCRAM-SHA-1"));
    let silent = Connect { request_problem_information: false, ..connect.clone() };
    assert_eq!(refused(silent), (ReasonCode::BAD_AUTHENTICATION_METHOD, None));
    let small = Connect { maximum_packet_size: Some(20), ..connect };
    assert_eq!(refused(small), (ReasonCode::BAD_AUTHENTICATION_METHOD, None), "[MQTT-3.2.2-19]");
    let properties = Properties { message_expiry: None, other: b"\x01\x01"[..].into() };
    let message = Message { properties, ..Message::new("gone", &b"\xFF"[..], QoS::AtMostOnce) };
    let connect = Connect { will: Some(Will::new(message)), ..Connect::new(Version::V5, "c") };
    assert_eq!(refused(connect).0, ReasonCode::PAYLOAD_FORMAT_INVALID);
}

#[test]
fn a_malformed_connect_of_mqtt_5_is_answered_and_another_is_not() {
    for (connect, answered) in [(Some(Version::V5), true), (Some(Version::V4), false), (None, false)] {
        let mut client: Client<()> = Client::new(10, 1 << 20, NOW);
        let error = WireError { connect, ..WireError::new(ReasonCode::MALFORMED_PACKET, "CONNECT: noise") };
        client.handle_violation(&error);
        assert!(client.is_closed());
        assert_eq!(!said(&mut client, Version::V5).is_empty(), answered, "{connect:?}");
    }
}

#[test]
fn a_violation_is_explained_unless_the_client_does_not_want_it_or_it_would_not_fit() {
    let violation = WireError::new(ReasonCode::PROTOCOL_ERROR, "PUBLISH: in some way");
    let why = |connect| {
        let (mut client, _) = granted((None, None), connect);
        client.handle_violation(&violation);
        client.flush(NOW);
        match said(&mut client, Version::V5).pop() {
            Some(Packet::Disconnect(disconnect)) => disconnect,
            other => panic!("{other:?} instead of DISCONNECT"),
        }
    };
    let bare = Disconnect::new(violation.reason);
    let connect = Connect::new(Version::V5, "c");
    let reason_string = Some(violation.what.clone());
    assert_eq!(why(connect.clone()), Disconnect { reason_string, ..bare.clone() });
    assert_eq!(why(Connect { request_problem_information: false, ..connect.clone() }), bare);
    assert_eq!(why(Connect { maximum_packet_size: Some(25), ..connect }), bare);
}

#[test]
fn no_packet_is_larger_than_the_client_takes() {
    let connect = Connect { maximum_packet_size: Some(22), ..Connect::new(Version::V5, "c") };
    let (mut client, _) = granted((None, None), connect);
    let unsubscribe = |count| Packet::Unsubscribe(Unsubscribe { packet_id: 1, filters: vec!["a".to_owned(); count] });
    client.handle_packet(unsubscribe(17), &Routes::default(), NOW);
    client.flush(NOW);
    assert!(matches!(said(&mut client, Version::V5)[..], [Packet::Unsuback(_)]));
    client.handle_packet(unsubscribe(18), &Routes::default(), NOW);
    client.flush(NOW);
    assert!(said(&mut client, Version::V5).is_empty() && client.is_closed());
}

#[test]
fn a_message_carries_the_identifiers_and_the_seconds_that_are_left() {
    let connect = Connect { topic_alias_maximum: 1, ..Connect::new(Version::V5, "c") };
    let (mut client, _) = granted((None, None), connect);
    let message = Arc::new(Message::new("plant/1", "x", QoS::AtLeastOnce));
    for expires_in in [2500, 500, 5000] {
        let expires_at = Some(NOW + Duration::from_millis(expires_in));
        client.handle_parcel(Parcel { subscription_ids: vec![7, 300], expires_at, ..parcel(&message) });
    }
    client.flush(NOW + Duration::from_secs(1));
    let mut decoder = crate::bridge::wire::Decoder::client(Version::V5, 1 << 20).with_topic_alias_maximum(1);
    let mut bytes = client.transmit();
    let mut sent = Vec::new();
    while let Some(Packet::Publish(publish)) = decoder.decode(&mut bytes).unwrap() {
        assert_eq!((&*publish.topic, &publish.subscription_ids[..]), ("plant/1", &[7, 300][..]));
        sent.push(publish.message_expiry);
    }
    assert_eq!(sent, [Some(2), Some(4)], "what has expired is not sent ([MQTT-3.3.2-5])");
    assert_eq!(String::from_utf8_lossy(client.transmit()).matches("plant/1").count(), 1, "the second is an alias");
}

#[test]
fn a_payload_that_is_not_what_it_says_is_refused() {
    let (mut client, _) = granted((None, None), Connect::new(Version::V5, "c"));
    let properties = Properties { message_expiry: None, other: b"\x01\x01"[..].into() };
    let message = |qos| Message { properties: properties.clone(), ..Message::new("t", &b"\xFF"[..], qos) };
    for (packet_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce), (0, QoS::AtMostOnce)] {
        let publish = Publish::new(Arc::new(message(qos)), packet_id);
        client.handle_packet(Packet::Publish(publish), &Routes::default(), NOW);
    }
    client.flush(NOW);
    let reason = ReasonCode::PAYLOAD_FORMAT_INVALID;
    let packets = said(&mut client, Version::V5);
    let refused = |packet_id| Ack { packet_id, reason };
    assert_eq!(packets[..2], [Packet::Puback(refused(1)), Packet::Pubrec(refused(2))]);
    assert!(matches!(&packets[2..], [Packet::Disconnect(disconnect)] if disconnect.reason == reason), "{packets:?}");
}
