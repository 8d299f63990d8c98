//! A publisher and subscribers that go on where their last connection ended, as the specification wants it.
use std::collections::BTreeSet;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscribe, Subscription, Version};

use crate::common::wire::Wire;

/// What the last message says.
pub const END: u32 = u32::MAX;

pub fn kept(client_id: &str) -> Connect {
    Connect { clean_start: false, session_expiry: 3600, ..Connect::new(Version::V5, client_id) }
}

pub fn subscription(filter: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: filter.to_owned(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    }
}

/// Publishes numbers, odd ones at QoS 1 and even ones at QoS 2, one after the other.
#[derive(Default)]
pub struct Publisher {
    number: u32,
    /// The current one's PUBLISH was sent, and its PUBREC has come.
    begun: bool,
    released: bool,
    /// Numbers that were acknowledged.
    pub acknowledged: BTreeSet<u32>,
}

impl Publisher {
    /// Publishes so many more on one connection.
    pub fn publish(&mut self, address: SocketAddr, more: u32, patience: Duration) -> Result<()> {
        let (mut wire, connack) = Wire::connect(address, kept("publisher"), patience)?;
        if !connack.session_present {
            self.released = false;
        }
        for _ in 0..more {
            if !self.begun {
                self.number += 1;
            }
            self.one(&mut wire, self.number)?;
        }
        Ok(())
    }

    pub fn end(&mut self, address: SocketAddr, patience: Duration) -> Result<()> {
        let (mut wire, _) = Wire::connect(address, kept("publisher"), patience)?;
        if self.begun {
            self.one(&mut wire, self.number)?;
        }
        self.one(&mut wire, END)
    }

    fn one(&mut self, wire: &mut Wire, number: u32) -> Result<()> {
        let qos = if number % 2 == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let packet_id = (number % 60_000) as u16 + 1;
        if !self.released {
            let message = Message::new("up/t", number.to_string(), qos);
            let dup = std::mem::replace(&mut self.begun, true);
            wire.send(&Packet::Publish(Publish { dup, ..Publish::new(Arc::new(message), packet_id) }));
        }
        loop {
            if self.released {
                wire.send(&Packet::Pubrel(Ack::success(packet_id)));
            }
            match wire.receive()? {
                Packet::Pubrec(ack) if ack.packet_id == packet_id => {
                    assert!(!ack.reason.is_failure());
                    // PUBREC is the promise.
                    self.acknowledged.insert(number);
                    self.released = true;
                }
                Packet::Puback(ack) | Packet::Pubcomp(ack) if ack.packet_id == packet_id => break,
                other => panic!("{other:?}"),
            }
        }
        (self.begun, self.released) = (false, false);
        self.acknowledged.insert(number);
        Ok(())
    }
}

/// A subscriber whose session is kept, with what QoS 2 asks of a receiver.
pub struct Subscriber {
    client_id: &'static str,
    qos: QoS,
    subscribed: bool,
    unreleased: BTreeSet<u16>,
    /// In order of arrival, without what DUP and Packet Identifier say is a repetition.
    pub received: Vec<u32>,
}

impl Subscriber {
    pub fn new(client_id: &'static str, qos: QoS) -> Self {
        Self { client_id, qos, subscribed: false, unreleased: BTreeSet::new(), received: Vec::new() }
    }

    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Receives on one connection, until it ends or the last message has come.
    pub fn receive(&mut self, address: SocketAddr, patience: Duration) -> Result<()> {
        let (mut wire, _) = self.connect(address, patience)?;
        loop {
            match wire.receive()? {
                Packet::Publish(publish) => {
                    let number = std::str::from_utf8(&publish.message.payload).unwrap().parse().unwrap();
                    let id = publish.packet_id;
                    let is_new = publish.qos != QoS::ExactlyOnce || self.unreleased.insert(id);
                    if is_new {
                        self.received.push(number);
                    }
                    match publish.qos {
                        QoS::ExactlyOnce => wire.send(&Packet::Pubrec(Ack::success(id))),
                        _ => wire.send(&Packet::Puback(Ack::success(id))),
                    }
                    if number == END {
                        return wire.flush();
                    }
                }
                Packet::Pubrel(ack) => {
                    self.unreleased.remove(&ack.packet_id);
                    wire.send(&Packet::Pubcomp(Ack::success(ack.packet_id)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Connects, and subscribes the first time.
    pub fn connect(&mut self, address: SocketAddr, patience: Duration) -> Result<(Wire, bool)> {
        let (mut wire, connack) = Wire::connect(address, kept(self.client_id), patience)?;
        assert!(connack.session_present || !self.subscribed, "{}: its session is lost", self.client_id);
        if !self.subscribed {
            let filters = vec![subscription("up/#", self.qos)];
            wire.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters, identifier: None }));
            assert!(matches!(wire.receive()?, Packet::Suback(_)));
            self.subscribed = true;
        }
        Ok((wire, connack.session_present))
    }
}

/// Whether an error is the end of a connection, and not of somebody's patience.
pub fn is_end(error: &std::io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
