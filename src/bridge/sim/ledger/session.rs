//! Which of a remote's sessions the bridge takes for its own.
//!
//! A remote that has lost its session says so once, with Session Present 0, and has another from then on. Where nobody
//! hears that, or whoever has heard it is killed before it is committed, Session Present 1 comes next, of a session that
//! nobody knows anything of: no client can tell. Exactly what follows from that is excused here, and nothing else.
use std::collections::{BTreeSet, VecDeque};

use crate::bridge::message::QoS;
use crate::bridge::wire::Packet;

#[derive(Debug, Default)]
pub(super) struct Session {
    /// What this process takes for its own, and what one that starts would.
    believed: u64,
    committed: u64,
    /// Sessions that are known to be new, and whose commits are asked for.
    announced: VecDeque<u64>,
    /// Packet Identifiers of inbound QoS 2 that this process has open, and those that are committed.
    open: BTreeSet<u16>,
    committed_open: BTreeSet<u16>,
    /// Those of them that are of another session.
    stale: BTreeSet<u16>,
    /// Messages of the remote that are taken for repetitions.
    pub(super) excused: BTreeSet<usize>,
}

impl Session {
    /// CONNACK is heard, of this session; `said`: that it is new was said to somebody. Whether one is taken for another.
    pub(super) fn connack(&mut self, present: bool, session: u64, said: bool) -> bool {
        let mistaken = present && session != self.believed && said;
        if !present {
            self.open.clear();
            self.stale.clear();
            self.announced.push_back(session);
        } else if mistaken {
            self.stale = self.open.clone();
            self.committed = session;
            self.announced.clear();
        }
        self.believed = session;
        mistaken
    }

    pub(super) fn heard(&mut self, packet: &Packet) {
        let Packet::Publish(publish) = packet else { return };
        if publish.qos != QoS::ExactlyOnce {
            return;
        }
        self.open.insert(publish.packet_id);
        if self.stale.contains(&publish.packet_id) {
            self.excused.insert(super::account::id(&publish.message.payload));
        }
    }

    pub(super) fn said(&mut self, packet: &Packet) {
        match packet {
            Packet::Pubcomp(ack) => {
                self.open.remove(&ack.packet_id);
            }
            Packet::Pubrec(ack) if ack.reason.is_failure() => {
                self.open.remove(&ack.packet_id);
            }
            _ => {}
        }
    }

    pub(super) fn with_a_fresh_cache(&mut self) -> Self {
        Self { excused: std::mem::take(&mut self.excused), ..Self::default() }
    }

    pub(super) fn stored(&mut self, packet_id: u16) {
        self.committed_open.insert(packet_id);
    }

    pub(super) fn forgotten(&mut self, packet_id: u16) {
        self.committed_open.remove(&packet_id);
        self.stale.remove(&packet_id);
    }

    pub(super) fn all_forgotten(&mut self) {
        self.committed_open.clear();
        self.committed = self.announced.pop_front().unwrap_or(self.committed);
    }

    /// What was not committed is not known any more.
    pub(super) fn restarted(&mut self) {
        self.believed = self.committed;
        self.open = self.committed_open.clone();
        self.announced.clear();
    }
}
