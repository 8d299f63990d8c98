//! `bridge.yaml`: what was typed, with its defaults, checked before anything starts. A `nanomq.conf` is translated into one.
mod accounts;
mod bridge;
mod cache;
mod check;
mod defaults;
pub mod endurance;
mod file;
mod hops;
mod limits;
mod listener;
mod load;
pub mod nanomq;
mod operation;
mod password_file;
pub mod reload;
mod retained;
mod secret;
mod server;
mod servers;
mod sessions;
mod source;
pub mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use accounts::{AccessRule, Accounts, Actions, CertificateUser, rules};
pub use bridge::{Bridge, Drain, Forward, Reconnect, Subscription};
pub use cache::{Cache, Durability, OnCorruption, Synchronous, WhenFull};
pub use check::{roughly, warnings};
pub use file::File;
pub use limits::Limits;
pub use listener::Listener;
pub use load::{LoadError, Loaded, load};
pub use operation::{Log, LogFormat, LogLevel};
pub use password_file::{PasswordFile, PasswordFileError, check_user, parse as parse_passwords};
pub use retained::Retained;
pub use secret::Secret;
pub use server::{Scheme, Server};
pub use servers::Servers;
pub use sessions::{SessionFull, Sessions};
pub use source::{SOURCE, Source, leg as source_leg};
pub use tls::{ClientCertificates, ListenerTls, RemoteTls, WebSocket};

use super::units;
use super::yaml::{Document, YamlError};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where local clients connect; either these or a source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// An existing broker as the local side.
    #[serde(default, deserialize_with = "source::short_or_long", skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Who local clients are; absent: nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Accounts>,
    /// What they may do, the first rule that applies deciding; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Vec<AccessRule>>,
    /// What hostile clients may cost.
    #[serde(default)]
    pub limits: Limits,
    /// The offline cache; without it and without bridges, sessions live in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What is kept for local clients that are away.
    #[serde(default)]
    pub sessions: Sessions,
    /// Retained messages.
    #[serde(default)]
    pub retained: Retained,
    /// The remotes; none: a small broker.
    #[serde(default)]
    pub bridges: Vec<Bridge>,
    /// Where /metrics and /healthz are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// What the log looks like.
    #[serde(default)]
    pub log: Log,
    /// How often `$SYS/bridge/<name>/state` is published where nothing has changed; 0: never published.
    #[serde(
        default = "defaults::ten_seconds",
        deserialize_with = "units::duration",
        serialize_with = "units::write_duration"
    )]
    pub state_interval: Duration,
}

/// Where /metrics and /healthz are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port.
    pub bind: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: None,
            accounts: None,
            access: None,
            limits: Limits::default(),
            listeners: Vec::new(),
            cache: None,
            sessions: Sessions::default(),
            retained: Retained::default(),
            bridges: Vec::new(),
            metrics: None,
            log: Log::default(),
            state_interval: defaults::ten_seconds(),
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
        hops::resolve(&mut config);
        secret::fetch(&mut config, document)?;
        accounts::read(&mut config, document)?;
        tls::check::read_files(&mut config, Some(document.file()))
            .map_err(|complaint| document.wrong(&complaint.key, complaint.what))?;
        if config.cache.is_none() && !config.bridges.is_empty() {
            config.cache = Some(Cache::at(CACHE));
        }
        Ok(config)
    }
}

/// Where messages are kept where nothing else is said.
const CACHE: &str = "mqtt-bridge.db";
