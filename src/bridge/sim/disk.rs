//! What the cache stands on: keeps what is committed, and, in a twin's world, forgets what was not synced.
use std::sync::Arc;

use super::world::Sin;
use crate::bridge::cache::memory::Memory;
use crate::bridge::cache::{Applied, Cache, CacheError, Page, Usage};
use crate::bridge::core::forwarder::Restored;
use crate::bridge::core::retained::Entry;
use crate::bridge::delivery::{
    BridgeId, DropReason, Held, KeptWill, Kind, Outcome, Progress, Seq, Session, Store, Time, Waiting, Write,
};
use crate::bridge::message::Message;

/// Commits that a twin makes before it syncs them.
const UNSYNCED: usize = 20;

#[derive(Debug, Clone)]
pub(super) struct Disk {
    pub(super) memory: Memory,
    sin: Option<Sin>,
    /// As it was synced last, and how many commits ago: of a twin that does not sync each.
    synced: Option<(Box<Memory>, usize)>,
    /// What was committed, for the ledger.
    log: Vec<(Write, Applied)>,
}

impl Disk {
    pub(super) fn new(sin: Option<Sin>) -> Self {
        let synced = (sin == Some(Sin::CommitsAreNotSynced)).then(|| (Box::default(), 0));
        Self { memory: Memory::default(), sin, synced, log: Vec::new() }
    }

    /// What has been committed since this was asked last.
    pub(super) fn committed(&mut self) -> Vec<(Write, Applied)> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn lose_power(&mut self) {
        if let Some((synced, since)) = &mut self.synced {
            self.memory = Memory::clone(synced);
            *since = 0;
        }
    }

    fn sync(&mut self) {
        if let Some((synced, since)) = &mut self.synced {
            *since += 1;
            if *since > UNSYNCED {
                **synced = self.memory.clone();
                *since = 0;
            }
        }
    }

    /// What becomes of a write on its way; `None`: it is lost.
    fn sinned(&mut self, write: &Write) -> Option<Write> {
        match (self.sin, write) {
            (Some(Sin::SentIsNotCommitted), Write::Progress { step: Progress::Sent { .. }, .. })
            | (Some(Sin::ReleasedIsNotCommitted), Write::Progress { step: Progress::Released { .. }, .. }) => None,
            (Some(Sin::ForgetsReceivedIds), Write::Store(store)) => {
                Some(Write::Store(Box::new(Store { received_id: None, ..Store::clone(store) })))
            }
            (
                Some(Sin::EvictsTheFirst | Sin::KeepsWhatItEvicts | Sin::EvictsTwo),
                Write::Progress { bridge, step, .. },
            ) if *step == Progress::Removed(Outcome::Dropped(DropReason::Evicted)) => {
                let first = self.memory.first(*bridge);
                match (self.sin, first) {
                    (Some(Sin::EvictsTheFirst), Some(seq)) => {
                        Some(Write::Progress { bridge: *bridge, seq, step: *step })
                    }
                    (Some(Sin::EvictsTwo), Some(seq)) => {
                        let removed = Write::Progress { bridge: *bridge, seq, step: *step };
                        self.memory.apply(&[removed]).unwrap();
                        Some(write.clone())
                    }
                    (Some(Sin::KeepsWhatItEvicts), _) => None,
                    _ => Some(write.clone()),
                }
            }
            _ => Some(write.clone()),
        }
    }
}

impl Cache for Disk {
    fn bridge(&mut self, name: &str) -> Result<(BridgeId, Restored), CacheError> {
        self.memory.bridge(name)
    }
    fn apply_each(&mut self, writes: &[&Write]) -> Result<Vec<Applied>, CacheError> {
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            let kept = self.sinned(write);
            let applied = match &kept {
                Some(kept) => self.memory.apply_each(&[kept])?[0],
                None => Applied::Done,
            };
            outcomes.push(applied);
            self.log.push((kept.unwrap_or_else(|| Write::clone(write)), applied));
        }
        self.sync();
        Ok(outcomes)
    }
    fn page(&mut self, of: BridgeId, after: Seq, messages: usize, bytes: usize) -> Result<Page, CacheError> {
        self.memory.page(of, after, messages, bytes)
    }
    fn waiting(&mut self, of: BridgeId, kind: Kind, after: Seq, limit: usize) -> Result<Vec<Waiting>, CacheError> {
        self.memory.waiting(of, kind, after, limit)
    }
    fn oldest(&mut self, of: BridgeId) -> Result<Option<Time>, CacheError> {
        self.memory.oldest(of)
    }
    fn usage(&self, bridge: BridgeId) -> Usage {
        self.memory.usage(bridge)
    }
    fn session(&mut self, client_id: &str) -> Result<Option<Session>, CacheError> {
        if self.sin == Some(Sin::ForgetsSessions) {
            return Ok(None);
        }
        self.memory.session(client_id)
    }
    fn sessions(&mut self) -> Result<Vec<Arc<str>>, CacheError> {
        self.memory.sessions()
    }
    fn held(&mut self, queue: BridgeId) -> Result<Vec<Held>, CacheError> {
        self.memory.held(queue)
    }
    fn ended(&mut self) -> Result<Option<BridgeId>, CacheError> {
        self.memory.ended()
    }
    fn retained_topics(&mut self) -> Result<Vec<(Arc<str>, Entry)>, CacheError> {
        self.memory.retained_topics()
    }
    fn retained(&mut self, topic: &str) -> Result<Option<(Seq, Arc<Message>, Time)>, CacheError> {
        self.memory.retained(topic)
    }
    fn wills(&mut self) -> Result<Vec<KeptWill>, CacheError> {
        self.memory.wills()
    }
    fn latest(&mut self) -> Result<(Seq, Time), CacheError> {
        self.memory.latest()
    }
    fn close(&mut self) -> Result<(), CacheError> {
        Ok(())
    }
}
