//! A remote that says exactly what a test wants said, and the bridge before it.
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connack, Connect, Packet, Publish, ReasonCode, Version};

use crate::common::wire::Wire;
use crate::common::{Bridge, Client, PATIENCE};

pub struct Sham {
    listener: TcpListener,
    pub bridge: Bridge,
    publisher: Client,
    published: u16,
    _folder: tempfile::TempDir,
}

pub fn connack(session_present: bool) -> Connack {
    Connack::new(ReasonCode::SUCCESS, session_present)
}

pub fn refused(packet_id: u16, reason: u8) -> Ack {
    Ack { packet_id, reason: ReasonCode(reason) }
}

impl Sham {
    /// A bridge with a fresh cache that is about to connect. `rest`: what its configuration says besides.
    pub fn new(rest: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Of accept, on Linux.
        socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let configuration = format!(
            "cache: {{ path: {} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  - {{ name: b, server: \"mqtt://{}\", \
             client_id: bridge, reconnect: {{ min: 10ms, max: 50ms }}, forwards: [{{ local: \"#\" }}]{rest} }}\n",
            folder.path().join("cache.db").display(),
            listener.local_addr().unwrap(),
        );
        let bridge = Bridge::start(folder.path(), &configuration);
        let (publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "publisher"));
        Self { listener, bridge, publisher, published: 0, _folder: folder }
    }

    /// The next connection, its CONNECT not answered yet.
    pub fn accept(&self) -> (Wire, Connect) {
        let (stream, _) = self.listener.accept().unwrap();
        Wire::accept(stream, PATIENCE).unwrap()
    }

    /// The next connection, answered with this.
    pub fn connect(&self, connack: Connack) -> (Wire, Connect) {
        let (mut wire, connect) = self.accept();
        wire.send(&Packet::Connack(Box::new(connack)));
        wire.flush().unwrap();
        (wire, connect)
    }

    /// A bridge without state has connected once, to wipe the remote's, and then to stay.
    pub fn established(&self) -> Wire {
        self.established_with(connack(false))
    }

    /// The same, where the connection that stays is answered with this.
    pub fn established_with(&self, connack: Connack) -> Wire {
        self.wiped();
        let (wire, connect) = self.connect(connack);
        assert!(!connect.clean_start && connect.session_expiry > 0, "the session that stays");
        wire
    }

    /// A bridge without state connects with a session that ends at once.
    pub fn wiped(&self) {
        let (mut wire, connect) = self.connect(connack(false));
        assert!(connect.clean_start && connect.session_expiry == 0, "without state of its own");
        closed(&mut wire);
    }

    /// A local client publishes this and has its acknowledgement.
    pub fn publish(&mut self, payload: &str, qos: QoS) {
        self.published += 1;
        let (packet_id, message) = (self.published, Arc::new(Message::new("t", payload.to_owned(), qos)));
        self.publisher.send(&Packet::Publish(Publish::new(message, packet_id)));
        let answer = self.publisher.receive().unwrap();
        match qos {
            QoS::ExactlyOnce => {
                assert_eq!(answer, Packet::Pubrec(Ack::success(packet_id)));
                self.publisher.send(&Packet::Pubrel(Ack::success(packet_id)));
                assert_eq!(self.publisher.receive().unwrap(), Packet::Pubcomp(Ack::success(packet_id)));
            }
            _ => assert_eq!(answer, Packet::Puback(Ack::success(packet_id))),
        }
    }

    /// Everything that was published is delivered or set aside, and nothing is left.
    pub fn is_done(&self, quarantined: u64) {
        self.bridge.until_metric("messages_delivered_total", u64::from(self.published) - quarantined);
        for (name, value) in [("queued", 0), ("in_flight", 0), ("quarantined", quarantined), ("dropped_total", 0)] {
            assert_eq!(self.bridge.metric(&format!("messages_{name}")), value, "{name}");
        }
    }
}

/// The next packet, which must be a PUBLISH: payload, Packet Identifier, DUP, QoS.
pub fn published(wire: &mut Wire) -> (String, u16, bool, QoS) {
    match wire.receive().unwrap() {
        Packet::Publish(publish) => {
            let payload = String::from_utf8(publish.message.payload.to_vec()).unwrap();
            (payload, publish.packet_id, publish.dup, publish.qos)
        }
        other => panic!("{other:?} instead of PUBLISH"),
    }
}

/// What a PUBLISH at QoS 1 that comes next is named, once it is acknowledged.
pub fn acknowledge(wire: &mut Wire) -> String {
    let (payload, packet_id, _, qos) = published(wire);
    assert_eq!(qos, QoS::AtLeastOnce);
    wire.send(&Packet::Puback(Ack::success(packet_id)));
    wire.flush().unwrap();
    payload
}

/// The rest of an exchange at QoS 2 whose PUBLISH has come.
pub fn complete(wire: &mut Wire, packet_id: u16) {
    wire.send(&Packet::Pubrec(Ack::success(packet_id)));
    assert_eq!(wire.receive().unwrap(), Packet::Pubrel(Ack::success(packet_id)));
    wire.send(&Packet::Pubcomp(Ack::success(packet_id)));
    wire.flush().unwrap();
}

/// The bridge closes this connection, whatever it says before.
pub fn closed(wire: &mut Wire) {
    loop {
        match wire.receive() {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
                return;
            }
        }
    }
}
