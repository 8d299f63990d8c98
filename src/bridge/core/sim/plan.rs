//! What happens in a world, and when: all of it follows from the seed.
use std::time::Duration;

use crate::bridge::delivery::Time;
use crate::bridge::message::QoS;
use crate::bridge::wire::Version;

pub(super) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// What a publisher submits.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) at: Time,
    pub(super) topic: usize,
    pub(super) qos: QoS,
    pub(super) size: usize,
    pub(super) expiry: Option<u32>,
    /// The remote refuses it for good.
    pub(super) poison: bool,
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
    /// The process is killed and started again.
    Kill { away: Duration },
    /// No commit completes.
    DiskStall { lasting: Duration },
    /// What later CONNACKs say.
    ReceiveMaximum(u16),
    /// What later CONNACKs say.
    MaximumPacketSize(u32),
    /// What later CONNACKs say.
    MaximumQoS(QoS),
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

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) version: Version,
    pub(super) window: u16,
    pub(super) receive_maximum: u16,
    pub(super) ring: (usize, usize),
    pub(super) latency: u64,
    pub(super) commit: u64,
    pub(super) socket: usize,
    pub(super) cache_qos0: bool,
    /// A closed socket's bytes may still arrive.
    pub(super) linger: bool,
    pub(super) misbehaviour: Misbehaviour,
    pub(super) messages: Vec<Spec>,
    /// What the remote publishes for local subscribers.
    pub(super) inbound: Vec<(Time, QoS)>,
    pub(super) faults: Vec<(Time, Fault)>,
    /// When everything is healed.
    pub(super) healed_at: Time,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let random = &mut random;
        let healed_at = millis(random.u64(2_000..40_000));
        let some =
            |random: &mut fastrand::Rng, chance: u32| if random.u32(0..3) == 0 { random.u32(1..chance) } else { 0 };
        let misbehaviour = Misbehaviour {
            passing_refusal: some(random, 200),
            lost_ack: some(random, 100),
            repeated_ack: some(random, 200),
            stray_ack: some(random, 50),
            reordered_acks: if random.u32(0..3) == 0 { random.u64(1..200) } else { 0 },
        };
        let version = if random.bool() { Version::V4 } else { Version::V5 };
        // One kind of traffic, or all mixed.
        let only = [None, None, Some(QoS::ExactlyOnce), Some(QoS::AtLeastOnce)][random.usize(0..4)];
        let qos = |random: &mut fastrand::Rng| only.unwrap_or_else(|| QoS::try_from(random.u8(0..3)).unwrap());
        let (expiring, poisonous) = (random.bool(), random.u32(0..4) == 0);
        let mut messages: Vec<Spec> = (0..random.usize(5..120))
            .map(|_| Spec {
                at: millis(random.u64(0..healed_at.as_millis() as u64)),
                topic: random.usize(0..3),
                qos: qos(random),
                size: if random.u32(0..10) == 0 { 400 } else { random.usize(8..40) },
                expiry: (expiring && random.u32(0..5) == 0).then(|| random.u32(1..10)),
                poison: poisonous && random.u32(0..40) == 0,
            })
            .collect();
        messages.sort_by_key(|spec| spec.at);
        // A burst in the middle, so that the ring spills.
        if random.bool() {
            let (from, at) = (messages.len() / 3, messages[messages.len() / 3].at);
            messages.iter_mut().skip(from).take(60).for_each(|spec| spec.at = spec.at.min(at + millis(5)));
            messages.sort_by_key(|spec| spec.at);
        }
        let mut inbound: Vec<(Time, QoS)> = (0..random.usize(0..20))
            .map(|_| (millis(random.u64(0..healed_at.as_millis() as u64)), QoS::try_from(random.u8(1..3)).unwrap()))
            .collect();
        inbound.sort_unstable();
        let mut faults: Vec<(Time, Fault)> = (0..random.usize(0..10))
            .map(|_| (millis(random.u64(0..healed_at.as_millis() as u64)), any_fault(random)))
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            version,
            window: random.u16(1..30),
            receive_maximum: if random.bool() { u16::MAX } else { random.u16(1..10) },
            ring: (random.usize(1..40), random.usize(1..4000)),
            latency: random.u64(1..120),
            commit: random.u64(1..30),
            socket: random.usize(50..5000),
            cache_qos0: random.bool(),
            linger: random.bool(),
            misbehaviour,
            messages,
            inbound,
            faults,
            healed_at,
        }
    }

    /// Whether the remote never loses what it knows of the session.
    pub(super) fn keeps_the_session(&self) -> bool {
        !self.faults.iter().any(|(_, fault)| matches!(fault, Fault::LoseSession))
    }

    pub(super) fn kills(&self) -> bool {
        self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Kill { .. }))
    }

    pub(super) fn is_prompt(&self) -> bool {
        self.socket > 4000 && !self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Stall { .. }))
    }

    pub(super) fn retires(&self) -> bool {
        let limits = |fault: &Fault| matches!(fault, Fault::MaximumPacketSize(_) | Fault::MaximumQoS(_));
        self.faults.iter().any(|(_, fault)| limits(fault)) || self.messages.iter().any(|spec| spec.poison)
    }

    pub(super) fn limits_packets(&self) -> bool {
        self.faults.iter().any(|(_, fault)| matches!(fault, Fault::MaximumPacketSize(_)))
    }
}

fn any_fault(random: &mut fastrand::Rng) -> Fault {
    let lasting = millis(random.u64(1..8_000));
    match random.u32(0..24) {
        0..4 => Fault::Stall { up: true, down: true, lasting },
        4 => Fault::Stall { up: true, down: false, lasting },
        5 => Fault::Stall { up: false, down: true, lasting },
        6..9 => Fault::Reset,
        9 | 10 => Fault::Close,
        11 | 12 => Fault::LoseSession,
        13 => Fault::Refuse { lasting },
        14 => Fault::Mute { lasting },
        15..19 => Fault::Kill { away: lasting },
        19 | 20 => Fault::DiskStall { lasting: lasting / 2 },
        21 => Fault::ReceiveMaximum(random.u16(1..20)),
        22 => Fault::MaximumPacketSize(300),
        _ => Fault::MaximumQoS(QoS::try_from(random.u8(0..3)).unwrap()),
    }
}
