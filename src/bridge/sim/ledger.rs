//! What must hold, and what has been seen: every guarantee that is asserted is asserted here or in [`account`], which
//! has one of each remote.
pub(super) mod account;

use std::collections::BTreeMap;

use super::plan::{Plan, RemotePlan};
use crate::bridge::cache::Applied;
use crate::bridge::delivery::{BridgeId, Origin, Store, Write};
use crate::bridge::message::QoS;
use crate::bridge::wire::{Packet, Version};
use account::{Account, id};

#[derive(Debug, Default, Clone)]
struct Message {
    /// Decided and committed: a row of each remote that it goes to, or a drop that is counted.
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
    /// The last of each publisher and topic that was stored.
    last_stored: BTreeMap<(usize, usize), usize>,
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
            last_stored: BTreeMap::new(),
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

    /// One transaction, as it was committed.
    pub(super) fn committed(&mut self, bridges: &[BridgeId], log: &[(Write, Applied)]) {
        for (write, applied) in log {
            match write {
                Write::Store(store) if matches!(store.received_id, Some((Origin::Remote(_), _))) => {}
                Write::Store(store) if *applied == Applied::Done => self.stored(bridges, store),
                Write::Progress { bridge, .. } | Write::Count { bridge, .. } => {
                    if let Some(remote) = bridges.iter().position(|known| known == bridge) {
                        self.accounts[remote].committed(write);
                    }
                }
                _ => {}
            }
        }
    }

    fn stored(&mut self, bridges: &[BridgeId], store: &Store) {
        let id = id(&store.message.payload);
        let spec = self.specs[id].clone();
        let message = &mut self.messages[id];
        let again = std::mem::replace(&mut message.settled, true);
        if again && spec.qos == QoS::ExactlyOnce && self.persistent[spec.publisher] && !message.excused {
            self.violate(format!("G5: message {id}, which its publisher sent again, is stored twice"));
        }
        if !again {
            let last = self.last_stored.insert((spec.publisher, spec.topic), id);
            if last > Some(id) && self.ordered[spec.publisher] {
                self.violate(format!("G3: message {id} of publisher {} is stored after {last:?}", spec.publisher));
            }
        }
        for (account, bridge) in self.accounts.iter_mut().zip(bridges) {
            let row = store.deliveries.iter().any(|delivery| delivery.bridge == *bridge);
            account.stored(id, store.seq, row, store.received_at);
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
        if !self.messages[id].settled {
            self.violate(format!("G1: message {id} is acknowledged before its commit"));
        }
        self.messages[id].acknowledged = true;
    }

    /// The cache is gone, with what was in it, and what its publishers were promised is promised no more.
    pub(super) fn excuse_all(&mut self) {
        for message in &mut self.messages {
            message.excused |= message.settled;
        }
        self.accounts.iter_mut().for_each(Account::forget);
    }

    /// Everything is quiet: what was promised must be there.
    pub(super) fn settle(&mut self, plan: &Plan, keeps_the_session: &[bool], in_doubt: &[bool]) {
        let judged: Vec<Option<bool>> =
            self.messages.iter().map(|message| (!message.excused).then_some(message.acknowledged)).collect();
        for (remote, account) in self.accounts.iter_mut().enumerate() {
            account.settle(plan, &judged, keeps_the_session[remote], in_doubt[remote]);
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
