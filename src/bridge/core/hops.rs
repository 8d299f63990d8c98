//! How many bridges a message has passed, in a User Property: what goes round between bridges ends that way, whoever they
//! are as long as one of them counts.
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::bridge::message::{Message, Properties};

/// The User Property's name; its value is a decimal number.
pub const PROPERTY: &str = "mqtt-bridge-hops";

const USER_PROPERTY: u8 = 0x26;

/// How many bridges a message has passed.
pub fn passed(message: &Message) -> u8 {
    Encoded(&message.properties.other).filter_map(count).max().unwrap_or(0)
}

/// The same message, having passed one more.
pub fn counted(message: &Message) -> Arc<Message> {
    let passed = passed(message).saturating_add(1).to_string();
    let mut other = BytesMut::with_capacity(message.properties.other.len() + 5 + PROPERTY.len() + passed.len());
    let rest = Encoded(&message.properties.other).filter(|property| count(property).is_none());
    rest.for_each(|property| other.put_slice(property));
    other.put_u8(USER_PROPERTY);
    for text in [PROPERTY, &passed] {
        other.put_u16(text.len() as u16);
        other.put_slice(text.as_bytes());
    }
    let properties = Properties { other: Bytes::from(other), ..message.properties };
    Arc::new(Message { properties, topic: message.topic.clone(), payload: message.payload.clone(), ..*message })
}

/// What a property says of it, if it is the one; a value that is no number has passed too many.
fn count(property: &[u8]) -> Option<u8> {
    let value = property.strip_prefix(&[USER_PROPERTY])?.get(2..)?.strip_prefix(PROPERTY.as_bytes())?.get(2..)?;
    Some(std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u8::MAX))
}

/// The properties of a PUBLISH one by one, each as it is encoded (MQTT 5, section 3.3.2.3); what cannot be understood is
/// the last.
struct Encoded<'a>(&'a [u8]);

impl<'a> Iterator for Encoded<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = |at: usize| {
            let length = self.0.get(at..at + 2)?;
            Some(at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]])))
        };
        let end = match self.0.first()? {
            // Payload Format Indicator.
            0x01 => Some(2),
            &USER_PROPERTY => text(1).and_then(text),
            // Content Type, Response Topic, Correlation Data.
            _ => text(1),
        };
        let (property, rest) = self.0.split_at(end.unwrap_or(usize::MAX).min(self.0.len()));
        self.0 = rest;
        Some(property)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::QoS;
    use crate::bridge::wire::named_properties;

    fn with(other: &[u8]) -> Message {
        let properties = Properties { message_expiry: Some(7), other: Bytes::copy_from_slice(other) };
        Message { properties, ..Message::new("t", "payload", QoS::AtLeastOnce) }
    }

    #[test]
    fn a_message_is_counted_and_everything_else_of_it_stays() {
        let properties = b"\x01\x01\x03\x00\x04text\x08\x00\x01r\x09\x00\x02\x0a\xff\x26\x00\x04site\x00\x07plant-7";
        let message = with(properties);
        assert_eq!(passed(&message), 0);
        let once = counted(&message);
        let twice = counted(&once);
        assert_eq!((passed(&once), passed(&twice)), (1, 2));
        assert!(twice.properties.other.starts_with(properties));
        let named = named_properties(&twice.properties.other).unwrap();
        let hops: Vec<_> = named.iter().filter(|property| property.key.as_deref() == Some(PROPERTY)).collect();
        assert_eq!((named.len(), hops.len(), hops[0].value.as_str()), (6, 1, "2"));
        assert_eq!((&*twice.topic, &twice.payload, twice.properties.message_expiry), ("t", &message.payload, Some(7)));
    }

    #[test]
    fn the_count_does_not_wrap_and_is_not_fooled() {
        let mut message = Arc::new(with(b""));
        for _ in 0..300 {
            message = counted(&message);
        }
        assert_eq!(passed(&message), u8::MAX);
        let foreign = b"\x26\x00\x10mqtt-bridge-hops\x00\x04many";
        assert_eq!(passed(&with(foreign)), u8::MAX);
        assert_eq!(passed(&with(b"\x26\x00\x10mqtt-bridge-hopz\x00\x011")), 0);
        assert_eq!(passed(&with(b"\x26\x00\x10mqtt")), 0, "cut short");
    }
}
