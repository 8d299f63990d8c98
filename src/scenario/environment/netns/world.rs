//! One subject's world in namespaces: remote, link and subject.
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tokio::time::{sleep, timeout};

use super::super::launch::{Launch, Surroundings};
use super::super::owner::Owner;
use super::super::process::Process;
use super::super::ready::{READY, RETRY};
use super::super::remote_process::Remote;
use super::super::{EnvironmentError, Request, World, disk, programs, remote};
use super::clean;
use super::error::NetnsError;
use super::look;
use super::marks;
use super::mounts::{Disk, Mounts};
use super::names::{self, Names};
use super::namespace::Namespace;
use super::proxy::{self, Proxy};
use super::topology::Topology;
use crate::scenario::history::Role;
use crate::scenario::plan::{Fault, Side};
use crate::scenario::recorder::Recorder;
use crate::scenario::subject::{self, Sites};

/// In a namespace of one's own every port is free.
pub(super) const MQTT: u16 = 1883;
const METRICS: u16 = 9464;

/// Remote, link and subject of one run.
pub(crate) struct NetnsWorld {
    pub(super) recorder: Recorder,
    pub(super) topology: Topology,
    pub(super) mounts: Mounts,
    pub(super) names: Names,
    pub(super) remote: Remote,
    /// In front of the remote, where the plan has faults that are its own.
    pub(super) proxy: Option<Proxy>,
    launch: Launch,
    pub(super) subject: Option<Process>,
    subject_version: String,
    listener: SocketAddr,
    has_metrics: bool,
    /// Whether the remote is connected with the switch while no fault takes it from there.
    pub(super) open: bool,
    /// By their index in the plan.
    pub(super) in_force: BTreeMap<usize, Fault>,
    /// The root of the subject's own disk, where the plan fills it.
    disk: Option<File>,
}

impl NetnsWorld {
    pub(super) async fn prepare(own: &Path, request: Request<'_>) -> Result<Self, EnvironmentError> {
        let Request { plan, subject, folder, recorder, examiner } = request;
        let left = clean::clean()?;
        if !left.is_empty() {
            tracing::warn!("{left}");
        }
        let owner = Owner::this();
        let topology = Topology::make(owner).await?;
        let addresses = topology.addresses;
        let file = |path: &Path, source| EnvironmentError::File { path: path.to_owned(), source };
        let doors = folder.join("namespaces.txt");
        std::fs::write(&doors, topology.doors()).map_err(|source| file(&doors, source))?;
        let of_names = folder.join("names");
        let names = Names::write(&of_names, addresses.remote_link()).map_err(|source| file(&of_names, source))?;
        let work = folder.join("work");
        std::fs::create_dir_all(&work).map_err(|source| file(&work, source))?;
        let disk = disk::size(plan).map(|size| Disk { place: &work, size });
        let mounts = Mounts::make(&names.files(), disk.as_ref());
        let (mounts, disk) = mounts.map_err(|source| NetnsError::system("the subject's mounts", source))?;

        let at_bridge = |port| SocketAddr::from((addresses.bridge_control(), port));
        let sites = Sites {
            listen: at_bridge(MQTT),
            remote: (names::REMOTE.to_owned(), MQTT),
            metrics: at_bridge(METRICS),
            folder: &work,
        };
        let configuration = subject::configure(plan, subject, &sites)?;
        let (program, subject_version) = programs::locate(configuration.program.clone(), own).await?;
        remote::write_files(&configuration, &work)?;
        if let Some(disk) = &disk {
            // Also below it, for people who look into the run's folder afterwards.
            remote::write_files(&configuration, &by_descriptor(disk))?;
        }
        let launch = Launch::new(Role::Subject, &subject.name, (program, configuration.arguments), folder, recorder)?
            .within(surroundings(owner, &topology.bridge, Some(&mounts)))
            .leaving(configuration.leftovers);

        let at_remote = || surroundings(owner, &topology.remote, None);
        let untouched = SocketAddr::from((addresses.remote_control(), MQTT));
        let has_proxy = plan.faults.iter().any(proxy::makes);
        // On the link stands the proxy then.
        let listens = if has_proxy { untouched } else { SocketAddr::from((Ipv4Addr::UNSPECIFIED, MQTT)) };
        let chosen = remote::choose(plan, own, listens, &folder.join("remote")).await?;
        let what_runs = (chosen.program.clone(), chosen.arguments.clone());
        let remote = Launch::new(Role::Remote, "the remote", what_runs, folder, recorder)?.within(at_remote());
        let remote = Remote::start(chosen, remote, untouched, examiner, recorder).await?;
        let proxy = match has_proxy {
            true => Some(Proxy::start(own, addresses, at_remote(), folder, recorder).await?),
            false => None,
        };
        Ok(Self {
            recorder: recorder.clone(),
            topology,
            mounts,
            names,
            remote,
            proxy,
            launch,
            subject: None,
            subject_version,
            listener: configuration.listens.unwrap_or(at_bridge(MQTT)),
            has_metrics: configuration.has_metrics,
            open: false,
            in_force: BTreeMap::new(),
            disk,
        })
    }

    /// The subject's own disk, as it is seen from outside.
    pub(super) fn disk(&self) -> Option<PathBuf> {
        self.disk.as_ref().map(by_descriptor)
    }

    /// The network namespace of an end.
    pub(super) fn namespace(&self, side: Side) -> &Namespace {
        match side {
            Side::Bridge => &self.topology.bridge,
            Side::Remote => &self.topology.remote,
        }
    }

    /// Starts the subject where it does not run; nobody waits for it.
    pub(super) fn start_again(&mut self) -> Result<(), EnvironmentError> {
        if self.subject.as_ref().is_none_or(|subject| subject.ended().is_some()) {
            self.subject = Some(self.launch.start()?);
        }
        Ok(())
    }

    /// SIGTERM, or SIGKILL at once.
    pub(super) async fn end_subject(&mut self, politely: bool) {
        if let Some(subject) = self.subject.take() {
            self.launch.end(&subject, politely).await;
        }
    }
}

impl World for NetnsWorld {
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
        self.has_metrics.then(|| (self.topology.addresses.bridge_control(), METRICS).into())
    }

    async fn open_link(&mut self) -> Result<(), EnvironmentError> {
        self.open = true;
        self.arrange().await
    }

    async fn start_subject(&mut self) -> Result<(), EnvironmentError> {
        let subject = self.launch.start()?;
        self.launch.ready(&subject, self.listener()).await?;
        self.subject = Some(subject);
        let reached = async {
            // Nothing tells of it.
            while look::sockets(&self.topology, MQTT).await?.established == 0 {
                sleep(RETRY).await;
            }
            Ok(())
        };
        match timeout(READY, reached).await {
            Ok(result) => result,
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
        match self.in_force.values().next_back() {
            Some(fault) => fault.kind.name(),
            None if !self.remote.is_there() => "without a remote",
            None if self.open => "open",
            None => "closed",
        }
    }

    async fn stop_subject(&mut self) {
        self.end_subject(true).await;
    }

    async fn stop_remote(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.end().await;
        }
        self.remote.end(true).await;
    }
}

/// Where an open folder can be reached, whatever is mounted elsewhere.
fn by_descriptor(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// What a process of a world is put into, and marked with.
fn surroundings(owner: Owner, network: &Namespace, mounts: Option<&Mounts>) -> Surroundings {
    let (network, mounts) = (network.clone(), mounts.cloned());
    Box::new(move |command| {
        let (network, mounts) = (network.clone(), mounts.clone());
        command.env(marks::VARIABLE, owner.mark());
        // SAFETY: only makes system calls, and the child has one thread.
        unsafe {
            command.pre_exec(move || {
                network.enter()?;
                mounts.as_ref().map_or(Ok(()), Mounts::enter)
            });
        }
    })
}
