//! `listeners`: where local clients connect.
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::defaults::*;
use crate::bridge::units;

/// A listener of the local leg.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port.
    pub bind: SocketAddr,
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
}

impl Listener {
    /// The defaults, for an address.
    pub fn at(bind: SocketAddr) -> Self {
        Self {
            bind,
            max_packet_size: one_mebibyte(),
            receive_maximum: receive_maximum(),
            max_queued_bytes: eight_mebibytes(),
        }
    }
}
