//! `listeners`: where local clients connect.
use std::net::SocketAddr;

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
    /// Bytes that may be on their way to one subscriber, or kept for it while it is away.
    #[serde(default = "eight_mebibytes", deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_queued_bytes: u64,
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
        }
    }
}
