//! `sessions`: what is kept for local clients that are away.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::WhenFull;
use crate::bridge::units;

/// What is kept for local clients whose session outlives their connection; they get it when they come back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Messages that may wait for one session.
    pub max_messages: u64,
    /// Bytes of topics, properties and payloads that may wait for one session.
    #[serde(deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_bytes: u64,
    /// A client that asks for a longer Session Expiry Interval is given this one; not set: as long as it asks for.
    #[serde(
        deserialize_with = "units::optional_duration",
        serialize_with = "units::write_optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_expiry: Option<Duration>,
    /// What happens to a message that no longer fits into a session's queue.
    pub when_full: SessionFull,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { max_messages: 100_000, max_bytes: 64 << 20, max_expiry: None, when_full: SessionFull::default() }
    }
}

impl Sessions {
    /// The longest Session Expiry Interval, in seconds; `u32::MAX`: none.
    pub fn longest_expiry(&self) -> u32 {
        let longest = |longest: Duration| u32::try_from(longest.as_secs()).unwrap_or(u32::MAX);
        self.max_expiry.map_or(u32::MAX, longest)
    }
}

/// What happens to a message that no longer fits into a session's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionFull {
    /// It is dropped for this session; everybody else gets it.
    #[default]
    DropNewest,
    /// The oldest make room, never one in flight; where that is not enough it is dropped for this session.
    DropOldest,
    /// It is refused, and nobody gets it: one client that is away holds up all publishers.
    Reject,
}

impl From<SessionFull> for WhenFull {
    fn from(full: SessionFull) -> Self {
        match full {
            SessionFull::DropNewest => Self::DropNewest,
            SessionFull::DropOldest => Self::DropOldest,
            SessionFull::Reject => Self::Reject,
        }
    }
}
