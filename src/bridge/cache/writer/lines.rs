//! The answers of connections some of whose messages are deferred: each gets its own in the order in which it asked, so
//! whatever was asked for after such a message waits for it ([MQTT-4.6.0-2]).
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Answer, Written};
use crate::bridge::core::deferral;
use crate::bridge::delivery::Seq;

#[derive(Debug, PartialEq)]
enum Slot {
    Given(Written),
    Deferred(Seq),
}

#[derive(Debug)]
struct Line {
    answer: Answer,
    slots: VecDeque<Slot>,
}

/// The answers to one request as they come about.
pub(super) struct Reply {
    answer: Answer,
    line: Option<deferral::Line>,
    written: Vec<Written>,
}

/// All connections that wait for an answer to something that is deferred.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: BTreeMap<deferral::Line, Line>,
    /// Those that may have something to be sent.
    ready: BTreeSet<deferral::Line>,
    next: deferral::Line,
}

impl Lines {
    /// The line of a connection, if it has one.
    pub(super) fn of(&self, answer: &Answer) -> Option<deferral::Line> {
        self.lines.iter().find(|(_, line)| line.answer.same_channel(answer)).map(|(number, _)| *number)
    }

    /// Begins the answers to a request.
    pub(super) fn reply(&self, answer: Answer, writes: usize) -> Reply {
        Reply { line: self.of(&answer), answer, written: Vec::with_capacity(writes) }
    }

    /// The next answer is known.
    pub(super) fn push(&mut self, reply: &mut Reply, written: Written) {
        match reply.line.and_then(|line| self.lines.get_mut(&line)) {
            Some(line) => line.slots.push_back(Slot::Given(written)),
            None => reply.written.push(written),
        }
    }

    /// The next answer is not known yet; the connection's line.
    pub(super) fn defer(&mut self, reply: &mut Reply, seq: Seq) -> deferral::Line {
        let number = reply.line.unwrap_or_else(|| {
            reply.answer.send(std::mem::take(&mut reply.written));
            let number = self.next;
            self.next += 1;
            self.lines.insert(number, Line { answer: reply.answer.clone(), slots: VecDeque::new() });
            number
        });
        reply.line = Some(number);
        if let Some(line) = self.lines.get_mut(&number) {
            line.slots.push_back(Slot::Deferred(seq));
        }
        number
    }

    /// All answers to a request are known, or stand in the connection's line.
    pub(super) fn send(&mut self, reply: Reply) {
        match reply.line {
            Some(line) => {
                self.ready.insert(line);
            }
            None => reply.answer.send(reply.written),
        }
    }

    /// What was deferred has its answer.
    pub(super) fn give(&mut self, number: deferral::Line, seq: Seq, written: Written) {
        let Some(line) = self.lines.get_mut(&number) else { return };
        if let Some(slot) = line.slots.iter_mut().find(|slot| **slot == Slot::Deferred(seq)) {
            *slot = Slot::Given(written);
            self.ready.insert(number);
        }
    }

    /// Sends what stands before the first answer of each line that is not known.
    pub(super) fn flush(&mut self) {
        while let Some(number) = self.ready.pop_first() {
            let Some(line) = self.lines.get_mut(&number) else { continue };
            let known = line.slots.iter().take_while(|slot| matches!(slot, Slot::Given(_))).count();
            let written = line.slots.drain(..known).filter_map(|slot| match slot {
                Slot::Given(written) => Some(written),
                Slot::Deferred(_) => None,
            });
            let written: Vec<Written> = written.collect();
            if !written.is_empty() {
                line.answer.send(written);
            }
            if line.slots.is_empty() {
                self.lines.remove(&number);
            }
        }
    }
}
