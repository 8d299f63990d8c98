//! What must hold, and what has been seen: every guarantee that is asserted is asserted here or in [`account`], which
//! has one of each remote.
pub(super) mod account;
mod session;

use std::collections::BTreeMap;

use super::disk::Disk;
use super::plan::{Plan, RemotePlan};
use crate::bridge::cache::Applied;
use crate::bridge::cache::writer::stepped::Stepped;
use crate::bridge::delivery::{BridgeId, Origin, Seq, Store, Time, Write};
use crate::bridge::message::QoS;
use crate::bridge::wire::{Packet, Version};
use account::{Account, Place, id};

#[derive(Debug, Default, Clone)]
struct Message {
    /// Decided: it has its place in the order of arrival.
    taken: bool,
    /// It was deferred by a process that is gone.
    lost: bool,
    /// Committed: a row of each remote that it goes to, or a drop that is counted. Or all these remotes have it.
    settled: bool,
    /// Acknowledged to its publisher.
    acknowledged: bool,
    /// Its cache was taken away.
    excused: bool,
}

/// PUBLISHes of one local connection that are not acknowledged, in their order.
#[derive(Debug, Default)]
pub(super) struct Expected {
    one: Vec<(u16, usize)>,
    two: Vec<(u16, usize)>,
}

pub(super) struct Ledger {
    messages: Vec<Message>,
    specs: Vec<super::plan::Spec>,
    persistent: Vec<bool>,
    /// Whether what a publisher sends can only be stored in its order. In MQTT 5 it may not hear of a refusal, and come
    /// again with a message that was refused when later ones were not.
    ordered: Vec<bool>,
    pub(super) accounts: Vec<Account>,
    /// The last of each publisher and topic that was taken.
    last_taken: BTreeMap<(usize, usize), usize>,
    /// What is taken and not committed, and its remotes may have it first.
    deferred: BTreeMap<Seq, usize>,
    violation: Option<String>,
}

impl Ledger {
    pub(super) fn new(plan: &Plan, strict: bool) -> Self {
        let refuses = plan.remotes.iter().any(RemotePlan::is_limited);
        Self {
            messages: vec![Message::default(); plan.messages.len()],
            specs: plan.messages.clone(),
            persistent: plan.publishers.iter().map(|publisher| publisher.persistent).collect(),
            ordered: plan.publishers.iter().map(|publisher| publisher.version == Version::V4 || !refuses).collect(),
            accounts: (0..plan.remotes.len()).map(|remote| Account::new(plan, remote, strict)).collect(),
            last_taken: BTreeMap::new(),
            deferred: BTreeMap::new(),
            violation: None,
        }
    }

    pub(super) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// The first that was found.
    pub(super) fn violation(&mut self) -> Option<String> {
        let of_remotes = self.accounts.iter_mut().find_map(|account| account.violation.take());
        self.violation.take().or(of_remotes)
    }

    /// What the writer has committed, deferred, and heard of what it had deferred; returns what it has committed.
    pub(super) fn committed(
        &mut self,
        bridges: &[BridgeId],
        writer: &mut Stepped<Disk>,
        clock: Time,
    ) -> Vec<(Write, Applied)> {
        self.accounts.iter_mut().for_each(|account| account.clock = clock);
        for (bridge, seq, outcome) in writer.absorbed() {
            self.of(bridges, bridge, |account| account.absorbed(seq, outcome));
        }
        let log = writer.cache().committed();
        let known = |store: &&Store| !self.deferred.contains_key(&store.seq);
        let deferred = writer.deferred().filter(known).map(|store| (store, Place::Deferred));
        let stored = log.iter().filter_map(|(write, applied)| match write {
            Write::Store(store) if *applied == Applied::Done => Some((&**store, Place::Row)),
            _ => None,
        });
        // In the order in which they were decided: of two that came at once the later may be committed first, where it
        // goes to other remotes, or is of QoS 0 and written nowhere.
        let mut taken: Vec<(&Store, Place)> = stored.chain(deferred).collect();
        taken.sort_by_key(|(store, _)| store.seq);
        for (store, place) in taken {
            if store.publisher.is_some() {
                self.taken(bridges, store, place);
            }
        }
        for (write, _) in &log {
            match write {
                Write::Store(store) => {
                    if let Some((Origin::Remote(bridge), packet_id)) = store.received_id {
                        self.of(bridges, bridge, |account| account.session.stored(packet_id));
                    }
                }
                Write::Progress { bridge, .. }
                | Write::Count { bridge, .. }
                | Write::Forget { origin: Origin::Remote(bridge), .. }
                | Write::ForgetAll { origin: Origin::Remote(bridge) } => {
                    self.of(bridges, *bridge, |account| account.committed(write));
                }
                _ => {}
            }
        }
        self.deferred = writer.deferred().map(|store| (store.seq, id(&store.message.payload))).collect();
        log
    }

    fn of(&mut self, bridges: &[BridgeId], bridge: BridgeId, what: impl FnOnce(&mut Account)) {
        if let Some(remote) = bridges.iter().position(|known| *known == bridge) {
            what(&mut self.accounts[remote]);
        }
    }

    fn taken(&mut self, bridges: &[BridgeId], store: &Store, place: Place) {
        let id = id(&store.message.payload);
        let spec = self.specs[id].clone();
        let message = &mut self.messages[id];
        message.settled |= place == Place::Row;
        if self.deferred.remove(&store.seq).is_some() {
            return self.accounts.iter_mut().for_each(|account| account.became_row(store.seq));
        }
        let again = std::mem::replace(&mut message.taken, true);
        let was_lost = std::mem::take(&mut message.lost);
        if again && spec.qos == QoS::ExactlyOnce && self.persistent[spec.publisher] && !message.excused {
            self.violate(format!("G5: message {id}, which its publisher sent again, is stored twice"));
        }
        if !again {
            let last = self.last_taken.insert((spec.publisher, spec.topic), id);
            if last > Some(id) && self.ordered[spec.publisher] {
                self.violate(format!("G3: message {id} of publisher {} is stored after {last:?}", spec.publisher));
            }
        }
        let ordered = self.ordered[spec.publisher];
        for (account, bridge) in self.accounts.iter_mut().zip(bridges) {
            let is_there = store.deliveries.iter().any(|delivery| delivery.bridge == *bridge);
            if is_there && was_lost && ordered {
                account.comes_again(id);
            }
            account.stored(id, store.seq, if is_there { place } else { Place::Memory }, store.received_at);
        }
    }

    /// A publisher's PUBLISH is read.
    pub(super) fn published(&mut self, expected: &mut Expected, packet: &Packet) {
        let Packet::Publish(publish) = packet else { return };
        let entry = (publish.packet_id, id(&publish.message.payload));
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => expected.one.push(entry),
            QoS::ExactlyOnce => expected.two.push(entry),
        }
    }

    /// An answer leaves for a publisher: G1.
    pub(super) fn answered(&mut self, expected: &mut Expected, packet: &Packet) {
        let line_of_one = matches!(packet, Packet::Puback(_));
        let (line, ack) = match packet {
            Packet::Puback(ack) => (&mut expected.one, ack),
            Packet::Pubrec(ack) => (&mut expected.two, ack),
            _ => return,
        };
        if line.first().is_none_or(|(first, _)| *first != ack.packet_id) {
            let what = format!("G1: {} {} out of order: {line:?} are expected", packet.name(), ack.packet_id);
            return self.violate(what);
        }
        let (_, id) = line.remove(0);
        if ack.reason.is_failure() {
            return;
        }
        // With `durability: deferred`; QoS 2 is committed in any case.
        let at_its_remotes = || line_of_one && self.accounts.iter().all(|account| account.is_done(id));
        if !self.messages[id].settled && !at_its_remotes() {
            self.violate(format!("G1: message {id} is acknowledged before its commit, and its remotes have it not"));
        }
        (self.messages[id].acknowledged, self.messages[id].settled) = (true, true);
    }

    /// A process starts: what was neither committed nor acknowledged is as if it had never come.
    pub(super) fn restarted(&mut self) {
        for id in std::mem::take(&mut self.deferred).into_values() {
            self.messages[id].lost = !self.messages[id].settled;
        }
        self.accounts.iter_mut().for_each(Account::restarted);
    }

    /// The cache is gone, with what was in it, and what its publishers were promised is promised no more.
    pub(super) fn excuse_all(&mut self) {
        for message in &mut self.messages {
            message.excused |= message.settled;
        }
        self.accounts.iter_mut().for_each(Account::forget);
    }

    /// Everything is quiet: what was promised must be there.
    pub(super) fn settle(&mut self, plan: &Plan, keeps_the_session: &[bool]) {
        let judged: Vec<Option<bool>> =
            self.messages.iter().map(|message| (!message.excused).then_some(message.acknowledged)).collect();
        for (remote, account) in self.accounts.iter_mut().enumerate() {
            account.settle(plan, &judged, keeps_the_session[remote]);
        }
        let fresh = plan.loses_caches();
        for (id, message) in self.messages.clone().iter().enumerate() {
            // Refused to a publisher of MQTT 5, or of QoS 0 and nobody there.
            if message.acknowledged && !message.settled && !fresh {
                self.violate(format!("lost: message {id} was acknowledged and never stored"));
            }
        }
    }
}
