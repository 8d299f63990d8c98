//! What is known of a run as a whole: its names, its faults as they really were, and what casts doubt on it.
use std::time::Duration;

use crate::scenario::counters::Sample;
use crate::scenario::history::Role;
use crate::scenario::log::Tally;
use crate::scenario::plan::{Fault, Side};

/// The run-level facts of a history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What was run; `None` where the history does not say.
    pub run: Option<Run>,
    /// The faults that were done, each with its own moments, in order of the plan.
    pub faults: Vec<Done>,
    /// How often the subject was started: its counters begin anew each time.
    pub subject_starts: u32,
    /// Processes that ended though nobody wanted them to.
    pub ended: Vec<Ended>,
    /// Whether there ever was a receiver with its SUBACK, at the remote and at the bridge.
    pub receivers: [bool; 2],
    /// Receivers that lost their connection before the run was over.
    pub receivers_gone: Vec<Gone>,
    /// How often each load's publisher lost its connection.
    pub publisher_losses: Vec<u32>,
    /// Why the laboratory doubts itself, each reason once.
    pub doubts: Vec<String>,
    /// The first sample of the subject's counters.
    pub first_counters: Option<Sample>,
    /// The last sample of the subject's counters.
    pub last_counters: Option<Sample>,
    /// The highest value of each of its counters.
    pub peaks: Sample,
    /// What it said in its log, and when it had a link.
    pub log: Tally,
    /// Samples against which the counters' identity could be checked.
    pub samples_checked: u64,
    /// Samples that contradict it.
    pub imbalances: u64,
    /// The first of these, with its moment, in words.
    pub first_imbalance: Option<String>,
    /// What arrived and belongs to no load.
    pub unexpected_elsewhere: u64,
    /// The first unexpected arrivals, in words.
    pub unexpected_examples: Vec<String>,
    /// How the wait for the last messages ended; `None`: the history ends before.
    pub settled: Option<Settled>,
    /// The user ended the run.
    pub interrupted: bool,
    /// The moment of the last event.
    pub last: Duration,
}

/// What was run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// The subject's name in the plan.
    pub subject: String,
    /// What the subject says of its version.
    pub version: String,
    /// The environment that was taken.
    pub environment: String,
    /// The remote broker and its version.
    pub remote: String,
    /// What in this environment is not quite what the scenario asks for.
    pub approximated: Vec<String>,
    /// What of the scenario's `bridge:` the subject has no word for.
    pub unexpressed: Vec<String>,
    /// Why that environment, where the scenario left it open.
    pub because: Option<String>,
    /// What exactly was run, by whose it is.
    pub artifacts: std::collections::BTreeMap<String, String>,
}

/// A fault as it was done; `fault.end` is the end of the history where it was never healed.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Index into the plan's faults.
    pub index: usize,
    /// With its real moments.
    pub fault: Fault,
    /// Whether it was healed.
    pub healed: bool,
}

/// A process that ended though nobody wanted it to.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// When.
    pub at: Duration,
    /// Which.
    pub role: Role,
    /// Exit code or signal, in words.
    pub status: String,
}

/// A receiver that lost its connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Gone {
    /// When.
    pub at: Duration,
    /// Where it stood.
    pub side: Side,
    /// Why.
    pub why: String,
}

/// How the wait for the last messages ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settled {
    /// When.
    pub at: Duration,
    /// The settle limit was reached.
    pub timed_out: bool,
}

impl Facts {
    /// The faults that were done, with their real moments.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.iter().map(|done| done.fault.clone()).collect()
    }

    /// When the last fault was healed; `None` where there was none, or where one was never healed.
    pub fn heal(&self) -> Option<Duration> {
        if self.faults.iter().any(|done| !done.healed) {
            return None;
        }
        self.faults.iter().map(|done| done.fault.end).max()
    }

    /// Whether there ever was a receiver on a side.
    pub fn had_receiver(&self, side: Side) -> bool {
        self.receivers[place(side)]
    }

    /// The first receiver on a side that lost its connection.
    pub fn receiver_gone(&self, side: Side) -> Option<&Gone> {
        self.receivers_gone.iter().find(|gone| gone.side == side)
    }
}

pub(super) fn place(side: Side) -> usize {
    match side {
        Side::Remote => 0,
        Side::Bridge => 1,
    }
}
