//! `limits`: what hostile clients may cost.
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Config;
use super::check::Complaint;
use crate::bridge::core::gate::GateLimits;
use crate::bridge::core::limits::ClientLimits;
use crate::bridge::units::{self, Rate};

/// Limits of local clients, and of all of them together. Those of one listener stand there.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time; the next is closed at once.
    pub max_connections: usize,
    /// The same from one address (IPv6: one /64); absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<usize>,
    /// Connections at a time that have not been let in; beyond, the oldest of the address that has most is closed.
    pub max_half_open: usize,
    /// How long a client may take from the TCP connection until it is let in.
    #[serde(deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub connect_timeout: Duration,
    /// Largest CONNECT, in bytes; where a listener's max_packet_size is smaller, that is the limit.
    #[serde(deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_connect_size: u64,
    /// Levels of a topic or filter.
    pub max_topic_levels: usize,
    /// Bytes of a topic or filter.
    #[serde(deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_topic_length: u64,
    /// Subscriptions of one session.
    pub max_subscriptions: usize,
    /// PUBLISHes of one client, such as `500/s`: one that is faster is read from no faster, and loses nothing; absent: no
    /// limit.
    #[serde(
        deserialize_with = "optional_rate",
        serialize_with = "write_rate",
        skip_serializing_if = "Option::is_none"
    )]
    pub publish_rate: Option<Rate>,
    /// PUBLISHes of one client that may come at once; absent: those of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_burst: Option<u32>,
    /// Bytes that may wait for all subscribers together, and for the rest of packets that have begun; beyond, those who
    /// hold more than their share are treated as if their own limit was reached.
    #[serde(deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_address: None,
            max_half_open: 1_000,
            connect_timeout: Duration::from_secs(10),
            max_connect_size: 64 << 10,
            max_topic_levels: 128,
            max_topic_length: 4 << 10,
            max_subscriptions: 1_000,
            publish_rate: None,
            publish_burst: None,
            max_memory: 512 << 20,
        }
    }
}

fn optional_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    units::rate(deserializer).map(Some)
}

fn write_rate<S: serde::Serializer>(rate: &Option<Rate>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(|rate| rate.to_string()).serialize(serializer)
}

impl Limits {
    /// Those of one client.
    pub fn of_client(&self) -> ClientLimits {
        let burst = |rate: Rate| self.publish_burst.unwrap_or((rate.per_second() as u32).max(1));
        ClientLimits {
            connect_timeout: self.connect_timeout,
            max_topic_levels: self.max_topic_levels,
            max_topic_length: self.max_topic_length as usize,
            max_subscriptions: self.max_subscriptions,
            publish: self.publish_rate.map(|rate| (rate.interval(), burst(rate))),
        }
    }

    /// Those of all connections together.
    pub fn of_gate(&self) -> GateLimits {
        GateLimits {
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address.unwrap_or(usize::MAX),
            max_half_open: self.max_half_open,
        }
    }
}

/// Says what is wrong with `limits`, if anything is.
pub(super) fn check(config: &Config) -> Result<(), Complaint> {
    let limits = &config.limits;
    let wrong = |leaf: &str, what: &str| Err(Complaint { key: format!("limits.{leaf}"), what: what.to_owned() });
    for (leaf, value) in [
        ("max_connections", limits.max_connections),
        ("max_connections_per_address", limits.max_connections_per_address.unwrap_or(1)),
        ("max_half_open", limits.max_half_open),
        ("max_topic_levels", limits.max_topic_levels),
        ("max_topic_length", limits.max_topic_length as usize),
        ("publish_burst", limits.publish_burst.unwrap_or(1) as usize),
    ] {
        if value == 0 {
            return wrong(leaf, "0 is too small: at least 1");
        }
    }
    if limits.connect_timeout < Duration::from_millis(100) || limits.connect_timeout > Duration::from_secs(600) {
        return wrong("connect_timeout", "from 100ms to 10m");
    }
    if !(64..=268_435_460).contains(&limits.max_connect_size) {
        return wrong("max_connect_size", "from 64B to 256MiB");
    }
    if limits.max_memory < 1 << 20 {
        return wrong("max_memory", "at least 1MiB");
    }
    if limits.publish_burst.is_some() && limits.publish_rate.is_none() {
        return wrong("publish_burst", "without publish_rate there is no limit that a burst could pass");
    }
    Ok(())
}
