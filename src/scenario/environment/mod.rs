//! Where a run takes place: what an environment is to the runner, whatever it is made of.
mod disk;
pub mod docker;
mod ending;
mod launch;
pub mod local;
mod log;
#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(target_os = "linux")]
mod owner;
pub(crate) mod ports;
mod process;
mod programs;
pub(crate) mod proxy;
mod ready;
mod remote;
mod remote_process;
#[cfg(test)]
mod suite;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use self::proxy::{ProxyError, serve as fault_proxy};
use super::examiner::Examiner;
use super::plan::{Fault, FaultKind, Plan, Side, SubjectPlan};
use super::recorder::Recorder;
use super::subject::SubjectError;

/// What the name of a run folder begins with that nobody asked to keep; it stands among the temporary files.
pub(super) const TEMPORARY_RUN: &str = "mqtt-bridge-replay-";

/// How well an environment can do a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As it is meant.
    Exact,
    /// Not quite; says what is different.
    Approximated(&'static str),
    /// Not at all; says why.
    Unsupported(&'static str),
}

/// Why a run could not take place, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A fault of the plan that the environment cannot do; found before anything starts.
    #[error("the environment {environment} cannot do {} on {on:?}: {why}", .fault.name())]
    Unsupported {
        /// Its name.
        environment: &'static str,
        /// What was asked for.
        fault: FaultKind,
        /// To whom.
        on: Side,
        /// Why not.
        why: &'static str,
    },
    /// A program that is needed is not there.
    #[error(
        "{program} was not found in PATH, /usr/sbin or /usr/local/sbin: install it (Debian: apt install {program}), or leave out what needs it"
    )]
    ProgramMissing {
        /// Its name.
        program: &'static str,
    },
    /// No port on loopback could be had.
    #[error("no free port on 127.0.0.1: {source}; are very many connections open?")]
    NoPort {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The fault proxy could not listen.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The Docker engine, or something on it.
    #[error(transparent)]
    Docker(#[from] docker::DockerError),
    /// Network namespaces could not be had or changed.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Netns(#[from] netns::NetnsError),
    /// A program could not be started.
    #[error("{what} cannot be started ({}): {source}", .program.display())]
    Start {
        /// Subject or remote.
        what: String,
        /// What was to be run.
        program: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A program ended before it was ready.
    #[error("{what} ended before it was ready ({status}): see {}{last}", .log.display())]
    Ended {
        /// Subject or remote.
        what: String,
        /// How.
        status: String,
        /// Its log.
        log: PathBuf,
        /// What it said last, ready to be appended.
        last: String,
    },
    /// Something was not ready in time.
    #[error("{what} was not ready within {seconds} s: {why}; see the logs in {}", .logs.display())]
    NotReady {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// The last thing that went wrong.
        why: String,
        /// Where the logs are.
        logs: PathBuf,
    },
    /// A disk of the subject's own could not be had, filled or emptied.
    #[error("{}: the disk of the bridge's own: {source}", .path.display())]
    Disk {
        /// Where it is mounted.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The subject cannot be configured for this plan.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A file could not be written.
    #[error("{}: cannot be written: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// What a world is made for: one subject of a plan.
pub(crate) struct Request<'a> {
    /// The plan.
    pub(crate) plan: &'a Plan,
    /// The subject.
    pub(crate) subject: &'a SubjectPlan,
    /// The folder of this subject's run: logs and the subject's own files go there.
    pub(crate) folder: &'a Path,
    /// Who writes the history.
    pub(crate) recorder: &'a Recorder,
    /// Who knows of the receiver at the remote, once there is one.
    pub(crate) examiner: &'a Examiner,
}

/// A place where runs can take place.
pub(crate) trait Environment {
    /// What it prepares.
    type World: World + Send;

    /// As it is called in scenarios and reports.
    fn name(&self) -> &'static str;

    /// How well it can do a fault; asked before anything starts.
    fn support(&self, fault: &Fault) -> Support;

    /// Whether a subject can be had here: its configuration, its program; asked before anything starts.
    ///
    /// # Errors
    /// [`EnvironmentError::Subject`] or [`EnvironmentError::ProgramMissing`].
    fn check(&self, plan: &Plan, subject: &SubjectPlan) -> Result<(), EnvironmentError>;

    /// Fetches what all subjects of a plan need (images), before anything is started.
    ///
    /// # Errors
    /// [`EnvironmentError`] with what to do about what cannot be had.
    fn gather(&self, _plan: &Plan) -> impl Future<Output = Result<(), EnvironmentError>> + Send {
        async { Ok(()) }
    }

    /// Removes what was fetched or made for all subjects and is of no use to anybody afterwards.
    fn finish(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Makes a fresh world with a running remote; the subject is not started and the link not open.
    ///
    /// # Errors
    /// [`EnvironmentError`] where that fails; nothing is left behind.
    fn prepare(&self, request: Request<'_>) -> impl Future<Output = Result<Self::World, EnvironmentError>> + Send;
}

/// One subject's world: a remote, a link with faults, a subject. Dropped, it leaves nothing behind.
pub(crate) trait World {
    /// The remote broker and its version.
    fn remote_version(&self) -> String;

    /// What the subject says of its version.
    fn subject_version(&self) -> String;

    /// What exactly is run, by whose it is: names and digests of images, versions.
    fn artifacts(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Where the remote is reached on a way that no fault touches.
    fn remote(&self) -> SocketAddr;

    /// Where the subject listens.
    fn listener(&self) -> SocketAddr;

    /// Where the subject serves its counters, if it does.
    fn metrics(&self) -> Option<SocketAddr>;

    /// Opens the link from the subject to the remote.
    ///
    /// # Errors
    /// [`EnvironmentError`] where that fails.
    fn open_link(&mut self) -> impl Future<Output = Result<(), EnvironmentError>> + Send;

    /// Starts the subject and waits until it answers CONNECT and has reached for the remote.
    ///
    /// # Errors
    /// [`EnvironmentError`] where it ends or is not ready in time.
    fn start_subject(&mut self) -> impl Future<Output = Result<(), EnvironmentError>> + Send;

    /// Does fault `index` of the plan, records the moment it holds from, and looks whether it holds.
    ///
    /// What [takes the remote's process away](Fault::stops_remote) takes the receiver's connection with it. It closes the
    /// link, waits until the receiver [has everything](Examiner::has_everything), records the fault, and only then ends
    /// the process, so that nothing is missing through the remote's fault; where that does not succeed, or the remote
    /// cannot keep its sessions though it should, it records a doubt.
    ///
    /// # Errors
    /// [`EnvironmentError`] where it cannot be done; a fault that does not hold is a doubt in the history.
    fn apply(&mut self, index: usize, fault: &Fault) -> impl Future<Output = Result<(), EnvironmentError>> + Send;

    /// Heals fault `index`, records the moment, and looks whether it is healed. Again is the same as once, but for the
    /// record. A remote that was started again is healed when the receiver [is back](Examiner::is_back), and the link
    /// opens then.
    ///
    /// # Errors
    /// [`EnvironmentError`] where it cannot be healed.
    fn heal(&mut self, index: usize, fault: &Fault) -> impl Future<Output = Result<(), EnvironmentError>> + Send;

    /// The state of the link in a word or two, for people who watch.
    fn link(&self) -> &'static str;

    /// Asks the subject to end and waits until it has; the history says how it took it.
    fn stop_subject(&mut self) -> impl Future<Output = ()> + Send;

    /// Stops everything else.
    fn stop_remote(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a plan's faults are in an environment: the list of what is approximated.
///
/// # Errors
/// [`EnvironmentError::Unsupported`] for the first fault that cannot be done.
pub(crate) fn approximations(environment: &impl Environment, plan: &Plan) -> Result<Vec<String>, EnvironmentError> {
    let mut approximated: Vec<String> = Vec::new();
    for fault in &plan.faults {
        match environment.support(fault) {
            Support::Exact => {}
            Support::Approximated(how) => {
                let how = format!("{}: {how}", fault.kind.name());
                if !approximated.contains(&how) {
                    approximated.push(how);
                }
            }
            Support::Unsupported(why) => {
                let (environment, fault, on) = (environment.name(), fault.kind, fault.on);
                return Err(EnvironmentError::Unsupported { environment, fault, on, why });
            }
        }
    }
    Ok(approximated)
}
