//! One subject's world on loopback: remote, fault proxy and subject.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::super::log::Log;
use super::super::{EnvironmentError, Request, World};
use super::process::Process;
use super::proxy::{Door, Link, Proxy};
use super::{free_port, programs, remote};
use crate::bridge::wire::{Connect, Version};
use crate::scenario::client;
use crate::scenario::history::{Event, Role};
use crate::scenario::plan::{Fault, FaultKind};
use crate::scenario::recorder::Recorder;
use crate::scenario::subject::{self, Program, Sites};

/// How long a program may take until it answers CONNECT.
const READY: Duration = Duration::from_secs(15);
/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(20);
/// How long a subject may take to end after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(10);

/// What has to be run, and where its lines go.
struct Launch {
    what: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: Log,
}

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
        let Request { plan, subject, folder, recorder } = request;
        let (listener, proxy_address, metrics) = (free_port()?, free_port()?, free_port()?);
        let work = folder.join("work");
        let remote = (proxy_address.ip().to_string(), proxy_address.port());
        let sites = Sites { listen: listener, remote, metrics, folder: &work };
        let configuration = subject::configure(plan, subject, &sites)?;
        let (program, subject_version) = match configuration.program {
            Program::Own => (own.to_owned(), concat!("mqtt-bridge ", env!("CARGO_PKG_VERSION")).to_owned()),
            Program::Installed(program) => {
                let path = programs::find(program).ok_or(EnvironmentError::ProgramMissing { program })?;
                let version = programs::mosquitto_version(&path).await;
                (path, version)
            }
        };
        remote::write_files(&configuration, &work)?;
        let log = |role, name: &str| {
            let path = folder.join("logs").join(name);
            let create = || {
                std::fs::create_dir_all(folder.join("logs"))?;
                Log::create(role, &path, recorder)
            };
            create().map_err(|source| EnvironmentError::File { path: path.clone(), source })
        };
        let arguments = configuration.arguments;
        let launch = Launch { what: subject.name.clone(), program, arguments, log: log(Role::Subject, "subject.log")? };
        let remote_address = free_port()?;
        let chosen = remote::choose(plan.remote_broker, own, remote_address, &folder.join("remote")).await?;
        let remote_launch = Launch {
            what: "the remote".into(),
            program: chosen.program,
            arguments: chosen.arguments,
            log: log(Role::Remote, "remote.log")?,
        };
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
        } else if subject.terminate(FAREWELL).await.is_err() {
            let line = format!("(it did not end within {} s of SIGTERM and was killed)", FAREWELL.as_secs());
            self.recorder.record(Event::Log { role: Role::Subject, line });
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

impl Launch {
    fn start(&self) -> Result<Process, EnvironmentError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        Process::start(command, &self.log).map_err(|source| EnvironmentError::Start {
            what: self.what.clone(),
            program: self.program.clone(),
            source,
        })
    }

    /// Waits until it answers CONNECT.
    async fn ready(&self, process: &Process, address: SocketAddr) -> Result<(), EnvironmentError> {
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

    fn not_ready(&self, why: &str) -> EnvironmentError {
        let logs = self.log.path().parent().unwrap_or(self.log.path()).to_owned();
        EnvironmentError::NotReady { what: self.what.clone(), seconds: READY.as_secs(), why: why.to_owned(), logs }
    }
}
