//! What the source alone shows: each QoS as it was published, a session that it lost, a cache that is full.
use std::sync::Arc;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscribe, Subscription, Version};

use crate::common::wire::Wire;
use crate::common::{Bridge, PATIENCE, has};
use crate::mosquitto::Mosquitto;
use crate::relay::Relay;
use crate::world::{mosquitto, subscribed, until};

pub fn configuration(folder: &std::path::Path, source: &str, remote: &str, bridge: &str, cache: &str) -> String {
    format!(
        "source: {source}\ncache: {{ path: {}{cache} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  - {{ name: b, server: \
         \"mqtt://{remote}\", client_id: bridge, reconnect: {{ min: 10ms, max: 50ms }}, {bridge} }}\n",
        folder.join("cache.db").display()
    )
}

/// A subscriber at QoS 2.
pub fn subscriber(broker: &Mosquitto, filter: &str) -> Wire {
    let (mut wire, _) = Wire::connect(broker.address, Connect::new(Version::V5, "subscriber"), PATIENCE).unwrap();
    let filter = Subscription {
        filter: filter.into(),
        qos: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: true,
        retain_handling: 0,
        identifier: None,
    };
    wire.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], identifier: None }));
    assert!(matches!(wire.receive().unwrap(), Packet::Suback(_)));
    wire
}

/// The next message, completed.
pub fn next(wire: &mut Wire) -> (String, String, QoS) {
    loop {
        match wire.receive().unwrap() {
            Packet::Publish(publish) => {
                let ack = Ack::success(publish.packet_id);
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => wire.send(&Packet::Puback(ack)),
                    QoS::ExactlyOnce => wire.send(&Packet::Pubrec(ack)),
                }
                wire.flush().unwrap();
                let payload = String::from_utf8(publish.message.payload.to_vec()).unwrap();
                return (publish.topic.to_string(), payload, publish.qos);
            }
            Packet::Pubrel(ack) => wire.send(&Packet::Pubcomp(Ack::success(ack.packet_id))),
            other => panic!("{}", other.name()),
        }
    }
}

/// Publishes, and waits until the broker has it.
pub fn publish(broker: &Mosquitto, topic: &str, payload: &str, qos: QoS) {
    let (mut wire, _) = Wire::connect(broker.address, Connect::new(Version::V5, "device"), PATIENCE).unwrap();
    let message = Arc::new(Message::new(topic, payload.to_owned(), qos));
    wire.send(&Packet::Publish(Publish::new(message, if qos == QoS::AtMostOnce { 0 } else { 1 })));
    match qos {
        QoS::AtMostOnce => wire.send(&Packet::Pingreq),
        QoS::AtLeastOnce => {}
        QoS::ExactlyOnce => {
            assert!(matches!(wire.receive().unwrap(), Packet::Pubrec(_)));
            wire.send(&Packet::Pubrel(Ack::success(1)));
        }
    }
    let answer = wire.receive().unwrap();
    assert!(matches!(answer, Packet::Puback(_) | Packet::Pubcomp(_) | Packet::Pingresp), "{answer:?}");
}

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn each_qos_arrives_as_it_was_published_in_both_directions() {
    if !has("mosquitto", "each_qos_arrives_as_it_was_published_in_both_directions") {
        return;
    }
    for protocol in [4, 5] {
        let folder = tempfile::tempdir().unwrap();
        let (local, remote) = (mosquitto(folder.path(), "local"), mosquitto(folder.path(), "remote"));
        let (near, far) = (Relay::start(local.address), Relay::start(remote.address));
        let source = format!("{{ server: \"mqtt://{}\", protocol: {protocol} }}", near.address);
        let rules = format!(
            "protocol: {protocol}, forwards: [{{ local: \"up/#\" }}], subscriptions: [{{ remote: \"down/#\", prefix: in/, \
             qos: 2 }}]"
        );
        let configuration = configuration(folder.path(), &source, &far.address.to_string(), &rules, "");
        let bridge = Bridge::without_listener(folder.path(), &configuration, &[]);
        until("both links are up", || bridge.metric("connected") == 2);
        // Only then: QoS 0 is for those who have subscribed, and the bridge does so once its session is committed.
        until("it subscribes at both", || subscribed(&near, 1) && subscribed(&far, 1));
        let (mut above, mut below) = (subscriber(&remote, "up/#"), subscriber(&local, "in/#"));
        for qos in ALL {
            let topic = format!("up/{qos}");
            publish(&local, &topic, "x", qos);
            assert_eq!(next(&mut above), (topic, "x".to_owned(), qos));
            publish(&remote, &format!("down/{qos}"), "y", qos);
            assert_eq!(next(&mut below), (format!("in/down/{qos}"), "y".to_owned(), qos));
        }
    }
}

#[test]
fn a_source_that_has_lost_the_session_is_said_and_counted() {
    if !has("mosquitto", "a_source_that_has_lost_the_session_is_said_and_counted") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut local, remote) = (mosquitto(folder.path(), "local"), mosquitto(folder.path(), "remote"));
    let near = Relay::start(local.address);
    let source = format!("{{ server: \"mqtt://{}\", reconnect: {{ min: 10ms, max: 50ms }} }}", near.address);
    let rules = "forwards: [{ local: \"up/#\" }]";
    let configuration = configuration(folder.path(), &source, &remote.address.to_string(), rules, "");
    let bridge = Bridge::without_listener(folder.path(), &configuration, &[]);
    until("it subscribes", || subscribed(&near, 1));
    assert_eq!(bridge.metric("sessions_lost_total"), 0);
    local.process.kill();
    // It keeps nothing over its own end.
    local = mosquitto(folder.path(), "again");
    near.set_target(local.address);
    bridge.until_metric("sessions_lost_total", 1);
    assert!(bridge.process.line("the remote has lost the session").is_some());
    until("it subscribes again", || subscribed(&near, 2));
    let mut above = subscriber(&remote, "up/#");
    publish(&local, "up/a", "goes on", QoS::ExactlyOnce);
    assert_eq!(next(&mut above).1, "goes on");
}
