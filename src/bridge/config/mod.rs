//! `bridge.yaml`: what was typed, with its defaults, checked before anything starts. A `nanomq.conf` is translated into one.
mod check;
pub mod endurance;
mod load;
pub mod nanomq;
mod secret;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use check::{roughly, warnings};
pub use load::{LoadError, Loaded, load};
pub use secret::Secret;

use super::message::QoS;
use super::units::{self, Rate};
use super::yaml::{Document, YamlError};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where local clients connect.
    pub listeners: Vec<Listener>,
    /// The offline cache; without it and without bridges, sessions live in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// The remotes; none: a small broker.
    #[serde(default)]
    pub bridges: Vec<Bridge>,
    /// Where /metrics and /healthz are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
}

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
    /// Bytes that may be on their way to one subscriber, or kept for it while it is away.
    #[serde(default = "eight_mebibytes", deserialize_with = "units::size", serialize_with = "units::write_size")]
    pub max_queued_bytes: u64,
}

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

/// A remote and what goes to and fro.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Names it in the cache, in metrics and in logs; a bridge that is renamed leaves its queue behind.
    pub name: String,
    /// `mqtt://host:port`.
    pub server: Server,
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
    /// How long name resolution, connect and CONNACK may take, each.
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

/// Where /metrics and /healthz are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port.
    pub bind: SocketAddr,
}

/// Where a remote is: a host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl TryFrom<String> for Server {
    type Error = String;
    fn try_from(url: String) -> Result<Self, String> {
        // User and password may stand before an `@`, where other programs take them.
        let shown = if url.contains('@') { "***" } else { &url };
        let wrong = |why: &str| format!("`{shown}` {why}: write mqtt://host:port, as in mqtt://emqx:1883");
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(wrong("is no URL"));
        };
        match scheme {
            "mqtt" | "tcp" => {}
            "mqtts" | "ssl" | "ws" | "wss" => {
                return Err(format!("`{shown}`: TLS and WebSocket are not available yet in this version: mqtt://"));
            }
            _ => return Err(wrong("has an unknown scheme")),
        }
        let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong("has no valid port"))?),
            None => (rest, 1883),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong("has no valid host"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "mqtt://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "mqtt://{}:{}", self.host, self.port)
        }
    }
}

impl Config {
    /// Checks a `bridge.yaml` that has been read.
    ///
    /// # Errors
    /// With file, line and key, and what would be right.
    pub fn from_document(document: &Document) -> Result<Self, YamlError> {
        let mut config: Self = document.parse()?;
        check::check(&config).map_err(|complaint| document.wrong(&complaint.key, complaint.what))?;
        secret::read_password_files(&mut config, document)?;
        if config.cache.is_none() && !config.bridges.is_empty() {
            config.cache = Some(Cache::at(CACHE));
        }
        Ok(config)
    }
}

/// Where messages are kept where nothing else is said.
const CACHE: &str = "mqtt-bridge.db";

fn is_zero(number: &u8) -> bool {
    *number == 0
}
fn one_mebibyte() -> u64 {
    1 << 20
}
fn eight_mebibytes() -> u64 {
    8 << 20
}
fn one_gibibyte() -> u64 {
    1 << 30
}
fn one_million() -> u64 {
    1_000_000
}
fn receive_maximum() -> u16 {
    256
}
fn protocol() -> u8 {
    5
}
fn window() -> u16 {
    100
}
fn at_least_once() -> QoS {
    QoS::AtLeastOnce
}
fn hundred_milliseconds() -> Duration {
    Duration::from_millis(100)
}
fn two_hundred_milliseconds() -> Duration {
    Duration::from_millis(200)
}
fn two_seconds() -> Duration {
    Duration::from_secs(2)
}
fn twenty_seconds() -> Duration {
    Duration::from_secs(20)
}
fn sixty_seconds() -> Duration {
    Duration::from_secs(60)
}
fn seven_days() -> Duration {
    Duration::from_secs(7 * 86_400)
}
