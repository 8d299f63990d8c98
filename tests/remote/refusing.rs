//! Remotes that say no: to a message, or to the bridge.
use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Ack, Connack, Disconnect, Packet, ReasonCode};

use crate::sham::{Sham, acknowledge, closed, complete, connack, published, refused};

#[test]
fn a_cached_message_that_is_too_large_is_set_aside_and_the_next_goes() {
    let mut sham = Sham::new("");
    sham.publish(&"x".repeat(500), QoS::AtLeastOnce);
    sham.publish("small", QoS::AtLeastOnce);
    let mut wire = sham.established_with(Connack { maximum_packet_size: Some(100), ..connack(false) });
    assert_eq!(acknowledge(&mut wire), "small");
    sham.is_done(1);
    assert!(sham.bridge.process.log().contains("set aside, the remote refuses it: Packet too large (0x95)"));
}

#[test]
fn a_message_refused_for_good_is_set_aside_and_the_queue_goes_on() {
    let mut sham = Sham::new("");
    let mut wire = sham.established();
    for (payload, qos) in [("no", QoS::AtLeastOnce), ("never", QoS::ExactlyOnce), ("yes", QoS::AtLeastOnce)] {
        sham.publish(payload, qos);
    }
    let (_, first, ..) = published(&mut wire);
    wire.send(&Packet::Puback(refused(first, 0x87)));
    let (_, second, ..) = published(&mut wire);
    wire.send(&Packet::Pubrec(refused(second, 0x87)));
    // The exchange has ended: what comes next is no PUBREL.
    assert_eq!(acknowledge(&mut wire), "yes");
    sham.bridge.until_metric("messages_quarantined", 2);
    sham.is_done(2);
    assert_eq!(sham.bridge.metric("connections_total"), 1);
    assert!(sham.bridge.process.log().contains("Not authorized (0x87)"));
}

#[test]
fn a_passing_refusal_is_tried_again_later_under_a_new_identifier() {
    let mut sham = Sham::new("");
    let mut wire = sham.established();
    sham.publish("first", QoS::AtLeastOnce);
    sham.publish("second", QoS::ExactlyOnce);
    let (_, first, ..) = published(&mut wire);
    let (_, second, ..) = published(&mut wire);
    wire.send(&Packet::Puback(refused(first, 0x97)));
    wire.send(&Packet::Pubrec(refused(second, 0x97)));
    for _ in 0..2 {
        let (payload, packet_id, dup, _) = published(&mut wire);
        assert!(!dup && packet_id != first && packet_id != second);
        match payload.as_str() {
            "first" => wire.send(&Packet::Puback(Ack::success(packet_id))),
            _ => complete(&mut wire, packet_id),
        }
    }
    wire.flush().unwrap();
    sham.is_done(0);
    assert_eq!(sham.bridge.metric("messages_reordered_total"), 2);
    assert_eq!(sham.bridge.metric("connections_total"), 1);
}

#[test]
fn where_a_server_has_moved_to_is_logged() {
    let mut sham = Sham::new("");
    sham.publish("kept", QoS::AtLeastOnce);
    let server_reference = Some("mqtt://elsewhere:1883".to_owned());
    let moved = Connack { server_reference, ..Connack::new(ReasonCode(0x9D), false) };
    let (mut wire, _) = sham.connect(moved);
    closed(&mut wire);
    let line = sham.bridge.process.line("Server moved (0x9D)").unwrap();
    assert!(line.contains("the server names mqtt://elsewhere:1883"), "{line}");
    let mut wire = sham.established();
    let (_, packet_id, ..) = published(&mut wire);
    let server_reference = Some("mqtt://other:1883".to_owned());
    wire.send(&Packet::Disconnect(Disconnect { server_reference, ..Disconnect::new(ReasonCode(0x9C)) }));
    closed(&mut wire);
    let line = sham.bridge.process.line("Use another server (0x9C)").unwrap();
    assert!(line.contains("the server names mqtt://other:1883"), "{line}");
    let (mut wire, _) = sham.connect(connack(true));
    assert_eq!(published(&mut wire), ("kept".to_owned(), packet_id, true, QoS::AtLeastOnce));
    wire.send(&Packet::Puback(Ack::success(packet_id)));
    wire.flush().unwrap();
    sham.is_done(0);
}

#[test]
fn bad_credentials_are_logged_once_and_it_keeps_trying() {
    let mut sham = Sham::new("");
    sham.publish("kept", QoS::AtLeastOnce);
    for _ in 0..10 {
        let (mut wire, _) = sham.connect(Connack::new(ReasonCode::NOT_AUTHORIZED, false));
        closed(&mut wire);
    }
    let mut wire = sham.established();
    assert_eq!(acknowledge(&mut wire), "kept");
    sham.is_done(0);
    let log = sham.bridge.process.log();
    assert_eq!(log.matches("the remote says Not authorized (0x87)").count(), 1, "{log}");
}
