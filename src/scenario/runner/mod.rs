//! The runner: takes each subject of a plan through the same story, each in a fresh world, and brings back its ledger.
mod agenda;
mod folder;
mod interrupt;
mod progress;
mod story;
mod way;

use std::path::{Path, PathBuf};

use tokio::sync::watch;

pub use self::folder::RunFolder;
use self::progress::Progress;
use super::environment::local::Local;
#[cfg(target_os = "linux")]
use super::environment::netns::{self, Netns};
use super::environment::{Environment, EnvironmentError, Request, World, approximations};
use super::examiner::Examiner;
use super::history::Event;
use super::ledger::Ledger;
use super::plan::{EnvironmentKind, Plan, SubjectPlan};
use super::recorder::{RecorderError, Recording};
use super::stop;
use super::subject::SubjectError;

/// How a plan is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The executable that is `mqtt-bridge`: a subject, and the remote where no other is installed.
    pub own: PathBuf,
    /// Where the run folder shall be; `None`: among the temporary files, for as long as [`Outcome`] lives.
    pub out: Option<PathBuf>,
}

/// What came of a plan.
#[derive(Debug)]
pub struct Outcome {
    /// The environment that was taken.
    pub environment: &'static str,
    /// Why that one, where the scenario left it open.
    pub because: Option<&'static str>,
    /// The subjects that were tried, in order.
    pub subjects: Vec<SubjectRun>,
    /// The user ended the run; subjects may be missing.
    pub interrupted: bool,
    /// Where everything was written.
    pub folder: RunFolder,
}

/// One subject's run.
#[derive(Debug)]
pub struct SubjectRun {
    /// Its name in the plan.
    pub name: String,
    /// What happened.
    pub ledger: Ledger,
}

/// Why a plan could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An environment that this version does not have.
    #[error("the environment {0} is not in this version: use --environment local")]
    NotYet(&'static str),
    /// An environment that only Linux has.
    #[error("the environment {0} needs Linux: use --environment docker or local")]
    NotHere(&'static str),
    /// The environment is at fault.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The history could not be kept.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// The folder of `--out` is in use.
    #[error("{}: is not empty: give a new folder to --out, so that no run is mixed with another", .path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder could not be written.
    #[error("{}: cannot be written: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl RunError {
    /// The exit code of the command line: 2 where what was asked for is wrong, 4 where the environment is at fault.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotYet(_)
            | Self::NotHere(_)
            | Self::NotEmpty { .. }
            | Self::Environment(EnvironmentError::Unsupported { .. } | EnvironmentError::Subject(_)) => 2,
            Self::Environment(_) | Self::Recorder(_) | Self::File { .. } => 4,
        }
    }
}

impl From<SubjectError> for RunError {
    fn from(error: SubjectError) -> Self {
        Self::Environment(error.into())
    }
}

/// Moves this process to where a plan can be run, where that is not where it is: into a user namespace, for network
/// namespaces without root. To be called while it has one thread.
///
/// # Errors
/// [`RunError::Environment`] where the kernel does not allow that.
pub fn settle_in(plan: &Plan) -> Result<(), RunError> {
    #[cfg(target_os = "linux")]
    if plan.environment == EnvironmentKind::Netns {
        netns::enter().map_err(EnvironmentError::from)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = plan;
    Ok(())
}

/// Runs a plan: every subject in turn. Ctrl-C heals and stops everything, and what happened so far comes back.
///
/// # Errors
/// [`RunError`]; nothing is left running, and the run folder is kept where it has logs that tell why.
pub async fn run(plan: &Plan, options: &Options) -> Result<Outcome, RunError> {
    let (local, because) = match plan.environment {
        EnvironmentKind::Local => (Local::new(options.own.clone()), None),
        EnvironmentKind::Auto => (Local::new(options.own.clone()), Some("it is the only one in this version")),
        #[cfg(target_os = "linux")]
        EnvironmentKind::Netns => return run_in(&Netns::new(options.own.clone()), None, plan, options).await,
        #[cfg(not(target_os = "linux"))]
        EnvironmentKind::Netns => return Err(RunError::NotHere("netns")),
        EnvironmentKind::Docker => return Err(RunError::NotYet("docker")),
    };
    run_in(&local, because, plan, options).await
}

async fn run_in<E: Environment + Sync>(
    environment: &E,
    because: Option<&'static str>,
    plan: &Plan,
    options: &Options,
) -> Result<Outcome, RunError> {
    let approximated = approximations(environment, plan)?;
    for subject in &plan.subjects {
        environment.check(plan, subject)?;
    }
    let mut folder = RunFolder::create(options.out.as_deref(), plan)?;
    let interrupted = interrupt::listen();
    let mut subjects = Vec::new();
    for subject in &plan.subjects {
        if *interrupted.borrow() {
            break;
        }
        let place = folder.subject(&subject.name)?;
        let ledger = run_subject(environment, plan, subject, &place, &approximated, interrupted.clone()).await;
        if ledger.is_err() {
            folder.keep();
        }
        subjects.push(SubjectRun { name: subject.name.clone(), ledger: ledger? });
    }
    let interrupted = *interrupted.borrow();
    Ok(Outcome { environment: environment.name(), because, subjects, interrupted, folder })
}

async fn run_subject<E: Environment>(
    environment: &E,
    plan: &Plan,
    subject: &SubjectPlan,
    folder: &Path,
    approximated: &[String],
    mut interrupted: watch::Receiver<bool>,
) -> Result<Ledger, RunError> {
    let recording = Recording::start(&folder.join("history.jsonl"), Ledger::new(plan))?;
    let recorder = recording.recorder();
    let progress = Progress::start(&subject.name, recorder.clone());
    progress.phase("preparing", None);
    let run = fastrand::u64(..);
    let examiner = Examiner::new(run);
    let request = Request { plan, subject, folder, recorder: &recorder, examiner: &examiner };
    let mut world = tokio::select! {
        world = environment.prepare(request) => world?,
        () = stop::told(&mut interrupted) => {
            recorder.record(Event::Interrupted);
            return Ok(recording.finish()?);
        }
    };
    recorder.record(Event::Run {
        run,
        subject: subject.name.clone(),
        version: world.subject_version(),
        environment: environment.name().to_owned(),
        remote: world.remote_version(),
        approximated: approximated.to_vec(),
    });
    let told =
        story::Story::new(plan, run, folder, &recorder, &examiner, &progress).tell(&mut world, interrupted).await;
    // Also of a story that broke off, the history is whole on disk.
    let ledger = recording.finish()?;
    told?;
    Ok(ledger)
}
