//! A scenario as it is typed: serde structures with every key, and nothing decided yet.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer};

pub use super::scalar::{Allowance, BytesPerSecond, Moment, Percent, Scalar};
use crate::bridge::units;
use crate::scenario::plan::{
    Acknowledgement, Direction, EnvironmentKind, FaultKind, RemotePreset, Side, Via, WhenFull,
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name; absent: the file's name without `.yaml`.
    pub name: Option<String>,
    /// Its story in one sentence; absent: none.
    #[serde(default)]
    pub about: String,
    /// Threads of other projects that it reproduces, such as `nanomq#1873`; absent: none.
    #[serde(default)]
    pub reproduces: Vec<String>,
    /// What every random choice is derived from; absent: 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Where it runs; absent: `auto`.
    #[serde(default = "auto")]
    pub environment: EnvironmentKind,
    /// The remote broker; absent: the environment's own choice.
    #[serde(default)]
    pub remote: Remote,
    /// The bridges under test; absent: `mqtt-bridge` alone.
    pub subjects: Option<Vec<Subject>>,
    /// The remote leg's settings for every subject; absent: [`crate::scenario::plan::BridgeSettings::default`].
    #[serde(default)]
    pub bridge: Bridge,
    /// What is published; at least one.
    pub load: Vec<Load>,
    /// When it is published, and what is done to the link and to the processes; at least one `publish`.
    pub timeline: Vec<Step>,
    /// How long to wait at most for what is still on its way when the timeline is over; absent: 60 s.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub settle: Option<Duration>,
    /// What the run must show to pass.
    #[serde(default)]
    pub expect: Expect,
}

/// The remote broker. All but `broker` is for environments with images.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Its image; absent: `emqx/emqx:5.8.7`.
    pub image: Option<String>,
    /// A file that `docker save` wrote, relative to the scenario, loaded instead of pulling the image; absent: pulled
    /// where it is missing.
    pub image_archive: Option<PathBuf>,
    /// How such a broker is run; absent: from the image's name, `none` where that says nothing.
    pub preset: Option<RemotePreset>,
    /// Environment variables, on top of the preset's; absent: none.
    #[serde(default)]
    pub env: BTreeMap<String, Scalar>,
    /// Its command line, behind the image's entry point; absent: the preset's, or the image's own.
    pub command: Option<Vec<String>>,
    /// Files: where in the container, and a file relative to the scenario; on top of the preset's; absent: none.
    #[serde(default)]
    pub files: BTreeMap<String, PathBuf>,
    /// Where it listens for MQTT; absent: 1883.
    pub port: Option<u16>,
    /// Names that bridges find it by, besides `emqx`; absent: none.
    #[serde(default)]
    pub names: Vec<String>,
    /// How long it may take until it answers CONNECT; absent: 60 s.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub ready_within: Option<Duration>,
    /// Which broker, for the environment `local`; absent: mosquitto where it is installed, else the built-in one.
    pub broker: Option<Broker>,
    /// The Receive Maximum that it grants, at least 1; absent: as many as the protocol allows.
    pub receive_maximum: Option<u16>,
}

/// The brokers that can be the remote in the environment `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Broker {
    /// mosquitto, from PATH.
    Mosquitto,
    /// This executable as a small broker.
    BuiltIn,
}

/// A bridge under test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Which bridge.
    pub kind: Kind,
    /// How it is shown; absent: the kind, with a number where the kind is listed more than once.
    pub name: Option<String>,
    /// Its image, for environments with images; absent: the kind's own.
    pub image: Option<String>,
    /// Its executable, relative to the scenario or absolute, for environments with processes; absent: from PATH.
    pub binary: Option<PathBuf>,
    /// A configuration file of its own, relative to the scenario; absent: one is generated. Of a `command` it is a
    /// template: `{{listen_host}}`, `{{listen_port}}`, `{{remote_host}}`, `{{remote_port}}` and `{{folder}}` are filled
    /// in.
    pub config: Option<PathBuf>,
    /// Its command line, of a `command` alone; `{{config}}` is its configuration's file, the rest as in the template.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Worker threads, where the kind has that setting; absent: the kind's default.
    pub workers: Option<u32>,
    /// Lines of its own configuration language, added to what is generated; absent: none.
    #[serde(default)]
    pub settings: BTreeMap<String, Scalar>,
}

/// The bridges that can be named; not all of them can be run by this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Kind {
    MqttBridge,
    Mosquitto,
    Nanomq,
    NanomqModel,
    Command,
}

/// The remote leg, in the words of bridge.yaml. What is absent keeps its default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// 5 or 4.
    pub protocol: Option<u8>,
    /// Whole seconds, 1 s to 65535 s.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub keep_alive: Option<Duration>,
    /// Above 0.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub connect_timeout: Option<Duration>,
    /// Above 0.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub ack_timeout: Option<Duration>,
    /// The waits before reconnects.
    #[serde(default)]
    pub reconnect: Reconnect,
    /// 1 to 65535.
    pub window: Option<u16>,
    /// Whole seconds.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub session_expiry: Option<Duration>,
    /// What it keeps for the remote.
    #[serde(default)]
    pub cache: Cache,
}

/// What a bridge keeps for the remote, in the words of bridge.yaml.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// So many messages, at least 1; absent: as many as come.
    pub max_messages: Option<u64>,
    /// What happens beyond; absent: what is the bridge's own way.
    pub when_full: Option<WhenFull>,
}

/// The waits before reconnects.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconnect {
    /// The first one.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub min: Option<Duration>,
    /// The longest one.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub max: Option<Duration>,
}

/// One publisher on one topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Topic Name, the same on both sides.
    pub topic: String,
    /// QoS of the PUBLISHes and of the forward; absent: 1.
    #[serde(default = "one_byte")]
    pub qos: u8,
    /// Messages per second; absent: 1.
    #[serde(default = "one_per_second")]
    pub qps: f64,
    /// Payload size; absent: 64 bytes.
    #[serde(default, deserialize_with = "units::optional_size")]
    pub payload: Option<u64>,
    /// `bridge`: published at the bridge and received at the remote; `remote`: the other way. Absent: `bridge`.
    #[serde(default)]
    pub via: Via,
}

/// One step of the timeline: a `publish`, or a fault.
///
/// Flat, and `do` a plain word, so that the parser knows the line of every key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When it begins, from the start of the timeline; this, `between` or `when`.
    pub at: Option<Moment>,
    /// A fault happens at a seeded moment between these two, instead of `at`.
    pub between: Option<[Moment; 2]>,
    /// A fault happens when this comes about, instead of `at`; `for` counts from then.
    pub when: Option<When>,
    /// How many times: with `between` at seeded moments, at least `for` and a second apart; with `at` every `period`.
    /// Absent: 1.
    pub times: Option<u32>,
    /// From one begin to the next, with `at` and `times`.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub period: Option<Duration>,
    /// With `at`: begins up to so much later, seeded anew each time. Absent: at `at` exactly.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub spread: Option<Duration>,
    /// What is done.
    #[serde(rename = "do")]
    pub action: Action,
    /// How long. `publish` needs this or `count`. Of the faults, `reset` without it happens once; `kill` and `stop`
    /// without it are followed by a start at once; `restart` has none; all others need it.
    #[serde(rename = "for", default, deserialize_with = "units::optional_duration")]
    pub duration: Option<Duration>,
    /// To whom; absent: `bridge` for `kill`, `restart`, `stop` and `fill_disk`, `remote` for the other faults.
    pub on: Option<Side>,
    /// `publish`: only the loads with these topics; absent: all.
    pub load: Option<Vec<String>>,
    /// `publish`: so many messages of each load at its rate, instead of `for`.
    pub count: Option<u64>,
    /// `half_open`: the direction in which bytes still pass; absent: `to_remote`.
    pub passes: Option<Direction>,
    /// `delay`: so much later.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub by: Option<Duration>,
    /// `delay`: and up to so much more, drawn anew each time; absent: none.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub jitter: Option<Duration>,
    /// `throttle`: at most so much in a second, in each direction.
    pub rate: Option<BytesPerSecond>,
    /// `loss`: how many of the IP packets, in each direction.
    pub share: Option<Percent>,
    /// `drop_packets`: these acknowledgements are swallowed; `delay`: only these are delayed.
    pub packets: Option<Vec<Acknowledgement>>,
    /// With `packets`: every so-manieth of them; absent: each.
    pub every: Option<u32>,
    /// `kill`, `stop` and `restart` of the remote: whether it finds its sessions again; absent: `kept`.
    pub session: Option<Session>,
    /// `fill_disk`: the size of the disk; absent: the environment's choice.
    #[serde(default, deserialize_with = "units::optional_size")]
    pub size: Option<u64>,
}

/// What a step waits for.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// So much of the backlog at the last heal has arrived ([`crate::scenario::plan::When::Drained`]).
    pub drained: Percent,
}

/// What becomes of the remote's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Session {
    /// They are found again.
    Kept,
    /// They are gone.
    Lost,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `publish`.
    Publish,
    /// Any of the faults, by its name.
    Fault(FaultKind),
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const PUBLISH: &str = "publish";
        let word = String::deserialize(deserializer)?;
        if word == PUBLISH {
            return Ok(Self::Publish);
        }
        let fault: StrDeserializer<'_, ValueError> = word.as_str().into_deserializer();
        // Which names there are is said by the error alone, and it does not know of ours.
        let unknown = |error: ValueError| {
            D::Error::custom(error.to_string().replacen(
                "expected one of ",
                &format!("expected one of `{PUBLISH}`, "),
                1,
            ))
        };
        FaultKind::deserialize(fault).map(Self::Fault).map_err(unknown)
    }
}

/// What a run must show to pass. `any` counts without judging.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Acknowledged messages that may be lost, or `evicted`: as many as the bridge itself has counted as dropped, and
    /// they are the oldest of what waited. Absent: 0.
    pub lost: Option<Allowance>,
    /// `counted`: the refusals that publishers have seen are those that the bridge has counted, and nothing of what was
    /// refused arrives. Absent: not judged.
    pub refused: Option<Counted>,
    /// Messages that may arrive more than once.
    #[serde(default)]
    pub duplicated: Duplicated,
    /// Messages that may arrive below the highest sequence of their load; absent: 0.
    pub out_of_order: Option<Allowance>,
    /// How long after the last heal the backlog may take; absent: not judged.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub drained_within: Option<Duration>,
    /// How long after the last heal the first delivery may take; absent: not judged.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub first_delivery_within: Option<Duration>,
}

/// Messages that may arrive more than once, by effective QoS.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duplicated {
    /// Absent: `any`, as MQTT allows it.
    pub qos1: Option<Allowance>,
    /// A number, `any`, or `ambiguous`: as many as the bridge itself has counted as ambiguous. Absent: 0.
    pub qos2: Option<Allowance>,
}

/// What is held against the bridge's own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Both must agree.
    Counted,
}

fn one() -> u64 {
    1
}
fn one_byte() -> u8 {
    1
}
fn one_per_second() -> f64 {
    1.0
}
fn auto() -> EnvironmentKind {
    EnvironmentKind::Auto
}
