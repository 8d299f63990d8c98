//! The packets that come by the million, read where they lie: a PUBLISH without properties, and acknowledgements without
//! a Reason Code. Whatever is in the least unusual is left to the codec, which also says what is wrong with it.
use std::sync::Arc;

use bytes::Bytes;

use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::topic;
use crate::bridge::wire::{Ack, Packet, Publish, Version, frame};

/// Reads plain packets of one connection.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The Topic Name seen last: most clients publish to few.
    topic: Option<Arc<str>>,
}

impl Plain {
    /// The packet at the front of `input`, and its length.
    pub(super) fn decode(&mut self, input: &[u8], version: Version, maximum: usize) -> Option<(Packet, usize)> {
        let (&first, rest) = input.split_first()?;
        let (remaining, digits) = length(rest)?;
        let whole = 1 + digits + remaining;
        let body = input.get(1 + digits..whole).filter(|_| whole <= maximum)?;
        let packet = match first {
            0x30..=0x3F => self.publish(first & 0x0F, body, version)?,
            0x40 => Packet::Puback(ack(body)?),
            0x50 => Packet::Pubrec(ack(body)?),
            0x62 => Packet::Pubrel(ack(body)?),
            0x70 => Packet::Pubcomp(ack(body)?),
            _ => return None,
        };
        Some((packet, whole))
    }

    fn publish(&mut self, flags: u8, body: &[u8], version: Version) -> Option<Packet> {
        let (length, rest) = body.split_first_chunk()?;
        let (name, mut rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let qos = QoS::try_from((flags >> 1) & 3).ok()?;
        let (dup, retain) = (flags & 0b1000 != 0, flags & 1 != 0);
        let mut packet_id = 0;
        if qos != QoS::AtMostOnce {
            let (id, payload) = rest.split_first_chunk()?;
            (packet_id, rest) = (u16::from_be_bytes(*id), payload);
        }
        if version == Version::V5 {
            let (&properties, payload) = rest.split_first()?;
            rest = Some(payload).filter(|_| properties == 0)?;
        }
        if (qos == QoS::AtMostOnce && dup) || (qos != QoS::AtMostOnce && packet_id == 0) {
            return None;
        }
        let topic = self.topic(name)?;
        let payload = Bytes::copy_from_slice(rest);
        let message = Message { topic, payload, qos, retain, properties: Properties::default() };
        Some(Packet::Publish(Publish { dup, ..Publish::new(Arc::new(message), packet_id) }))
    }

    fn topic(&mut self, name: &[u8]) -> Option<Arc<str>> {
        if let Some(topic) = self.topic.as_ref().filter(|topic| topic.as_bytes() == name) {
            return Some(topic.clone());
        }
        let text = std::str::from_utf8(name).ok()?;
        topic::check_name(text).ok()?;
        let topic: Arc<str> = text.into();
        self.topic = Some(topic.clone());
        Some(topic)
    }
}

fn ack(body: &[u8]) -> Option<Ack> {
    let packet_id = u16::from_be_bytes(body.try_into().ok()?);
    (packet_id != 0).then(|| Ack::success(packet_id))
}

/// A Remaining Length and its number of bytes, where it is whole and as short as it can be.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    frame::variable_byte_integer(bytes).filter(|(_, digits)| *digits == 1 || bytes[digits - 1] != 0)
}
