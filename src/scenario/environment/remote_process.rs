//! The remote as a process of a world: it is taken away, and comes back, so that nothing is missing through its own fault.
use std::net::SocketAddr;
use std::path::PathBuf;

use super::EnvironmentError;
use super::launch::Launch;
use super::process::Process;
use super::remote::{Choice, save_sessions};
use crate::scenario::examiner::Examiner;
use crate::scenario::history::Event;
use crate::scenario::plan::{Fault, FaultKind, Parameters};
use crate::scenario::recorder::Recorder;

/// A remote, running or not.
pub(super) struct Remote {
    launch: Launch,
    process: Option<Process>,
    address: SocketAddr,
    /// Where it keeps its sessions, where it does.
    sessions: Option<PathBuf>,
    version: String,
    examiner: Examiner,
    recorder: Recorder,
}

impl Remote {
    /// Starts what was chosen and waits until it answers at `address`, by a way that no fault touches.
    ///
    /// # Errors
    /// [`EnvironmentError`] where it does not.
    pub(super) async fn start(
        chosen: Choice,
        launch: Launch,
        address: SocketAddr,
        examiner: &Examiner,
        recorder: &Recorder,
    ) -> Result<Self, EnvironmentError> {
        let (examiner, recorder) = (examiner.clone(), recorder.clone());
        let Choice { sessions, version, .. } = chosen;
        let mut remote = Self { launch, process: None, address, sessions, version, examiner, recorder };
        remote.launch().await?;
        Ok(remote)
    }

    async fn launch(&mut self) -> Result<(), EnvironmentError> {
        let process = self.launch.start()?;
        self.launch.ready(&process, self.address).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Where it is reached by the way that no fault touches.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name and version.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Its process, while there is one.
    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Whether it has a process.
    pub(super) fn is_there(&self) -> bool {
        self.process.is_some()
    }

    /// Behind a link that stands still: waits while it passes on what it has acknowledged, and while it writes its
    /// sessions down where nobody will give it the time to; then records the fault and ends it. To the subject it is a
    /// remote that was slow for a moment, and then ended.
    pub(super) async fn take_away(&mut self, index: usize, fault: &Fault) {
        if let Err(error) = self.examiner.has_everything(self.address).await {
            self.recorder.doubt(format!("the remote may take messages with it that it had acknowledged: {error}"));
        }
        let polite = fault.kind != FaultKind::Kill;
        if !forgets(fault) {
            match (&self.sessions, &self.process) {
                (Some(file), Some(process)) if !polite => {
                    if !save_sessions(process, file).await {
                        self.recorder.doubt("the remote did not write its sessions down before it was killed");
                    }
                }
                (Some(_), _) => {}
                (None, _) => self.recorder.doubt("the remote keeps its sessions in memory: they ended with it"),
            }
        }
        self.recorder.record(Event::FaultOn { fault: index, kind: fault.kind, on: fault.on });
        self.end(polite).await;
    }

    /// Waits until the receiver has noticed that it is gone.
    pub(super) async fn receiver_is_away(&self) {
        if let Err(error) = self.examiner.is_away().await {
            self.recorder.doubt(error.to_string());
        }
    }

    /// Starts it again where it does not run, with its sessions or without, and waits until the receiver is back at it.
    ///
    /// # Errors
    /// [`EnvironmentError`] where it does not start.
    pub(super) async fn come_back(&mut self, fault: &Fault) -> Result<(), EnvironmentError> {
        if !self.is_there() {
            if let Some(file) = self.sessions.as_ref().filter(|file| forgets(fault) && file.exists()) {
                let failed = |source| EnvironmentError::File { path: file.clone(), source };
                std::fs::remove_file(file).map_err(failed)?;
            }
            self.launch().await?;
        }
        if let Err(error) = self.examiner.is_back().await {
            self.recorder.doubt(error.to_string());
        }
        Ok(())
    }

    /// SIGTERM, or SIGKILL at once.
    pub(super) async fn end(&mut self, politely: bool) {
        if let Some(process) = self.process.take() {
            self.launch.end(&process, politely).await;
        }
    }
}

/// Whether the remote is to forget its sessions.
fn forgets(fault: &Fault) -> bool {
    matches!(fault.parameters, Parameters::Session { lost: true })
}
