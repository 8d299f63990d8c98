//! A program of a run: what to start, in which surroundings, where its lines go, and when it is ready.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::EnvironmentError;
use super::log::Log;
use super::process::Process;
use crate::bridge::wire::{Connect, Version};
use crate::scenario::client;
use crate::scenario::history::{Event, Role};
use crate::scenario::recorder::Recorder;

/// How long a program may take until it answers CONNECT.
pub(super) const READY: Duration = Duration::from_secs(15);
/// Between two tries to reach it.
pub(super) const RETRY: Duration = Duration::from_millis(20);
/// How long a program may take to end after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(10);

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
        let mut why = "it was never reached".to_owned();
        let answered = async {
            while let Err(error) = client::connect(address, Connect::new(Version::V5, "lab-ready")).await {
                why = error.to_string();
                sleep(RETRY).await;
            }
        };
        tokio::select! {
            result = timeout(READY, answered) => if result.is_ok() { return Ok(()) },
            status = process.end() => return Err(self.ended(status)),
        }
        Err(self.not_ready(&why))
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
        let logs = self.log.path().parent().unwrap_or(self.log.path()).to_owned();
        EnvironmentError::NotReady { what: self.what.clone(), seconds: READY.as_secs(), why: why.to_owned(), logs }
    }

    fn ended(&self, status: String) -> EnvironmentError {
        let tail = self.log.tail();
        let last = if tail.is_empty() { String::new() } else { format!("; it said last: {}", tail.join(" / ")) };
        EnvironmentError::Ended { what: self.what.clone(), status, log: self.log.path().to_owned(), last }
    }
}

/// Whether a file is there, and the process that it names is not.
fn names_no_process(file: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    text.trim().parse::<u32>().map_or(true, |pid| !Path::new("/proc").join(pid.to_string()).exists())
}
