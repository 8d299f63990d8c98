//! One subject's world in namespaces: remote, link and subject.
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::launch::{FAREWELL, Launch, READY, RETRY, Surroundings};
use super::super::process::Process;
use super::super::{EnvironmentError, Request, World, programs, remote};
use super::clean;
use super::error::NetnsError;
use super::look::{self, Expected, Look};
use super::mounts::Mounts;
use super::names::{self, Names};
use super::namespace::Namespace;
use super::owner::{self, Owner};
use super::rules;
use super::tools::{Tool, run};
use super::topology::Topology;
use crate::scenario::history::{Event, Role};
use crate::scenario::plan::{Fault, FaultKind, Side};
use crate::scenario::recorder::Recorder;
use crate::scenario::subject::{self, Sites};

/// In a namespace of one's own every port is free.
pub(super) const MQTT: u16 = 1883;
const METRICS: u16 = 9464;
/// How long a signal may take.
const SIGNALLED: Duration = Duration::from_secs(1);

/// Remote, link and subject of one run.
pub(crate) struct NetnsWorld {
    recorder: Recorder,
    pub(super) topology: Topology,
    pub(super) mounts: Mounts,
    names: Names,
    remote: Process,
    remote_version: String,
    launch: Launch,
    subject: Option<Process>,
    subject_version: String,
    has_metrics: bool,
    open: bool,
    /// By their index in the plan.
    in_force: BTreeMap<usize, Fault>,
}

impl NetnsWorld {
    pub(super) async fn prepare(own: &Path, request: Request<'_>) -> Result<Self, EnvironmentError> {
        let Request { plan, subject, folder, recorder } = request;
        let left = clean::clean()?;
        if !left.is_empty() {
            tracing::warn!("{left}");
        }
        let owner = Owner::this();
        let topology = Topology::make(&owner).await?;
        let addresses = topology.addresses;
        let file = |path: &Path, source| EnvironmentError::File { path: path.to_owned(), source };
        let doors = folder.join("namespaces.txt");
        std::fs::write(&doors, topology.doors()).map_err(|source| file(&doors, source))?;
        let of_names = folder.join("names");
        let names = Names::write(&of_names, addresses.remote_link()).map_err(|source| file(&of_names, source))?;
        let mounts = Mounts::make(&names.files(), None);
        let (mounts, _) = mounts.map_err(|source| NetnsError::system("the subject's mounts", source))?;

        let work = folder.join("work");
        let at_bridge = |port| SocketAddr::from((addresses.bridge_control(), port));
        let sites = Sites {
            listen: at_bridge(MQTT),
            remote: (names::REMOTE.to_owned(), MQTT),
            metrics: at_bridge(METRICS),
            folder: &work,
        };
        let configuration = subject::configure(plan, subject, &sites)?;
        let (program, subject_version) = programs::locate(configuration.program, own).await?;
        remote::write_files(&configuration, &work)?;
        let launch = Launch::new(Role::Subject, &subject.name, (program, configuration.arguments), folder, recorder)?
            .within(surroundings(owner, &topology.bridge, Some(&mounts)));

        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, MQTT));
        let chosen = remote::choose(plan.remote_broker, own, everywhere, &folder.join("remote")).await?;
        let what_runs = (chosen.program, chosen.arguments);
        let remote_launch = Launch::new(Role::Remote, "the remote", what_runs, folder, recorder)?.within(surroundings(
            owner,
            &topology.remote,
            None,
        ));
        let remote = remote_launch.start()?;
        remote_launch.ready(&remote, SocketAddr::from((addresses.remote_control(), MQTT))).await?;
        Ok(Self {
            recorder: recorder.clone(),
            topology,
            mounts,
            names,
            remote,
            remote_version: chosen.version,
            launch,
            subject: None,
            subject_version,
            has_metrics: configuration.has_metrics,
            open: false,
            in_force: BTreeMap::new(),
        })
    }

    /// Brings the ports of the switch and the remote's name into the state that the faults in force ask for.
    async fn arrange(&self) -> Result<(), EnvironmentError> {
        let cuts =
            |fault: &Fault, side| fault.on == side && matches!(fault.kind, FaultKind::Cut | FaultKind::Disconnect);
        let cut = |side| self.in_force.values().any(|fault| cuts(fault, side));
        self.topology.connect(Side::Bridge, !cut(Side::Bridge)).await?;
        self.topology.connect(Side::Remote, self.open && !cut(Side::Remote)).await?;
        let named = self.in_force.values().all(|fault| fault.kind != FaultKind::Disconnect);
        self.names.set(named).map_err(|source| NetnsError::system("the hosts file of the subject", source))?;
        Ok(())
    }

    async fn rule(&self, side: Side, script: String) -> Result<(), EnvironmentError> {
        let namespace = match side {
            Side::Bridge => &self.topology.bridge,
            Side::Remote => &self.topology.remote,
        };
        Ok(namespace.within(move || run(Tool::Nft, &["-f", "-"], &script).map(drop)).await?)
    }

    /// Resets what is established on the link.
    async fn reset_established(&self) -> Result<(), EnvironmentError> {
        let remote = self.topology.addresses.remote_link().to_string();
        let kill = move || run(Tool::Ss, &["-K", "--tcp", "src", &remote], "").map(drop);
        Ok(self.topology.remote.within(kill).await?)
    }

    /// A fault that does not look as it should makes the run worth little.
    async fn verify(&self) -> Result<(), EnvironmentError> {
        let look = Look::take(&self.topology, &self.mounts, MQTT).await?;
        if let Some(why) = Expected::during(self.in_force.values()).differs(&look) {
            let in_force: Vec<&str> = self.in_force.values().map(|fault| fault.kind.name()).collect();
            let state =
                if in_force.is_empty() { "healed".to_owned() } else { format!("under {}", in_force.join(", ")) };
            self.recorder.record(Event::Doubt { why: format!("the link was to be {state}: {why}") });
        }
        Ok(())
    }

    fn process(&self, side: Side) -> Option<&Process> {
        match side {
            Side::Bridge => self.subject.as_ref(),
            Side::Remote => Some(&self.remote),
        }
    }

    /// Waits until a process stands still, or does not any more.
    async fn stands(&self, side: Side, still: bool) {
        let Some(process) = self.process(side) else { return };
        let state = async {
            // Nothing tells of it.
            while stopped(process.pid()) != still && process.ended().is_none() {
                sleep(RETRY).await;
            }
        };
        if timeout(SIGNALLED, state).await.is_err() {
            let signal = if still { "SIGSTOP" } else { "SIGCONT" };
            self.recorder.record(Event::Doubt { why: format!("{signal} to the {side:?} has no effect") });
        }
    }

    async fn end_subject(&mut self, kind: FaultKind) {
        let Some(subject) = self.subject.take() else { return };
        if kind == FaultKind::Kill {
            subject.kill().await;
        } else {
            // One that stands still would not hear of it.
            subject.resume();
            self.launch.stop(&subject).await;
        }
    }
}

impl World for NetnsWorld {
    fn remote_version(&self) -> String {
        self.remote_version.clone()
    }

    fn subject_version(&self) -> String {
        self.subject_version.clone()
    }

    fn remote(&self) -> SocketAddr {
        (self.topology.addresses.remote_control(), MQTT).into()
    }

    fn listener(&self) -> SocketAddr {
        (self.topology.addresses.bridge_control(), MQTT).into()
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
        let on = Event::FaultOn { fault: index, kind: fault.kind, on: fault.on };
        match fault.kind {
            FaultKind::Kill | FaultKind::Restart => {
                self.recorder.record(on);
                self.end_subject(fault.kind).await;
            }
            FaultKind::Pause => {
                if let Some(process) = self.process(fault.on) {
                    process.suspend();
                }
                self.stands(fault.on, true).await;
                self.recorder.record(on);
                self.in_force.insert(index, fault.clone());
                self.verify().await?;
            }
            _ => {
                self.in_force.insert(index, fault.clone());
                self.arrange().await?;
                for (side, script) in rules::scripts(index, fault) {
                    self.rule(side, script).await?;
                }
                if fault.kind == FaultKind::Reset {
                    self.reset_established().await?;
                }
                self.recorder.record(on);
                self.verify().await?;
            }
        }
        Ok(())
    }

    async fn heal(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let off = Event::FaultOff { fault: index, kind: fault.kind, on: fault.on };
        self.in_force.remove(&index);
        match fault.kind {
            FaultKind::Kill | FaultKind::Restart => {
                if self.subject.as_ref().is_none_or(|subject| subject.ended().is_some()) {
                    self.subject = Some(self.launch.start()?);
                }
                self.recorder.record(off);
            }
            FaultKind::Pause => {
                if let Some(process) = self.process(fault.on) {
                    process.resume();
                }
                self.stands(fault.on, false).await;
                self.recorder.record(off);
                self.verify().await?;
            }
            _ => {
                for side in [Side::Bridge, Side::Remote] {
                    self.rule(side, rules::removal(index)).await?;
                }
                self.arrange().await?;
                self.recorder.record(off);
                self.verify().await?;
            }
        }
        Ok(())
    }

    fn link(&self) -> &'static str {
        match self.in_force.values().next_back() {
            Some(fault) => fault.kind.name(),
            None if self.open => "open",
            None => "closed",
        }
    }

    async fn stop_subject(&mut self) {
        self.end_subject(FaultKind::Restart).await;
    }

    async fn stop_remote(&mut self) {
        self.remote.resume();
        // Nothing depends on how the remote ends.
        let _ = self.remote.terminate(FAREWELL).await;
    }
}

/// What a process of a world is put into, and marked with.
fn surroundings(owner: Owner, network: &Namespace, mounts: Option<&Mounts>) -> Surroundings {
    let (network, mounts) = (network.clone(), mounts.cloned());
    Box::new(move |command| {
        let (network, mounts) = (network.clone(), mounts.clone());
        command.env(owner::VARIABLE, owner.mark());
        // SAFETY: only makes system calls, and the child has one thread.
        unsafe {
            command.pre_exec(move || {
                network.enter()?;
                mounts.as_ref().map_or(Ok(()), Mounts::enter)
            });
        }
    })
}

fn stopped(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')))
}
