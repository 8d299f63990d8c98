//! `retained`: the last message of a topic, for whoever subscribes later.
use serde::{Deserialize, Serialize};

use crate::bridge::units;

/// How much may be retained. What is beyond is delivered, and not retained; that is logged and counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retained {
    /// Topics that may have a retained message; 0: none.
    pub max_messages: u64,
    /// Bytes of their topics, properties and payloads.
    #[serde(deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_bytes: u64,
}

impl Default for Retained {
    fn default() -> Self {
        Self { max_messages: 100_000, max_bytes: 256 << 20 }
    }
}
