//! The world: one clock, and everything that happens by it.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::broker::Broker;
use super::ledger::{Ledger, Tap};
use super::link::{Chunk, Link};
use super::plan::{Fault, Misbehaviour, Plan, millis};
use super::process::{Connection, Job, Process};
use crate::bridge::cache::memory::Memory;
use crate::bridge::cache::{Applied, Cache};
use crate::bridge::core::forwarder::Effect;
use crate::bridge::delivery::{
    BridgeId, Delivery, DropReason, Kept, NewDelivery, Outcome, Progress, Seq, Store, Time, Write,
};
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::wire::{Decoder, Packet};

mod shell;
mod writer;

pub(super) const NAME: &str = "remote";
const TOPICS: [&str; 3] = ["a", "b", "c"];
/// By then everything must have drained after the heal: a few time-outs, and a few closes for each poisonous message.
const DRAINED_WITHIN: Duration = Duration::from_secs(150);

/// What a twin does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sin {
    SentIsNotCommitted,
    ReleasedIsNotCommitted,
    RemovesWhenSent,
    AcknowledgesBeforeCommit,
    ReadsOnePageOnly,
    SessionAlwaysPresent,
}

pub(super) struct World {
    plan: Plan,
    sin: Option<Sin>,
    now: Time,
    random: fastrand::Rng,
    cache: Memory,
    seq: Seq,
    process: Option<Process>,
    restart_at: Option<Time>,
    links: Vec<Link>,
    stalled: [Time; 2],
    refused_until: Time,
    disk_until: Time,
    broker: Broker,
    ledger: Ledger,
    next_message: usize,
    next_inbound: usize,
    next_fault: usize,
    healed: bool,
    received: BTreeMap<usize, u32>,
    verbose: bool,
}

impl World {
    pub(super) fn new(plan: Plan, sin: Option<Sin>) -> Self {
        let mut cache = Memory::default();
        let process = Process::start(&plan, &mut cache, Time::ZERO);
        Self {
            sin,
            now: Time::ZERO,
            random: fastrand::Rng::with_seed(plan.seed ^ 0x5EED),
            cache,
            seq: Seq::default(),
            process: Some(process),
            restart_at: None,
            links: Vec::new(),
            stalled: [Time::ZERO; 2],
            refused_until: Time::ZERO,
            disk_until: Time::ZERO,
            broker: Broker::new(&plan, sin == Some(Sin::SessionAlwaysPresent)),
            ledger: Ledger::new(&plan, sin.is_none()),
            next_message: 0,
            next_inbound: 0,
            next_fault: 0,
            healed: false,
            received: BTreeMap::new(),
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
        loop {
            self.step();
            if let Some(violation) = self.ledger.violation.take() {
                return Err(format!("at {:.3} s: {violation}", self.now.as_secs_f64()));
            }
            if self.healed && self.is_drained() {
                break;
            }
            let next = self.next_event();
            if next > self.plan.healed_at + DRAINED_WITHIN {
                return Err(format!("G6: not drained: {}", self.what_remains()));
            }
            steps_at_once = if next > self.now { 0 } else { steps_at_once + 1 };
            if steps_at_once > 10_000 {
                return Err("it spins: time does not go on".into());
            }
            self.now = self.now.max(next);
        }
        self.ledger.ambiguous += self.process.as_ref().map_or(0, |process| process.forwarder.statistics.ambiguous);
        let in_doubt = !self.broker.unheard.is_empty();
        self.ledger.settle(&self.plan, in_doubt);
        if !in_doubt {
            self.settle_inbound();
        }
        self.ledger.violation.take().map_or(Ok(()), Err)
    }

    fn what_remains(&self) -> String {
        let process = self.process.as_ref();
        let held = process.map_or(0, |process| process.forwarder.in_flight());
        let connected = process.is_some_and(|process| process.forwarder.is_connected());
        format!("{:?}, {held} held, connected: {connected}", self.cache.usage(BridgeId(1)))
    }

    fn is_drained(&self) -> bool {
        let Some(process) = &self.process else { return false };
        self.next_message == self.plan.messages.len()
            && process.jobs.is_empty()
            && self.cache.usage(process.bridge).messages == 0
            && process.forwarder.in_flight() == 0
            && process.forwarder.is_connected()
            && process.ring.volatile() == 0
            && process.delivering.is_empty()
            && self.broker.is_drained()
    }

    fn settle_inbound(&mut self) {
        let strict = self.plan.keeps_the_session() && !self.plan.kills();
        for number in self.broker.promised.clone() {
            let times = self.received.get(&number).copied().unwrap_or_default();
            let qos = self.plan.inbound[number].1;
            if times == 0 {
                self.ledger.violate(format!("lost: {number} from the remote"));
            }
            if times > 1 && qos == QoS::ExactlyOnce && strict {
                self.ledger.violate(format!("{number} from the remote, of QoS 2, came {times} times"));
            }
        }
    }

    fn next_event(&self) -> Time {
        let mut events: Vec<Option<Time>> = vec![
            self.plan.messages.get(self.next_message).map(|spec| spec.at),
            self.plan.inbound.get(self.next_inbound).map(|(at, _)| *at),
            self.plan.faults.get(self.next_fault).map(|(at, _)| *at),
            (!self.healed).then_some(self.plan.healed_at),
            self.restart_at,
            self.broker.due(),
        ];
        for link in &self.links {
            events.push(link.up.due().map(|at| at.max(self.stalled[0])));
            events.push(link.down.due().map(|at| at.max(self.stalled[1])));
        }
        if let Some(process) = &self.process {
            events.push(process.forwarder.deadline());
            events.push(process.connecting);
            events.push(process.jobs.front().map(|(at, _)| (*at).max(self.disk_until)));
            events.push(process.asked.map(|(at, ..)| at));
            events.push(process.page.as_ref().map(|(at, ..)| *at));
            events.push(process.delivering.front().map(|(at, _)| *at));
        }
        events.into_iter().flatten().min().unwrap_or(Time::MAX)
    }

    fn step(&mut self) {
        if !self.healed && self.now >= self.plan.healed_at {
            self.heal();
        }
        while let Some((at, fault)) = self.plan.faults.get(self.next_fault).copied() {
            if at > self.now {
                break;
            }
            self.next_fault += 1;
            if !self.healed {
                self.say(|| format!("{fault:?}"));
                self.fail(fault);
            }
        }
        if self.restart_at.is_some_and(|at| at <= self.now) {
            self.restart_at = None;
            self.say(|| "process starts".into());
            self.process = Some(Process::start(&self.plan, &mut self.cache, self.now));
        }
        while self.plan.inbound.get(self.next_inbound).is_some_and(|(at, _)| *at <= self.now) {
            self.broker.publish(self.next_inbound, self.plan.inbound[self.next_inbound].1);
            self.next_inbound += 1;
        }
        self.publish();
        self.commit();
        self.read_pages();
        self.move_bytes();
        self.drive();
        self.broker_speaks();
    }

    fn heal(&mut self) {
        self.say(|| "everything is healed".into());
        self.healed = true;
        self.stalled = [self.now; 2];
        (self.refused_until, self.disk_until, self.broker.mute_until) = (self.now, self.now, self.now);
        self.broker.misbehaviour = Misbehaviour::default();
        self.broker.maximum_qos = QoS::ExactlyOnce;
        if self.process.is_none() {
            self.restart_at = Some(self.now);
        }
    }

    fn fail(&mut self, fault: Fault) {
        match fault {
            Fault::Stall { up, down, lasting } => {
                for (stalled, this) in self.stalled.iter_mut().zip([up, down]) {
                    if this {
                        *stalled = (*stalled).max(self.now + lasting);
                    }
                }
            }
            Fault::Reset => {
                let at = self.now;
                for link in &mut self.links {
                    for pipe in [&mut link.up, &mut link.down] {
                        pipe.lose();
                        pipe.push(Chunk::Reset, at);
                    }
                }
            }
            Fault::Close => self.broker.close_all(),
            Fault::LoseSession => self.broker.lose_session(),
            Fault::Refuse { lasting } => self.refused_until = self.now + lasting,
            Fault::Mute { lasting } => self.broker.mute_until = self.now + lasting,
            Fault::Kill { away } => self.kill(away),
            Fault::DiskStall { lasting } => self.disk_until = self.now + lasting,
            Fault::ReceiveMaximum(number) => self.broker.receive_maximum = number,
            Fault::MaximumPacketSize(bytes) => self.broker.maximum_packet_size = Some(bytes),
            Fault::MaximumQoS(qos) if self.broker.version == crate::bridge::wire::Version::V5 => {
                self.broker.maximum_qos = qos;
                self.broker.close_all();
            }
            Fault::MaximumQoS(_) => {}
        }
    }

    /// Any number of the commits that are under way is made, and nobody hears of it.
    fn kill(&mut self, away: Duration) {
        let Some(mut process) = self.process.take() else { return };
        self.ledger.ambiguous += process.forwarder.statistics.ambiguous;
        let made = self.random.usize(0..=process.jobs.len());
        self.say(|| format!("{made} of {} commits are still made", process.jobs.len()));
        for (_, job) in process.jobs.drain(..made) {
            self.apply(&job, process.bridge);
        }
        if let Some(connection) = process.connection {
            let link = &mut self.links[connection.link];
            link.client_open = false;
            link.down.lose();
            link.up.push(Chunk::Reset, self.now);
        }
        self.restart_at = Some(self.now + away);
    }

    fn broker_speaks(&mut self) {
        for (link, bytes) in self.broker.poll(self.now) {
            let at = self.now + millis(self.plan.latency);
            self.links[link].down.push(Chunk::Bytes(bytes), at);
        }
        for link in std::mem::take(&mut self.broker.closed) {
            let at = self.now + millis(self.plan.latency);
            self.links[link].server_open = false;
            self.links[link].up.lose();
            self.links[link].down.push(Chunk::Fin, at);
        }
    }

    fn move_bytes(&mut self) {
        for index in 0..self.links.len() {
            while self.stalled[0] <= self.now
                && let Some(chunk) = self.links[index].up.take(self.now)
            {
                if !self.links[index].server_open {
                    continue;
                }
                match chunk {
                    Chunk::Bytes(bytes) => {
                        self.broker.receive(index, &bytes, &self.plan.messages, &mut self.ledger, self.now);
                        self.broker_speaks();
                    }
                    Chunk::Fin | Chunk::Reset => {
                        self.links[index].server_open = false;
                        self.broker.forget(index);
                    }
                }
            }
            while self.stalled[1] <= self.now
                && let Some(chunk) = self.links[index].down.take(self.now)
            {
                if self.links[index].client_open {
                    self.hear(index, chunk);
                }
            }
        }
    }
}
