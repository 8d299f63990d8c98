//! The bridges under test: how each is configured and started, from the plan alone.
mod mosquitto;
mod mqtt_bridge;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

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

/// What it takes to start a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// What to run.
    pub(crate) program: Program,
    /// With which arguments.
    pub(crate) arguments: Vec<String>,
    /// Files in its folder: name and contents.
    pub(crate) files: Vec<(String, String)>,
    /// Whether it serves its counters.
    pub(crate) has_metrics: bool,
}

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// This executable.
    Own,
    /// One that has to be installed.
    Installed(&'static str),
}

/// Why a subject cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// A kind that this version cannot run.
    #[error("the subject {name} cannot be run by this version: use mqtt-bridge or mosquitto")]
    NotYet {
        /// Its name in the plan.
        name: String,
    },
    /// A configuration of the user's own.
    #[error(
        "the subject {name} has a `config` of its own, which only environments with images can use: leave it out here, or add single lines with `settings`"
    )]
    OwnConfiguration {
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
    if subject.config.is_some() {
        return Err(SubjectError::OwnConfiguration { name: subject.name.clone() });
    }
    match subject.kind {
        SubjectKind::MqttBridge => mqtt_bridge::configure(plan, subject, sites),
        SubjectKind::Mosquitto => Ok(mosquitto::configure(plan, subject, sites)),
        SubjectKind::Nanomq => Err(SubjectError::NotYet { name: subject.name.clone() }),
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
