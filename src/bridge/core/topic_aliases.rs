//! Topic Aliases that a server gives on one connection (MQTT 5, section 3.3.2.3.4).
use std::collections::HashMap;
use std::sync::Arc;

use crate::bridge::wire::{Publish, Version};

/// Aliases given on one connection, whatever the client would understand: each keeps its Topic Name in memory.
const MOST: u16 = 64;
/// Bytes that the property takes.
const PROPERTY: usize = 3;

/// First come, first served: an alias stands for the same Topic Name until the connection ends.
#[derive(Debug)]
pub struct TopicAliases {
    maximum: u16,
    given: HashMap<Arc<str>, u16>,
    nothing: Arc<str>,
}

impl TopicAliases {
    /// For a client with this Topic Alias Maximum.
    pub fn new(maximum: u16) -> Self {
        Self { maximum: maximum.min(MOST), given: HashMap::new(), nothing: "".into() }
    }

    /// Shortens a PUBLISH of MQTT 5 that is about to be sent, or prepares it for those that follow; never makes it larger
    /// than the client takes ([MQTT-3.1.2-24], [MQTT-3.1.2-26]).
    pub fn apply(&mut self, publish: &mut Publish, maximum_packet_size: usize) {
        if self.maximum == 0 || publish.topic.len() <= PROPERTY {
            return;
        }
        if let Some(alias) = self.given.get(&publish.topic) {
            publish.topic_alias = Some(*alias);
            publish.topic = self.nothing.clone();
        } else if self.given.len() < self.maximum.into() {
            let alias = self.given.len() as u16 + 1;
            publish.topic_alias = Some(alias);
            if publish.encoded_len(Version::V5) > maximum_packet_size {
                publish.topic_alias = None;
            } else {
                self.given.insert(publish.topic.clone(), alias);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::{Message, QoS};

    fn sent(aliases: &mut TopicAliases, topic: &str, maximum_packet_size: usize) -> (String, Option<u16>) {
        let message = Arc::new(Message::new(topic, "x", QoS::AtMostOnce));
        let mut publish = Publish::new(message, 0);
        aliases.apply(&mut publish, maximum_packet_size);
        (publish.topic.to_string(), publish.topic_alias)
    }

    #[test]
    fn the_first_topics_are_said_once() {
        let mut aliases = TopicAliases::new(2);
        assert_eq!(sent(&mut aliases, "plant/1", 100), ("plant/1".into(), Some(1)));
        assert_eq!(sent(&mut aliases, "plant/1", 100), (String::new(), Some(1)));
        assert_eq!(sent(&mut aliases, "plant/2", 100), ("plant/2".into(), Some(2)));
        assert_eq!(sent(&mut aliases, "plant/3", 100), ("plant/3".into(), None));
        assert_eq!(sent(&mut aliases, "plant/2", 100), (String::new(), Some(2)));
    }

    #[test]
    fn none_is_given_where_it_is_not_understood_or_would_not_pay_or_fit() {
        assert_eq!(sent(&mut TopicAliases::new(0), "plant/1", 100), ("plant/1".into(), None));
        assert_eq!(sent(&mut TopicAliases::new(9), "a/b", 100), ("a/b".into(), None));
        let mut aliases = TopicAliases::new(9);
        assert_eq!(sent(&mut aliases, "plant/1", 15), ("plant/1".into(), None));
        assert_eq!(sent(&mut aliases, "plant/1", 16), ("plant/1".into(), Some(1)));
    }
}
