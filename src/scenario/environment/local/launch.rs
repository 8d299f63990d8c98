//! What has to be run, and when it is ready.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::super::EnvironmentError;
use super::process::{Log, Process};
use crate::bridge::wire::{Connect, Version};
use crate::scenario::client;

/// How long a program may take until it answers CONNECT.
pub(super) const READY: Duration = Duration::from_secs(15);
/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(20);

/// What has to be run, and where its lines go.
pub(super) struct Launch {
    pub(super) what: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) log: Log,
}

impl Launch {
    pub(super) fn start(&self) -> Result<Process, EnvironmentError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        Process::start(command, &self.log).map_err(|source| EnvironmentError::Start {
            what: self.what.clone(),
            program: self.program.clone(),
            source,
        })
    }

    /// Waits until it answers CONNECT.
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

    fn ended(&self, status: String) -> EnvironmentError {
        let tail = self.log.tail();
        let last = if tail.is_empty() { String::new() } else { format!("; it said last: {}", tail.join(" / ")) };
        EnvironmentError::Ended { what: self.what.clone(), status, log: self.log.path().to_owned(), last }
    }

    pub(super) fn not_ready(&self, why: &str) -> EnvironmentError {
        let logs = self.log.path().parent().unwrap_or(self.log.path()).to_owned();
        EnvironmentError::NotReady { what: self.what.clone(), seconds: READY.as_secs(), why: why.to_owned(), logs }
    }
}
