//! Child processes and a fault proxy on loopback: needs nothing installed but, at best, mosquitto.
#[cfg(target_os = "linux")]
mod clean;
mod disk;
mod faults;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
pub use self::clean::clean;
use self::world::LocalWorld;
use super::{Environment, EnvironmentError, Request, Support, ports, programs};
use crate::scenario::plan::{Fault, FaultKind, Plan, Side, SubjectPlan};

/// The environment on loopback.
pub struct Local {
    own: PathBuf,
}

impl Local {
    /// `own` is the executable that is `mqtt-bridge`: a subject, and the remote where mosquitto is not installed.
    pub fn new(own: PathBuf) -> Self {
        Self { own }
    }
}

impl Environment for Local {
    type World = LocalWorld;

    fn name(&self) -> &'static str {
        "local"
    }

    fn support(&self, fault: &Fault) -> Support {
        match (fault.kind, fault.on) {
            (FaultKind::Disconnect, _) => Support::Approximated(
                "established connections stall and new ones are refused; the name cannot be taken away on loopback",
            ),
            (FaultKind::Pause, Side::Remote) => Support::Approximated(
                "the link to the remote stands still; its process goes on, for the receiver that no fault touches",
            ),
            (FaultKind::Loss, _) => Support::Approximated(
                "a lost segment comes later by TCP's retransmission time, as the proxy draws it; no SYN is lost",
            ),
            (FaultKind::Kill, Side::Remote) => Support::Approximated(
                "what it has acknowledged is passed on, and its sessions are written down, before it is killed",
            ),
            (FaultKind::FillDisk, _) => disk::missing_right().map_or(Support::Exact, Support::Unsupported),
            (
                FaultKind::Cut
                | FaultKind::Reset
                | FaultKind::Refuse
                | FaultKind::HalfOpen
                | FaultKind::Delay
                | FaultKind::Throttle
                | FaultKind::DropPackets
                | FaultKind::Pause
                | FaultKind::Kill
                | FaultKind::Stop
                | FaultKind::Restart,
                _,
            ) => Support::Exact,
        }
    }

    fn check(&self, plan: &Plan, subject: &SubjectPlan) -> Result<(), EnvironmentError> {
        programs::check(plan, subject)
    }

    async fn prepare(&self, request: Request<'_>) -> Result<LocalWorld, EnvironmentError> {
        LocalWorld::prepare(&self.own, request).await
    }
}

fn free_port() -> Result<SocketAddr, EnvironmentError> {
    ports::free().map_err(|source| EnvironmentError::NoPort { source })
}

#[cfg(test)]
mod tests;
