//! The faults of a plan, as far as the model knows them.
use super::Model;
use crate::scenario::plan::{Direction, Fault, FaultKind, Parameters, Side};

/// A fault of a plan that the model has nothing for.
#[derive(Debug, thiserror::Error)]
#[error(
    "the model of NanoMQ does not know the fault {kind} on the {side}: it knows disconnect, cut, half_open, reset, refuse, \
     and kill, stop and restart of either side; leave nanomq-model out of this scenario (--subject)"
)]
pub struct Unknown {
    kind: &'static str,
    side: &'static str,
}

/// What a fault is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Packets vanish, in one direction or both.
    Silent {
        /// The remote's name still resolves.
        named: bool,
        /// On their way to the remote.
        to_remote: bool,
        /// On their way to the bridge.
        to_bridge: bool,
    },
    /// New connections are refused.
    Refusing {
        /// Established ones are reset when it begins.
        resets: bool,
    },
    /// The process of the remote is gone.
    Remote {
        /// And with it its sessions.
        forgets: bool,
    },
    /// The process of NanoMQ is gone, and is started again when the fault is over.
    Process {
        /// How it ends.
        signal: &'static str,
    },
}

/// What a fault is to the model.
///
/// # Errors
/// [`Unknown`].
pub fn outage(fault: &Fault) -> Result<Outage, Unknown> {
    let forgets = matches!(fault.parameters, Parameters::Session { lost: true });
    Ok(match (fault.kind, fault.on) {
        (FaultKind::Disconnect, _) => Outage::Silent { named: false, to_remote: true, to_bridge: true },
        (FaultKind::Cut, _) => Outage::Silent { named: true, to_remote: true, to_bridge: true },
        (FaultKind::HalfOpen, _) => {
            let to_remote = !matches!(fault.parameters, Parameters::HalfOpen { passes: Direction::ToRemote });
            Outage::Silent { named: true, to_remote, to_bridge: !to_remote }
        }
        (FaultKind::Reset, _) => Outage::Refusing { resets: true },
        (FaultKind::Refuse, _) => Outage::Refusing { resets: false },
        (FaultKind::Kill | FaultKind::Stop | FaultKind::Restart, Side::Remote) => Outage::Remote { forgets },
        (FaultKind::Kill, Side::Bridge) => Outage::Process { signal: "signal 9 (SIGKILL)" },
        (FaultKind::Stop | FaultKind::Restart, Side::Bridge) => {
            Outage::Process { signal: "exit code 0, after SIGTERM" }
        }
        (kind, side) => {
            let side = if side == Side::Remote { "remote" } else { "bridge" };
            return Err(Unknown { kind: kind.name(), side });
        }
    })
}

impl Model {
    /// Does a fault.
    pub fn begin(&mut self, outage: Outage) {
        self.outage(outage, false);
    }

    /// Ends it.
    pub fn heal(&mut self, outage: Outage) {
        self.outage(outage, true);
    }
}
