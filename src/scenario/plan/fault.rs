//! Faults: what is done, to whom, how, and when (`network-faults.md`).
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::micros;

/// One fault with both its moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What is done.
    pub kind: FaultKind,
    /// To whom.
    pub on: Side,
    /// How, for the kinds that can be done in several ways.
    #[serde(default, skip_serializing_if = "Parameters::are_none")]
    pub parameters: Parameters,
    /// It waits for progress; absent: it happens at its moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// When it begins; with `when`, counted from the moment when that comes about, which is 0.
    #[serde(with = "micros")]
    pub start: Duration,
    /// When it is healed; equal to `start` for what has no duration. With `when`, counted as `start` is.
    #[serde(with = "micros")]
    pub end: Duration,
}

impl Fault {
    /// How long it holds.
    pub fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    /// What it is done to.
    pub fn place(&self) -> Place {
        self.kind.place()
    }

    /// Whether it takes the remote's process away: its sessions, and the connections of everyone, also those of the
    /// laboratory, which no fault of the link touches.
    pub fn stops_remote(&self) -> bool {
        self.on == Side::Remote && matches!(self.kind, FaultKind::Kill | FaultKind::Stop | FaultKind::Restart)
    }
}

/// The faults that an environment may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Silence and no name: established connections stall, new ones find nobody.
    Disconnect,
    /// Silence: established connections stall, new ones time out.
    Cut,
    /// Established connections are reset; new ones are reset while it lasts.
    Reset,
    /// Established connections stay; new ones are refused.
    Refuse,
    /// A process stands still: connections to it succeed and hang.
    Pause,
    /// SIGKILL, started again when the fault ends.
    Kill,
    /// SIGTERM, and started again at once.
    Restart,
    /// One direction passes ([`Parameters::HalfOpen`]), nothing comes back; new connections time out.
    HalfOpen,
    /// What passes takes longer ([`Parameters::Delay`]).
    Delay,
    /// Less passes in a second ([`Parameters::Throttle`]).
    Throttle,
    /// Some IP packets are lost, in both directions ([`Parameters::Loss`]).
    Loss,
    /// Some acknowledgements are swallowed whole ([`Parameters::DropPackets`]); all else passes.
    DropPackets,
    /// SIGTERM, started again when the fault ends.
    Stop,
    /// The disk that the subject's files are on is full ([`Parameters::FillDisk`]).
    FillDisk,
}

/// What a fault is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The link between the subject and the remote.
    Link,
    /// A process: the subject's or the remote's.
    Process,
    /// A disk.
    Disk,
}

impl FaultKind {
    /// As it is typed and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::Refuse => "refuse",
            Self::Pause => "pause",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::HalfOpen => "half_open",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::Loss => "loss",
            Self::DropPackets => "drop_packets",
            Self::Stop => "stop",
            Self::FillDisk => "fill_disk",
        }
    }

    /// What it is done to.
    pub fn place(self) -> Place {
        match self {
            Self::Disconnect
            | Self::Cut
            | Self::Reset
            | Self::Refuse
            | Self::HalfOpen
            | Self::Delay
            | Self::Throttle
            | Self::Loss
            | Self::DropPackets => Place::Link,
            Self::Pause | Self::Kill | Self::Restart | Self::Stop => Place::Process,
            Self::FillDisk => Place::Disk,
        }
    }

    /// Whether the link goes on and is only worse than it was; several of these can hold at once.
    pub fn only_impairs(self) -> bool {
        matches!(self, Self::Delay | Self::Throttle | Self::Loss | Self::DropPackets)
    }
}

/// Whom a fault is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The link to the remote, or the remote.
    Remote,
    /// The subject; of the link, its end of it.
    Bridge,
}

/// How a fault is done; each kind has its own variant or [`Parameters::None`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameters {
    /// There is one way.
    #[default]
    None,
    /// Of `half_open`.
    HalfOpen {
        /// The direction in which bytes still pass.
        passes: Direction,
    },
    /// Of `delay`, in each direction, in order, and without a limit to what is on its way.
    Delay {
        /// So much later.
        #[serde(with = "micros")]
        by: Duration,
        /// And up to so much more, drawn anew for what is written at once.
        #[serde(with = "micros")]
        jitter: Duration,
        /// Only these acknowledgements, which others then overtake; `None`: every byte.
        only: Option<Acknowledgements>,
    },
    /// Of `throttle`, in each direction.
    Throttle {
        /// At most so many bytes in a second, those of TCP and IP not counted.
        bytes_per_second: u64,
    },
    /// Of `loss`, in each direction.
    Loss {
        /// Of a hundred IP packets so many are lost; above 0, below 100.
        percent: f64,
    },
    /// Of `drop_packets`.
    DropPackets {
        /// Those that are swallowed.
        only: Acknowledgements,
    },
    /// Of `stop`, `kill` and `restart` of the remote.
    Session {
        /// The remote forgets its sessions; otherwise it finds them again when it is started.
        lost: bool,
    },
    /// Of `fill_disk`.
    FillDisk {
        /// The size of the disk, in bytes; `None`: the environment's choice.
        size: Option<u64>,
    },
}

impl Parameters {
    fn are_none(&self) -> bool {
        *self == Self::None
    }
}

/// A direction of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the subject to the remote.
    ToRemote,
    /// From the remote to the subject.
    ToBridge,
}

/// Some of the acknowledgements of the messages that the subject brings to the remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgements {
    /// Which Control Packets; at least one.
    pub packets: Vec<Acknowledgement>,
    /// Of these packets taken together every so-manieth; 1: each.
    pub every: u32,
}

/// A Control Packet that acknowledges. PUBACK, PUBREC and PUBCOMP are those of the remote, PUBREL is the subject's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // named by the specification, section 3
pub enum Acknowledgement {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

/// Progress that a fault waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// So much of the backlog has arrived, in percent, 1 to 100. The backlog is what was acknowledged to its publisher
    /// and had not arrived when the last heal so far was recorded, whatever was healed; QoS 0 has no part in it. A heal
    /// without a backlog changes nothing.
    Drained(u8),
}

impl When {
    /// As it is shown.
    pub fn words(self) -> String {
        match self {
            Self::Drained(percent) => format!("{percent}% of the backlog drained"),
        }
    }
}
