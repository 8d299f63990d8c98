//! Child processes in network namespaces of their own: the kernel makes the faults. Needs Linux, and root or user
//! namespaces.
mod addresses;
mod clean;
mod error;
mod look;
mod mounts;
mod names;
mod namespace;
mod owner;
mod rights;
mod rules;
mod sockets;
mod tools;
mod topology;
mod world;

use std::path::PathBuf;

pub use self::clean::{Cleaned, clean};
pub use self::error::NetnsError;
use self::namespace::Namespace;
pub use self::rights::enter;
use self::tools::Tool;
use self::world::NetnsWorld;
use super::{Environment, EnvironmentError, Request, Support, programs};
use crate::scenario::plan::{Fault, FaultKind, Plan, Side, SubjectPlan};

/// The environment in network namespaces.
pub struct Netns {
    own: PathBuf,
}

impl Netns {
    /// `own` is the executable that is `mqtt-bridge`: a subject, and the remote where mosquitto is not installed.
    pub fn new(own: PathBuf) -> Self {
        Self { own }
    }
}

impl Environment for Netns {
    type World = NetnsWorld;

    fn name(&self) -> &'static str {
        "netns"
    }

    fn support(&self, fault: &Fault) -> Support {
        match (fault.kind, fault.on) {
            (FaultKind::Disconnect | FaultKind::Cut | FaultKind::Reset | FaultKind::Refuse, _) => Support::Exact,
            (FaultKind::Pause, _) => Support::Exact,
            (FaultKind::Kill | FaultKind::Restart, Side::Bridge) => Support::Exact,
            (FaultKind::Kill | FaultKind::Restart, Side::Remote) => {
                Support::Unsupported("the remote keeps its sessions in memory, and its receiver must stay")
            }
        }
    }

    fn check(&self, plan: &Plan, subject: &SubjectPlan) -> Result<(), EnvironmentError> {
        programs::check(plan, subject)?;
        for tool in Tool::ALL {
            tool.command()?;
        }
        rights::check()?;
        // A machine may have the rights and not the namespaces.
        Namespace::create()?;
        Ok(())
    }

    async fn prepare(&self, request: Request<'_>) -> Result<NetnsWorld, EnvironmentError> {
        NetnsWorld::prepare(&self.own, request).await
    }
}

#[cfg(test)]
mod tests;
