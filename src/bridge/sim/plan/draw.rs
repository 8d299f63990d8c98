//! Drawing a plan.
use fastrand::Rng;

use super::*;
use crate::bridge::units;

/// Kinds of worlds: in most of them little is unusual, so that what is can be seen.
struct Mood {
    publishers: usize,
    remotes: usize,
    only: Option<QoS>,
    limited: bool,
    governed: bool,
    ages: bool,
    never_up: bool,
    fresh: bool,
    clocks: bool,
}

fn one_in(random: &mut Rng, number: u32) -> bool {
    random.u32(0..number) == 0
}

impl Plan {
    pub(in crate::bridge::sim) fn new(seed: u64) -> Self {
        let random = &mut Rng::with_seed(seed);
        let healed_at = millis(random.u64(2_000..40_000));
        let mood = Mood {
            publishers: random.usize(1..4),
            remotes: if one_in(random, 3) { 2 } else { 1 },
            only: [None, None, Some(QoS::ExactlyOnce), Some(QoS::AtLeastOnce)][random.usize(0..4)],
            limited: one_in(random, 2),
            governed: one_in(random, 5),
            ages: one_in(random, 8),
            never_up: one_in(random, 2),
            fresh: one_in(random, 20),
            clocks: one_in(random, 8),
        };
        let messages = messages(random, &mood, healed_at);
        let remotes: Vec<RemotePlan> =
            (0..mood.remotes).map(|number| remote(random, &mood, number, healed_at)).collect();
        let publishers = (0..mood.publishers).map(|_| PublisherPlan {
            version: if random.bool() { Version::V4 } else { Version::V5 },
            persistent: !one_in(random, 4),
            window: random.usize(1..20),
        });
        let publishers = publishers.collect();
        let mut faults: Vec<(Time, usize, Fault)> = (0..random.usize(0..10))
            .map(|_| (moment(random, healed_at), random.usize(0..mood.remotes), fault(random, &mood)))
            .collect();
        // A first CONNECT that comes when another has long been answered.
        if one_in(random, 6) {
            let lasting = millis(random.u64(2_000..8_000));
            faults.push((Time::ZERO, random.usize(0..mood.remotes), Fault::HoldBack { lasting }));
        }
        faults.sort_by_key(|(at, ..)| *at);
        // While the disk stalls, what is lined up gathers behind it, and leaves as one.
        faults.retain(|(_, _, fault)| {
            !mood.governed || !matches!(fault, Fault::DiskStall { .. } | Fault::Suspend { .. })
        });
        let commit = random.u64(1..30);
        // Drawn last, so that what was found before it was drawn is found again without it.
        let commit_after = one_in(random, 3).then(|| millis(random.u64(20..1_000)));
        Self { seed, commit, commit_after, remotes, publishers, messages, faults, healed_at }
    }
}

fn moment(random: &mut Rng, before: Time) -> Time {
    millis(random.u64(0..before.as_millis() as u64))
}

fn messages(random: &mut Rng, mood: &Mood, healed_at: Time) -> Vec<Spec> {
    let (expiring, poisonous) = (random.bool(), one_in(random, 4));
    let mut messages: Vec<Spec> = (0..random.usize(5..120))
        .map(|_| Spec {
            at: moment(random, healed_at),
            publisher: random.usize(0..mood.publishers),
            topic: random.usize(0..3),
            qos: mood.only.unwrap_or_else(|| QoS::try_from(random.u8(0..3)).unwrap()),
            size: if one_in(random, 10) { 400 } else { random.usize(8..40) },
            expiry: (expiring && one_in(random, 5)).then(|| random.u32(1..10)),
            poison: poisonous && one_in(random, 40),
        })
        .collect();
    messages.sort_by_key(|spec| spec.at);
    // A burst in the middle, so that the ring spills.
    if random.bool() {
        let (from, at) = (messages.len() / 3, messages[messages.len() / 3].at);
        messages.iter_mut().skip(from).take(60).for_each(|spec| spec.at = spec.at.min(at + millis(5)));
        messages.sort_by_key(|spec| spec.at);
    }
    messages
}

fn remote(random: &mut Rng, mood: &Mood, number: usize, healed_at: Time) -> RemotePlan {
    let never_up = number == 1 && mood.never_up;
    let mut some = |chance: u32| if one_in(random, 3) { random.u32(1..chance) } else { 0 };
    let misbehaviour = Misbehaviour {
        passing_refusal: some(200),
        lost_ack: some(100),
        repeated_ack: some(200),
        stray_ack: some(50),
        reordered_acks: some(200).into(),
    };
    // Never an acknowledgement.
    let lost_ack = if one_in(random, 40) { 1_000 } else { misbehaviour.lost_ack };
    let any = |random: &mut Rng| loop {
        let all = [WhenFull::Reject, WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Block];
        let when_full = all[random.usize(0..4)];
        // Who blocks for a remote that never comes blocks for ever: that is what was asked for.
        if !(never_up && when_full == WhenFull::Block) {
            return when_full;
        }
    };
    let limited = mood.limited && !one_in(random, 4);
    let limits = Limits {
        max_messages: if limited { random.u64(1..25) } else { u64::MAX },
        max_bytes: if limited && random.bool() { random.u64(600..4_000) } else { u64::MAX },
        max_age: mood.ages.then(|| Duration::from_secs(random.u64(1..20))),
        when_full: any(random),
        cache_qos0: random.bool(),
    };
    let forwards = [(); 3].map(|()| {
        let wanted = number == 0 || !one_in(random, 3);
        wanted.then(|| (limited && one_in(random, 4)).then(|| any(random)))
    });
    let mut inbound: Vec<(Time, QoS)> = (0..random.usize(0..20))
        .map(|_| (moment(random, healed_at), QoS::try_from(random.u8(1..3)).unwrap()))
        .collect();
    inbound.sort_unstable();
    RemotePlan {
        version: if random.bool() { Version::V4 } else { Version::V5 },
        window: random.u16(1..30),
        receive_maximum: if random.bool() { u16::MAX } else { random.u16(1..10) },
        ring: (random.usize(1..40), random.usize(1..4000)),
        latency: random.u64(1..120),
        socket: if mood.governed { 1_000_000 } else { random.usize(50..5000) },
        linger: random.bool(),
        misbehaviour: Misbehaviour { lost_ack, ..misbehaviour },
        inbound,
        limits,
        forwards,
        drain: mood.governed.then(|| units::parse_rate(&format!("{}/s", random.u32(5..200))).unwrap()),
        never_up,
    }
}

fn fault(random: &mut Rng, mood: &Mood) -> Fault {
    let lasting = millis(random.u64(1..8_000));
    match random.u32(0..32) {
        0..4 => Fault::Stall { up: true, down: true, lasting },
        4 => Fault::Stall { up: true, down: false, lasting },
        5 => Fault::Stall { up: false, down: true, lasting },
        6..9 => Fault::Reset,
        9 => Fault::Close,
        10 | 11 => Fault::LoseSession,
        12 => Fault::Refuse { lasting },
        13 => Fault::Mute { lasting },
        14..17 => Fault::Kill { away: lasting },
        17..19 => Fault::PowerLoss { away: lasting },
        19 => Fault::DiskStall { lasting: lasting / 2 },
        20 => Fault::ReceiveMaximum(random.u16(1..20)),
        21 => Fault::ReceiveMaximum(1),
        22 => Fault::MaximumPacketSize(300),
        23 => Fault::MaximumQoS(QoS::try_from(random.u8(0..3)).unwrap()),
        24 | 25 => Fault::HoldBack { lasting: millis(2_000) + lasting },
        26 => Fault::Suspend { lasting: lasting * 2, asleep: random.bool() },
        27 if mood.fresh => Fault::FreshCache { away: lasting },
        28 | 29 if mood.clocks => Fault::WallClock { seconds: random.i64(-20_000..20_000) },
        _ => Fault::LocalReset { publisher: random.usize(0..mood.publishers) },
    }
}
