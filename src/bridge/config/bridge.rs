//! `bridges`: the remotes, and what goes to and fro.
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::defaults::*;
use super::{RemoteTls, Secret, Server, WhenFull};
use crate::bridge::message::QoS;
use crate::bridge::units::{self, Rate};

/// A remote and what goes to and fro.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Names it in the cache, in metrics and in logs; a bridge that is renamed leaves its queue behind.
    pub name: String,
    /// `mqtt://host:port`; `mqtts://` for TLS, `ws://host:port/path` and `wss://` for WebSocket.
    pub server: Server,
    /// How an `mqtts://` or `wss://` server is verified, and what it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RemoteTls>,
    /// 4 (MQTT 3.1.1) or 5.
    #[serde(default = "protocol")]
    pub protocol: u8,
    /// Client Identifier.
    pub client_id: String,
    /// Whether the remote shall forget the session at every connect.
    #[serde(default)]
    pub clean_start: bool,
    /// Session Expiry Interval.
    #[serde(default = "seven_days", deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub session_expiry: Duration,
    /// User Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file that holds the password, without its line end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Keep Alive, in whole seconds; the connection is given up after 1.5 times this without a byte from the remote.
    #[serde(default = "sixty_seconds", deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub keep_alive: Duration,
    /// How long name resolution, connect, TLS handshake, WebSocket handshake and CONNACK may take, each.
    #[serde(default = "two_seconds", deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub connect_timeout: Duration,
    /// How old the oldest unacknowledged packet, or a write that makes no progress, may get before the connection is
    /// given up.
    #[serde(
        default = "twenty_seconds",
        deserialize_with = "units::duration",
        serialize_with = "units::write_duration"
    )]
    pub ack_timeout: Duration,
    /// Pauses between connection attempts.
    #[serde(default)]
    pub reconnect: Reconnect,
    /// Unacknowledged PUBLISHes at a time; the remote's Receive Maximum may lower it.
    #[serde(default = "window")]
    pub window: u16,
    /// Whether QoS 0 messages are cached while the link is down; otherwise they are dropped then, and counted.
    #[serde(default)]
    pub cache_qos0: bool,
    /// How fast a backlog may reach the remote; absent: as fast as the window allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// What goes to the remote; the first forward that matches a message applies.
    #[serde(default)]
    pub forwards: Vec<Forward>,
    /// What comes from the remote.
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
}

impl Bridge {
    /// The defaults, for a remote and a Client Identifier.
    pub fn new(name: impl Into<String>, server: Server, client_id: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            server,
            tls: None,
            protocol: protocol(),
            client_id: client_id.into(),
            clean_start: false,
            session_expiry: seven_days(),
            username: None,
            password: None,
            password_file: None,
            keep_alive: sixty_seconds(),
            connect_timeout: two_seconds(),
            ack_timeout: twenty_seconds(),
            reconnect: Reconnect::default(),
            window: window(),
            cache_qos0: false,
            drain: None,
            forwards: Vec::new(),
            subscriptions: Vec::new(),
        }
    }
}

/// How fast a backlog may reach the remote. After a connect the rate begins at a tenth and doubles every second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// PUBLISHes, such as `500/s`.
    #[serde(deserialize_with = "units::rate", serialize_with = "units::write_rate")]
    pub max_rate: Rate,
}

/// Pauses between connection attempts: they double from `min` to `max`, each shortened by up to half at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reconnect {
    /// After the first failure.
    #[serde(
        default = "hundred_milliseconds",
        deserialize_with = "units::duration",
        serialize_with = "units::write_duration"
    )]
    pub min: Duration,
    /// Never longer than this.
    #[serde(default = "two_seconds", deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub max: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { min: hundred_milliseconds(), max: two_seconds() }
    }
}

/// A local -> remote rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Topic Filter of local messages.
    pub local: String,
    /// Topic Name at the remote; absent: the message's own. Not together with a wildcard in `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Topic levels taken off the front of the message's own topic; one that has no more than these stays as it is. Not
    /// together with another topic.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strip_levels: u8,
    /// Put before the topic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Put behind the topic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// QoS at the remote; absent: the message's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<QoS>,
    /// RETAIN at the remote; absent: the message's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
    /// What happens to a publish that no longer fits; absent: what `cache.when_full` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_full: Option<WhenFull>,
}

/// A remote -> local rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Topic Filter at the remote.
    pub remote: String,
    /// Local Topic Name; absent: the message's own. Not together with a wildcard in `remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// Topic levels taken off the front of the message's own topic; one that has no more than these stays as it is. Not
    /// together with another topic.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strip_levels: u8,
    /// Put before the topic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Put behind the topic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// Maximum QoS asked for.
    #[serde(default = "at_least_once")]
    pub qos: QoS,
}
