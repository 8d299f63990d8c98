//! Remotes that misbehave, or say no, against the real binary: one each. What is only a decision of the forwarder is
//! tested beside it; here it goes over sockets, and ends in /metrics.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // A test may.
#[path = "../common/mod.rs"]
mod common;

mod refusing;
mod sham;

use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Ack, Connack, Packet};

use sham::{Sham, acknowledge, closed, complete, connack, published};

#[test]
fn a_lost_session_gets_everything_again_under_new_identifiers_without_dup() {
    let mut sham = Sham::new("");
    let mut wire = sham.established();
    sham.publish("once", QoS::ExactlyOnce);
    sham.publish("again", QoS::AtLeastOnce);
    let (first, second) = (published(&mut wire), published(&mut wire));
    drop(wire);
    let (mut wire, connect) = sham.connect(connack(false));
    assert!(!connect.clean_start, "it has state");
    let (again, last) = (published(&mut wire), published(&mut wire));
    assert_eq!((again.0.as_str(), again.2, again.3), ("once", false, QoS::ExactlyOnce));
    assert_eq!((last.0.as_str(), last.2, last.3), ("again", false, QoS::AtLeastOnce));
    assert!(![first.1, second.1].iter().any(|old| [again.1, last.1].contains(old)), "new identifiers");
    complete(&mut wire, again.1);
    wire.send(&Packet::Puback(Ack::success(last.1)));
    wire.flush().unwrap();
    sham.is_done(0);
    assert_eq!(sham.bridge.metric("messages_ambiguous_total"), 1);
}

#[test]
fn a_kept_session_gets_the_pubrel_first_then_the_publish_with_dup() {
    let mut sham = Sham::new("");
    let mut wire = sham.established();
    sham.publish("first", QoS::ExactlyOnce);
    sham.publish("second", QoS::ExactlyOnce);
    let (first, second) = (published(&mut wire), published(&mut wire));
    wire.send(&Packet::Pubrec(Ack::success(first.1)));
    assert_eq!(wire.receive().unwrap(), Packet::Pubrel(Ack::success(first.1)));
    drop(wire);
    let (mut wire, _) = sham.connect(connack(true));
    assert_eq!(wire.receive().unwrap(), Packet::Pubrel(Ack::success(first.1)));
    assert_eq!(published(&mut wire), ("second".to_owned(), second.1, true, QoS::ExactlyOnce));
    wire.send(&Packet::Pubcomp(Ack::success(first.1)));
    complete(&mut wire, second.1);
    sham.is_done(0);
    assert_eq!(sham.bridge.metric("messages_repeated_total"), 1);
}

#[test]
fn session_present_for_a_bridge_without_state_is_not_believed() {
    let mut sham = Sham::new("");
    sham.publish("kept", QoS::AtLeastOnce);
    let (mut wire, connect) = sham.connect(connack(true));
    assert!(connect.clean_start);
    closed(&mut wire);
    let mut wire = sham.established();
    assert_eq!(acknowledge(&mut wire), "kept");
    sham.is_done(0);
}

#[test]
fn a_receive_maximum_of_1_is_one_publish_at_a_time() {
    let mut sham = Sham::new(", keep_alive: 1s");
    let mut wire = sham.established_with(Connack { receive_maximum: 1, ..connack(false) });
    for payload in ["1", "2", "3"] {
        sham.publish(payload, QoS::AtLeastOnce);
    }
    for payload in ["1", "2", "3"] {
        let (name, packet_id, ..) = published(&mut wire);
        assert_eq!(name, payload);
        // It has nothing else to say until Keep Alive makes it speak.
        assert_eq!(wire.receive().unwrap(), Packet::Pingreq);
        wire.send(&Packet::Pingresp);
        wire.send(&Packet::Puback(Ack::success(packet_id)));
        wire.flush().unwrap();
    }
    sham.is_done(0);
    assert_eq!(sham.bridge.metric("connections_total"), 1);
}

#[test]
fn a_lower_maximum_qos_lowers_what_is_sent() {
    for maximum_qos in [QoS::AtLeastOnce, QoS::AtMostOnce] {
        let mut sham = Sham::new("");
        let mut wire = sham.established_with(Connack { maximum_qos, ..connack(false) });
        sham.publish("lowered", QoS::ExactlyOnce);
        let (name, packet_id, _, qos) = published(&mut wire);
        assert_eq!((name.as_str(), qos), ("lowered", maximum_qos));
        if qos == QoS::AtLeastOnce {
            wire.send(&Packet::Puback(Ack::success(packet_id)));
            wire.flush().unwrap();
        }
        sham.is_done(0);
        assert!(sham.bridge.process.line("the remote takes QoS").is_some());
    }
}

#[test]
fn a_publish_that_is_never_acknowledged_closes_the_connection_and_is_repeated_on_the_next() {
    let mut sham = Sham::new(", ack_timeout: 300ms");
    let mut wire = sham.established();
    sham.publish("1", QoS::AtLeastOnce);
    let (_, packet_id, dup, _) = published(&mut wire);
    assert!(!dup);
    closed(&mut wire);
    let (mut wire, _) = sham.connect(connack(true));
    assert_eq!(published(&mut wire), ("1".to_owned(), packet_id, true, QoS::AtLeastOnce));
    wire.send(&Packet::Puback(Ack::success(packet_id)));
    wire.flush().unwrap();
    sham.is_done(0);
    assert!(sham.bridge.process.log().contains("was not acknowledged within ack_timeout"));
}

#[test]
fn acknowledgements_out_of_order_of_nothing_and_twice_do_no_harm() {
    let mut sham = Sham::new("");
    let mut wire = sham.established();
    for payload in ["1", "2", "3"] {
        sham.publish(payload, QoS::AtLeastOnce);
    }
    let ids: Vec<u16> = (0..3).map(|_| published(&mut wire).1).collect();
    for packet_id in [ids[2], ids[0], 999, ids[0], ids[1]] {
        wire.send(&Packet::Puback(Ack::success(packet_id)));
    }
    wire.send(&Packet::Pubcomp(Ack::success(999)));
    // Asks for a PUBREL; without one the remote would keep the identifier for ever.
    wire.send(&Packet::Pubrec(Ack::success(999)));
    assert_eq!(wire.receive().unwrap(), Packet::Pubrel(sham::refused(999, 0x92)));
    sham.is_done(0);
    assert_eq!(sham.bridge.metric("acks_unexpected_total"), 4);
    assert_eq!(sham.bridge.metric("connections_total"), 1);
    sham.publish("goes on", QoS::AtLeastOnce);
    assert_eq!(acknowledge(&mut wire), "goes on");
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_after_connect_timeout() {
    let mut sham = Sham::new(", connect_timeout: 200ms");
    sham.publish("kept", QoS::AtLeastOnce);
    let (mut silent, _) = sham.accept();
    closed(&mut silent);
    assert!(sham.bridge.process.line("no CONNACK within connect_timeout").is_some());
    let mut wire = sham.established();
    assert_eq!(acknowledge(&mut wire), "kept");
    sham.is_done(0);
}
