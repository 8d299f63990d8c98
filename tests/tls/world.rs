//! Two of our own: one at the edge, which bridges, and one that is its remote.
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscribe, Subscription, Version};

use crate::common::Client;
use crate::common::process::{Bridge, Process, loopback};

/// A process with two listeners: one as the test wants it, and a plain one beside it.
pub struct Broker {
    /// Ends with it.
    pub process: Process,
    pub address: SocketAddr,
    pub plain: SocketAddr,
}

/// The configuration of one with a listener like this, and two addresses for its listeners.
pub fn configuration(listener: &str, rest: &str) -> (String, [String; 2]) {
    let addresses = [loopback().to_string(), loopback().to_string()];
    let [first, second] = &addresses;
    let text = format!("listeners:\n  - {{ bind: \"{first}:0\"{listener} }}\n  - {{ bind: \"{second}:0\" }}\n{rest}");
    (text, addresses)
}

impl Broker {
    pub fn start(folder: &Path, name: &str, listener: &str, rest: &str) -> Self {
        let (text, addresses) = configuration(listener, rest);
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
        let process = Process::start(command.args(["run", "--config"]).arg(&file).env("MQTT_BRIDGE_LOG", "info"));
        let [address, plain] = addresses.map(|address| {
            let line = process.line(&format!("listening on {address}:"));
            let line = line.unwrap_or_else(|| panic!("{name} ended: {}", process.log()));
            line.rsplit(' ').next().unwrap().parse().unwrap()
        });
        Self { process, address, plain }
    }
}

/// A bridge before a server such as `mqtts://127.0.0.1:8883`; `keys`: what else is said of it.
pub fn edge(folder: &Path, server: &str, keys: &str) -> Bridge {
    let configuration = format!(
        "cache: {{ path: {} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  - {{ name: b, server: \"{server}\", client_id: \
         edge, keep_alive: 5s, reconnect: {{ min: 10ms, max: 50ms }}, forwards: [{{ local: \"up/#\" }}], subscriptions: [{{ \
         remote: \"down/#\", qos: 2 }}]{keys} }}\n",
        folder.join("edge.db").display()
    );
    let here = folder.join("edge");
    std::fs::create_dir_all(&here).unwrap();
    Bridge::start(&here, &configuration)
}

pub fn subscriber(address: SocketAddr, filter: &str, qos: QoS) -> Client {
    let (mut client, _) = Client::connect(address, Connect::new(Version::V5, "subscriber"));
    let filter = filter.to_owned();
    let filters = vec![Subscription {
        filter,
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    }];
    client.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters, identifier: None }));
    assert!(matches!(client.receive(), Some(Packet::Suback(_))));
    client
}

pub fn publisher(address: SocketAddr) -> Client {
    Client::connect(address, Connect::new(Version::V5, "publisher")).0
}

pub fn publish(client: &mut Client, topic: &str, payload: Vec<u8>, qos: QoS, packet_id: u16) {
    let message = Arc::new(Message::new(topic, payload, qos));
    client.send(&Packet::Publish(Publish::new(message, packet_id)));
}

/// Waits for the acknowledgement of what was published, to its end.
pub fn acknowledged(client: &mut Client, qos: QoS, packet_id: u16) {
    match qos {
        QoS::AtMostOnce => {}
        QoS::AtLeastOnce => assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(packet_id)))),
        QoS::ExactlyOnce => {
            assert_eq!(client.receive(), Some(Packet::Pubrec(Ack::success(packet_id))));
            client.send(&Packet::Pubrel(Ack::success(packet_id)));
            assert_eq!(client.receive(), Some(Packet::Pubcomp(Ack::success(packet_id))));
        }
    }
}

/// The next message, acknowledged; `None`: the connection was closed.
pub fn message(client: &mut Client) -> Option<Arc<Message>> {
    loop {
        match client.receive()? {
            Packet::Publish(publish) => {
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => client.send(&Packet::Puback(Ack::success(publish.packet_id))),
                    QoS::ExactlyOnce => client.send(&Packet::Pubrec(Ack::success(publish.packet_id))),
                }
                return Some(publish.message);
            }
            Packet::Pubrel(ack) => client.send(&Packet::Pubcomp(Ack::success(ack.packet_id))),
            other => panic!("{} instead of PUBLISH", other.name()),
        }
    }
}
