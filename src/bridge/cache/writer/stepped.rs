//! The writer a step at a time and without its thread, for the simulation: that says what a batch is, how long its commit
//! takes, and what happens meanwhile.
use std::sync::Arc;

use tokio::sync::oneshot;

use super::*;
use crate::bridge::core::admission::Place;
use crate::bridge::delivery::{Outcome, Progress, Store, Time};

/// What waits for answers.
#[derive(Debug)]
pub struct Line {
    answer: Answer,
    answers: mpsc::UnboundedReceiver<Vec<Written>>,
}

impl Default for Line {
    fn default() -> Self {
        let (answer, answers) = Answer::channel();
        Self { answer, answers }
    }
}

impl Line {
    pub fn write(&self, writes: Vec<Write>, may_wait: bool) -> Request {
        Request::Write { writes, answer: self.answer.clone(), may_wait }
    }

    pub fn end_with_a_refusal(&mut self) {
        self.answer.end_with_a_refusal();
    }

    pub fn release(&self) -> Request {
        Request::Release { answer: self.answer.clone() }
    }

    pub fn answered(&mut self) -> Option<Vec<Written>> {
        self.answers.try_recv().ok()
    }
}

/// A session that is being opened.
#[derive(Debug)]
pub struct Opening(oneshot::Receiver<Result<Seated, ReasonCode>>);

impl Opening {
    pub fn new(client_id: Arc<str>, clean_start: bool, expiry: u32) -> (Request, Self) {
        let (answer, opened) = oneshot::channel();
        (Request::Open { client_id, clean_start, expiry, answer }, Self(opened))
    }

    pub fn opened(&mut self) -> Option<Result<Seated, ReasonCode>> {
        self.0.try_recv().ok()
    }
}

pub struct Stepped<C> {
    writer: Writer<C>,
    /// Decided, and being committed.
    begun: Option<(Vec<Part>, Pending)>,
    /// What remote legs have reported of messages that were not committed.
    absorbed: Vec<(BridgeId, Seq, Outcome)>,
    _requests: mpsc::Sender<Request>,
}

impl<C: Cache + 'static> Stepped<C> {
    /// `commit_after`: with `durability: deferred`.
    pub fn new(
        cache: C,
        outlets: HashMap<BridgeId, Outlet>,
        counters: Shared,
        commit_after: Option<Duration>,
        now: Time,
    ) -> Self {
        let (mut writer, requests) = Writer::new(cache, outlets, counters, Clock::still(now)).unwrap();
        if let Some(after) = commit_after {
            writer = writer.deferring(after);
        }
        Self { writer, begun: None, absorbed: Vec::new(), _requests: requests }
    }

    /// Begins to commit what asks for that, or without requests what is overdue; does whatever else is asked for at once.
    pub fn begin(&mut self, requests: Vec<Request>, now: Time) {
        assert!(self.begun.is_none(), "one commit at a time");
        self.writer.clock = Clock::still(now);
        let is_overdue = requests.is_empty();
        let mut writes = Vec::new();
        for request in requests {
            match request {
                Request::Write { writes: wanted, answer, may_wait } => writes.push((wanted, answer, may_wait)),
                other => {
                    assert!(writes.is_empty(), "it reads what stands before it");
                    self.writer.work(std::iter::once(other));
                }
            }
        }
        if !writes.is_empty() || is_overdue {
            self.note_absorbed(writes.iter().flat_map(|(writes, ..)| writes));
            self.begun = Some(self.writer.prepare(writes));
        }
    }

    /// What the next message is given as its place.
    pub fn next(&self) -> Seq {
        self.writer.next
    }

    pub fn is_busy(&self) -> bool {
        self.begun.is_some()
    }

    /// The commit is made; `looks_around` but for a twin that forgets those who wait for room.
    pub fn finish(&mut self, looks_around: bool, now: Time) {
        self.writer.clock = Clock::still(now);
        if let Some((parts, pending)) = self.begun.take() {
            self.writer.commit(parts, pending);
            self.writer.commit_due();
            if looks_around {
                self.writer.admit_what_waits();
            }
        }
    }

    fn note_absorbed<'a>(&mut self, writes: impl Iterator<Item = &'a Write>) {
        for write in writes {
            let Write::Progress { bridge, seq, step: Progress::Removed(outcome) } = write else { continue };
            let to = |store: &Store| store.deliveries.iter().any(|delivery| delivery.bridge == *bridge);
            if self.writer.deferral.stores().any(|store| store.seq == *seq && to(store)) {
                self.absorbed.push((*bridge, *seq, *outcome));
            }
        }
    }

    /// What remote legs are done with and was not committed, since this was asked last.
    pub fn absorbed(&mut self) -> Vec<(BridgeId, Seq, Outcome)> {
        std::mem::take(&mut self.absorbed)
    }

    /// What waits for its remotes, or for its commit, in order of arrival.
    pub fn deferred(&self) -> impl Iterator<Item = &Store> {
        self.writer.deferral.stores()
    }

    /// What waits for a bridge, in messages and bytes.
    pub fn deferred_for(&self, bridge: BridgeId) -> (u64, u64) {
        self.writer.deferral.used(bridge)
    }

    /// When what waits must be committed, whatever is asked for.
    pub fn deadline(&self) -> Option<Time> {
        self.writer.deferral.deadline()
    }

    /// For twins: says that these are stored, and they are not.
    pub fn answer_too_early(&mut self, seqs: impl IntoIterator<Item = Seq>) {
        for seq in seqs {
            if let Some(line) = self.writer.deferral.take_line(seq) {
                self.writer.lines.give(line, seq, Ok(Applied::Done));
            }
        }
        self.writer.lines.flush();
    }

    /// How many connections wait for room.
    pub fn blocked(&self) -> usize {
        self.writer.blocked.stores().count()
    }

    /// Whether a connection waits although what it waits for would fit.
    pub fn waits_for_nothing(&self) -> bool {
        let nothing = Pending::default();
        let fits = |store: &Store| {
            let size = store.message.size() as u64;
            !store.deliveries.iter().any(|to| self.writer.place(to, size, &nothing).0 == Place::Blocked)
        };
        self.writer.blocked.stores().any(fits)
    }

    pub fn cache(&mut self) -> &mut C {
        &mut self.writer.cache
    }

    pub fn into_cache(self) -> C {
        self.writer.cache
    }
}
