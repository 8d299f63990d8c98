//! One subject's world on loopback: remote, fault proxy and subject.
use std::net::SocketAddr;
use std::path::Path;

use tokio::time::timeout;

use super::super::launch::{FAREWELL, Launch, READY};
use super::super::process::Process;
use super::super::proxy::{Door, Link, Proxy};
use super::super::{EnvironmentError, Request, World, programs, remote};
use super::free_port;
use crate::scenario::history::{Event, Role};
use crate::scenario::plan::{Fault, FaultKind};
use crate::scenario::recorder::Recorder;
use crate::scenario::subject::{self, Sites};

/// Remote, proxy and subject of one run.
pub(crate) struct LocalWorld {
    recorder: Recorder,
    remote: Process,
    remote_address: SocketAddr,
    remote_version: String,
    proxy_address: SocketAddr,
    proxy: Option<Proxy>,
    launch: Launch,
    subject: Option<Process>,
    subject_version: String,
    listener: SocketAddr,
    metrics: Option<SocketAddr>,
    link: &'static str,
}

impl LocalWorld {
    pub(super) async fn prepare(own: &Path, request: Request<'_>) -> Result<Self, EnvironmentError> {
        let Request { plan, subject, folder, recorder, examiner: _ } = request;
        let (listener, proxy_address, metrics) = (free_port()?, free_port()?, free_port()?);
        let work = folder.join("work");
        let remote = (proxy_address.ip().to_string(), proxy_address.port());
        let sites = Sites { listen: listener, remote, metrics, folder: &work };
        let configuration = subject::configure(plan, subject, &sites)?;
        let (program, subject_version) = programs::locate(configuration.program, own).await?;
        remote::write_files(&configuration, &work)?;
        let launch = Launch::new(Role::Subject, &subject.name, (program, configuration.arguments), folder, recorder)?;
        let remote_address = free_port()?;
        let chosen = remote::choose(plan, own, remote_address, &folder.join("remote")).await?;
        let what_runs = (chosen.program, chosen.arguments);
        let remote_launch = Launch::new(Role::Remote, "the remote", what_runs, folder, recorder)?;
        let remote = remote_launch.start()?;
        remote_launch.ready(&remote, remote_address).await?;
        Ok(Self {
            recorder: recorder.clone(),
            remote,
            remote_address,
            remote_version: chosen.version,
            proxy_address,
            proxy: None,
            launch,
            subject: None,
            subject_version,
            listener,
            metrics: configuration.has_metrics.then_some(metrics),
            link: "closed",
        })
    }

    async fn set_link(&mut self, link: Link) -> Result<(), EnvironmentError> {
        match &mut self.proxy {
            Some(proxy) => Ok(proxy.set(link).await?),
            None => Ok(()),
        }
    }

    /// Where the subject finds the link.
    #[cfg(test)]
    pub(super) fn door(&self) -> SocketAddr {
        self.proxy_address
    }

    /// A fault that does not look as it should makes the run worth little.
    async fn verify(&self, door: Door) {
        if let Some(proxy) = &self.proxy
            && let Err(error) = proxy.verify(door).await
        {
            self.recorder.record(Event::Doubt { why: error.to_string() });
        }
    }

    async fn end_subject(&mut self, kind: FaultKind) {
        let Some(subject) = self.subject.take() else { return };
        if kind == FaultKind::Kill {
            subject.kill().await;
        } else {
            self.launch.stop(&subject).await;
        }
    }
}

impl World for LocalWorld {
    fn remote_version(&self) -> String {
        self.remote_version.clone()
    }

    fn subject_version(&self) -> String {
        self.subject_version.clone()
    }

    fn remote(&self) -> SocketAddr {
        self.remote_address
    }

    fn listener(&self) -> SocketAddr {
        self.listener
    }

    fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    async fn open_link(&mut self) -> Result<(), EnvironmentError> {
        self.proxy = Some(Proxy::open(self.proxy_address, self.remote_address)?);
        self.link = "open";
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
        let on = Event::FaultOn { fault: index, kind: fault.kind, on: fault.on };
        match Link::under(fault.kind) {
            Some(link) => {
                self.set_link(link).await?;
                self.recorder.record(on);
                self.link = fault.kind.name();
                self.verify(link.door).await;
            }
            None => {
                self.recorder.record(on);
                self.end_subject(fault.kind).await;
            }
        }
        Ok(())
    }

    async fn heal(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let off = Event::FaultOff { fault: index, kind: fault.kind, on: fault.on };
        if Link::under(fault.kind).is_some() {
            self.set_link(Link::OPEN).await?;
            self.recorder.record(off);
            self.link = "open";
            self.verify(Door::Open).await;
        } else {
            if self.subject.as_ref().is_none_or(|subject| subject.ended().is_some()) {
                self.subject = Some(self.launch.start()?);
            }
            self.recorder.record(off);
        }
        Ok(())
    }

    fn link(&self) -> &'static str {
        self.link
    }

    async fn stop_subject(&mut self) {
        self.end_subject(FaultKind::Restart).await;
    }

    async fn stop_remote(&mut self) {
        self.proxy = None;
        // Nothing depends on how the remote ends.
        let _ = self.remote.terminate(FAREWELL).await;
    }
}
