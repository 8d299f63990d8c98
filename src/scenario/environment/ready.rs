//! Whether a program answers: waited for, and said in words where it does not.
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::EnvironmentError;
use super::log::Log;
use crate::bridge::wire::{Connect, Version};
use crate::scenario::client;

/// How long a program may take until it answers CONNECT, and a subject until it has reached for the remote.
pub(super) const READY: Duration = Duration::from_secs(15);
/// Between two tries to reach something.
pub(super) const RETRY: Duration = Duration::from_millis(20);
/// How long a program may take to end after SIGTERM.
pub(super) const FAREWELL: Duration = Duration::from_secs(10);

/// A program that is waited for.
pub(super) struct Awaited<'a> {
    /// Subject or remote, in words.
    pub(super) what: &'a str,
    /// Where its lines go.
    pub(super) log: &'a Log,
}

impl Awaited<'_> {
    /// Waits until it answers CONNECT; `end` is when it has ended, and how.
    ///
    /// # Errors
    /// [`EnvironmentError::Ended`] or [`EnvironmentError::NotReady`].
    pub(super) async fn answers(
        &self,
        address: SocketAddr,
        patience: Duration,
        end: impl Future<Output = String>,
    ) -> Result<(), EnvironmentError> {
        let mut why = "it was never reached".to_owned();
        let answered = async {
            while let Err(error) = client::connect(address, Connect::new(Version::V5, "lab-ready")).await {
                why = error.to_string();
                sleep(RETRY).await;
            }
        };
        tokio::select! {
            result = timeout(patience, answered) => if result.is_ok() { return Ok(()) },
            status = end => return Err(self.ended(status)),
        }
        Err(self.not_ready(patience, &why))
    }

    /// Says how it ended before it was ready.
    pub(super) fn ended(&self, status: String) -> EnvironmentError {
        let tail = self.log.tail();
        let last = if tail.is_empty() { String::new() } else { format!("; it said last: {}", tail.join(" / ")) };
        EnvironmentError::Ended { what: self.what.to_owned(), status, log: self.log.path().to_owned(), last }
    }

    /// Says why it is not ready.
    pub(super) fn not_ready(&self, patience: Duration, why: &str) -> EnvironmentError {
        let logs = self.log.path().parent().unwrap_or(self.log.path()).to_owned();
        EnvironmentError::NotReady {
            what: self.what.to_owned(),
            seconds: patience.as_secs(),
            why: why.to_owned(),
            logs,
        }
    }
}
