//! A container of a world: its lines are kept, its end is recorded, its memory and CPU are sampled.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::models::{ContainerCreateBody, ContainerState};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    RemoveContainerOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::EnvironmentError;
use super::super::ending::Ending;
use super::super::log::Log;
use super::super::ready::Awaited;
use super::attend::{KILLED, describe, end, follow, usage};
use super::engine::Engine;
use super::error::{DockerError, status};
use super::pack::{Entry, tar};
use crate::scenario::history::{Event, Role};

/// Its last lines come with its end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A container; started as often as it is wanted.
pub(super) struct Container {
    engine: Engine,
    name: String,
    /// The subject or the remote, in words.
    what: String,
    body: ContainerCreateBody,
    files: Files,
    log: Log,
    /// Whether its end, when it comes, was wanted.
    wanted: Arc<AtomicBool>,
    ended: Ending,
    sampling: Option<JoinHandle<()>>,
}

/// Files for a container.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// Where they go. A container that is read-only takes files in its volumes alone.
    pub(super) folder: &'static str,
    /// Their paths are relative to that.
    pub(super) entries: Vec<Entry>,
}

impl Container {
    /// Makes a container with files in it; it is not started.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn create(
        engine: &Engine,
        what: &str,
        name: String,
        body: ContainerCreateBody,
        files: Files,
        log: Log,
    ) -> Result<Self, DockerError> {
        let container = Self {
            engine: engine.clone(),
            name,
            what: what.to_owned(),
            body,
            files,
            log,
            wanted: Arc::default(),
            ended: Ending::already("not started"),
            sampling: None,
        };
        container.make().await?;
        Ok(container)
    }

    async fn make(&self) -> Result<(), DockerError> {
        let options = CreateContainerOptionsBuilder::new().name(&self.name).build();
        let made = self.engine.api.create_container(Some(options), self.body.clone()).await;
        made.map_err(DockerError::api(format!("making the container of {}", self.what)))?;
        self.put(&self.files).await
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it answers CONNECT.
    ///
    /// # Errors
    /// [`EnvironmentError::Ended`] or [`EnvironmentError::NotReady`].
    pub(super) async fn answers(&self, address: SocketAddr, patience: Duration) -> Result<(), EnvironmentError> {
        self.awaited().answers(address, patience, self.end()).await
    }

    /// As one that is waited for.
    pub(super) fn awaited(&self) -> Awaited<'_> {
        Awaited { what: &self.what, log: &self.log }
    }

    /// What it says.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Starts one that ends by itself, as it should.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn may_end_at_start(&mut self) -> Result<(), DockerError> {
        self.begin(true).await
    }

    async fn put(&self, files: &Files) -> Result<(), DockerError> {
        let Files { folder, entries } = files;
        if entries.is_empty() {
            return Ok(());
        }
        let what = || format!("putting files into the container of {}", self.what);
        let packed = tar(entries).map_err(|error| DockerError::Api { what: what(), why: error.to_string() })?;
        let options = UploadToContainerOptionsBuilder::new().path(folder).build();
        let body = bollard::body_full(Bytes::from(packed));
        let put = self.engine.api.upload_to_container(&self.name, Some(options), body).await;
        put.map_err(DockerError::api(what()))
    }

    /// Starts it, and follows its lines, its end and its use of the machine.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn start(&mut self) -> Result<(), DockerError> {
        self.begin(false).await
    }

    async fn begin(&mut self, may_end: bool) -> Result<(), DockerError> {
        let failed = || DockerError::api(format!("starting the container of {}", self.what));
        // Attached before the start, so that no line is missed, and none comes twice after another start.
        let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
        let attached = self.engine.api.attach_container(&self.name, Some(options)).await.map_err(failed())?;
        let following = tokio::spawn(follow(attached.output, self.log.clone()));
        self.engine.api.start_container(&self.name, None).await.map_err(failed())?;
        let state = self.state().await?;
        let pid = state.pid.unwrap_or_default() as u32;
        self.log.record(Event::ProcessStarted { role: self.log.role(), pid });
        self.wanted = Arc::new(AtomicBool::new(may_end));
        let (ending, ended) = Ending::awaited();
        self.ended = ended;
        let (engine, name, log, wanted) =
            (self.engine.clone(), self.name.clone(), self.log.clone(), self.wanted.clone());
        tokio::spawn(async move {
            let status = end(&engine, &name).await;
            let wanted = wanted.load(Ordering::SeqCst);
            log.record(Event::ProcessEnded { role: log.role(), status: status.clone(), wanted });
            let _ = timeout(LAST_LINES, following).await;
            ending.send_replace(Some(status));
        });
        // What the laboratory itself uses is nobody's business.
        if self.log.role() != Role::Helper {
            self.sample();
        }
        Ok(())
    }

    fn sample(&mut self) {
        self.stop_sampling();
        let (engine, name, log) = (self.engine.clone(), self.name.clone(), self.log.clone());
        self.sampling = Some(tokio::spawn(async move {
            let mut samples = engine.api.stats(&name, Some(StatsOptionsBuilder::new().stream(true).build()));
            while let Some(Ok(sample)) = samples.next().await {
                if let Some(event) = usage(log.role(), &sample) {
                    log.record(event);
                }
            }
        }));
    }

    fn stop_sampling(&mut self) {
        if let Some(sampling) = self.sampling.take() {
            sampling.abort();
        }
    }

    /// How it is, as the engine sees it.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn state(&self) -> Result<ContainerState, DockerError> {
        let seen = self.engine.api.inspect_container(&self.name, None).await;
        let seen = seen.map_err(DockerError::api(format!("looking at the container of {}", self.what)))?;
        Ok(seen.state.unwrap_or_default())
    }

    /// How it ended, if it does not run.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended.seen()
    }

    /// Waits for its end.
    pub(super) async fn end(&self) -> String {
        self.ended.wait().await
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn kill(&mut self) -> Result<(), DockerError> {
        self.wanted.store(true, Ordering::SeqCst);
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        self.finish(self.engine.api.kill_container(&self.name, Some(options)).await, "killing").await
    }

    /// SIGTERM, SIGKILL where it does not end within `patience`, and waits for its end; false where it was killed.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn stop(&mut self, patience: Duration) -> Result<bool, DockerError> {
        self.wanted.store(true, Ordering::SeqCst);
        let options = StopContainerOptionsBuilder::new().t(patience.as_secs() as i32).build();
        self.finish(self.engine.api.stop_container(&self.name, Some(options)).await, "stopping").await?;
        Ok(self.ended().is_none_or(|status| status != describe(KILLED, false)))
    }

    /// Sends a signal that is not meant to end it.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn signal(&self, signal: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let sent = self.engine.api.kill_container(&self.name, Some(options)).await;
        sent.map_err(DockerError::api(format!("sending {signal} to the container of {}", self.what)))
    }

    /// Its end, when it comes, is in order.
    pub(super) fn may_end(&self) {
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// Removes it with all that it has written, and makes it again as it was; it is not started.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn make_anew(&mut self) -> Result<(), DockerError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = self.engine.api.remove_container(&self.name, Some(options)).await;
        removed.map_err(DockerError::api(format!("removing the container of {}", self.what)))?;
        self.make().await
    }

    async fn finish(&mut self, answer: Result<(), ApiError>, doing: &str) -> Result<(), DockerError> {
        match answer {
            Ok(()) => {}
            // It has ended already.
            Err(error) if matches!(status(&error), Some(304 | 409)) && self.ended().is_some() => {}
            Err(error) => return Err(DockerError::api(format!("{doing} the container of {}", self.what))(error)),
        }
        self.end().await;
        self.stop_sampling();
        Ok(())
    }

    /// Stops all its processes where they are, or lets them go on; again is the same as once.
    ///
    /// # Errors
    /// [`DockerError::Api`].
    pub(super) async fn set_paused(&self, paused: bool) -> Result<(), DockerError> {
        if self.state().await?.paused == Some(paused) {
            return Ok(());
        }
        let api = &self.engine.api;
        let (answer, doing) = match paused {
            true => (api.pause_container(&self.name).await, "pausing"),
            false => (api.unpause_container(&self.name).await, "unpausing"),
        };
        answer.map_err(DockerError::api(format!("{doing} the container of {}", self.what)))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.stop_sampling();
        // Whatever ends it from now on is the end of its world.
        self.wanted.store(true, Ordering::SeqCst);
    }
}
