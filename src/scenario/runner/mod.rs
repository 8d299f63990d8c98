//! The runner: takes each subject of a plan through the same story, each in a fresh world, and brings back its ledger.
mod agenda;
mod choice;
mod folder;
mod interrupt;
mod progress;
mod story;
pub(crate) mod virtual_time;
mod way;

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use self::choice::Chosen;
pub use self::folder::RunFolder;
use self::progress::Progress;
#[cfg(target_os = "linux")]
use super::environment::netns;
use super::environment::{Environment, EnvironmentError, Request, World, approximations};
use super::examiner::Examiner;
use super::history::{Event, Record, VIRTUAL};
use super::ledger::Ledger;
#[cfg(target_os = "linux")]
use super::plan::EnvironmentKind;
use super::plan::{Plan, SubjectKind, SubjectPlan};
use super::recorder::{RecorderError, Recording};
use super::stop;
use super::subject::nanomq_model::{self, Modelled, Outage};
use super::subject::{self, SubjectError};

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
    pub because: Option<String>,
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
    /// An environment that only Linux has.
    #[error("the environment {0} needs Linux: use --environment docker or local")]
    NotHere(&'static str),
    /// A fault that a simulated subject does not know.
    #[error(transparent)]
    Unknown(#[from] nanomq_model::Unknown),
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
            Self::NotHere(_)
            | Self::Unknown(_)
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
    let simulated = Simulated::of(plan)?;
    let real = Plan {
        subjects: plan.subjects.iter().filter(|subject| !is_simulated(subject)).cloned().collect(),
        ..plan.clone()
    };
    if real.subjects.is_empty() {
        return simulated.alone(plan, options);
    }
    let (chosen, because) = choice::choose(&real, options).await?;
    match chosen {
        Chosen::Local(local) => run_in(&local, because, (plan, &real), &simulated, options).await,
        #[cfg(target_os = "linux")]
        Chosen::Netns(netns) => run_in(&netns, because, (plan, &real), &simulated, options).await,
        Chosen::Docker(docker) => run_in(&*docker, because, (plan, &real), &simulated, options).await,
    }
}

fn is_simulated(subject: &SubjectPlan) -> bool {
    subject.kind == SubjectKind::NanomqModel
}

/// The simulated subjects of a plan, each looked through before anything starts.
struct Simulated {
    outages: Vec<Outage>,
    subjects: Vec<(String, Modelled)>,
}

impl Simulated {
    fn of(plan: &Plan) -> Result<Self, RunError> {
        let simulated = plan.subjects.iter().filter(|subject| is_simulated(subject));
        let modelled = |subject: &SubjectPlan| Ok((subject.name.clone(), nanomq_model::modelled(plan, subject)?));
        let subjects: Vec<_> = simulated.map(modelled).collect::<Result<_, SubjectError>>()?;
        let outages = if subjects.is_empty() { Vec::new() } else { virtual_time::outages(plan)? };
        Ok(Self { outages, subjects })
    }

    /// A plan without any other subject: there is no environment to be chosen.
    fn alone(&self, plan: &Plan, options: &Options) -> Result<Outcome, RunError> {
        let mut folder = RunFolder::create(options.out.as_deref(), plan)?;
        let mut subjects = Vec::new();
        for subject in &plan.subjects {
            subjects.extend(self.tell(plan, subject, &mut folder)?);
        }
        Ok(Outcome { environment: VIRTUAL, because: None, subjects, interrupted: false, folder })
    }

    /// The story of a subject, if it is simulated.
    fn tell(&self, plan: &Plan, subject: &SubjectPlan, folder: &mut RunFolder) -> Result<Option<SubjectRun>, RunError> {
        let Some((name, modelled)) = self.subjects.iter().find(|(name, _)| *name == subject.name) else {
            return Ok(None);
        };
        eprintln!("{name}: simulated in virtual time");
        let place = folder.subject(name)?;
        let recording = Recording::start(&place.join("history.jsonl"), Ledger::new(plan))?;
        let recorder = recording.recorder();
        recorder.take_in(Record::at(Default::default(), virtual_time::run(plan, name, modelled)));
        let mut values = subject::settings(plan, subject)?;
        values.insert("parallel".to_owned(), modelled.inputs.workers.to_string());
        recorder.take_in(Record::at(Default::default(), Event::Settings { values }));
        virtual_time::tell(plan, modelled, &self.outages, plan.seed, &mut |record| recorder.take_in(record.clone()));
        Ok(Some(SubjectRun { name: name.clone(), ledger: recording.finish()? }))
    }
}

/// `plan` has all subjects, `real` those that the environment starts.
async fn run_in<E: Environment + Sync>(
    environment: &E,
    because: Option<String>,
    (whole, plan): (&Plan, &Plan),
    simulated: &Simulated,
    options: &Options,
) -> Result<Outcome, RunError> {
    if let Some(because) = &because {
        eprintln!("environment {}: {because}", environment.name());
    }
    let approximated = approximations(environment, plan)?;
    for subject in &plan.subjects {
        environment.check(plan, subject)?;
    }
    let run = Run { plan, whole, simulated, approximated, because, interrupted: interrupt::listen() };
    let mut outcome = run.gathered(environment, options).await;
    environment.finish().await;
    if let Ok(outcome) = &mut outcome {
        outcome.interrupted = *run.interrupted.borrow();
    }
    outcome
}

/// A plan that is about to be run, with what is known of it beforehand.
struct Run<'a> {
    plan: &'a Plan,
    /// With the subjects that are simulated.
    whole: &'a Plan,
    simulated: &'a Simulated,
    approximated: Vec<String>,
    because: Option<String>,
    interrupted: watch::Receiver<bool>,
}

impl Run<'_> {
    /// Fetches what is needed, and takes every subject through the story.
    async fn gathered<E: Environment + Sync>(&self, environment: &E, options: &Options) -> Result<Outcome, RunError> {
        let mut interrupted = self.interrupted.clone();
        tokio::select! {
            gathered = environment.gather(self.plan) => gathered?,
            // Every subject's turn finds out by itself.
            () = stop::told(&mut interrupted) => {}
        }
        let mut folder = RunFolder::create(options.out.as_deref(), self.whole)?;
        let mut subjects = Vec::new();
        for subject in &self.whole.subjects {
            if *interrupted.borrow() {
                break;
            }
            if let Some(told) = self.simulated.tell(self.whole, subject, &mut folder)? {
                subjects.push(told);
                continue;
            }
            let place = folder.subject(&subject.name)?;
            let ledger = self.subject(environment, subject, &place).await;
            if ledger.is_err() {
                folder.keep();
            }
            subjects.push(SubjectRun { name: subject.name.clone(), ledger: ledger? });
        }
        let because = self.because.clone();
        Ok(Outcome { environment: environment.name(), because, subjects, interrupted: false, folder })
    }

    async fn subject<E: Environment>(
        &self,
        environment: &E,
        subject: &SubjectPlan,
        folder: &Path,
    ) -> Result<Ledger, RunError> {
        let (plan, mut interrupted) = (self.plan, self.interrupted.clone());
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
            approximated: self.approximated.clone(),
            unexpressed: subject::unexpressed(plan, subject)?,
            because: self.because.clone(),
            artifacts: world.artifacts(),
        });
        let values = subject::settings(plan, subject)?;
        if !values.is_empty() {
            recorder.record(Event::Settings { values });
        }
        let told =
            story::Story::new(plan, run, folder, &recorder, &examiner, &progress).tell(&mut world, interrupted).await;
        // Also of a story that broke off, the history is whole on disk.
        let ledger = recording.finish()?;
        told?;
        Ok(ledger)
    }
}
