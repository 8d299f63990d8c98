//! The state of the link, as the faults in force make it; pure.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::plan::{Acknowledgements, Direction, Fault, FaultKind, Parameters, Side};

/// What is done to established connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Established {
    /// Bytes pass.
    Flow,
    /// Bytes pass in this direction only; in the other it is a stall.
    Only(Direction),
    /// No byte and no FIN passes; both kernels go on acknowledging.
    Stall,
    /// Reset on both sides.
    Reset,
}

/// What a new connection meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// It is let through.
    Open,
    /// It is established, and nothing answers.
    Hang,
    /// Its SYN is not answered.
    TimeOut,
    /// Connection refused.
    Refuse,
    /// It is established and reset.
    Reset,
}

/// The state of the link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// What is done to established connections.
    pub(crate) established: Established,
    /// What a new connection meets.
    pub(crate) door: Door,
    /// What passes, how badly it does so.
    #[serde(default)]
    pub(crate) impairments: Vec<Impairment>,
}

/// What makes a link worse that goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Impairment {
    /// Tells it from others; what it counts, it counts from where it is first seen to where it is gone.
    pub(crate) number: usize,
    /// What it does.
    pub(crate) effect: Effect,
}

/// What an impairment does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// Every byte comes later, in order.
    Delay {
        /// So much.
        by: Duration,
        /// And up to so much more.
        jitter: Duration,
    },
    /// At most so many bytes in a second, in each direction.
    Throttle(u64),
    /// Of a hundred segments so many are lost and come with TCP's retransmission, in order.
    Loss(f64),
    /// These Control Packets are swallowed.
    Swallow(Acknowledgements),
    /// These Control Packets come later, and others overtake them.
    Hold {
        /// Which.
        only: Acknowledgements,
        /// So much later.
        by: Duration,
        /// And up to so much more.
        jitter: Duration,
    },
}

impl Link {
    /// Everything passes.
    pub(crate) const OPEN: Self = Self { established: Established::Flow, door: Door::Open, impairments: Vec::new() };
    /// Nothing passes, and nobody is told.
    pub(crate) const STILL: Self = Self { established: Established::Stall, door: Door::Hang, impairments: Vec::new() };

    /// What faults make of the link that are in force together, each with its number. Of those that interrupt it, the
    /// one that leaves less wins; what only impairs it adds up. Faults that are none of the link's change nothing.
    pub(crate) fn under<'a>(faults: impl IntoIterator<Item = (usize, &'a Fault)>) -> Self {
        let mut link = Self::OPEN;
        for (number, fault) in faults {
            if let Some(effect) = effect(&fault.parameters).filter(|_| fault.kind.only_impairs()) {
                link.impairments.push(Impairment { number, effect });
            } else if let Some((established, door)) = interruption(fault)
                && severity(door) >= severity(link.door)
            {
                (link.established, link.door) = (established, door);
            }
        }
        link
    }

    /// The same with a remote behind it, or without: then nobody listens.
    pub(crate) fn before(self, remote_is_there: bool) -> Self {
        if !remote_is_there && self.door == Door::Open { Self { door: Door::Refuse, ..self } } else { self }
    }

    /// Whether a fault changes the link at all.
    pub(crate) fn is_changed_by(fault: &Fault) -> bool {
        fault.kind.only_impairs() || interruption(fault).is_some()
    }

    /// Whether bytes pass in a direction.
    pub(super) fn passes(&self, direction: Direction) -> bool {
        match self.established {
            Established::Flow | Established::Reset => true,
            Established::Only(only) => only == direction,
            Established::Stall => false,
        }
    }
}

fn interruption(fault: &Fault) -> Option<(Established, Door)> {
    Some(match (fault.kind, &fault.parameters) {
        (FaultKind::Cut, _) => (Established::Stall, Door::TimeOut),
        (FaultKind::Disconnect, _) => (Established::Stall, Door::Refuse),
        // A subject that stands still is no state of the link.
        (FaultKind::Pause, _) if fault.on == Side::Remote => (Established::Stall, Door::Hang),
        (FaultKind::Refuse, _) => (Established::Flow, Door::Refuse),
        (FaultKind::Reset, _) => (Established::Reset, Door::Reset),
        // Of a SYN and its answer one does not pass.
        (FaultKind::HalfOpen, Parameters::HalfOpen { passes }) => (Established::Only(*passes), Door::TimeOut),
        _ => return None,
    })
}

fn severity(door: Door) -> u8 {
    match door {
        Door::Open => 0,
        Door::Hang => 1,
        Door::Reset => 2,
        Door::Refuse => 3,
        Door::TimeOut => 4,
    }
}

fn effect(parameters: &Parameters) -> Option<Effect> {
    Some(match parameters.clone() {
        Parameters::Delay { by, jitter, only: None } => Effect::Delay { by, jitter },
        Parameters::Delay { by, jitter, only: Some(only) } => Effect::Hold { only, by, jitter },
        Parameters::Throttle { bytes_per_second } => Effect::Throttle(bytes_per_second),
        Parameters::Loss { percent } => Effect::Loss(percent),
        Parameters::DropPackets { only } => Effect::Swallow(only),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::story::plan;

    fn link(timeline: &str) -> Link {
        let text =
            format!("load:\n  - {{ topic: a, qps: 1 }}\ntimeline:\n  - {{ at: 0s, do: publish, for: 9s }}\n{timeline}");
        Link::under(plan(&text).faults.iter().enumerate())
    }

    #[test]
    fn what_interrupts_wins_by_severity_and_what_impairs_adds_up() {
        let link = link(
            "  - { at: 1s, do: delay, by: 1s, for: 5s }\n  - { at: 1s, do: cut, for: 5s }\n  \
             - { at: 2s, do: drop_packets, packets: [puback], for: 5s }\n  \
             - { at: 2s, do: disconnect, on: bridge, for: 5s }\n  - { at: 2s, do: kill }\n",
        );
        assert_eq!((link.established, link.door, link.impairments.len()), (Established::Stall, Door::TimeOut, 2));
        assert_eq!(serde_json::from_str::<Link>(&serde_json::to_string(&link).unwrap()).unwrap(), link);
    }

    #[test]
    fn a_half_open_link_passes_one_way() {
        let link = link("  - { at: 1s, do: half_open, passes: to_remote, for: 5s }\n");
        assert!(link.passes(Direction::ToRemote) && !link.passes(Direction::ToBridge));
        assert_eq!(link.door, Door::TimeOut);
        assert_eq!(Link::under([]), Link::OPEN);
    }
}
