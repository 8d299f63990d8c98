//! The plan: what a scenario means. Every moment is fixed (seeds included) before anything starts, so that the same
//! plan can be run against several subjects, written to `plan.json`, and judged again later.
mod fault;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use fault::{Acknowledgement, Acknowledgements, Direction, Fault, FaultKind, Parameters, Place, Side, When};

/// Everything that a run needs to know. Times count from the start of the timeline; in JSON they are microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub name: String,
    /// Its story in one sentence.
    pub about: String,
    /// Threads of `field-reports.md`, such as `nanomq#1873`.
    pub reproduces: Vec<String>,
    /// What every random choice was derived from.
    pub seed: u64,
    /// The folder that relative paths in the scenario are relative to.
    pub directory: PathBuf,
    /// Where it shall run, as asked for.
    pub environment: EnvironmentKind,
    /// The remote broker as a container, for environments with images.
    #[serde(default)]
    pub remote: RemotePlan,
    /// The remote broker, for the environment `local`; `None`: mosquitto where it is installed, else the built-in one.
    #[serde(default)]
    pub remote_broker: Option<RemoteBroker>,
    /// The Receive Maximum that the remote grants; `None`: as many as the protocol allows.
    #[serde(default)]
    pub remote_receive_maximum: Option<u16>,
    /// The bridges under test, in the order they are tried.
    pub subjects: Vec<SubjectPlan>,
    /// What is published; the index in this list is the load's identity in payloads and in the history.
    pub loads: Vec<Load>,
    /// How every subject's remote leg is configured, in our words; translated for each kind.
    pub bridge: BridgeSettings,
    /// What is done to the link, to the processes and to the disk: ordered by time, those that wait for progress last.
    pub faults: Vec<Fault>,
    /// When the last publish or fault is over; faults that wait for progress may be over later.
    #[serde(with = "micros")]
    pub end: Duration,
    /// How long to wait after `end` for what is still on its way, at most.
    #[serde(with = "micros")]
    pub settle: Duration,
    /// What the run must show to pass.
    pub expect: Expectation,
}

/// A broker that can be the remote in the environment `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteBroker {
    /// mosquitto, from PATH.
    Mosquitto,
    /// Our own program as a small broker.
    BuiltIn,
}

/// The remote broker as a container. Its preset, from its image's name where none is given, says what is needed to run
/// it; what stands here comes on top of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemotePlan {
    /// Its image; `None`: EMQX, as in the original report.
    pub image: Option<String>,
    /// A file that `docker save` wrote, to be loaded instead of pulling.
    pub image_archive: Option<PathBuf>,
    /// How such a broker is run; `None`: from the image's name.
    pub preset: Option<RemotePreset>,
    /// Environment variables.
    pub env: std::collections::BTreeMap<String, String>,
    /// Its command line, behind the image's entry point; `None`: the preset's, or the image's own.
    pub command: Option<Vec<String>>,
    /// Files: where in the container, and the file that it is a copy of.
    pub files: std::collections::BTreeMap<String, PathBuf>,
    /// Where it listens for MQTT.
    pub port: u16,
    /// Names that bridges find it by, besides `emqx`.
    pub names: Vec<String>,
    /// How long it may take until it answers CONNECT.
    #[serde(with = "micros")]
    pub ready_within: Duration,
}

impl Default for RemotePlan {
    fn default() -> Self {
        Self {
            image: None,
            image_archive: None,
            preset: None,
            env: Default::default(),
            command: None,
            files: Default::default(),
            port: 1883,
            names: Vec::new(),
            ready_within: Duration::from_secs(60),
        }
    }
}

/// Brokers that the laboratory knows how to run as a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemotePreset {
    /// EMQX 5.
    Emqx,
    /// mosquitto 2.
    Mosquitto,
    /// NanoMQ from 0.19 on.
    Nanomq,
    /// rumqttd 0.20.
    Rumqttd,
    /// Any other: nothing but what the scenario says.
    None,
}

/// Where a plan runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentKind {
    /// The best one that answers.
    Auto,
    /// Child processes and a fault proxy on loopback.
    Local,
    /// Network namespaces.
    Netns,
    /// Containers.
    Docker,
}

/// A bridge under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectPlan {
    /// How it is shown: the kind, or kind and number where a kind is there twice.
    pub name: String,
    /// Which bridge.
    pub kind: SubjectKind,
    /// Its image, for environments with images.
    pub image: Option<String>,
    /// Its executable, for environments with processes; `None`: from PATH.
    #[serde(default)]
    pub binary: Option<PathBuf>,
    /// Its command line, for a command of the user's own, with `{{...}}` as in its configuration.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// A configuration of its own that the user gave, instead of the generated one.
    pub config: Option<PathBuf>,
    /// Worker threads, where the kind has that setting (NanoMQ's `-n`).
    pub workers: Option<u32>,
    /// Lines of the subject's own configuration language, added to what is generated; such as
    /// `max_queued_messages: 100` for mosquitto.
    pub settings: std::collections::BTreeMap<String, String>,
}

/// The bridges that the laboratory knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectKind {
    /// This executable.
    MqttBridge,
    /// mosquitto's own bridge.
    Mosquitto,
    /// NanoMQ.
    Nanomq,
    /// NanoMQ's send path, simulated.
    NanomqModel,
    /// A command of the user's own.
    Command,
}

/// The remote leg's settings, the same for every subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeSettings {
    /// MQTT version of the remote leg: 5, or 4 for 3.1.1.
    pub protocol: u8,
    /// Keep Alive; whole seconds.
    #[serde(with = "micros")]
    pub keep_alive: Duration,
    /// How long a connection to the remote may take to come about.
    #[serde(with = "micros")]
    pub connect_timeout: Duration,
    /// How long an acknowledgement may take before the connection is given up.
    #[serde(with = "micros")]
    pub ack_timeout: Duration,
    /// The first wait before a reconnect.
    #[serde(with = "micros")]
    pub reconnect_min: Duration,
    /// The longest wait before a reconnect.
    #[serde(with = "micros")]
    pub reconnect_max: Duration,
    /// PUBLISHes under way at once, at most.
    pub window: u16,
    /// Session Expiry Interval of the bridge's session at the remote; whole seconds.
    #[serde(with = "micros")]
    pub session_expiry: Duration,
    /// How many messages it keeps for the remote at most; `None`: as many as come.
    #[serde(default)]
    pub max_messages: Option<u64>,
    /// What it does with those beyond; `None`: what is its way.
    #[serde(default)]
    pub when_full: Option<WhenFull>,
}

/// What a bridge does with messages beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The publisher is told.
    Reject,
    /// The oldest are evicted.
    DropOldest,
    /// What comes is dropped.
    DropNewest,
    /// The publisher waits.
    Block,
}

/// Short waits, so that a heal is noticed soon.
impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            protocol: 5,
            keep_alive: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            ack_timeout: Duration::from_secs(20),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(1),
            window: 100,
            session_expiry: Duration::from_secs(7 * 86_400),
            max_messages: None,
            when_full: None,
        }
    }
}

/// One load entry: one publisher connection, one topic, one sequence 0, 1, 2...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Topic Name, the same on both sides.
    pub topic: String,
    /// QoS of the PUBLISHes and of the forward.
    pub qos: u8,
    /// Messages per second.
    pub qps: f64,
    /// Payload size in bytes.
    pub payload: usize,
    /// On which side it is published.
    pub via: Via,
    /// When it is published: disjoint windows in order.
    pub windows: Vec<Window>,
}

/// A span of time in which a load is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first message is intended now.
    #[serde(with = "micros")]
    pub start: Duration,
    /// No message is intended now or later.
    #[serde(with = "micros")]
    pub end: Duration,
}

/// The side a load is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// At the bridge's listener; received at the remote.
    #[default]
    Bridge,
    /// At the remote; received at the bridge's listener.
    Remote,
}

/// What a run must show to pass. `None`: counted, not judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Acknowledged messages that may be lost.
    pub lost: Option<u64>,
    /// So many more may be lost as the subject itself has counted as dropped, and they are the oldest of what waited.
    #[serde(default)]
    pub lost_if_evicted: bool,
    /// Every refusal that a publisher has seen is one that the subject has counted, and what was refused does not arrive.
    #[serde(default)]
    pub refused_as_counted: bool,
    /// Duplicates allowed at effective QoS 1.
    pub duplicated_qos1: Option<u64>,
    /// Duplicates allowed at effective QoS 2.
    pub duplicated_qos2: Option<u64>,
    /// So many more are allowed at QoS 2 as the subject itself has counted as ambiguous.
    #[serde(default)]
    pub duplicated_qos2_if_ambiguous: bool,
    /// Messages that may arrive below the highest sequence already received of their load.
    pub out_of_order: Option<u64>,
    /// How long after the last heal the backlog may take.
    #[serde(with = "optional_micros")]
    pub drained_within: Option<Duration>,
    /// How long after the last heal the first delivery may take.
    #[serde(with = "optional_micros")]
    pub first_delivery_within: Option<Duration>,
}

impl Load {
    /// How many messages are intended.
    pub fn count(&self) -> u64 {
        self.windows.iter().map(|window| self.in_window(window)).sum()
    }

    /// When message `sequence` is intended; `None` from [`count`](Self::count) on. Computed from the index, not by
    /// adding intervals, so that no error grows.
    pub fn intended(&self, sequence: u64) -> Option<Duration> {
        let mut first = 0;
        for window in &self.windows {
            let count = self.in_window(window);
            if sequence < first + count {
                return Some(window.start + Duration::from_secs_f64((sequence - first) as f64 / self.qps));
            }
            first += count;
        }
        None
    }

    fn in_window(&self, window: &Window) -> u64 {
        // A hair less than one interval must not make a message more: 130 s at 9/s are 1170, not 1171.
        ((window.end - window.start).as_secs_f64() * self.qps - 1e-6).ceil().max(0.0) as u64
    }
}

impl Plan {
    /// Messages intended in all.
    pub fn intended(&self) -> u64 {
        self.loads.iter().map(Load::count).sum()
    }
}

mod micros {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_micros() as u64)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

mod optional_micros {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value.as_micros() as u64).serialize(serializer)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(qps: f64, windows: &[(u64, u64)]) -> Load {
        let window =
            |&(start, end): &(u64, u64)| Window { start: Duration::from_secs(start), end: Duration::from_secs(end) };
        Load {
            topic: "t".into(),
            qos: 1,
            qps,
            payload: 64,
            via: Via::Bridge,
            windows: windows.iter().map(window).collect(),
        }
    }

    #[test]
    fn a_rate_and_its_windows_fix_every_moment() {
        assert_eq!(load(9.0, &[(0, 130)]).count(), 1170);
        let twice = load(5.0, &[(0, 2), (10, 12)]);
        assert_eq!(twice.count(), 20);
        assert_eq!(twice.intended(9), Some(Duration::from_millis(1800)));
        assert_eq!(twice.intended(10), Some(Duration::from_secs(10)));
        assert_eq!(twice.intended(20), None);
    }
}
