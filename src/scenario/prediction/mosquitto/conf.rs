//! The keys of a `mosquitto.conf` that decide what an outage costs. All others are passed over: mosquitto has many.
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bridge::message::QoS;

/// What is wrong with a `mosquitto.conf`.
#[derive(Debug, thiserror::Error)]
pub enum MosquittoError {
    /// A value that mosquitto would refuse.
    #[error("{}:{line}: {key}: `{value}`: {expected}", .file.display())]
    Value {
        /// The path as it was given.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// The key.
        key: String,
        /// What stands there.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A key of a bridge before the first `connection`.
    #[error("{}:{line}: {key}: stands before any `connection`: mosquitto refuses it there", .file.display())]
    NoConnection {
        /// The path as it was given.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// There is nothing to be asked about.
    #[error("{}: no bridge in it: a bridge begins with `connection NAME`", .file.display())]
    NoBridge {
        /// The path as it was given.
        file: PathBuf,
    },
}

/// What holds for the whole broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MosquittoConf {
    /// QoS 1 and 2 messages that one client may have waiting; 0: no limit.
    pub max_queued_messages: u64,
    /// Bytes of payload; 0: no limit.
    pub max_queued_bytes: u64,
    /// Unacknowledged PUBLISHes at a time; 0: no limit.
    pub max_inflight_messages: u64,
    /// Whether QoS 0 waits as well.
    pub queue_qos0_messages: bool,
    /// Whether the queue is saved at all.
    pub persistence: bool,
    /// Seconds between two saves, or changes with `autosave_on_changes`; 0: only at the end.
    pub autosave_interval: u64,
    /// Whether `autosave_interval` counts changes.
    pub autosave_on_changes: bool,
    /// The bridges, in the order of the file.
    pub connections: Vec<Connection>,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Without a packet from the remote for so long, a ping.
    pub keepalive_interval: Duration,
    /// The longest pause between two attempts: the cap of `restart_timeout`, or its constant.
    pub longest_restart: Duration,
    /// Whether what would wait for the bridge is thrown away: `local_cleansession`, or else `cleansession`.
    pub local_cleansession: bool,
    /// `bridge_protocol_version`, as it is written.
    pub protocol: String,
    /// Local Topic Filters that go out, with the highest QoS of each.
    pub out: Vec<(String, QoS)>,
}

/// Whether a text is a `mosquitto.conf` with a bridge: lines of a key and a value, without `=`, `:` or braces.
pub fn is_mosquitto(text: &str) -> bool {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.any(|words| matches!(words.as_slice(), ["connection", name, ..] if !name.starts_with(['=', ':', '{'])))
}

/// Reads what decides what an outage costs, with the defaults of mosquitto 2.0.
///
/// # Errors
/// With file, line and key.
pub fn read(file: &Path, text: &str) -> Result<MosquittoConf, MosquittoError> {
    let mut conf = MosquittoConf {
        max_queued_messages: 1000,
        max_queued_bytes: 0,
        max_inflight_messages: 20,
        queue_qos0_messages: false,
        persistence: false,
        autosave_interval: 1800,
        autosave_on_changes: false,
        connections: Vec::new(),
    };
    // `cleansession` and `local_cleansession` of the connection that is read.
    let mut clean = (false, None);
    for (line, words) in (1..).zip(text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>())) {
        let Some((key, values)) = words.split_first().filter(|(key, _)| !key.starts_with('#')) else { continue };
        let at = Line { file, line, key, values };
        match *key {
            "max_queued_messages" => conf.max_queued_messages = at.number()?,
            "max_queued_bytes" => conf.max_queued_bytes = at.number()?,
            "max_inflight_messages" => conf.max_inflight_messages = at.number()?,
            "queue_qos0_messages" => conf.queue_qos0_messages = at.switch()?,
            "persistence" => conf.persistence = at.switch()?,
            "autosave_interval" => conf.autosave_interval = at.number()?,
            "autosave_on_changes" => conf.autosave_on_changes = at.switch()?,
            "connection" => {
                let name = at.values.first().ok_or_else(|| at.wrong("a name"))?;
                clean = (false, None);
                conf.connections.push(Connection {
                    name: (*name).to_owned(),
                    keepalive_interval: Duration::from_secs(60),
                    longest_restart: Duration::from_secs(30),
                    local_cleansession: false,
                    protocol: "mqttv311".to_owned(),
                    out: Vec::new(),
                });
            }
            "keepalive_interval"
            | "restart_timeout"
            | "cleansession"
            | "clean_session"
            | "local_cleansession"
            | "bridge_protocol_version"
            | "topic" => {
                let Some(connection) = conf.connections.last_mut() else {
                    return Err(MosquittoError::NoConnection { file: file.to_owned(), line, key: at.key.to_owned() });
                };
                at.of_connection(connection, &mut clean)?;
            }
            _ => {}
        }
    }
    if conf.connections.is_empty() {
        return Err(MosquittoError::NoBridge { file: file.to_owned() });
    }
    Ok(conf)
}

struct Line<'a> {
    file: &'a Path,
    line: usize,
    key: &'a str,
    values: &'a [&'a str],
}

impl Line<'_> {
    fn wrong(&self, expected: &'static str) -> MosquittoError {
        MosquittoError::Value {
            file: self.file.to_owned(),
            line: self.line,
            key: self.key.to_owned(),
            value: self.values.join(" "),
            expected,
        }
    }

    fn number(&self) -> Result<u64, MosquittoError> {
        match self.values {
            [number] => number.parse().map_err(|_| self.wrong("a whole number from 0 on")),
            _ => Err(self.wrong("one whole number from 0 on")),
        }
    }

    fn switch(&self) -> Result<bool, MosquittoError> {
        match self.values {
            ["true" | "1"] => Ok(true),
            ["false" | "0"] => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn of_connection(
        &self,
        connection: &mut Connection,
        clean: &mut (bool, Option<bool>),
    ) -> Result<(), MosquittoError> {
        match self.key {
            "keepalive_interval" => match self.number()? {
                seconds @ 5..=65_535 => connection.keepalive_interval = Duration::from_secs(seconds),
                _ => return Err(self.wrong("at least 5 seconds, at most 65535")),
            },
            "restart_timeout" => {
                let seconds = self.values.last().and_then(|last| last.parse().ok());
                let longest = seconds.filter(|seconds| *seconds > 0 && self.values.len() <= 2);
                let longest = longest.ok_or_else(|| self.wrong("seconds, or a base and a cap"))?;
                connection.longest_restart = Duration::from_secs(longest);
            }
            "bridge_protocol_version" => match self.values {
                [version @ ("mqttv31" | "mqttv311" | "mqttv50")] => connection.protocol = (*version).to_owned(),
                _ => return Err(self.wrong("mqttv31, mqttv311 or mqttv50")),
            },
            "topic" => connection.out.extend(self.topic()?),
            "local_cleansession" => clean.1 = Some(self.switch()?),
            _ => clean.0 = self.switch()?,
        }
        connection.local_cleansession = clean.1.unwrap_or(clean.0);
        Ok(())
    }

    /// `topic pattern [[[out | in | both] qos] local-prefix remote-prefix]`; `""` is no prefix, or no pattern.
    fn topic(&self) -> Result<Option<(String, QoS)>, MosquittoError> {
        let Some((pattern, rest)) = self.values.split_first() else { return Err(self.wrong("a pattern")) };
        let outwards = match rest.first() {
            None | Some(&("out" | "both")) => true,
            Some(&"in") => false,
            Some(_) => return Err(self.wrong("in, out or both behind the pattern")),
        };
        let qos = match rest.get(1) {
            None | Some(&"0") => QoS::AtMostOnce,
            Some(&"1") => QoS::AtLeastOnce,
            Some(&"2") => QoS::ExactlyOnce,
            Some(_) => return Err(self.wrong("a QoS of 0, 1 or 2 behind the direction")),
        };
        let plain = |text: &str| if text == "\"\"" { String::new() } else { text.to_owned() };
        let filter = plain(rest.get(2).unwrap_or(&"")) + &plain(pattern);
        Ok(outwards.then_some((filter, qos)))
    }
}
