//! The fault proxy as a container in front of the remote, for faults that need to know MQTT or TCP.
use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use tokio::time::{sleep, timeout};

use super::super::EnvironmentError;
use super::super::log::Log;
use super::super::proxy::{Link, ProxyClient, ProxyError};
use super::super::ready::{READY, RETRY};
use super::bodies::{self, CONTROL_PORT};
use super::container::{Container, Files};
use super::engine::Engine;
use super::image::Image;
use super::making::{address, publish};
use super::owner::Names;
use super::world::DockerWorld;
use crate::scenario::history::Event;
use crate::scenario::plan::{Fault, FaultKind, Plan};

/// A running proxy.
pub(super) struct Proxy {
    pub(super) container: Container,
    client: ProxyClient,
    /// The faults in force that are its own.
    in_force: BTreeMap<usize, Fault>,
}

/// Whether a fault is the proxy's to make.
pub(super) fn makes(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Reset
        | FaultKind::Refuse
        | FaultKind::HalfOpen
        | FaultKind::Delay
        | FaultKind::Throttle
        | FaultKind::DropPackets => true,
        FaultKind::Disconnect
        | FaultKind::Cut
        | FaultKind::Pause
        | FaultKind::Kill
        | FaultKind::Stop
        | FaultKind::Restart
        | FaultKind::Loss
        | FaultKind::FillDisk => false,
    }
}

/// Whether a plan needs one.
pub(super) fn needed(plan: &Plan) -> bool {
    plan.faults.iter().any(|fault| makes(fault.kind))
}

impl Proxy {
    /// Starts one before the remote; it is not on the link.
    ///
    /// # Errors
    /// [`EnvironmentError`] where it does not start.
    pub(super) async fn start(
        engine: &Engine,
        names: &Names,
        image: &Image,
        remote: SocketAddrV4,
        log: Log,
    ) -> Result<Self, EnvironmentError> {
        let control = publish(engine, CONTROL_PORT)?;
        let body = bodies::proxy(names, &image.name, remote, control);
        let name = names.of("proxy");
        let mut container = Container::create(engine, "the fault proxy", name, body, Files::default(), log).await?;
        container.start().await?;
        let control = address(control);
        // A published port takes connections before anybody listens behind it: only an answer is an answer.
        let answered = async {
            loop {
                let mut client = ProxyClient::connect(control).await?;
                match client.set(&Link::OPEN).await {
                    Ok(_) => return Ok(client),
                    Err(error @ ProxyError::Failed { .. }) => return Err(error),
                    Err(_) => sleep(RETRY).await,
                }
            }
        };
        let late = || ProxyError::Control { address: control, source: std::io::ErrorKind::TimedOut.into() };
        let client = timeout(READY, answered).await.unwrap_or_else(|_| Err(late()))?;
        Ok(Self { container, client, in_force: BTreeMap::new() })
    }

    /// Waits until the subject's connection has been let through.
    ///
    /// # Errors
    /// [`ProxyError`] where the proxy does not answer.
    pub(super) async fn connected(&mut self) -> Result<(), ProxyError> {
        self.client.connected().await
    }

    /// Brings the link into the state that the faults in force make; a doubt, where it does not look like that.
    async fn put(&mut self) -> Result<Option<String>, EnvironmentError> {
        let link = Link::under(self.in_force.iter().map(|(index, fault)| (*index, fault)));
        Ok(self.client.set(&link).await?.err())
    }
}

impl DockerWorld {
    /// Does or heals a fault of the proxy's.
    pub(super) async fn put_proxy(&mut self, index: usize, fault: &Fault, begin: bool) -> Result<(), EnvironmentError> {
        let Some(proxy) = &mut self.proxy else { return Ok(()) };
        if begin {
            proxy.in_force.insert(index, fault.clone());
        } else {
            proxy.in_force.remove(&index);
        }
        let doubt = proxy.put().await?;
        self.link = proxy.in_force.values().next_back().map_or("open", |fault| fault.kind.name());
        self.recorder.record(match begin {
            true => Event::FaultOn { fault: index, kind: fault.kind, on: fault.on },
            false => Event::FaultOff { fault: index, kind: fault.kind, on: fault.on },
        });
        if let Some(why) = doubt {
            self.recorder.doubt(why);
        }
        Ok(())
    }
}
