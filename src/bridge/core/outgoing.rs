//! The sending side towards a local subscriber: its queue, its window, its acknowledgements.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::packet_ids::PacketIds;
use crate::bridge::delivery::Time;
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{Ack, Packet, Publish, ReasonCode, Version};

/// A message on its way to a subscriber. `R` is dropped when the subscriber has it, or will never have it.
#[derive(Debug)]
pub struct Parcel<R> {
    /// The message.
    pub message: Arc<Message>,
    /// The lower of the message's and the subscription's.
    pub qos: QoS,
    /// RETAIN as the subscription wants it.
    pub retain: bool,
    /// Subscription Identifiers of the subscriptions that it matches ([MQTT-3.3.4-3] to [MQTT-3.3.4-5]).
    pub subscription_ids: Vec<u32>,
    /// When its Message Expiry Interval has passed, if it has one.
    pub expires_at: Option<Time>,
    /// Told by being dropped, where somebody waits for that.
    pub receipt: Option<R>,
}

/// The sending side of one connection whose session ends with it.
#[derive(Debug)]
pub struct Outgoing<R> {
    queue: VecDeque<Parcel<R>>,
    ids: PacketIds,
    /// PUBLISH is sent.
    published: HashMap<u16, Parcel<R>>,
    /// PUBREC has come.
    released: HashMap<u16, Option<R>>,
    window: usize,
    maximum_packet_size: usize,
}

impl<R> Outgoing<R> {
    /// For a client with this Receive Maximum and Maximum Packet Size.
    pub fn new(receive_maximum: u16, maximum_packet_size: Option<u32>) -> Self {
        Self {
            queue: VecDeque::new(),
            ids: PacketIds::default(),
            published: HashMap::new(),
            released: HashMap::new(),
            window: usize::from(receive_maximum.max(1)),
            maximum_packet_size: maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize),
        }
    }

    /// A message for the subscriber.
    pub fn push(&mut self, parcel: Parcel<R>) {
        self.queue.push_back(parcel);
    }

    /// Whether nothing waits to be sent.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next packet, if the window allows one. A PUBLISH that has expired, or is larger than the client's Maximum Packet
    /// Size, is discarded as if it had been delivered ([MQTT-3.3.2-5], [MQTT-3.1.2-25]).
    pub fn poll(&mut self, version: Version, now: Time) -> Option<Packet> {
        loop {
            let acknowledged = self.queue.front()?.qos != QoS::AtMostOnce;
            if acknowledged && self.published.len() + self.released.len() >= self.window {
                return None;
            }
            let packet_id = if acknowledged { self.ids.take()? } else { 0 };
            let parcel = self.queue.pop_front()?;
            // Whole seconds, counted up: a message that is sent at once says what it said ([MQTT-3.3.2-6]).
            let left = parcel.expires_at.map(|expires_at| expires_at.saturating_sub(now).as_millis().div_ceil(1000));
            let publish = Publish {
                qos: parcel.qos,
                retain: parcel.retain,
                subscription_ids: parcel.subscription_ids.clone(),
                message_expiry: left.map(|left| left as u32),
                ..Publish::new(parcel.message.clone(), packet_id)
            };
            let has_expired = left == Some(0);
            if has_expired || publish.encoded_len(version) > self.maximum_packet_size {
                self.ids.free(packet_id);
                continue;
            }
            if acknowledged {
                self.published.insert(packet_id, parcel);
            }
            return Some(Packet::Publish(publish));
        }
    }

    /// Whether something is in flight.
    pub fn is_waiting(&self) -> bool {
        !self.published.is_empty() || !self.released.is_empty()
    }

    /// PUBACK.
    pub fn handle_puback(&mut self, ack: Ack) {
        if self.published.get(&ack.packet_id).is_some_and(|parcel| parcel.qos == QoS::AtLeastOnce) {
            self.published.remove(&ack.packet_id);
            self.ids.free(ack.packet_id);
        }
    }

    /// PUBREC; says what to answer.
    pub fn handle_pubrec(&mut self, ack: Ack) -> Option<Packet> {
        if self.published.get(&ack.packet_id).is_none_or(|parcel| parcel.qos != QoS::ExactlyOnce) {
            let known = self.released.contains_key(&ack.packet_id);
            let reason = if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
            return (!ack.reason.is_failure()).then_some(Packet::Pubrel(Ack { packet_id: ack.packet_id, reason }));
        }
        let parcel = self.published.remove(&ack.packet_id)?;
        if ack.reason.is_failure() {
            self.ids.free(ack.packet_id);
            return None;
        }
        self.released.insert(ack.packet_id, parcel.receipt);
        Some(Packet::Pubrel(Ack::success(ack.packet_id)))
    }

    /// PUBCOMP.
    pub fn handle_pubcomp(&mut self, ack: Ack) {
        if self.released.remove(&ack.packet_id).is_some() {
            self.ids.free(ack.packet_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Time = Duration::from_secs(1000);

    fn parcel(qos: QoS, receipt: &Arc<()>) -> Parcel<Arc<()>> {
        let message = Arc::new(Message::new("t", "x", qos));
        let receipt = Some(receipt.clone());
        Parcel { message, qos, retain: false, subscription_ids: Vec::new(), expires_at: None, receipt }
    }

    #[test]
    fn a_receipt_is_held_until_the_subscriber_has_the_message() {
        let receipt = Arc::new(());
        let mut outgoing = Outgoing::new(10, None);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            outgoing.push(parcel(qos, &receipt));
        }
        while outgoing.poll(Version::V5, NOW).is_some() {}
        assert_eq!(Arc::strong_count(&receipt), 3);
        outgoing.handle_puback(Ack::success(1));
        outgoing.handle_puback(Ack::success(2));
        assert_eq!(Arc::strong_count(&receipt), 2, "QoS 2 is not completed by a PUBACK");
        assert_eq!(outgoing.handle_pubrec(Ack::success(2)), Some(Packet::Pubrel(Ack::success(2))));
        outgoing.handle_pubcomp(Ack::success(2));
        assert_eq!(Arc::strong_count(&receipt), 1);
    }

    #[test]
    fn the_window_of_the_subscriber_is_kept() {
        let receipt = Arc::new(());
        let mut outgoing = Outgoing::new(1, None);
        outgoing.push(parcel(QoS::AtLeastOnce, &receipt));
        outgoing.push(parcel(QoS::AtLeastOnce, &receipt));
        assert!(outgoing.poll(Version::V5, NOW).is_some());
        assert!(outgoing.poll(Version::V5, NOW).is_none());
        outgoing.handle_puback(Ack::success(1));
        assert!(outgoing.poll(Version::V5, NOW).is_some());
    }

    #[test]
    fn what_is_too_large_for_the_subscriber_is_discarded() {
        let receipt = Arc::new(());
        let mut outgoing = Outgoing::new(10, Some(5));
        outgoing.push(parcel(QoS::AtLeastOnce, &receipt));
        assert!(outgoing.poll(Version::V5, NOW).is_none());
        assert_eq!(Arc::strong_count(&receipt), 1);
    }
}
