//! A scenario as it is typed: serde structures with every key, and nothing decided yet.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use crate::bridge::units;
use crate::bridge::yaml::Text;
use crate::scenario::plan::{EnvironmentKind, RemotePreset, Side, Via};

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
    /// A configuration file of its own, relative to the scenario; absent: one is generated.
    pub config: Option<PathBuf>,
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
    /// When it begins, from the start of the timeline; this or `between`.
    pub at: Option<Moment>,
    /// A fault happens at a seeded moment between these two; this or `at`.
    pub between: Option<[Moment; 2]>,
    /// How many seeded moments, at least `for` and a second apart; only with `between`; absent: 1.
    pub times: Option<u32>,
    /// Not available yet: a step that waits for progress.
    pub when: Option<IgnoredAny>,
    /// What is done.
    #[serde(rename = "do")]
    pub action: Action,
    /// How long. `publish` needs this or `count`; `disconnect`, `cut`, `refuse` and `pause` need it; absent at
    /// `reset`: once, at `kill`: started again at once; `restart` has none.
    #[serde(rename = "for", default, deserialize_with = "units::optional_duration")]
    pub duration: Option<Duration>,
    /// To whom; absent: `bridge` for `kill` and `restart`, `remote` for the other faults.
    pub on: Option<Side>,
    /// `publish`: only the loads with these topics; absent: all.
    pub load: Option<Vec<String>>,
    /// `publish`: so many messages of each load at its rate, instead of `for`.
    pub count: Option<u64>,
}

/// What a step does; those behind `Restart` cannot be done by this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Action {
    Publish,
    Disconnect,
    Cut,
    Reset,
    Refuse,
    Pause,
    Kill,
    Restart,
    HalfOpen,
    Delay,
    Throttle,
    Loss,
    DropPackets,
    Stop,
    FillDisk,
}

/// What a run must show to pass. `any` counts without judging.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Acknowledged messages that may be lost; absent: 0.
    pub lost: Option<Allowance>,
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
    /// Absent: 0.
    pub qos2: Option<Allowance>,
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

/// A moment on the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Duration);

/// A number that is not exceeded, or `any` (`None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance(pub Option<u64>);

/// A setting's value: text, number or truth, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn moment(text: &str) -> Result<Moment, String> {
            if text.trim_start().starts_with('-') {
                return Err(format!("`{text}` is before the start: the timeline begins at 0s"));
            }
            units::parse_duration(text).map(Moment).map_err(|error| error.to_string())
        }
        deserializer.deserialize_any(Text(moment, "a moment such as 10s"))
    }
}

impl<'de> Deserialize<'de> for Allowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn allowance(text: &str) -> Result<Allowance, String> {
            match text {
                "any" => Ok(Allowance(None)),
                _ => text.parse().map(|number| Allowance(Some(number))).map_err(|_| {
                    format!("`{text}` is no number of messages: write 0 or more, or `any` to count without judging")
                }),
            }
        }
        deserializer.deserialize_any(Text(allowance, "a number of messages, or `any`"))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(|text| Ok(Scalar(text.to_owned())), "a text, a number, true or false"))
    }
}
