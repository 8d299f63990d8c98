//! What is done to the link, to the processes and to the disk of a world in namespaces.
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::process::Process;
use super::super::proxy::Link;
use super::super::ready::RETRY;
use super::super::{EnvironmentError, disk};
use super::error::NetnsError;
use super::look::{Expected, Look};
use super::rules::{self, ENDS};
use super::tools::{Tool, run};
use super::world::{MQTT, NetnsWorld};
use super::{loss, proxy, topology};
use crate::scenario::history::Event;
use crate::scenario::plan::{Fault, FaultKind, Parameters, Place, Side};

/// How long a signal may take.
const SIGNALLED: Duration = Duration::from_secs(1);

impl NetnsWorld {
    pub(super) async fn begin(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let on = Event::FaultOn { fault: index, kind: fault.kind, on: fault.on };
        match (fault.place(), fault.on) {
            (Place::Link, _) => {
                self.in_force.insert(index, fault.clone());
                self.arrange().await?;
                for (side, script) in rules::filters(index, fault) {
                    self.run(Some(side), Tool::Nft, script).await?;
                }
                self.impair(fault, true).await?;
                if fault.kind == FaultKind::Reset {
                    self.reset_established().await?;
                }
                self.recorder.record(on);
                self.verify().await?;
                self.verify_impaired(index, fault).await?;
            }
            (Place::Process, side) if fault.kind == FaultKind::Pause => {
                self.in_force.insert(index, fault.clone());
                self.signal(side, libc::SIGSTOP).await;
                self.recorder.record(on);
                self.verify().await?;
            }
            (Place::Process, Side::Remote) => self.take_remote_away(index, fault).await?,
            (Place::Process, Side::Bridge) => {
                self.recorder.record(on);
                self.end_subject(fault.kind != FaultKind::Kill).await;
            }
            (Place::Disk, _) => {
                self.fill()?;
                self.recorder.record(on);
            }
        }
        Ok(())
    }

    pub(super) async fn end(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let off = Event::FaultOff { fault: index, kind: fault.kind, on: fault.on };
        self.in_force.remove(&index);
        match (fault.place(), fault.on) {
            (Place::Link, _) => {
                for side in ENDS {
                    self.run(Some(side), Tool::Nft, rules::removal(index)).await?;
                }
                self.impair(fault, false).await?;
                self.arrange().await?;
                self.recorder.record(off);
                self.verify().await?;
            }
            (Place::Process, side) if fault.kind == FaultKind::Pause => {
                self.signal(side, libc::SIGCONT).await;
                self.recorder.record(off);
                self.verify().await?;
            }
            (Place::Process, Side::Remote) => {
                self.bring_remote_back(fault).await?;
                self.recorder.record(off);
                self.verify().await?;
            }
            (Place::Process, Side::Bridge) => {
                self.start_again()?;
                self.recorder.record(off);
            }
            (Place::Disk, _) => {
                if let Some(folder) = self.disk() {
                    disk::clear(&folder).map_err(|source| NetnsError::system("the subject's disk", source))?;
                }
                self.recorder.record(off);
            }
        }
        Ok(())
    }

    /// Brings the ports of the switch and the remote's name into the state that the faults in force ask for.
    pub(super) async fn arrange(&self) -> Result<(), EnvironmentError> {
        let cuts =
            |fault: &Fault, side| fault.on == side && matches!(fault.kind, FaultKind::Cut | FaultKind::Disconnect);
        let cut = |side| self.in_force.values().any(|fault| cuts(fault, side));
        self.topology.connect(Side::Bridge, !cut(Side::Bridge)).await?;
        self.topology.connect(Side::Remote, self.open && !cut(Side::Remote)).await?;
        let named = self.in_force.values().all(|fault| fault.kind != FaultKind::Disconnect);
        self.names.set(named).map_err(|source| NetnsError::system("the hosts file of the subject", source))?;
        Ok(())
    }

    /// Makes the link worse, or as it was.
    async fn impair(&mut self, fault: &Fault, holds: bool) -> Result<(), EnvironmentError> {
        if proxy::makes(fault) {
            return self.put_proxy().await;
        }
        if let Some(script) = rules::shape(fault, holds) {
            self.run(None, Tool::Tc, script).await?;
        }
        for side in ENDS {
            if let Some(script) = rules::delay(fault, holds) {
                self.run(Some(side), Tool::Tc, script).await?;
            }
        }
        Ok(())
    }

    /// Lets the proxy, where there is one, do what is its own to do.
    async fn put_proxy(&mut self) -> Result<(), EnvironmentError> {
        let Some(proxy) = &mut self.proxy else { return Ok(()) };
        if let Some(why) = proxy.put(&self.in_force, self.remote.is_there()).await? {
            self.recorder.doubt(why);
        }
        Ok(())
    }

    /// Gives a script to a tool in the namespace of an end, or of the switch.
    async fn run(&self, side: Option<Side>, tool: Tool, script: String) -> Result<(), EnvironmentError> {
        let namespace = side.map_or(&self.topology.switch, |side| self.namespace(side));
        let arguments: &[&str] = if tool == Tool::Nft { &["-f", "-"] } else { &["-batch", "-"] };
        Ok(namespace.within(move || run(tool, arguments, &script).map(drop)).await?)
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
        if let Some(why) = Expected::during(self.in_force.values(), self.remote.is_there()).differs(&look) {
            let in_force: Vec<&str> = self.in_force.values().map(|fault| fault.kind.name()).collect();
            let state =
                if in_force.is_empty() { "healed".to_owned() } else { format!("under {}", in_force.join(", ")) };
            self.recorder.doubt(format!("the link was to be {state}: {why}"));
        }
        Ok(())
    }

    /// What one connection does not show.
    async fn verify_impaired(&self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        if let (FaultKind::Loss, Parameters::Loss { percent }) = (fault.kind, &fault.parameters) {
            for side in ENDS {
                let dropped = loss::sample(&self.topology, side, index).await?;
                if dropped == 0 && loss::would_show(*percent) {
                    self.recorder
                        .doubt(format!("{percent} % of the packets to the {side:?} were to be lost, and none was"));
                }
            }
        }
        if rules::shape(fault, true).is_some() {
            for side in ENDS {
                let asked = ["qdisc", "show", "dev", topology::port(side)];
                let shown = self.topology.switch.within(move || run(Tool::Tc, &asked, "")).await?;
                if !shown.contains("tbf") {
                    self.recorder.doubt(format!("the way to the {side:?} was to be throttled: {}", shown.trim()));
                }
            }
        }
        Ok(())
    }

    /// Lets a process stand still, or go on, and waits until it does.
    async fn signal(&self, side: Side, signal: libc::c_int) {
        let process = match side {
            Side::Bridge => self.subject.as_ref(),
            Side::Remote => self.remote.process(),
        };
        let Some(process) = process else { return };
        process.signal(signal);
        if !is_still(process, signal == libc::SIGSTOP).await {
            self.recorder.doubt(format!("signal {signal} to the {side:?} has no effect"));
        }
    }

    fn fill(&self) -> Result<(), EnvironmentError> {
        let Some(folder) = self.disk() else { return Ok(()) };
        disk::fill(&folder).map_err(|source| NetnsError::system("the subject's disk", source))?;
        if !disk::is_full(&folder) {
            self.recorder.doubt("the disk was to be full, and something could still be written");
        }
        Ok(())
    }

    async fn take_remote_away(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        self.open = false;
        self.arrange().await?;
        if let Some(proxy) = &mut self.proxy {
            // Nor does it bring the remote anything more.
            proxy.set(&Link::STILL).await?;
        }
        self.remote.take_away(index, fault).await;
        // Its kernel repeats the FIN, or answers with RST.
        self.open = true;
        self.put_proxy().await?;
        self.arrange().await?;
        self.remote.receiver_is_away().await;
        self.verify().await
    }

    /// Whoever comes to the remote by the link is refused until the receiver is in its place.
    async fn bring_remote_back(&mut self, fault: &Fault) -> Result<(), EnvironmentError> {
        if !self.remote.is_there() {
            self.run(Some(Side::Remote), Tool::Nft, rules::gate(true)).await?;
        }
        self.remote.come_back(fault).await?;
        self.put_proxy().await?;
        self.run(Some(Side::Remote), Tool::Nft, rules::gate(false)).await
    }
}

/// Waits until a process stands still, or does not any more; whether it came to that.
async fn is_still(process: &Process, still: bool) -> bool {
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    };
    let reached = async {
        // Nothing tells of it.
        while stopped() != still && process.ended().is_none() {
            sleep(RETRY).await;
        }
    };
    timeout(SIGNALLED, reached).await.is_ok()
}
