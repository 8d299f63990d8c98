//! A remote that is killed may lose what it acknowledged, so what the bridge did is judged by what passed on the wire.
use std::collections::{HashMap, HashSet};
use std::path::Path;

use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Packet, Publish};

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
    /// Completed by a PUBCOMP of a session that had not seen the PUBREC: the remote lost the session, and the bridge was
    /// killed before it had committed what it was told about that.
    pub across_sessions: usize,
    exchanges: HashMap<u16, Exchange>,
    /// Received in a session that the remote has lost, and not published again since.
    former: HashMap<u16, Exchange>,
    /// The connection that packets count for: those of an older one are late.
    current: u32,
    /// Whether it began with Session Present 0.
    is_new_session: bool,
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
        if connection < self.current {
            return;
        }
        match (&passed.packet, passed.from_bridge) {
            (Packet::Connack(connack), false) if !connack.reason.is_failure() => {
                self.current = connection;
                self.is_new_session = !connack.session_present;
                self.connections += 1;
                if !connack.session_present {
                    self.sessions_lost += u32::from(!self.exchanges.is_empty());
                    let lost = std::mem::take(&mut self.exchanges).into_iter();
                    self.former.extend(lost.filter(|(_, exchange)| exchange.received));
                }
            }
            (Packet::Publish(publish), true) => self.publish(publish, connection),
            (Packet::Puback(ack), false) => {
                let of = |exchange: &&Exchange| exchange.qos == QoS::AtLeastOnce && exchange.connection == connection;
                if self.exchanges.get(&ack.packet_id).filter(of).is_some() && !ack.reason.is_failure() {
                    let exchange = self.exchanges.remove(&ack.packet_id).unwrap();
                    self.acknowledged.insert(exchange.id);
                }
            }
            (Packet::Pubrec(ack), false) => {
                if let Some(exchange) = self.exchanges.get_mut(&ack.packet_id) {
                    exchange.received |= !ack.reason.is_failure();
                }
            }
            (Packet::Pubrel(ack), true) => match self.exchanges.get_mut(&ack.packet_id) {
                Some(exchange) if exchange.received => exchange.released = true,
                None => match self.former.get_mut(&ack.packet_id) {
                    Some(former) if self.is_new_session => {
                        let what = format!("PUBREL {} of {:?} after Session Present 0", ack.packet_id, former.id);
                        self.violations.push(what);
                    }
                    Some(former) => former.released = true,
                    // Completed: its PUBCOMP did not reach a bridge that was killed.
                    None => {}
                },
                Some(exchange) => {
                    let what = format!("PUBREL {} of {:?} without a PUBREC", ack.packet_id, exchange.id);
                    self.violations.push(what);
                }
            },
            (Packet::Pubcomp(ack), false) => {
                if self.exchanges.get(&ack.packet_id).is_some_and(|exchange| exchange.released) {
                    let exchange = self.exchanges.remove(&ack.packet_id).unwrap();
                    self.acknowledged.insert(exchange.id);
                } else if self.former.get(&ack.packet_id).is_some_and(|exchange| exchange.released) {
                    let exchange = self.former.remove(&ack.packet_id).unwrap();
                    self.across_sessions += 1;
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
        self.former.retain(|_, former| former.id != id);
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
            // With Session Present 1 it may have been sent before, as far as a bridge that was killed can know.
            None if publish.dup && self.is_new_session => {
                self.violations.push(format!("DUP on the first PUBLISH of {id:?} in its session"));
            }
            _ => {}
        }
        let exchange = Exchange { id, qos: publish.qos, connection, received: false, released: false };
        self.exchanges.insert(publish.packet_id, exchange);
        let sent = self.exchanges.values().filter(|exchange| exchange.connection == connection).count();
        self.in_flight = self.in_flight.max(sent);
    }
}

/// All that passed of one message, and every CONNACK: for the report of a failure.
pub fn story(passed: &[Passed], wanted: &Id) -> String {
    let (mut lines, mut packet_id) = (String::new(), None);
    for (at, Passed { connection, packet, .. }) in passed.iter().enumerate() {
        let own = match packet {
            Packet::Publish(publish) if id(publish) == *wanted => {
                packet_id = Some(publish.packet_id);
                true
            }
            Packet::Publish(publish) => packet_id == Some(publish.packet_id),
            Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
                packet_id == Some(ack.packet_id)
            }
            Packet::Connack(_) | Packet::Connect(_) => true,
            _ => false,
        };
        if own {
            let mut text = format!("{packet:?}");
            text.truncate(150);
            lines.push_str(&format!("{at} connection {connection}: {text}\n"));
        }
    }
    lines
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

/// The judge itself is judged.
#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_bridge::bridge::message::Message;
    use mqtt_bridge::bridge::wire::{Ack, Connack, ReasonCode};

    /// `connection` and what passed on it.
    fn read(packets: &[(u32, Packet)]) -> Wire {
        let passed = packets.iter().cloned().map(|(connection, packet)| {
            let from_bridge = matches!(packet, Packet::Publish(_) | Packet::Pubrel(_));
            Passed { connection, from_bridge, packet }
        });
        Wire::read(&passed.collect::<Vec<_>>())
    }

    fn connack(present: bool) -> Packet {
        Packet::Connack(Box::new(Connack::new(ReasonCode::SUCCESS, present)))
    }

    fn publish(number: usize, packet_id: u16, dup: bool) -> Packet {
        let message = Message::new("t", number.to_string(), QoS::ExactlyOnce);
        Packet::Publish(Publish { dup, ..Publish::new(message.into(), packet_id) })
    }

    fn ack(packet: fn(Ack) -> Packet) -> Packet {
        packet(Ack::success(1))
    }

    #[test]
    fn what_is_right_is_no_violation_and_counts_at_its_pubcomp() {
        let begun = [(1, connack(false)), (1, publish(0, 1, false)), (2, connack(true)), (2, publish(0, 1, true))];
        let end = [(2, ack(Packet::Pubrec)), (2, ack(Packet::Pubrel))];
        let all: Vec<_> = begun.into_iter().chain(end).collect();
        assert!(read(&all).violations.is_empty() && read(&all).acknowledged.is_empty());
        let all: Vec<_> = all.into_iter().chain([(2, ack(Packet::Pubcomp))]).collect();
        assert_eq!(read(&all).acknowledged, HashSet::from([("t".to_owned(), 0)]));
    }

    #[test]
    fn every_sin_is_seen() {
        let first = || vec![(1, connack(false)), (1, publish(0, 1, false))];
        for (sin, then) in [
            ("without a PUBREC", vec![(1, ack(Packet::Pubrel))]),
            ("given to", vec![(2, connack(true)), (2, publish(1, 1, false))]),
            ("without DUP", vec![(2, connack(true)), (2, publish(0, 1, false))]),
            ("same connection", vec![(1, publish(0, 1, true))]),
            ("after its PUBREL", vec![(1, ack(Packet::Pubrec)), (1, ack(Packet::Pubrel)), (2, publish(0, 1, true))]),
            ("after Session Present 0", vec![(1, ack(Packet::Pubrec)), (2, connack(false)), (2, ack(Packet::Pubrel))]),
            ("DUP on the first", vec![(2, connack(false)), (2, publish(0, 1, true))]),
        ] {
            let wire = read(&first().into_iter().chain(then).collect::<Vec<_>>());
            assert!(matches!(&wire.violations[..], [what] if what.contains(sin)), "{sin}: {:?}", wire.violations);
        }
    }
}
