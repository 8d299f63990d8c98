//! Child processes in network namespaces of their own: the kernel makes the faults. Needs Linux, and root or user
//! namespaces.
mod addresses;
mod clean;
mod error;
mod faults;
mod look;
mod loss;
mod marks;
mod mounts;
mod names;
mod namespace;
mod proxy;
mod rights;
mod rules;
mod sockets;
mod tools;
mod topology;
mod world;

use std::path::PathBuf;
use std::sync::OnceLock;

pub use self::clean::{Cleaned, clean};
pub use self::error::NetnsError;
use self::namespace::{Namespace, on_a_thread, unshare};
pub use self::rights::enter;
use self::tools::{Tool, run};
use self::world::NetnsWorld;
use super::{Environment, EnvironmentError, Request, Support, programs};
use crate::scenario::plan::{Fault, FaultKind, Parameters, Plan, Side, SubjectPlan};

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
        match (fault.kind, fault.on, &fault.parameters) {
            (FaultKind::Delay, _, Parameters::Delay { only: None, .. }) if proxy::makes(fault) => {
                Support::Approximated(
                    "this kernel has no sch_netem: a proxy at the remote's end delays what is written, and TCP's own packets \
                 are as fast as ever",
                )
            }
            (FaultKind::FillDisk, Side::Remote, _) => Support::Unsupported("only the bridge has a disk of its own"),
            (FaultKind::Throttle, ..) => Support::Approximated("the bytes of Ethernet, IP and TCP are counted as well"),
            (FaultKind::Kill, Side::Remote, _) => Support::Approximated(
                "what it has acknowledged is passed on, and its sessions are written down, before it is killed",
            ),
            _ => Support::Exact,
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

/// Whether the kernel can delay packets: asked of a namespace that nobody uses.
fn has_netem() -> bool {
    static HAS_NETEM: OnceLock<bool> = OnceLock::new();
    *HAS_NETEM.get_or_init(|| {
        let tried = on_a_thread(|| {
            unshare(libc::CLONE_NEWNET)?;
            Ok(run(Tool::Tc, &["-batch", "-"], "qdisc add dev lo root netem delay 1ms\n").is_ok())
        });
        tried.unwrap_or(false)
    })
}

#[cfg(test)]
mod tests;
