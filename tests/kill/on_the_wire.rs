//! A remote that is killed may lose what it acknowledged, so what the bridge did is judged by what passed on the wire.
use std::collections::{HashMap, HashSet};
use std::path::Path;

use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Packet, Publish};

use crate::publisher::Said;
use crate::receiver::number;
use crate::relay::Passed;

pub type Id = (String, usize);

#[derive(Debug)]
struct Exchange {
    id: Id,
    qos: QoS,
    /// On which connection it was sent last, and whether it has its PUBREC.
    connection: u32,
    received: bool,
    released: bool,
}

/// What the remote said that it has, and how the bridge broke the protocol.
#[derive(Debug, Default)]
pub struct Wire {
    pub acknowledged: HashSet<Id>,
    pub violations: Vec<String>,
    pub connections: u32,
    pub sessions_lost: u32,
    pub published: usize,
    pub repeated: usize,
    /// PUBLISHes at a time on one connection, at most.
    pub in_flight: usize,
    exchanges: HashMap<u16, Exchange>,
    /// The connection that packets count for: those of an older one are late.
    current: u32,
}

fn id(publish: &Publish) -> Id {
    (publish.topic.to_string(), number(&publish.message.payload))
}

impl Wire {
    pub fn read(passed: &[Passed]) -> Self {
        let mut wire = Self::default();
        for packet in passed {
            wire.packet(packet);
        }
        wire
    }

    fn packet(&mut self, passed: &Passed) {
        let connection = passed.connection;
        match (&passed.packet, passed.from_bridge) {
            (Packet::Connack(connack), false) if !connack.reason.is_failure() => {
                self.current = connection;
                self.connections += 1;
                if !connack.session_present {
                    self.sessions_lost += u32::from(!self.exchanges.is_empty());
                    self.exchanges.clear();
                }
            }
            (Packet::Publish(publish), true) => self.publish(publish, connection),
            (Packet::Puback(ack), false) if connection == self.current => {
                let of = |exchange: &&Exchange| exchange.qos == QoS::AtLeastOnce && exchange.connection == connection;
                if self.exchanges.get(&ack.packet_id).filter(of).is_some() && !ack.reason.is_failure() {
                    let exchange = self.exchanges.remove(&ack.packet_id).unwrap();
                    self.acknowledged.insert(exchange.id);
                }
            }
            (Packet::Pubrec(ack), false) if connection == self.current => {
                if let Some(exchange) = self.exchanges.get_mut(&ack.packet_id) {
                    exchange.received |= !ack.reason.is_failure();
                }
            }
            (Packet::Pubrel(ack), true) => match self.exchanges.get_mut(&ack.packet_id) {
                Some(exchange) if exchange.received => exchange.released = true,
                // Completed: its PUBCOMP did not reach a bridge that was killed.
                None => {}
                Some(exchange) => {
                    let what = format!("PUBREL {} of {:?} without a PUBREC", ack.packet_id, exchange.id);
                    self.violations.push(what);
                }
            },
            (Packet::Pubcomp(ack), false) if connection == self.current => {
                if self.exchanges.get(&ack.packet_id).is_some_and(|exchange| exchange.released) {
                    let exchange = self.exchanges.remove(&ack.packet_id).unwrap();
                    self.acknowledged.insert(exchange.id);
                }
            }
            _ => {}
        }
    }

    fn publish(&mut self, publish: &Publish, connection: u32) {
        self.published += 1;
        self.repeated += usize::from(publish.dup);
        let id = id(publish);
        let known = self.exchanges.get(&publish.packet_id);
        match known {
            // A bridge that was killed does not know its QoS 1 identifiers any more.
            Some(known) if known.qos == QoS::ExactlyOnce && known.id != id => {
                let what = format!("{} is {:?} and given to {id:?}", publish.packet_id, known.id);
                self.violations.push(what);
            }
            Some(known) if known.qos == QoS::ExactlyOnce && !publish.dup => {
                self.violations.push(format!("{} of {id:?} again without DUP", publish.packet_id));
            }
            Some(known) if known.connection == connection => {
                self.violations.push(format!("{} of {id:?} again on the same connection", publish.packet_id));
            }
            Some(known) if known.released => {
                self.violations.push(format!("{} of {id:?} published again after its PUBREL", publish.packet_id));
            }
            None if publish.dup && self.acknowledged.contains(&id) => {
                // Its PUBACK did not reach the bridge.
            }
            None if publish.dup => self.violations.push(format!("DUP on the first PUBLISH of {id:?} in its session")),
            _ => {}
        }
        let exchange = Exchange { id, qos: publish.qos, connection, received: false, released: false };
        self.exchanges.insert(publish.packet_id, exchange);
        let sent = self.exchanges.values().filter(|exchange| exchange.connection == connection).count();
        self.in_flight = self.in_flight.max(sent);
    }
}

/// What a cache still has, read from a copy: to look must not change what the next start finds.
pub fn cached(cache: &Path) -> HashSet<Id> {
    let copy = tempfile::tempdir().unwrap();
    let at = copy.path().join("cache.db");
    std::fs::copy(cache, &at).unwrap();
    let beside = |path: &Path| Path::new(&format!("{}-wal", path.display())).to_owned();
    if beside(cache).exists() {
        std::fs::copy(beside(cache), beside(&at)).unwrap();
    }
    let connection = rusqlite::Connection::open(&at).unwrap();
    let mut statement = connection
        .prepare("SELECT m.topic, m.payload FROM message m JOIN delivery d USING (seq) WHERE d.state <> 3")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, number(&row.get::<_, Vec<u8>>(1)?)))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// What was acknowledged to publishers.
pub fn accepted(said: &[Said]) -> HashSet<Id> {
    let of = |said: &Said, index: usize| -> Vec<Id> {
        let topic = format!("up/{}/{}", said.name, index + 1);
        let numbers = said.acknowledged[index].iter().enumerate().filter(|(_, cycle)| cycle.is_some());
        numbers.map(|(number, _)| (topic.clone(), number)).collect()
    };
    said.iter().flat_map(|said| (0..2).flat_map(move |index| of(said, index))).collect()
}
