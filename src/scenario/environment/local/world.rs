//! One subject's world on loopback: remote, fault proxy and subject.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use tokio::time::timeout;

use super::super::launch::Launch;
use super::super::process::Process;
use super::super::proxy::Proxy;
use super::super::ready::READY;
use super::super::remote_process::Remote;
use super::super::{EnvironmentError, Request, World, disk, programs, remote};
use super::disk::Disk;
use super::free_port;
use crate::scenario::history::Role;
use crate::scenario::plan::{Fault, Plan};
use crate::scenario::recorder::Recorder;
use crate::scenario::subject::{self, Sites};

/// Remote, proxy and subject of one run.
pub(crate) struct LocalWorld {
    pub(super) recorder: Recorder,
    pub(super) remote: Remote,
    proxy_address: SocketAddr,
    pub(super) proxy: Option<Proxy>,
    /// Faults of the link that are in force.
    pub(super) on_link: BTreeMap<usize, Fault>,
    launch: Launch,
    pub(super) subject: Option<Process>,
    subject_version: String,
    listener: SocketAddr,
    metrics: Option<SocketAddr>,
    /// The subject's own disk, where the plan fills it. Behind the processes: fields are dropped in their order.
    pub(super) disk: Option<Disk>,
}

impl LocalWorld {
    pub(super) async fn prepare(own: &Path, request: Request<'_>) -> Result<Self, EnvironmentError> {
        let Request { plan, subject, folder, recorder, examiner } = request;
        #[cfg(target_os = "linux")]
        for folder in super::clean::clean()? {
            tracing::warn!(folder = %folder.display(), "a killed replay had left its disk mounted");
        }
        let (listener, proxy_address, metrics) = (free_port()?, free_port()?, free_port()?);
        let work = folder.join("work");
        let remote = (proxy_address.ip().to_string(), proxy_address.port());
        let sites = Sites { listen: listener, remote, metrics, folder: &work };
        let configuration = subject::configure(plan, subject, &sites)?;
        let (program, subject_version) = programs::locate(configuration.program.clone(), own).await?;
        // Below the disk as well, for people who look into the run's folder afterwards.
        remote::write_files(&configuration, &work)?;
        let disk = mounted(plan, &work)?;
        remote::write_files(&configuration, &work)?;
        let what_runs = (program, configuration.arguments);
        let launch = Launch::new(Role::Subject, &subject.name, what_runs, folder, recorder)?;
        let launch = launch.leaving(configuration.leftovers);
        let remote_address = free_port()?;
        let chosen = remote::choose(plan, own, remote_address, &folder.join("remote")).await?;
        let what_runs = (chosen.program.clone(), chosen.arguments.clone());
        let remote = Launch::new(Role::Remote, "the remote", what_runs, folder, recorder)?;
        let remote = Remote::start(chosen, remote, remote_address, examiner, recorder).await?;
        Ok(Self {
            recorder: recorder.clone(),
            remote,
            proxy_address,
            proxy: None,
            on_link: BTreeMap::new(),
            launch,
            subject: None,
            subject_version,
            listener: configuration.listens.unwrap_or(listener),
            metrics: configuration.has_metrics.then_some(metrics),
            disk,
        })
    }

    /// Where the subject finds the link.
    #[cfg(test)]
    pub(super) fn door(&self) -> SocketAddr {
        self.proxy_address
    }

    /// Starts the subject; where that is not the first time, nobody waits for it.
    pub(super) fn start_again(&mut self) -> Result<(), EnvironmentError> {
        if self.subject.as_ref().is_none_or(|subject| subject.ended().is_some()) {
            self.subject = Some(self.launch.start()?);
        }
        Ok(())
    }

    /// SIGTERM, or SIGKILL at once.
    pub(super) async fn end_subject(&mut self, politely: bool) {
        let Some(subject) = self.subject.take() else { return };
        self.launch.end(&subject, politely).await;
    }
}

/// A disk of its own for the subject's folder, where the plan fills it.
fn mounted(plan: &Plan, folder: &Path) -> Result<Option<Disk>, EnvironmentError> {
    let failed = |source| EnvironmentError::Disk { path: folder.to_owned(), source };
    disk::size(plan).map(|bytes| Disk::mount(folder, bytes)).transpose().map_err(failed)
}

impl World for LocalWorld {
    fn remote_version(&self) -> String {
        self.remote.version().to_owned()
    }

    fn subject_version(&self) -> String {
        self.subject_version.clone()
    }

    fn remote(&self) -> SocketAddr {
        self.remote.address()
    }

    fn listener(&self) -> SocketAddr {
        self.listener
    }

    fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    async fn open_link(&mut self) -> Result<(), EnvironmentError> {
        self.proxy = Some(Proxy::open(self.proxy_address, &self.remote.address().to_string())?);
        Ok(())
    }

    async fn start_subject(&mut self) -> Result<(), EnvironmentError> {
        let subject = self.launch.start()?;
        self.launch.ready(&subject, self.listener).await?;
        self.subject = Some(subject);
        let Some(proxy) = &self.proxy else { return Ok(()) };
        match timeout(READY, proxy.connected()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.launch.not_ready("it made no connection to the remote")),
        }
    }

    async fn apply(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        self.begin(index, fault).await
    }

    async fn heal(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        self.end(index, fault).await
    }

    fn link(&self) -> &'static str {
        match (&self.proxy, self.on_link.values().next_back()) {
            (None, _) => "closed",
            (_, Some(fault)) => fault.kind.name(),
            (_, None) if !self.remote.is_there() => "without a remote",
            (Some(_), None) => "open",
        }
    }

    async fn stop_subject(&mut self) {
        self.end_subject(true).await;
    }

    async fn stop_remote(&mut self) {
        self.proxy = None;
        self.remote.end(true).await;
        self.disk = None;
    }
}
