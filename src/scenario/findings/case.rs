//! What the rules look at, and the questions that several of them ask.
use std::time::Duration;

use crate::scenario::counters;
use crate::scenario::ledger::{Facts, Ledger, Row};
use crate::scenario::log::{Program, Tally};
use crate::scenario::plan::{Fault, FaultKind, Load, Plan, Side, SubjectKind, SubjectPlan, Via};
use crate::scenario::report::model::Totals;

/// One subject's run.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What was to be done.
    pub plan: &'a Plan,
    /// What was seen.
    pub ledger: &'a Ledger,
    /// All loads together.
    pub totals: Totals,
    /// Why the verdict can be no better than inconclusive.
    pub doubts: &'a [String],
}

/// One message that was to go to the remote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) load: u16,
    pub(super) topic: &'a str,
    pub(super) qos: u8,
    pub(super) seq: u64,
    pub(super) sent: Duration,
    pub(super) row: Row,
}

impl Message<'_> {
    /// It was promised and has not arrived.
    pub(super) fn lost(&self) -> bool {
        self.row.copies() == 0 && !self.row.altered() && self.row.acknowledged()
    }
}

/// When a subject noticed that its link was gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    /// It said so.
    At(Duration),
    /// It says such things, and did not while the fault held.
    Never,
    /// It says nothing of its link.
    Unknown,
}

impl<'a> Case<'a> {
    pub(super) fn facts(&self) -> &'a Facts {
        self.ledger.facts()
    }

    pub(super) fn log(&self) -> &'a Tally {
        &self.facts().log
    }

    pub(super) fn subject(&self) -> Option<&'a SubjectPlan> {
        let name = &self.facts().run.as_ref()?.subject;
        self.plan.subjects.iter().find(|subject| subject.name == *name)
    }

    /// NanoMQ, or what behaves like it.
    pub(super) fn is_nanomq(&self) -> bool {
        self.subject().is_some_and(|subject| subject.kind == SubjectKind::Nanomq)
            || self.log().program() == Some(Program::Nanomq)
            || self.facts().peaks.keys().any(|name| name.starts_with("nanomq_"))
    }

    /// What is sent to the remote at QoS 1 and 2 and can be lost, in order of load and sequence.
    pub(super) fn messages(&self) -> impl Iterator<Item = Message<'a>> {
        let ledger = self.ledger;
        let up = |(_, load): &(usize, &Load)| load.via == Via::Bridge && load.qos > 0;
        self.plan.loads.iter().enumerate().filter(up).flat_map(move |(index, load)| {
            ledger.rows(index).filter_map(move |(seq, row)| {
                let (load_index, topic, qos) = (index as u16, load.topic.as_str(), load.qos);
                Some(Message { load: load_index, topic, qos, seq, sent: row.sent()?, row })
            })
        })
    }

    pub(super) fn lost(&self) -> Vec<Message<'a>> {
        self.messages().filter(Message::lost).collect()
    }

    /// The faults by which the link goes without a word.
    pub(super) fn silent(&self) -> impl Iterator<Item = &'a Fault> {
        let silent = |fault: &&Fault| match fault.kind {
            FaultKind::Disconnect | FaultKind::Cut | FaultKind::HalfOpen => true,
            FaultKind::Pause => fault.on == Side::Remote,
            _ => false,
        };
        self.facts().faults.iter().map(|done| &done.fault).filter(silent)
    }

    /// When the subject noticed that the link is gone; the end of the fault is its deadline.
    pub(super) fn noticed(&self, fault: &Fault) -> Noticed {
        let changes = self.log().link_changes();
        let before = changes.iter().rev().find(|(at, _)| *at <= fault.start);
        // It was down already: this fault was nothing to be noticed.
        if before.is_some_and(|(_, up)| !up) {
            return Noticed::Unknown;
        }
        let ended = super::memory_part_lost::ends(self).into_iter().map(|(at, _)| at).find(|at| *at > fault.start);
        match changes.iter().find(|(at, up)| *at > fault.start && *at <= fault.end && !up) {
            // A new process has no link to begin with.
            Some((at, _)) if ended.is_some_and(|ended| ended <= *at) => Noticed::Unknown,
            Some((at, _)) => Noticed::At(*at),
            None if changes.iter().any(|(_, up)| *up) => Noticed::Never,
            None => Noticed::Unknown,
        }
    }

    /// When the link was there again after a moment; `None` where the subject does not say.
    pub(super) fn linked_after(&self, moment: Duration) -> Option<Duration> {
        let changes = self.log().link_changes();
        // mosquitto finds a connection open before it is good for anything: what is lost again at once was none.
        let good = |index: usize| changes.get(index + 1).is_none_or(|(at, _)| *at > changes[index].0 + BLINK);
        (0..changes.len())
            .find(|index| changes[*index].1 && changes[*index].0 >= moment && good(*index))
            .map(|i| changes[i].0)
    }

    /// Messages at QoS 1 and 2 per second that were sent to the remote in a span of time.
    pub(super) fn sent_within(&self, from: Duration, to: Duration) -> usize {
        self.messages().filter(|message| (from..to).contains(&message.sent)).count()
    }

    /// A setting by its name, as the subject itself or the plan has it.
    pub(super) fn setting(&self, key: &str) -> Option<&'a str> {
        let own = || self.subject().and_then(|subject| subject.settings.get(key)).map(String::as_str);
        self.log().setting(key).or_else(own)
    }

    /// The same as a number, without a unit behind it.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        let value = self.setting(key)?.trim_matches('"');
        value.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
    }

    /// How many workers a NanoMQ has: its `-n`.
    pub(super) fn workers(&self) -> Option<u64> {
        let planned = self.subject().and_then(|subject| subject.workers).map(u64::from);
        planned.or_else(|| self.number("parallel"))
    }

    /// The highest value that one of the subject's counters had; over all its labels.
    pub(super) fn peak(&self, counter: &str) -> Option<u64> {
        counters::sum(&self.facts().peaks, counter)
    }

    /// The last value of one of the subject's counters; over all its labels.
    pub(super) fn counter(&self, counter: &str) -> Option<u64> {
        counters::sum(self.facts().last_counters.as_ref()?, counter)
    }

    /// When the last fault was healed, or the process came back.
    pub(super) fn heal(&self) -> Option<Duration> {
        self.facts().heal()
    }
}

const BLINK: Duration = Duration::from_millis(500);
