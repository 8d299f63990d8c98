//! Shared Subscriptions (MQTT 5, section 4.8.2).
use std::collections::BTreeSet;

use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Ack, Connect, Disconnect, Packet, ReasonCode, Subscribe, Subscription, Version};

use crate::common::{Bridge, Client};
use crate::parties::{kept, subscription};
use crate::{cache, next, publish, subscribe};

#[test]
fn each_message_goes_to_one_member_that_is_connected_or_waits_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &cache(&folder, ""));
    let connects = [kept("a"), Connect::new(Version::V5, "b"), Connect::new(Version::V4, "c")];
    let mut members = connects.map(|connect| Client::connect(bridge.address, connect).0);
    for member in &mut members {
        subscribe(member, subscription("$share/g/t/#", QoS::AtLeastOnce));
    }
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    let mut send = |numbers: std::ops::Range<u16>| {
        for number in numbers {
            publisher.send(&publish("t/x", &number.to_string(), QoS::AtLeastOnce, number));
            assert_eq!(publisher.receive(), Some(Packet::Puback(Ack::success(number))));
        }
    };
    send(1..10);
    let mut received = BTreeSet::new();
    for member in &mut members {
        for _ in 0..3 {
            let (payload, _, packet_id, _) = next(member);
            member.send(&Packet::Puback(Ack::success(packet_id)));
            assert!(received.insert(payload.clone()), "{payload} twice");
        }
    }
    assert_eq!(received.len(), 9);
    // Those that end leave the group; for the one that is kept messages wait.
    for member in &mut members {
        member.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)));
        assert_eq!(member.receive(), None);
    }
    send(10..13);
    let (mut member, connack) = Client::connect(bridge.address, kept("a"));
    assert!(connack.session_present);
    assert_eq!([10, 11, 12].map(|_| next(&mut member).0), ["10", "11", "12"]);
}

#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &cache(&folder, ""));
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "c"));
    let filters = vec![Subscription { no_local: true, ..subscription("$share/g/t", QoS::AtLeastOnce) }];
    client.send(&Packet::Subscribe(Subscribe { packet_id: 2, filters, identifier: None }));
    match client.receive() {
        Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason, ReasonCode::PROTOCOL_ERROR),
        other => panic!("{other:?} instead of DISCONNECT"),
    }
}

#[test]
fn a_shared_subscription_without_a_group_is_malformed_and_refused_in_3_1_1() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), &cache(&folder, ""));
    for filter in ["$share/g", "$share//f"] {
        for version in [Version::V4, Version::V5] {
            let (mut client, _) = Client::connect(bridge.address, Connect::new(version, "c"));
            let filters = vec![subscription(filter, QoS::AtLeastOnce)];
            client.send(&Packet::Subscribe(Subscribe { packet_id: 2, filters, identifier: None }));
            match (version, client.receive()) {
                // The codec says so before the broker sees a SUBSCRIBE ([MQTT-4.8.2-1], section 4.13).
                (Version::V5, Some(Packet::Disconnect(disconnect))) => {
                    assert_eq!(disconnect.reason, ReasonCode::MALFORMED_PACKET, "{filter}");
                }
                (Version::V4, Some(Packet::Suback(suback))) => {
                    assert_eq!(suback.reasons, [ReasonCode(0x80)], "{filter}")
                }
                (_, other) => panic!("{filter}: {other:?}"),
            }
        }
    }
}
