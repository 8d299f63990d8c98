//! What happens in a world, and when: all of it follows from the seed.
mod draw;

use std::time::Duration;

use crate::bridge::config::WhenFull;
use crate::bridge::core::admission::Limits;
use crate::bridge::delivery::Time;
use crate::bridge::message::QoS;
use crate::bridge::units::Rate;
use crate::bridge::wire::Version;

pub(super) const TOPICS: [&str; 3] = ["a", "b", "c"];

pub(super) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// What a publisher submits.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) at: Time,
    pub(super) publisher: usize,
    pub(super) topic: usize,
    pub(super) qos: QoS,
    pub(super) size: usize,
    pub(super) expiry: Option<u32>,
    /// The remote refuses it for good.
    pub(super) poison: bool,
}

/// A local client.
#[derive(Debug, Clone)]
pub(super) struct PublisherPlan {
    pub(super) version: Version,
    /// Its session outlives its connections.
    pub(super) persistent: bool,
    pub(super) window: usize,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// No byte moves in these directions (to the remote, from it), and nobody hears of it.
    Stall { up: bool, down: bool, lasting: Duration },
    /// What is on its way is lost, and both ends hear of it.
    Reset,
    /// The remote closes in order.
    Close,
    /// The remote forgets the session.
    LoseSession,
    /// The remote refuses TCP connections.
    Refuse { lasting: Duration },
    /// The remote takes everything and answers nothing.
    Mute { lasting: Duration },
    /// What the next connection sends stays in the network for so long, however many others come and go meanwhile.
    HoldBack { lasting: Duration },
    /// What later CONNACKs say.
    ReceiveMaximum(u16),
    /// What later CONNACKs say.
    MaximumPacketSize(u32),
    /// What later CONNACKs say.
    MaximumQoS(QoS),
    /// The process is killed and started again.
    Kill { away: Duration },
    /// The machine loses its power: so does what was not synced, and nobody is told by a FIN.
    PowerLoss { away: Duration },
    /// The process is killed and started with an empty cache.
    FreshCache { away: Duration },
    /// The process does nothing; where the machine sleeps, its clock stands still as well.
    Suspend { lasting: Duration, asleep: bool },
    /// No commit completes.
    DiskStall { lasting: Duration },
    /// A publisher's connection breaks.
    LocalReset { publisher: usize },
    /// Somebody sets the wall clock, by so many seconds.
    WallClock { seconds: i64 },
}

/// How the remote misbehaves, in chances of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Misbehaviour {
    pub(super) passing_refusal: u32,
    pub(super) lost_ack: u32,
    pub(super) repeated_ack: u32,
    pub(super) stray_ack: u32,
    /// Acknowledgements wait for up to so many milliseconds, each for itself.
    pub(super) reordered_acks: u64,
}

/// One remote, the way there, and what of the bridge belongs to it.
#[derive(Debug)]
pub(super) struct RemotePlan {
    pub(super) version: Version,
    pub(super) window: u16,
    pub(super) receive_maximum: u16,
    pub(super) ring: (usize, usize),
    pub(super) latency: u64,
    pub(super) socket: usize,
    /// A closed socket's bytes may still arrive.
    pub(super) linger: bool,
    pub(super) misbehaviour: Misbehaviour,
    /// What it publishes for local subscribers.
    pub(super) inbound: Vec<(Time, QoS)>,
    pub(super) limits: Limits,
    /// Which topics it is sent, and what happens to those that no longer fit.
    pub(super) forwards: [Option<Option<WhenFull>>; 3],
    pub(super) drain: Option<Rate>,
    /// It cannot be reached, from the beginning to the end.
    pub(super) never_up: bool,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) commit: u64,
    /// With `durability: deferred`.
    pub(super) commit_after: Option<Duration>,
    pub(super) remotes: Vec<RemotePlan>,
    pub(super) publishers: Vec<PublisherPlan>,
    pub(super) messages: Vec<Spec>,
    /// When, at which remote (as far as it is one's), and what.
    pub(super) faults: Vec<(Time, usize, Fault)>,
    /// When everything is healed.
    pub(super) healed_at: Time,
}

impl RemotePlan {
    pub(super) fn when_full(&self, topic: usize) -> WhenFull {
        self.forwards[topic].flatten().unwrap_or(self.limits.when_full)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limits.max_messages < u64::MAX || self.limits.max_bytes < u64::MAX
    }
}

impl Plan {
    fn any(&self, remote: usize, wanted: impl Fn(&Fault) -> bool) -> bool {
        self.faults.iter().any(|(_, at, fault)| *at == remote && wanted(fault))
    }

    pub(super) fn kills(&self) -> bool {
        let kills =
            |fault: &Fault| matches!(fault, Fault::Kill { .. } | Fault::PowerLoss { .. } | Fault::FreshCache { .. });
        self.faults.iter().any(|(_, _, fault)| kills(fault))
    }

    pub(super) fn stalls_the_disk(&self) -> bool {
        self.faults.iter().any(|(_, _, fault)| matches!(fault, Fault::DiskStall { .. }))
    }

    pub(super) fn loses_caches(&self) -> bool {
        self.faults.iter().any(|(_, _, fault)| matches!(fault, Fault::FreshCache { .. }))
    }

    /// A socket takes what it is given, and a process that waits is one that has nothing to do.
    pub(super) fn is_prompt(&self, remote: usize) -> bool {
        let stalls = |fault: &Fault| matches!(fault, Fault::Stall { .. } | Fault::HoldBack { .. });
        let suspends = |fault: &Fault| matches!(fault, Fault::Suspend { .. } | Fault::WallClock { .. });
        let suspended = self.faults.iter().any(|(_, _, fault)| suspends(fault));
        self.remotes[remote].socket > 4000 && !self.any(remote, stalls) && !suspended
    }

    /// Packet Identifiers may have to be given back.
    pub(super) fn retires(&self, remote: usize) -> bool {
        let limits = |fault: &Fault| matches!(fault, Fault::MaximumPacketSize(_) | Fault::MaximumQoS(_));
        self.any(remote, limits) || self.messages.iter().any(|spec| spec.poison)
    }

    pub(super) fn limits_packets(&self, remote: usize) -> bool {
        self.any(remote, |fault| matches!(fault, Fault::MaximumPacketSize(_)))
    }

    pub(super) fn sets_the_clock(&self) -> bool {
        self.faults.iter().any(|(_, _, fault)| matches!(fault, Fault::WallClock { .. }))
    }
}
