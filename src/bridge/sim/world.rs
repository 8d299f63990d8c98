//! The world: one clock, and everything that happens by it.
use std::collections::BTreeMap;
use std::time::Duration;

use super::broker::Broker;
use super::disk::Disk;
use super::ledger::Ledger;
use super::ledger::account::Tap;
use super::link::{Chunk, Link};
use super::plan::{Fault, Misbehaviour, Plan, millis};
use super::process::{Connection, Process, Seat};
use super::publisher::Publisher;
use crate::bridge::cache::Cache;
use crate::bridge::cache::writer::Request;
use crate::bridge::core::forwarder::Effect;
use crate::bridge::delivery::{Outcome, Progress, Time, Write};
use crate::bridge::message::QoS;
use crate::bridge::wire::{Decoder, Packet};

mod faults;
mod local;
mod shell;
mod writer;

/// By then everything must have drained after the heal: a few time-outs,
const DRAINED_WITHIN: Duration = Duration::from_secs(150);
/// and for each message that a remote of 3.1.1 refuses six closes, with a pause after each.
const FOR_A_REFUSAL: Duration = Duration::from_secs(20);
/// What the wall clock says at the beginning.
const EPOCH: Duration = Duration::from_secs(1_000_000);

/// What a twin does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sin {
    SentIsNotCommitted,
    ReleasedIsNotCommitted,
    RemovesWhenSent,
    AcknowledgesBeforeCommit,
    AcknowledgesOutOfOrder,
    SkipsPages,
    SessionAlwaysPresent,
    WipesForEver,
    CommitsAreNotSynced,
    ForgetsReceivedIds,
    ForgetsSessions,
    EvictsTheFirst,
    EvictsTwo,
    KeepsWhatItEvicts,
    ForgetsWhoWaits,
    IgnoresTheRate,
    WaitsForTheOther,
    StartsAtTheWallClock,
    TakesWhatFollows,
    IgnoresTheLimits,
    AcknowledgesDeferred,
    AcknowledgesAfterTheFirst,
}

/// One remote and the way there.
struct Remote {
    broker: Broker,
    links: Vec<Link>,
    stalled: [Time; 2],
    refused_until: Time,
    /// The next connection is held back for so long.
    holds_back: Option<Duration>,
    next_inbound: usize,
    received: BTreeMap<usize, u32>,
}

pub(super) struct World {
    plan: Plan,
    sin: Option<Sin>,
    now: Time,
    random: fastrand::Rng,
    process: Option<Process>,
    /// While there is no process.
    disk: Option<Disk>,
    restart_at: Option<Time>,
    suspended_until: Time,
    disk_until: Time,
    wall: i64,
    remotes: Vec<Remote>,
    publishers: Vec<Publisher>,
    ledger: Ledger,
    next_message: usize,
    next_fault: usize,
    next_seat: u64,
    healed: bool,
    verbose: bool,
}

impl World {
    pub(super) fn new(plan: Plan, sin: Option<Sin>) -> Self {
        let process = Process::start(&plan, Disk::new(sin), Time::ZERO, EPOCH, sin);
        let remotes = plan.remotes.iter().enumerate().map(|(number, remote)| Remote {
            broker: Broker::new(remote, plan.seed ^ ((number as u64) << 32), sin),
            links: Vec::new(),
            stalled: [Time::ZERO; 2],
            refused_until: if remote.never_up { Time::MAX } else { Time::ZERO },
            holds_back: None,
            next_inbound: 0,
            received: BTreeMap::new(),
        });
        Self {
            sin,
            now: Time::ZERO,
            random: fastrand::Rng::with_seed(plan.seed ^ 0x5EED),
            process: Some(process),
            disk: None,
            restart_at: None,
            suspended_until: Time::ZERO,
            disk_until: Time::ZERO,
            wall: 0,
            remotes: remotes.collect(),
            publishers: plan.publishers.iter().enumerate().map(|(number, plan)| Publisher::new(number, plan)).collect(),
            ledger: Ledger::new(&plan, sin.is_none()),
            next_message: 0,
            next_fault: 0,
            next_seat: 0,
            healed: false,
            verbose: super::number("SIM_SEED").is_some(),
            plan,
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>9.3} {}", self.now.as_secs_f64(), what());
        }
    }

    pub(super) fn run(mut self) -> Result<(), String> {
        self.say(|| format!("{:#?}", self.plan));
        let mut steps_at_once = 0;
        let refusals = self.plan.messages.iter().filter(|spec| spec.poison).count();
        let drained_at = self.plan.healed_at + DRAINED_WITHIN + FOR_A_REFUSAL * u32::try_from(refusals).unwrap();
        loop {
            self.step();
            if let Some(violation) = self.violation() {
                return Err(format!("at {:.3} s: {violation}", self.now.as_secs_f64()));
            }
            if self.healed && self.is_drained() {
                break;
            }
            let next = self.next_event();
            if next > drained_at {
                return Err(format!("G6: not drained: {}", self.what_remains()));
            }
            steps_at_once = if next > self.now { 0 } else { steps_at_once + 1 };
            if steps_at_once > 10_000 {
                return Err(format!("it spins: time does not go on: {}", self.what_remains()));
            }
            self.now = self.now.max(next);
        }
        self.settle();
        self.violation().map_or(Ok(()), Err)
    }

    fn violation(&mut self) -> Option<String> {
        let of_publishers = self.publishers.iter_mut().find_map(|publisher| publisher.violation.take());
        self.ledger.violation().or(of_publishers)
    }

    fn settle(&mut self) {
        if let Some(process) = &self.process {
            for (account, leg) in self.ledger.accounts.iter_mut().zip(&process.legs) {
                account.ambiguous += leg.forwarder.statistics.ambiguous;
            }
        }
        let keeps: Vec<bool> = self.remotes.iter().map(|remote| !remote.broker.has_forgotten).collect();
        self.ledger.settle(&self.plan, &keeps);
        for number in 0..self.remotes.len() {
            self.settle_inbound(number);
        }
        let kept = self.process.as_mut().map_or(0, |process| process.writer.cache().memory.kept());
        let wanted = self.process.as_mut().map_or(0, |process| {
            let bridges = process.bridges();
            let cache = process.writer.cache();
            bridges.into_iter().map(|bridge| cache.usage(bridge)).map(|usage| usage.messages + usage.quarantined).sum()
        });
        if kept > wanted {
            self.ledger.violate(format!("{kept} messages are kept for {wanted} deliveries"));
        }
    }

    fn what_remains(&mut self) -> String {
        let Some(process) = &mut self.process else { return "no process".into() };
        let mut remains = Vec::new();
        for leg in &process.legs {
            let (held, connected) = (leg.forwarder.in_flight(), leg.forwarder.is_connected());
            let usage = process.writer.cache().usage(leg.bridge);
            remains.push(format!("{usage:?}, {held} held, connected: {connected}"));
        }
        format!("{remains:?}, {} blocked, publishers: {:?}", process.writer.blocked(), self.publishers)
    }

    fn is_drained(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let quiet = process.requests.is_empty() && !process.writer.is_busy() && process.writer.blocked() == 0;
        let published = self.next_message == self.plan.messages.len() && self.publishers.iter().all(Publisher::is_idle);
        let local = process.seats.iter().all(|seat| seat.input.is_empty());
        let never_up = self.plan.remotes.iter().any(|remote| remote.never_up);
        quiet
            && (never_up || process.writer.deferred().next().is_none())
            && published
            && local
            && self.publishers.iter().all(|it| it.link.as_ref().is_none_or(|link| link.up.is_empty()))
            && process.legs.iter().zip(&self.remotes).zip(&self.plan.remotes).all(|((leg, remote), plan)| {
                plan.never_up
                    || process.writer.cache().usage(leg.bridge).messages == 0
                        && leg.forwarder.in_flight() == 0
                        && leg.forwarder.is_connected()
                        && leg.ring.lock().volatile() == 0
                        && leg.delivering.is_empty()
                        && remote.broker.is_drained()
            })
    }

    fn settle_inbound(&mut self, number: usize) {
        let remote = &self.remotes[number];
        let strict = !remote.broker.has_forgotten && !self.plan.kills();
        for inbound in remote.broker.promised.clone() {
            let times = remote.received.get(&inbound).copied().unwrap_or_default();
            let qos = self.plan.remotes[number].inbound[inbound].1;
            if times == 0 && !self.ledger.accounts[number].is_excused(inbound) {
                self.ledger.violate(format!("lost: {inbound} from the remote"));
            }
            if times > 1 && qos == QoS::ExactlyOnce && strict {
                self.ledger.violate(format!("{inbound} from the remote, of QoS 2, came {times} times"));
            }
        }
    }

    fn next_event(&self) -> Time {
        let mut next = Time::MAX;
        let mut event = |at: Option<Time>| next = next.min(at.unwrap_or(Time::MAX));
        event(self.plan.messages.get(self.next_message).map(|spec| spec.at));
        event(self.plan.faults.get(self.next_fault).map(|(at, ..)| *at));
        event((!self.healed).then_some(self.plan.healed_at));
        event(self.restart_at);
        // What the process does it does when it is awake.
        let awake = |at: Time| at.max(self.suspended_until);
        for (remote, plan) in self.remotes.iter().zip(&self.plan.remotes) {
            event(plan.inbound.get(remote.next_inbound).map(|(at, _)| *at));
            event(remote.broker.due());
            for link in remote.links.iter() {
                event(link.up.due().map(|at| at.max(remote.stalled[0]).max(link.held_until)));
                event(link.down.due().map(|at| awake(at.max(remote.stalled[1]))));
            }
        }
        for publisher in &self.publishers {
            match &publisher.link {
                Some(link) => {
                    event(link.up.front().map(|(at, _)| awake(*at)));
                    event(link.down.front().map(|(at, _)| *at));
                }
                None => event(self.process.as_ref().map(|_| awake(publisher.connect_at))),
            }
        }
        let Some(process) = &self.process else { return next };
        if process.writer.is_busy() {
            event(Some(awake(process.commit_at.max(self.disk_until))));
        } else if !process.requests.is_empty() {
            event(Some(awake(self.disk_until)));
        }
        let shows = |at: Time| awake(process.clock.shows(at));
        if !process.writer.is_busy() {
            event(process.writer.deadline().map(|at| shows(at).max(self.disk_until)));
        }
        event(process.next_chores.map(awake));
        for leg in &process.legs {
            event(leg.forwarder.deadline().map(shows));
            event(leg.connecting.map(awake));
            event(leg.delivering.front().map(|(at, _)| awake(*at)));
        }
        for seat in &process.seats {
            event(seat.client.deadline().map(shows));
        }
        next
    }

    fn step(&mut self) {
        if !self.healed && self.now >= self.plan.healed_at {
            self.heal();
        }
        while let Some((at, remote, fault)) = self.plan.faults.get(self.next_fault).copied() {
            if at > self.now {
                break;
            }
            self.next_fault += 1;
            if !self.healed {
                self.say(|| format!("{remote}: {fault:?}"));
                self.fail(remote, fault);
            }
        }
        if self.restart_at.is_some_and(|at| at <= self.now) {
            self.restart();
        }
        for number in 0..self.remotes.len() {
            let (remote, plan) = (&mut self.remotes[number], &self.plan.remotes[number]);
            while let Some((_, qos)) = plan.inbound.get(remote.next_inbound).filter(|(at, _)| *at <= self.now) {
                remote.broker.publish(remote.next_inbound, *qos);
                remote.next_inbound += 1;
            }
        }
        self.publish();
        if self.is_awake() {
            self.commit();
        }
        for number in 0..self.remotes.len() {
            self.move_bytes(number);
        }
        if self.is_awake() {
            self.drive_seats();
            for number in 0..self.remotes.len() {
                self.drive(number);
            }
            self.look_at_the_columns();
        }
        for number in 0..self.remotes.len() {
            self.broker_speaks(number);
        }
    }

    fn is_awake(&self) -> bool {
        self.process.is_some() && self.suspended_until <= self.now
    }

    fn broker_speaks(&mut self, number: usize) {
        let at = self.now + millis(self.plan.remotes[number].latency);
        let remote = &mut self.remotes[number];
        for (link, bytes) in remote.broker.poll(self.now) {
            remote.links[link].down.push(Chunk::Bytes(bytes), at);
        }
        for link in std::mem::take(&mut remote.broker.closed) {
            let link = &mut remote.links[link];
            link.server_open = false;
            link.up.lose();
            link.down.push(Chunk::Fin, at);
        }
    }

    fn move_bytes(&mut self, number: usize) {
        for index in 0..self.remotes[number].links.len() {
            loop {
                let remote = &mut self.remotes[number];
                if remote.stalled[0] > self.now || remote.links[index].held_until > self.now {
                    break;
                }
                let Some(chunk) = remote.links[index].up.take(self.now) else { break };
                if !remote.links[index].server_open {
                    continue;
                }
                match chunk {
                    Chunk::Bytes(bytes) => {
                        let account = &mut self.ledger.accounts[number];
                        remote.broker.receive(index, &bytes, &self.plan.messages, account, self.now);
                        self.broker_speaks(number);
                    }
                    Chunk::Fin | Chunk::Reset => {
                        remote.links[index].server_open = false;
                        remote.broker.forget(index);
                    }
                }
            }
            while self.is_awake() && self.remotes[number].stalled[1] <= self.now {
                let link = &mut self.remotes[number].links[index];
                let Some(chunk) = link.down.take(self.now) else { break };
                if link.client_open {
                    self.hear(number, index, chunk);
                }
            }
            if self.process.is_none() {
                // Nobody takes it, or ever will.
                self.remotes[number].links[index].down.lose();
            }
        }
    }
}
