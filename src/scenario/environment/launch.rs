//! A program of a run: what to start, in which surroundings, where its lines go, and when it is ready.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::EnvironmentError;
use super::log::Log;
use super::process::Process;
use super::ready::{Awaited, FAREWELL, READY};
use crate::scenario::history::{Event, Role};
use crate::scenario::recorder::Recorder;

/// What is done to a command before it is started, so that it runs in its surroundings.
pub(super) type Surroundings = Box<dyn Fn(&mut Command) + Send + Sync>;

/// What has to be run, and where its lines go.
pub(super) struct Launch {
    role: Role,
    what: String,
    program: PathBuf,
    arguments: Vec<String>,
    surroundings: Surroundings,
    leftovers: Vec<PathBuf>,
    log: Log,
    recorder: Recorder,
}

impl Launch {
    /// A program with its arguments; its lines go to `logs` in the folder of the run.
    ///
    /// # Errors
    /// [`EnvironmentError::File`] where the log cannot be made.
    pub(super) fn new(
        role: Role,
        what: &str,
        (program, arguments): (PathBuf, Vec<String>),
        folder: &Path,
        recorder: &Recorder,
    ) -> Result<Self, EnvironmentError> {
        let name = match role {
            Role::Subject => "subject.log",
            Role::Remote => "remote.log",
            Role::Helper => "helper.log",
        };
        let path = folder.join("logs").join(name);
        let create = || {
            std::fs::create_dir_all(folder.join("logs"))?;
            Log::create(role, &path, recorder)
        };
        let log = create().map_err(|source| EnvironmentError::File { path: path.clone(), source })?;
        let (what, recorder) = (what.to_owned(), recorder.clone());
        Ok(Self {
            role,
            what,
            program,
            arguments,
            surroundings: Box::new(|_| {}),
            leftovers: Vec::new(),
            log,
            recorder,
        })
    }

    /// The same in surroundings of its own.
    pub(super) fn within(self, surroundings: Surroundings) -> Self {
        Self { surroundings, ..self }
    }

    /// The same, where it leaves files behind that keep it from starting again: each with the id of its process.
    pub(super) fn leaving(self, leftovers: Vec<PathBuf>) -> Self {
        Self { leftovers, ..self }
    }

    /// Starts it, where a process that was killed has left nothing in its way.
    ///
    /// # Errors
    /// [`EnvironmentError::Start`].
    pub(super) fn start(&self) -> Result<Process, EnvironmentError> {
        for leftover in &self.leftovers {
            if names_no_process(leftover)
                && let Err(source) = std::fs::remove_file(leftover)
            {
                return Err(EnvironmentError::File { path: leftover.clone(), source });
            }
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        (self.surroundings)(&mut command);
        Process::start(command, &self.log).map_err(|source| EnvironmentError::Start {
            what: self.what.clone(),
            program: self.program.clone(),
            source,
        })
    }

    /// Waits until it answers CONNECT.
    ///
    /// # Errors
    /// [`EnvironmentError::Ended`] or [`EnvironmentError::NotReady`].
    pub(super) async fn ready(&self, process: &Process, address: SocketAddr) -> Result<(), EnvironmentError> {
        self.awaited().answers(address, READY, process.end()).await
    }

    /// Ends it, by SIGKILL at once or politely: SIGTERM, and SIGKILL where that is not enough, which the log says then.
    pub(super) async fn end(&self, process: &Process, politely: bool) {
        // One that stands still would not hear of SIGTERM.
        process.signal(libc::SIGCONT);
        if !politely {
            process.kill().await;
        } else if process.terminate(FAREWELL).await.is_err() {
            let line = format!("(it did not end within {} s of SIGTERM and was killed)", FAREWELL.as_secs());
            self.recorder.record(Event::Log { role: self.role, line });
        }
    }

    /// Says why it is not ready.
    pub(super) fn not_ready(&self, why: &str) -> EnvironmentError {
        self.awaited().not_ready(READY, why)
    }

    /// Says how it ended before it was ready.
    pub(super) fn ended(&self, status: String) -> EnvironmentError {
        self.awaited().ended(status)
    }

    fn awaited(&self) -> Awaited<'_> {
        Awaited { what: &self.what, log: &self.log }
    }
}

/// Whether a file is there, and the process that it names is not.
fn names_no_process(file: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    text.trim().parse::<u32>().map_or(true, |pid| !Path::new("/proc").join(pid.to_string()).exists())
}
