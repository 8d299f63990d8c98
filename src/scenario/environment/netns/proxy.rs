//! The fault proxy as a process in the remote's namespace, for what the kernel cannot do: to it MQTT's packets are bytes
//! like others. It listens at the remote's end of the link, and what the kernel does to the link, it does in front of it.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::super::EnvironmentError;
use super::super::launch::{Launch, Surroundings};
use super::super::process::Process;
use super::super::proxy::{Link, ProxyClient};
use super::addresses::Addresses;
use super::has_netem;
use super::world::MQTT;
use crate::scenario::history::Role;
use crate::scenario::plan::{Fault, FaultKind, Parameters};
use crate::scenario::recorder::Recorder;

const CONTROL: u16 = 9465;

/// A running proxy.
pub(super) struct Proxy {
    launch: Launch,
    process: Process,
    client: ProxyClient,
}

/// Whether a fault is the proxy's to make.
pub(super) fn makes(fault: &Fault) -> bool {
    match (fault.kind, &fault.parameters) {
        (FaultKind::DropPackets, _) | (FaultKind::Delay, Parameters::Delay { only: Some(_), .. }) => true,
        (FaultKind::Delay, _) => !has_netem(),
        _ => false,
    }
}

impl Proxy {
    /// Starts it; `own` is the executable that is `mqtt-bridge`.
    ///
    /// # Errors
    /// [`EnvironmentError`] where it does not start or does not answer.
    pub(super) async fn start(
        own: &Path,
        addresses: Addresses,
        surroundings: Surroundings,
        folder: &Path,
        recorder: &Recorder,
    ) -> Result<Self, EnvironmentError> {
        let (remote, control) = (addresses.remote_control(), SocketAddr::from((addresses.remote_control(), CONTROL)));
        let arguments = [
            "fault-proxy".to_owned(),
            format!("--listen={}:{MQTT}", addresses.remote_link()),
            format!("--remote={remote}:{MQTT}"),
            format!("--control={control}"),
        ];
        let what_runs = (own.to_owned(), arguments.into());
        let launch = Launch::new(Role::Helper, "the fault proxy", what_runs, folder, recorder)?.within(surroundings);
        let process = launch.start()?;
        let client = tokio::select! {
            client = ProxyClient::connect(control) => client?,
            status = process.end() => return Err(launch.ended(status)),
        };
        Ok(Self { launch, process, client })
    }

    /// Brings the link into the state that those faults make which are its own; a doubt, where it does not look like that.
    ///
    /// # Errors
    /// [`EnvironmentError::Proxy`] where it does not answer.
    pub(super) async fn put(
        &mut self,
        in_force: &BTreeMap<usize, Fault>,
        remote_is_there: bool,
    ) -> Result<Option<String>, EnvironmentError> {
        let own = in_force.iter().filter(|(_, fault)| makes(fault)).map(|(index, fault)| (*index, fault));
        self.set(&Link::under(own).before(remote_is_there)).await
    }

    /// Brings the link into a state; a doubt, where it does not look like that.
    ///
    /// # Errors
    /// [`EnvironmentError::Proxy`] where it does not answer.
    pub(super) async fn set(&mut self, link: &Link) -> Result<Option<String>, EnvironmentError> {
        Ok(self.client.set(link).await?.err())
    }

    /// Ends it.
    pub(super) async fn end(self) {
        self.launch.end(&self.process, true).await;
    }
}
