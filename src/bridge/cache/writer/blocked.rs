//! Publishers that wait for room (`when_full: block`).
//!
//! A store that has to wait stays here with everything that its connection asks for after it, so the order within the
//! connection holds; nobody else waits. What is here is bounded: a connection that is not answered is not read further.
use std::collections::VecDeque;

use super::{Answer, Part, Pending, Writer};
use crate::bridge::cache::Cache;
use crate::bridge::delivery::Write;
use crate::bridge::wire::ReasonCode;

/// What one connection waits for.
struct Line {
    answer: Answer,
    requests: VecDeque<Vec<Write>>,
}

/// All that wait, in the order in which they get a turn.
#[derive(Default)]
pub(super) struct Blocked {
    lines: VecDeque<Line>,
    /// As many as have been counted.
    counted: usize,
}

impl Blocked {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What each connection waits to have stored.
    #[cfg(test)]
    pub(super) fn stores(&self) -> impl Iterator<Item = &crate::bridge::delivery::Store> {
        self.lines.iter().filter_map(|line| match line.requests.front()?.first()? {
            Write::Store(store) => Some(&**store),
            _ => None,
        })
    }

    fn line(&mut self, answer: &Answer) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.answer.same_channel(answer))
    }
}

impl<C: Cache + 'static> Writer<C> {
    /// Takes in a request, or as much of it as there is room for; the rest waits.
    pub(super) fn take_in(
        &mut self,
        writes: Vec<Write>,
        answer: Answer,
        may_wait: bool,
        parts: &mut Vec<Part>,
        pending: &mut Pending,
    ) {
        if !self.blocked.is_empty()
            && let Some(line) = self.blocked.line(&answer)
        {
            line.requests.push_back(writes);
            return;
        }
        let (part, rest) = self.part(writes, answer, may_wait, pending);
        if !rest.is_empty() {
            let line = Line { answer: part.answer.clone(), requests: [rest].into() };
            self.blocked.lines.push_back(line);
            if part.writes.is_empty() {
                return;
            }
        }
        parts.push(part);
    }

    /// Takes in what there is room for now. Whoever got some goes behind those who got none.
    pub(super) fn unblock(&mut self, parts: &mut Vec<Part>, pending: &mut Pending) {
        let (mut without, mut with) = (VecDeque::new(), VecDeque::new());
        for mut line in std::mem::take(&mut self.blocked.lines) {
            if line.answer.is_closed() {
                parts.push(self.given_up(line));
                continue;
            }
            let before = parts.len();
            while let Some(writes) = line.requests.pop_front() {
                let (part, rest) = self.part(writes, line.answer.clone(), true, pending);
                if !part.writes.is_empty() {
                    parts.push(part);
                }
                if !rest.is_empty() {
                    line.requests.push_front(rest);
                    break;
                }
            }
            match line.requests.is_empty() {
                true => {}
                false if parts.len() > before => with.push_back(line),
                false => without.push_back(line),
            }
        }
        without.append(&mut with);
        self.blocked.lines = without;
    }

    pub(super) fn count_blocked(&mut self) {
        let waiting = self.blocked.lines.len();
        if self.blocked.counted != waiting {
            self.blocked.counted = waiting;
            self.counters.lock().blocked = waiting as u64;
        }
    }

    /// A connection ends: it waits no longer. What it was not acknowledged for its publisher keeps.
    pub(super) fn release(&mut self, answer: &Answer) -> Option<Part> {
        let position = self.blocked.lines.iter().position(|line| line.answer.same_channel(answer))?;
        let line = self.blocked.lines.remove(position)?;
        Some(self.given_up(line))
    }

    /// Stores are refused; whatever else was asked for is done.
    fn given_up(&mut self, line: Line) -> Part {
        let writes: Vec<Write> = line.requests.into_iter().flatten().collect();
        writes.iter().for_each(|write| self.note(write));
        let refused = |write: &Write| matches!(write, Write::Store(_)).then_some(ReasonCode::QUOTA_EXCEEDED);
        Part {
            refused: writes.iter().map(refused).collect(),
            writes: writes.into_iter().map(|write| (write, None)).collect(),
            answer: line.answer,
        }
    }
}
