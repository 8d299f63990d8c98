//! `listeners`: where local clients connect.
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::defaults::*;
use super::{ListenerTls, WebSocket, tls};
use crate::bridge::units;

/// A listener of the local leg.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port.
    pub bind: SocketAddr,
    /// TLS; absent: what clients say can be read on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// MQTT over WebSocket, and nothing else at this address: `true`, or with a path of its own.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "tls::websocket")]
    pub websocket: Option<WebSocket>,
    /// Largest packet that a client may send, in bytes.
    #[serde(default = "one_mebibyte", deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_packet_size: u64,
    /// PUBLISHes of one client that may wait for their commit: announced as Receive Maximum to MQTT 5 clients; a 3.1.1
    /// client that has more is not read from.
    #[serde(default = "receive_maximum")]
    pub receive_maximum: u16,
    /// Bytes that may be on their way to one subscriber whose session ends with its connection; for others, see `sessions`.
    #[serde(default = "eight_mebibytes", deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_queued_bytes: u64,
    /// The longest Keep Alive that a client may have, in whole seconds, also where it wants none: announced as Server
    /// Keep Alive to MQTT 5 clients, and held against 3.1.1 clients unannounced. `None`: what the client wants.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "units::optional_duration",
        serialize_with = "units::write_optional_duration"
    )]
    pub max_keep_alive: Option<Duration>,
    /// The longest Session Expiry Interval that a client may have, in whole seconds; what is granted is said in CONNACK.
    /// It holds for the sessions of 3.1.1, which otherwise never expire. `None`: what the client wants.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "units::optional_duration",
        serialize_with = "units::write_optional_duration"
    )]
    pub max_session_expiry: Option<Duration>,
}

impl Listener {
    /// The defaults, for an address.
    pub fn at(bind: SocketAddr) -> Self {
        Self {
            bind,
            tls: None,
            websocket: None,
            max_packet_size: one_mebibyte(),
            receive_maximum: receive_maximum(),
            max_queued_bytes: eight_mebibytes(),
            max_keep_alive: None,
            max_session_expiry: None,
        }
    }

    /// The longest Keep Alive, as CONNACK says it.
    pub fn max_keep_alive(&self) -> Option<u16> {
        self.max_keep_alive.map(|limit| u16::try_from(limit.as_secs()).unwrap_or(u16::MAX))
    }

    /// The longest Session Expiry Interval, as CONNACK says it.
    pub fn max_session_expiry(&self) -> Option<u32> {
        self.max_session_expiry.map(|limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX))
    }

    /// What makes no sense: the key, and what would be right.
    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let limits = [
            ("max_keep_alive", self.max_keep_alive, u64::from(u16::MAX)),
            ("max_session_expiry", self.max_session_expiry, u64::from(u32::MAX)),
        ];
        limits.into_iter().find_map(|(key, limit, most)| {
            let limit = limit?;
            let whole = limit.subsec_nanos() == 0 && (1..=most).contains(&limit.as_secs());
            (!whole).then(|| (key, format!("whole seconds, from 1s to {most}s")))
        })
    }
}
