//! `cache`: the offline cache.
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::defaults::*;
use crate::bridge::units;

/// The offline cache.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// The SQLite file.
    pub path: PathBuf,
    /// Messages that each bridge may have waiting.
    #[serde(default = "one_million")]
    pub max_messages: u64,
    /// Bytes of topics, properties and payloads that each bridge may have waiting.
    #[serde(default = "one_gibibyte", deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_bytes: u64,
    /// A message that has not been sent once by then is dropped, also while the link is down.
    #[serde(
        default,
        deserialize_with = "units::optional_duration",
        serialize_with = "units::write_optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_age: Option<Duration>,
    /// What happens to a publish that no longer fits, where its forward does not say otherwise.
    #[serde(default)]
    pub when_full: WhenFull,
    /// What happens at start when the file is corrupted or foreign.
    #[serde(default)]
    pub on_corruption: OnCorruption,
    /// SQLite's `synchronous`.
    #[serde(default)]
    pub synchronous: Synchronous,
    /// What an acknowledgement waits for.
    #[serde(default)]
    pub durability: Durability,
    /// `durability: deferred`: how long a message may wait for the remote before it is committed.
    #[serde(
        default = "two_hundred_milliseconds",
        deserialize_with = "units::duration",
        serialize_with = "units::write_duration"
    )]
    pub commit_after: Duration,
}

impl Cache {
    /// The defaults, for a file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_messages: one_million(),
            max_bytes: one_gibibyte(),
            max_age: None,
            when_full: WhenFull::default(),
            on_corruption: OnCorruption::default(),
            synchronous: Synchronous::default(),
            durability: Durability::default(),
            commit_after: two_hundred_milliseconds(),
        }
    }
}

/// What happens to a publish that no longer fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// MQTT 5: PUBACK or PUBREC 0x97; 3.1.1: the connection is closed. The publisher keeps the message.
    #[default]
    Reject,
    /// It is acknowledged and dropped.
    DropNewest,
    /// The oldest of QoS 0 make room, then the oldest of all, never one in flight; where that is not enough: `reject`.
    DropOldest,
    /// Its acknowledgement waits until there is room, and its publisher is not read further; QoS 0 is dropped.
    Block,
}

/// What happens at start when the cache file is corrupted or foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCorruption {
    /// The bridge does not start.
    #[default]
    Refuse,
    /// The file is renamed, with its WAL, and a fresh one is begun.
    SetAside,
}

/// SQLite's `synchronous` (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// Every commit is synced: safe against power loss.
    #[default]
    Full,
    /// Safe against a crash of the process, not against power loss.
    Normal,
}

/// What the acknowledgement of a local publisher's QoS 1 message waits for. QoS 2 is committed at once in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Its commit.
    #[default]
    Immediate,
    /// Its commit, or the remotes that it goes to having acknowledged it, whichever is first. What the remotes take
    /// within `commit_after` is never written to the disk.
    Deferred,
}
