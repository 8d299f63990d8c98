//! The sending side of a session that is kept: from its ring to its client, with every step committed as a bridge's are.
//!
//! QoS 2 is sent once its Packet Identifier is committed, and PUBREL once its PUBREC is. At QoS 1 the identifiers are
//! committed when the connection ends, so that the next one can send again under them ([MQTT-4.4.0-1]); after a crash what
//! was not acknowledged is sent under new ones.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::packet_ids::PacketIds;
use super::ring::{Near, Ring};
use crate::bridge::delivery::{
    BridgeId, Delivery, DropReason, Held, HeldPhase, Kept, Outcome, Progress, Seq, Time, Write,
};
use crate::bridge::message::QoS;
use crate::bridge::wire::{Ack, Packet, Publish, ReasonCode, Version};

/// Messages that may be in flight to one client, and their bytes (one message may exceed these alone).
const WINDOW: u16 = 100;
const WINDOW_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its PUBLISH is sent; for QoS 2 once that has been committed.
    Sent,
    /// Its PUBREC has come; PUBREL is sent once that has been committed.
    Released,
}

#[derive(Debug)]
struct Flight {
    seq: Seq,
    qos: QoS,
    bytes: usize,
    /// Nothing but memory keeps it.
    volatile: bool,
    phase: Phase,
    /// Its PUBLISH has been sent on this connection.
    sent: bool,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Send it.
    Send(Packet),
    /// Commit it, and then answer with [`SessionQueue::handle_committed`] if there is a Packet Identifier.
    Commit(Write, Option<u16>),
}

/// Of one connection.
#[derive(Debug)]
pub struct SessionQueue {
    queue: BridgeId,
    ids: PacketIds,
    flights: BTreeMap<u16, Flight>,
    bytes: usize,
    /// Of PUBRECs.
    order: i64,
    window: usize,
    maximum_packet_size: usize,
    /// Taken from the ring and not sent, in order: whether it may be sent, or waits for its commit.
    line: VecDeque<(Publish, bool)>,
    /// What was in flight when the session's last connection ended, in the order in which it is sent again: PUBRELs, then
    /// PUBLISHes with their place in the order of arrival.
    again: VecDeque<(Option<Seq>, Packet)>,
}

impl SessionQueue {
    /// A connection of a client with this Receive Maximum and Maximum Packet Size; `held` is what had Packet Identifiers.
    pub fn new(
        queue: BridgeId,
        mut held: Vec<Held>,
        receive_maximum: u16,
        maximum_packet_size: Option<u32>,
        now: Time,
    ) -> Self {
        let mut session = Self {
            queue,
            ids: PacketIds::default(),
            flights: BTreeMap::new(),
            bytes: 0,
            order: 0,
            window: receive_maximum.clamp(1, WINDOW).into(),
            maximum_packet_size: maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize),
            line: VecDeque::new(),
            again: VecDeque::new(),
        };
        held.sort_by_key(|held| match held.phase {
            HeldPhase::Released(order) => (0, order),
            HeldPhase::Sent => (1, held.delivery.seq.0),
        });
        for Held { delivery, packet_id, phase } in held {
            session.ids.reserve(packet_id);
            let (phase, again) = match phase {
                HeldPhase::Released(order) => {
                    session.order = session.order.max(order);
                    (Phase::Released, (None, Packet::Pubrel(Ack::success(packet_id))))
                }
                HeldPhase::Sent => {
                    // It was sent before it expired.
                    let left = remaining(&delivery, now).map(|left| left.max(1));
                    let publish = Publish { dup: true, ..publish(&delivery, packet_id, left) };
                    (Phase::Sent, (Some(delivery.seq), Packet::Publish(publish)))
                }
            };
            session.again.push_back(again);
            session.fly(packet_id, &delivery, phase, true);
        }
        session
    }

    fn fly(&mut self, packet_id: u16, delivery: &Delivery, phase: Phase, sent: bool) {
        let bytes = delivery.message.size();
        self.bytes += bytes;
        let volatile = delivery.kept == Kept::Volatile;
        self.flights.insert(packet_id, Flight { seq: delivery.seq, qos: delivery.qos, bytes, volatile, phase, sent });
    }

    /// Whether something is in flight.
    pub fn is_waiting(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Takes from the ring as long as the window allows it.
    pub fn pump(&mut self, ring: &mut Ring, version: Version, now: Time) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        // Above a smaller Receive Maximum than that of the last connection they wait for its acknowledgements.
        while self.flights.len() - self.again.len() < self.window
            && let Some((seq, _)) = self.again.front()
        {
            // A crash takes the identifiers of QoS 1: what had them stands before what still has one.
            match (seq, ring.near()) {
                (Some(_), Near::Unread) => break,
                (Some(seq), Near::Delivery(older)) if older < *seq => {
                    let Some(delivery) = ring.take() else { break };
                    self.send(delivery, version, now, &mut steps);
                }
                _ => match self.again.pop_front() {
                    Some((_, Packet::Publish(publish))) => {
                        self.line.push_back((publish, true));
                        steps.extend(self.advance().map(Step::Send));
                    }
                    pubrel => steps.extend(pubrel.map(|(_, packet)| Step::Send(packet))),
                },
            }
        }
        while self.again.is_empty() && self.flights.len() < self.window && self.bytes < WINDOW_BYTES {
            let Some(delivery) = ring.take() else { break };
            self.send(delivery, version, now, &mut steps);
        }
        steps
    }

    fn send(&mut self, delivery: Delivery, version: Version, now: Time, steps: &mut Vec<Step>) {
        let left = remaining(&delivery, now);
        if left == Some(0) {
            return self.remove(&delivery, Outcome::Dropped(DropReason::Expired), steps);
        }
        let packet_id = match delivery.qos {
            QoS::AtMostOnce => Some(0),
            // There are more of them than the window holds.
            _ => self.ids.take(),
        };
        let Some(packet_id) = packet_id else { return };
        let publish = publish(&delivery, packet_id, left);
        if publish.encoded_len(version) > self.maximum_packet_size {
            self.ids.free(packet_id);
            // As if it had been sent ([MQTT-3.1.2-25]).
            return self.remove(&delivery, Outcome::Delivered, steps);
        }
        let waits = delivery.qos == QoS::ExactlyOnce && delivery.kept != Kept::Volatile;
        if delivery.qos == QoS::AtMostOnce {
            self.remove(&delivery, Outcome::Delivered, steps);
        } else {
            self.fly(packet_id, &delivery, Phase::Sent, false);
        }
        if waits {
            steps.push(self.step(delivery.seq, Progress::Sent { packet_id }, Some(packet_id)));
        }
        // Whatever waits holds up what is behind it: the order is that of arrival at every QoS.
        self.line.push_back((publish, !waits));
        steps.extend(self.advance().map(Step::Send));
    }

    fn advance(&mut self) -> impl Iterator<Item = Packet> {
        let ready = self.line.iter().take_while(|(_, may_go)| *may_go).count();
        for (publish, _) in self.line.iter().take(ready) {
            if let Some(flight) = self.flights.get_mut(&publish.packet_id) {
                flight.sent = true;
            }
        }
        self.line.drain(..ready).map(|(publish, _)| Packet::Publish(publish))
    }

    fn step(&self, seq: Seq, step: Progress, then: Option<u16>) -> Step {
        Step::Commit(Write::Progress { bridge: self.queue, seq, step }, then)
    }

    fn remove(&self, delivery: &Delivery, outcome: Outcome, steps: &mut Vec<Step>) {
        if delivery.kept != Kept::Volatile {
            steps.push(self.step(delivery.seq, Progress::Removed(outcome), None));
        }
    }

    /// What was to be committed for a Packet Identifier is; says what to send.
    pub fn handle_committed(&mut self, packet_id: u16) -> Vec<Packet> {
        if self.flights.get(&packet_id).is_some_and(|flight| flight.phase == Phase::Released) {
            return vec![Packet::Pubrel(Ack::success(packet_id))];
        }
        for (publish, may_go) in &mut self.line {
            *may_go |= publish.packet_id == packet_id;
        }
        self.advance().collect()
    }

    /// PUBACK.
    pub fn handle_puback(&mut self, ack: Ack) -> Option<Step> {
        let flight = self.flights.get(&ack.packet_id)?;
        (flight.qos == QoS::AtLeastOnce && flight.sent).then(|| self.done(ack.packet_id)).flatten()
    }

    /// PUBREC.
    pub fn handle_pubrec(&mut self, ack: Ack) -> Option<Step> {
        let sent = |flight: &&mut Flight| flight.qos == QoS::ExactlyOnce && flight.sent;
        let Some(flight) = self.flights.get_mut(&ack.packet_id).filter(sent) else {
            let packet = Ack { packet_id: ack.packet_id, reason: ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
            return (!ack.reason.is_failure()).then_some(Step::Send(Packet::Pubrel(packet)));
        };
        let pubrel = Step::Send(Packet::Pubrel(Ack::success(ack.packet_id)));
        match flight.phase {
            Phase::Released => Some(pubrel),
            // It has the message, or will never take it: that is the end of it.
            Phase::Sent if ack.reason.is_failure() => self.done(ack.packet_id),
            Phase::Sent => {
                flight.phase = Phase::Released;
                if flight.volatile {
                    return Some(pubrel);
                }
                self.order += 1;
                let seq = flight.seq;
                Some(self.step(seq, Progress::Released { order: self.order }, Some(ack.packet_id)))
            }
        }
    }

    /// PUBCOMP.
    pub fn handle_pubcomp(&mut self, ack: Ack) -> Option<Step> {
        let flight = self.flights.get(&ack.packet_id)?;
        (flight.phase == Phase::Released).then(|| self.done(ack.packet_id)).flatten()
    }

    /// The client has a message. Its identifier is taken again only by a write behind this one.
    fn done(&mut self, packet_id: u16) -> Option<Step> {
        let flight = self.flights.remove(&packet_id)?;
        self.ids.free(packet_id);
        self.bytes -= flight.bytes;
        (!flight.volatile).then(|| self.step(flight.seq, Progress::Removed(Outcome::Delivered), None))
    }

    /// The connection has ended: what is to be kept of QoS 1.
    pub fn leave(&self) -> Vec<Write> {
        let sent = |flight: &Flight| flight.qos == QoS::AtLeastOnce && flight.sent && !flight.volatile;
        let kept = self.flights.iter().filter(|(_, flight)| sent(flight));
        let sent = kept.map(|(packet_id, flight)| Write::Progress {
            bridge: self.queue,
            seq: flight.seq,
            step: Progress::Sent { packet_id: *packet_id },
        });
        sent.collect()
    }
}

fn publish(delivery: &Delivery, packet_id: u16, message_expiry: Option<u32>) -> Publish {
    Publish {
        qos: delivery.qos,
        retain: delivery.retain,
        topic: delivery.topic.clone(),
        subscription_ids: delivery.identifiers.as_deref().unwrap_or_default().to_vec(),
        message_expiry,
        ..Publish::new(delivery.message.clone(), packet_id)
    }
}

/// What is left of the Message Expiry Interval, in seconds ([MQTT-3.3.2-6]).
fn remaining(delivery: &Delivery, now: Time) -> Option<u32> {
    let expiry = delivery.message.properties.message_expiry?;
    Some(left(expiry, now.saturating_sub(delivery.received_at)))
}

/// The same of a message that has waited for so long.
pub fn left(expiry: u32, waited: Duration) -> u32 {
    expiry.saturating_sub(u32::try_from(waited.as_secs()).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[path = "session_queue/tests.rs"]
mod tests;
