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
    /// Told by being dropped.
    pub receipt: R,
}

/// A message that waits; under its Packet Identifier where it was in flight on an earlier connection.
#[derive(Debug)]
struct Waiting<R> {
    parcel: Parcel<R>,
    packet_id: u16,
}

/// The sending side of one session, which outlives its connection where the session does.
#[derive(Debug)]
pub struct Outgoing<R> {
    queue: VecDeque<Waiting<R>>,
    ids: PacketIds,
    /// PUBLISH is sent, as the n-th.
    published: HashMap<u16, (u64, Parcel<R>)>,
    /// PUBREC has come, as the n-th.
    released: HashMap<u16, (u64, R)>,
    /// PUBRELs to be sent again.
    again: VecDeque<u16>,
    order: u64,
    window: usize,
    maximum_packet_size: usize,
}

impl<R> Outgoing<R> {
    /// For a client with this Receive Maximum and Maximum Packet Size.
    pub fn new(receive_maximum: u16, maximum_packet_size: Option<u32>) -> Self {
        let mut outgoing = Self {
            queue: VecDeque::new(),
            ids: PacketIds::default(),
            published: HashMap::new(),
            released: HashMap::new(),
            again: VecDeque::new(),
            order: 0,
            window: 0,
            maximum_packet_size: 0,
        };
        outgoing.resume(receive_maximum, maximum_packet_size);
        outgoing
    }

    /// A new connection of the same session: what was in flight is sent again, in its order ([MQTT-4.4.0-1]).
    pub fn resume(&mut self, receive_maximum: u16, maximum_packet_size: Option<u32>) {
        self.window = usize::from(receive_maximum.max(1));
        self.maximum_packet_size = maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize);
        let mut published: Vec<_> = self.published.drain().collect();
        published.sort_by_key(|(_, (order, _))| std::cmp::Reverse(*order));
        for (packet_id, (_, parcel)) in published {
            self.queue.push_front(Waiting { parcel, packet_id });
        }
        let mut released: Vec<_> = self.released.iter().map(|(packet_id, (order, _))| (*order, *packet_id)).collect();
        released.sort_unstable();
        self.again = released.into_iter().map(|(_, packet_id)| packet_id).collect();
    }

    /// The client is away: QoS 0 is not kept for it, and `forsake` is shown every receipt that is.
    pub fn detach(&mut self, mut forsake: impl FnMut(&mut R)) {
        self.queue.retain(|waiting| waiting.parcel.qos != QoS::AtMostOnce);
        self.queue.iter_mut().for_each(|waiting| forsake(&mut waiting.parcel.receipt));
        self.published.values_mut().for_each(|(_, parcel)| forsake(&mut parcel.receipt));
        self.released.values_mut().for_each(|(_, receipt)| forsake(receipt));
    }

    /// A message for the subscriber.
    pub fn push(&mut self, parcel: Parcel<R>) {
        self.queue.push_back(Waiting { parcel, packet_id: 0 });
    }

    /// The next packet, if the window allows one. A PUBLISH that is larger than the client's Maximum Packet Size is
    /// discarded as if it had been delivered ([MQTT-3.1.2-25]); so is one that has expired before it was first sent
    /// ([MQTT-3.3.2-5]).
    pub fn poll(&mut self, version: Version, now: Time) -> Option<Packet> {
        if let Some(packet_id) = self.again.pop_front() {
            return Some(Packet::Pubrel(Ack::success(packet_id)));
        }
        loop {
            let acknowledged = self.queue.front()?.parcel.qos != QoS::AtMostOnce;
            if acknowledged && self.published.len() + self.released.len() >= self.window {
                return None;
            }
            let Waiting { parcel, packet_id: former } = self.queue.pop_front()?;
            let left = parcel.expires_at.map(|expires_at| expires_at.saturating_sub(now));
            if former == 0 && left.is_some_and(|left| left.is_zero()) {
                continue;
            }
            let packet_id = match former {
                0 if acknowledged => match self.ids.take() {
                    Some(packet_id) => packet_id,
                    None => {
                        self.queue.push_front(Waiting { parcel, packet_id: 0 });
                        return None;
                    }
                },
                former => former,
            };
            let publish = Publish {
                dup: former != 0,
                qos: parcel.qos,
                retain: parcel.retain,
                subscription_ids: parcel.subscription_ids.clone(),
                // Whole seconds, counted up: a message that is sent at once says what it said ([MQTT-3.3.2-6]).
                message_expiry: left.map(|left| left.as_millis().div_ceil(1000) as u32),
                ..Publish::new(parcel.message.clone(), packet_id)
            };
            if publish.encoded_len(version) > self.maximum_packet_size {
                self.ids.free(packet_id);
                continue;
            }
            if acknowledged {
                self.order += 1;
                self.published.insert(packet_id, (self.order, parcel));
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
        if self.published.get(&ack.packet_id).is_some_and(|(_, parcel)| parcel.qos == QoS::AtLeastOnce) {
            self.published.remove(&ack.packet_id);
            self.ids.free(ack.packet_id);
        }
    }

    /// PUBREC; says what to answer.
    pub fn handle_pubrec(&mut self, ack: Ack) -> Option<Packet> {
        if self.published.get(&ack.packet_id).is_none_or(|(_, parcel)| parcel.qos != QoS::ExactlyOnce) {
            let known = self.released.contains_key(&ack.packet_id);
            let reason = if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
            return (!ack.reason.is_failure()).then_some(Packet::Pubrel(Ack { packet_id: ack.packet_id, reason }));
        }
        let (_, parcel) = self.published.remove(&ack.packet_id)?;
        if ack.reason.is_failure() {
            self.ids.free(ack.packet_id);
            return None;
        }
        self.order += 1;
        self.released.insert(ack.packet_id, (self.order, parcel.receipt));
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
        Parcel { message, qos, retain: false, subscription_ids: Vec::new(), expires_at: None, receipt: receipt.clone() }
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

    #[test]
    fn a_session_goes_on_where_its_last_connection_ended() {
        let receipt = Arc::new(());
        let mut outgoing = Outgoing::new(10, None);
        for qos in [QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            outgoing.push(parcel(qos, &receipt));
        }
        while outgoing.poll(Version::V5, NOW).is_some() {}
        outgoing.handle_pubrec(Ack::success(1));
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            outgoing.push(parcel(qos, &receipt));
        }
        let mut kept = 0;
        outgoing.detach(|_| kept += 1);
        assert_eq!(kept, 4, "QoS 0 is not kept");
        outgoing.resume(10, None);
        let packets: Vec<Packet> = std::iter::from_fn(|| outgoing.poll(Version::V5, NOW)).collect();
        assert_eq!(packets[0], Packet::Pubrel(Ack::success(1)));
        let again: Vec<(u16, bool)> = packets[1..]
            .iter()
            .map(|packet| match packet {
                Packet::Publish(publish) => (publish.packet_id, publish.dup),
                other => unreachable!("{other:?}"),
            })
            .collect();
        assert_eq!(again, [(2, true), (3, true), (4, false)]);
    }
}
