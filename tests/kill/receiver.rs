//! A subscriber at QoS 2, directly on the remote: on its link nothing happens.
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscribe, Subscription, Version};

use crate::common::wire::Wire;

const PATIENCE: Duration = Duration::from_secs(300);
/// What is published under it at the end comes after everything else.
const LAST: &str = "up/last";

/// Topic and number of each copy, in order.
pub type Received = Vec<(String, usize)>;

/// Number of the message that this is a payload of.
pub fn number(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

pub fn start(remote: SocketAddr) -> JoinHandle<Received> {
    let (mut wire, _) = Wire::connect(remote, Connect::new(Version::V5, "receiver"), PATIENCE).unwrap();
    let filter = Subscription {
        filter: "up/#".into(),
        qos: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    wire.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], identifier: None }));
    assert!(matches!(wire.receive().unwrap(), Packet::Suback(_)));
    std::thread::spawn(move || {
        let mut received = Received::new();
        loop {
            match wire.receive().unwrap() {
                Packet::Publish(publish) if &*publish.topic == LAST => return received,
                Packet::Publish(publish) => {
                    received.push((publish.topic.to_string(), number(&publish.message.payload)));
                    match publish.qos {
                        QoS::AtMostOnce => {}
                        QoS::AtLeastOnce => wire.send(&Packet::Puback(Ack::success(publish.packet_id))),
                        QoS::ExactlyOnce => wire.send(&Packet::Pubrec(Ack::success(publish.packet_id))),
                    }
                }
                Packet::Pubrel(ack) => wire.send(&Packet::Pubcomp(Ack::success(ack.packet_id))),
                other => panic!("{} to a subscriber", other.name()),
            }
        }
    })
}

/// Makes the receiver end once it has everything that the remote has for it now.
pub fn end(remote: SocketAddr) {
    let (mut wire, _) = Wire::connect(remote, Connect::new(Version::V5, "end"), PATIENCE).unwrap();
    let last = Message::new(LAST, "", QoS::AtLeastOnce);
    wire.send(&Packet::Publish(Publish::new(last.into(), 1)));
    assert!(matches!(wire.receive().unwrap(), Packet::Puback(_)));
}
