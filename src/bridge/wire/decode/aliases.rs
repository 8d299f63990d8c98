//! Topic Aliases that the peer gives (MQTT 5, section 3.3.2.3.4).
use std::collections::HashMap;
use std::sync::Arc;

use crate::bridge::wire::{ReasonCode, WireError};

/// What each alias of this connection stands for; at most as many as were announced.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    maximum: u16,
    topics: HashMap<u16, Arc<str>>,
}

impl Aliases {
    /// Up to this Topic Alias Maximum.
    pub(super) fn new(maximum: u16) -> Self {
        Self { maximum, topics: HashMap::new() }
    }

    /// The Topic Name of a PUBLISH with an alias: its own, from now on under that alias, or the one that has it.
    ///
    /// # Errors
    /// Where the alias is above the maximum ([MQTT-3.3.2-9]), or unknown.
    pub(super) fn resolve(&mut self, alias: u16, topic: &str) -> Result<Arc<str>, WireError> {
        let maximum = self.maximum;
        if alias == 0 || alias > maximum {
            let what = format!("PUBLISH with Topic Alias {alias}: from 1 to {maximum}");
            return Err(WireError::new(ReasonCode::TOPIC_ALIAS_INVALID, what));
        }
        if !topic.is_empty() {
            let topic: Arc<str> = topic.into();
            self.topics.insert(alias, topic.clone());
            return Ok(topic);
        }
        self.topics.get(&alias).cloned().ok_or_else(|| {
            let what = format!("PUBLISH with Topic Alias {alias}, which stands for no Topic Name yet");
            WireError::new(ReasonCode::PROTOCOL_ERROR, what)
        })
    }
}
