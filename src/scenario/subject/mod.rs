//! The bridges under test: how each is configured and started, from the plan alone.
mod command;
mod mosquitto;
mod mqtt_bridge;
mod nanomq;
pub mod nanomq_model;
mod template;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plan::{Plan, SubjectKind, SubjectPlan, Via};

/// Where a subject finds its world.
#[derive(Debug, Clone)]
pub(crate) struct Sites<'a> {
    /// Where it shall listen.
    pub(crate) listen: SocketAddr,
    /// Host and port of the remote, as the subject sees them.
    pub(crate) remote: (String, u16),
    /// Where it shall serve its counters, if it can.
    pub(crate) metrics: SocketAddr,
    /// Its folder, as the subject sees it.
    pub(crate) folder: &'a Path,
}

impl Sites<'_> {
    /// For a configuration that nobody is going to be started with.
    fn nowhere() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen: nowhere, remote: ("remote".to_owned(), 1883), metrics: nowhere, folder: Path::new("") }
    }
}

/// What it takes to start a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// What to run.
    pub(crate) program: Program,
    /// With which arguments.
    pub(crate) arguments: Vec<String>,
    /// Files in its folder: name and contents.
    pub(crate) files: Vec<(String, String)>,
    /// Folders in its folder that must be there.
    pub(crate) folders: Vec<String>,
    /// What it leaves behind when it is killed, and what keeps it from starting again; absolute.
    pub(crate) leftovers: Vec<PathBuf>,
    /// Where it listens, where its own configuration says so.
    pub(crate) listens: Option<SocketAddr>,
    /// Whether it serves its counters.
    pub(crate) has_metrics: bool,
    /// What of the scenario's bridge it has no word for, or was given otherwise.
    pub(crate) unexpressed: Vec<String>,
}

impl Configuration {
    /// Nothing but what has to be run, with its files.
    pub(crate) fn new(program: Program, arguments: Vec<String>, files: Vec<(String, String)>) -> Self {
        Self {
            program,
            arguments,
            files,
            folders: Vec::new(),
            leftovers: Vec::new(),
            listens: None,
            has_metrics: false,
            unexpressed: Vec::new(),
        }
    }
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// This executable.
    Own,
    /// One that has to be installed.
    Installed(&'static str),
    /// One that the scenario names.
    File(PathBuf),
    /// What an image runs; there is no executable to be started without one.
    Image,
}

impl Program {
    fn of(subject: &SubjectPlan, installed: &'static str) -> Self {
        subject.binary.clone().map_or(Self::Installed(installed), Self::File)
    }
}

/// Why a subject cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// A configuration of the user's own for a kind that takes none.
    #[error("the subject {name} takes no `config`: leave it out, and write what differs with `settings`")]
    OwnConfiguration {
        /// Its name in the plan.
        name: String,
    },
    /// Nothing that an environment with processes could start.
    #[error(
        "the subject {name} has an image alone, and this environment starts executables: write `binary:`, or use --environment docker"
    )]
    NoExecutable {
        /// Its name in the plan.
        name: String,
    },
    /// Nothing that an environment with images could start.
    #[error(
        "the subject {name} has no image, and this environment starts containers: write `image:`, or use --environment local or netns"
    )]
    NoImage {
        /// Its name in the plan.
        name: String,
    },
    /// `settings` beside a configuration of the user's own.
    #[error("the subject {name} has both `config` and `settings`: write what differs into the configuration")]
    BothConfigurations {
        /// Its name in the plan.
        name: String,
    },
    /// A configuration of the user's own cannot be read.
    #[error("the subject {name}: {}: {source}", .file.display())]
    Unreadable {
        /// Its name in the plan.
        name: String,
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A configuration of the user's own cannot be used.
    #[error("the subject {name}: {}:{line}: {what}", .file.display())]
    Configuration {
        /// Its name in the plan.
        name: String,
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what would be right.
        what: String,
    },
    /// An argument of a command cannot be used.
    #[error("the subject {name}: arguments: {what}")]
    Argument {
        /// Its name in the plan.
        name: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The model cannot be made.
    #[error("the subject {name}: {what}")]
    Model {
        /// Its name in the plan.
        name: String,
        /// What is wrong, with file, line and key.
        what: String,
    },
    /// An environment was asked to start what is simulated.
    #[error("the subject {name} is simulated: there is nothing that an environment could start")]
    Simulated {
        /// Its name in the plan.
        name: String,
    },
    /// Something in `settings` does not fit.
    #[error("the subject {name}: settings.{key}: {why}")]
    Setting {
        /// Its name in the plan.
        name: String,
        /// Which.
        key: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

/// What it takes to start a subject of a plan.
///
/// # Errors
/// [`SubjectError`] where the subject cannot be had like that.
pub(crate) fn configure(plan: &Plan, subject: &SubjectPlan, sites: &Sites<'_>) -> Result<Configuration, SubjectError> {
    if subject.config.is_some() && !subject.settings.is_empty() {
        return Err(SubjectError::BothConfigurations { name: subject.name.clone() });
    }
    match subject.kind {
        SubjectKind::MqttBridge => mqtt_bridge::configure(plan, subject, sites),
        SubjectKind::Mosquitto => mosquitto::configure(plan, subject, sites),
        SubjectKind::Nanomq => nanomq::configure(plan, subject, sites),
        SubjectKind::Command => command::configure(plan, subject, sites),
        SubjectKind::NanomqModel => Err(SubjectError::Simulated { name: subject.name.clone() }),
    }
}

/// What of the scenario's bridge a subject has no word for.
///
/// # Errors
/// As [`configure`].
pub(crate) fn unexpressed(plan: &Plan, subject: &SubjectPlan) -> Result<Vec<String>, SubjectError> {
    match subject.kind {
        SubjectKind::NanomqModel => Ok(nanomq_model::modelled(plan, subject)?.unexpressed),
        _ => Ok(configure(plan, subject, &Sites::nowhere())?.unexpressed),
    }
}

/// What is said of a duration where a subject takes whole seconds, at least 1; `None`: it is as it was asked for.
fn rounded(key: &str, duration: Duration) -> Option<String> {
    let whole = duration.subsec_nanos() == 0 && duration.as_secs() > 0;
    (!whole).then(|| format!("{key}: it waits whole seconds, at least 1, so this is rounded up"))
}

/// The file that the scenario gives, if it gives one, with its text.
fn own_configuration(plan: &Plan, subject: &SubjectPlan) -> Result<Option<(PathBuf, String)>, SubjectError> {
    let Some(config) = &subject.config else { return Ok(None) };
    let file = plan.directory.join(config);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Some((file, text))),
        Err(source) => Err(SubjectError::Unreadable { name: subject.name.clone(), file, source }),
    }
}

pub(crate) use mqtt_bridge::broker;

/// The topics that go one way, each once, with the highest QoS of its loads.
fn topics(plan: &Plan, via: Via) -> BTreeMap<&str, u8> {
    let mut topics = BTreeMap::new();
    for load in plan.loads.iter().filter(|load| load.via == via) {
        let qos = topics.entry(load.topic.as_str()).or_default();
        *qos = load.qos.max(*qos);
    }
    topics
}

#[cfg(test)]
mod tests;
