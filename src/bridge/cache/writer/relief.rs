//! A disk that its own backlog has filled: nothing but the backlog's leaving will make room on it, so what makes room is
//! committed although what takes room cannot be.
use std::collections::HashSet;

use tracing::debug;

use super::{Part, Pending, Request, Writer};
use crate::bridge::cache::Cache;
use crate::bridge::delivery::{Seq, Write};

/// Steps of giving space back between two attempts: few enough to be no pause.
const STEPS: usize = 16;

impl<C: Cache + 'static> Writer<C> {
    /// Commits and answers those who store nothing, so that a queue drains while publishers wait or are refused; and
    /// gives the space back.
    pub(super) fn relieve(&mut self, parts: &mut Vec<Part>) {
        let due: HashSet<Seq> = self.deferral.due().filter_map(stored).collect();
        let (free, held) =
            std::mem::take(parts).into_iter().fold((Vec::new(), Vec::new()), |(mut free, mut held), part| {
                // Answers are told apart by their order alone.
                let waits = held.iter().any(|earlier: &Part| earlier.answer.same_channel(&part.answer));
                if !waits
                    && part.refused.iter().all(Option::is_none)
                    && part.writes.iter().all(|(write, _)| stands_alone(write, &due))
                {
                    free.push(part);
                } else {
                    held.push(part);
                }
                (free, held)
            });
        *parts = held;
        let writes: Vec<&Write> = free.iter().flat_map(|part| &part.writes).map(|(write, _)| write).collect();
        match self.cache.apply_each(&writes) {
            Ok(applied) => self.settle(free, applied, &Pending::default()),
            Err(error) => {
                debug!("making room: {error}");
                // They come behind others of their own connections at most, and none of those is among the held.
                parts.splice(..0, free);
                return;
            }
        }
        // A page would miss what is not a row yet.
        if self.deferral.is_empty() {
            for request in std::mem::take(&mut self.postponed) {
                if let Request::Page { bridge, after, messages, bytes } = request {
                    self.page(bridge, after, messages, bytes);
                }
            }
        }
        for _ in 0..STEPS {
            if !self.shrink() {
                return;
            }
        }
    }
}

fn stored(write: &Write) -> Option<Seq> {
    match write {
        Write::Store(store) => Some(store.seq),
        _ => None,
    }
}

/// Whether a write means the same before what is still to be stored.
fn stands_alone(write: &Write, due: &HashSet<Seq>) -> bool {
    match write {
        Write::Store(_) => false,
        Write::Progress { seq, .. } => !due.contains(seq),
        _ => true,
    }
}
