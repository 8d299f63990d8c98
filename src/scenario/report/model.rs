//! The report as data, exactly as `report.json` has it. Milliseconds and seconds count from the start of the timeline,
//! latencies from the moment a message was intended, recovery from the last heal.
use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::scenario::plan::{FaultKind, Side, Via};

/// What a run has shown, of every subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Its story in one sentence.
    pub about: String,
    /// The environment that was taken.
    pub environment: String,
    /// Why that one, where the scenario left it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What in this environment is not quite what the scenario asks for.
    pub approximated: Vec<String>,
    /// The remote broker and its version.
    pub remote: String,
    /// What every random choice was derived from.
    pub seed: u64,
    /// All subjects' verdicts together.
    pub verdict: Verdict,
    /// The bridges under test, in the order they were tried.
    pub subjects: Vec<SubjectReport>,
}

/// Three values, for a check that could not run is no pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything expected was shown.
    Pass,
    /// Something expected was refuted.
    Fail,
    /// Neither: something could not be tried, or casts doubt on what was seen.
    #[default]
    Inconclusive,
}

/// What a run has shown of one subject.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SubjectReport {
    /// Its name in the plan.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// What exactly was run, by whose it is (`remote`, `subject`, `engine`): names and digests of images, versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, String>,
    /// What of the scenario's `bridge:` it has no word for.
    pub unexpressed: Vec<String>,
    /// Its verdict.
    pub verdict: Verdict,
    /// The verdict's reason in one line that needs no legend.
    pub summary: String,
    /// What was checked, one by one.
    pub checks: Vec<Check>,
    /// Why the verdict can be no better than inconclusive.
    pub doubts: Vec<String>,
    /// All loads together.
    pub totals: Totals,
    /// Each load, in order of the plan.
    pub topics: Vec<TopicReport>,
    /// From the intended moment to the arrival of the first copy.
    pub latency_ms: Latency,
    /// How it went on after the last heal.
    pub recovery_ms: Recovery,
    /// The last sample of its own counters.
    pub counters: BTreeMap<String, f64>,
    /// Explained anomalies.
    pub findings: Vec<Finding>,
    /// What arrived when, and the faults.
    pub timeline: Timeline,
}

impl SubjectReport {
    /// Its version without its name, with which most versions begin.
    pub fn version_alone(&self) -> &str {
        self.version.strip_prefix(&self.name).map_or(&*self.version, str::trim_start)
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What would be right.
    pub expected: String,
    /// What was seen; for an inconclusive one, also why it proves nothing.
    pub observed: String,
}

/// Messages of each class; `received` alone counts copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// What the plan wanted to be published.
    pub intended: u64,
    /// Written to a publisher's socket.
    pub sent: u64,
    /// Acknowledged to their publisher.
    pub acknowledged: u64,
    /// Answered with a failure code: promised to nobody.
    pub refused: u64,
    /// Those of them that arrived all the same.
    #[serde(default)]
    pub refused_and_received: u64,
    /// Whole copies that arrived.
    pub received: u64,
    /// Received at least once, in time.
    pub delivered: u64,
    /// Acknowledged to the publisher (QoS 0: sent) and not received.
    pub lost: u64,
    /// Not acknowledged and not received: promised to nobody.
    pub unacknowledged: u64,
    /// Received although never acknowledged.
    pub recovered: u64,
    /// Received more than once.
    pub duplicated: u64,
    /// Received below the highest sequence already received of the same load.
    pub out_of_order: u64,
    /// Arrivals that were never sent, or were altered on the way.
    pub unexpected: u64,
    /// Received only after the settle limit.
    pub late: u64,
}

/// One load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicReport {
    /// Topic Name.
    pub topic: String,
    /// Effective QoS: the lower one of publish and forward.
    pub qos: u8,
    /// On which side it was published.
    pub via: Via,
    /// Its messages.
    #[serde(flatten)]
    pub totals: Totals,
    /// Which messages were lost.
    pub lost_ranges: Vec<LostRange>,
}

/// Lost messages with sequences that follow each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LostRange {
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// How many.
    pub count: u64,
    /// When the first and the last one were intended, in seconds.
    pub published_s: [f64; 2],
    /// The faults in force meanwhile.
    pub during: Vec<String>,
}

/// Latency by the phase that the message was intended in; `None` where nothing arrived.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Before the first fault.
    pub before: Option<Percentiles>,
    /// From the first fault to the last heal.
    pub during: Option<Percentiles>,
    /// From the last heal on.
    pub after: Option<Percentiles>,
}

/// A distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95 of 100 are below.
    pub p95: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// How a subject went on after the last heal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Until the first message arrived; `None` where none did, or nothing was healed.
    pub first_delivery: Option<f64>,
    /// Until everything intended before the heal had arrived; `None` where it never had, or nothing was healed.
    pub drained: Option<f64>,
    /// Messages intended before the heal that arrived after it.
    pub backlog: u64,
}

/// An explained anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that found it.
    pub rule: String,
    /// What it is.
    pub title: String,
    /// What it is concluded from.
    pub evidence: Vec<String>,
    /// What to do.
    pub advice: String,
    /// Where it is described.
    pub reference: String,
}

/// What arrived when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Copies received in each second.
    pub received_per_second: Vec<u32>,
    /// The faults as they really were.
    pub faults: Vec<FaultSpan>,
}

/// A fault as it really was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultSpan {
    /// What was done.
    pub kind: FaultKind,
    /// To whom.
    pub on: Side,
    /// From when.
    pub start_s: f64,
    /// Until when.
    pub end_s: f64,
    /// What it had waited for when it began; absent: for its moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_for: Option<String>,
}

impl Verdict {
    /// Several verdicts together: one failure is a failure, and one doubt leaves a doubt.
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().fold(Self::Pass, |one, other| match (one, other) {
            (Self::Fail, _) | (_, Self::Fail) => Self::Fail,
            (Self::Inconclusive, _) | (_, Self::Inconclusive) => Self::Inconclusive,
            _ => Self::Pass,
        })
    }

    /// The exit code that says it: 0 pass, 1 fail, 3 inconclusive.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Inconclusive => 3,
        }
    }

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }
}

impl Report {
    /// All subjects' verdicts together.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The exit code of `replay` and `report`.
    pub fn exit_code(&self) -> u8 {
        self.verdict.exit_code()
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.intended += other.intended;
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.refused_and_received += other.refused_and_received;
        self.received += other.received;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.unacknowledged += other.unacknowledged;
        self.recovered += other.recovered;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.unexpected += other.unexpected;
        self.late += other.late;
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Fail, Inconclusive, Pass};
    use super::*;

    #[test]
    fn one_failure_fails_and_one_doubt_leaves_a_doubt() {
        assert_eq!(Verdict::all([]), Pass);
        assert_eq!(Verdict::all([Pass, Pass]), Pass);
        assert_eq!(Verdict::all([Pass, Inconclusive]), Inconclusive);
        assert_eq!(Verdict::all([Inconclusive, Fail, Pass]), Fail);
        assert_eq!([Pass.exit_code(), Fail.exit_code(), Inconclusive.exit_code()], [0, 1, 3]);
    }
}
