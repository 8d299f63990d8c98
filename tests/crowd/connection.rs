//! A client's connection in tokio, packet by packet.
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Connect, Decoder, Packet, Subscribe, Subscription, Version, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    version: Version,
    input: BytesMut,
}

impl Connection {
    /// Connects with a session that is kept; whether it was there.
    pub(crate) async fn open(address: SocketAddr, version: Version, client_id: &str) -> (Self, bool) {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection =
            Self { stream, decoder: Decoder::client(version, 1 << 20), version, input: BytesMut::new() };
        let connect = Connect {
            clean_start: false,
            session_expiry: u32::MAX,
            receive_maximum: 100,
            ..Connect::new(version, client_id)
        };
        connection.send(&Packet::Connect(Box::new(connect))).await;
        match connection.receive().await {
            Packet::Connack(connack) => {
                assert!(!connack.reason.is_failure(), "{client_id}: {:?}", connack.reason);
                (connection, connack.session_present)
            }
            other => panic!("{} instead of CONNACK", other.name()),
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) {
        let filter = filter.to_owned();
        let wanted = Subscription {
            filter,
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
            identifier: None,
        };
        self.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![wanted], identifier: None })).await;
        assert!(matches!(self.receive().await, Packet::Suback(suback) if !suback.reasons[0].is_failure()));
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet. What is read of one is kept where this is dropped.
    pub(crate) async fn receive(&mut self) -> Packet {
        loop {
            let mut input = &self.input[..];
            let packet = self.decoder.decode(&mut input).unwrap();
            let taken = self.input.len() - input.len();
            self.input.advance(taken);
            if let Some(packet) = packet {
                return packet;
            }
            assert!(self.stream.read_buf(&mut self.input).await.unwrap() > 0, "the connection was closed");
        }
    }
}
