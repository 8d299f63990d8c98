//! The schedule: when every message is intended, and in which phase of the run that is.
//!
//! Load is open-loop: a message's moment follows from the plan alone, however slow the subject is.
use std::time::Duration;

use super::plan::{Fault, Load, Plan};

/// Sequence and intended moment of every message of a load, in order.
pub fn instants(load: &Load) -> impl Iterator<Item = (u64, Duration)> + '_ {
    (0..).map_while(|seq| load.intended(seq).map(|moment| (seq, moment)))
}

/// Moment, load and sequence of every message of a plan, in order of time, then of load.
pub fn merged(plan: &Plan) -> impl Iterator<Item = (Duration, u16, u64)> + '_ {
    let mut next = vec![0u64; plan.loads.len()];
    std::iter::from_fn(move || {
        let candidates = plan.loads.iter().zip(&next).enumerate();
        let moments = candidates.filter_map(|(index, (load, seq))| Some((load.intended(*seq)?, index)));
        let (moment, index) = moments.min()?;
        next[index] += 1;
        Some((moment, index as u16, next[index] - 1))
    })
}

/// Where a message stands, by its intended moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the first fault, or without any.
    Before,
    /// From the first fault to the last heal, pauses between faults included.
    During,
    /// From the last heal on.
    After,
}

impl Phase {
    /// The phase of a moment, given the faults of a run.
    pub fn of(moment: Duration, faults: &[Fault]) -> Self {
        match (faults.iter().map(|fault| fault.start).min(), last_heal(faults)) {
            (Some(_), Some(heal)) if moment >= heal => Self::After,
            (Some(start), _) if moment >= start => Self::During,
            _ => Self::Before,
        }
    }
}

/// When the last fault was healed; `None` without faults.
pub fn last_heal(faults: &[Fault]) -> Option<Duration> {
    faults.iter().map(|fault| fault.end).max()
}

/// The names of the faults in force at some moment between these two, both included, each once, in order of time.
pub fn in_force(faults: &[Fault], from: Duration, to: Duration) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for fault in faults.iter().filter(|fault| fault.start <= to && from < fault.end.max(fault.start + INSTANT)) {
        let name = fault.kind.name().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What has no duration is still in force for the moment it happens in.
const INSTANT: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::yaml::Document;
    use crate::scenario::spec;

    fn plan() -> Plan {
        let text = "load:\n  - { topic: a, qps: 2 }\n  - { topic: b, qps: 1 }\ntimeline:\n  \
            - { at: 0s, do: publish, for: 2s }\n  - { at: 5s, do: publish, count: 1, load: [b] }\n  \
            - { at: 1s, do: cut, for: 2s }\n  - { at: 4s, do: kill, for: 1s }\n  - { at: 8s, do: restart }\n";
        spec::read(&Document::from_text("s.yaml", text), &[""; 0]).unwrap()
    }

    #[test]
    fn loads_are_merged_in_order_of_time() {
        let merged: Vec<(u128, u16, u64)> =
            merged(&plan()).map(|(moment, load, seq)| (moment.as_millis(), load, seq)).collect();
        let expected = [(0, 0, 0), (0, 1, 0), (500, 0, 1), (1000, 0, 2), (1000, 1, 1), (1500, 0, 3), (5000, 1, 2)];
        assert_eq!(merged, expected);
        assert_eq!(instants(&plan().loads[1]).last(), Some((2, Duration::from_secs(5))));
    }

    #[test]
    fn a_message_belongs_to_the_phase_it_was_intended_in() {
        let faults = plan().faults;
        let phase = |millis| Phase::of(Duration::from_millis(millis), &faults);
        assert_eq!(
            [phase(999), phase(1000), phase(3500), phase(7999)],
            [Phase::Before, Phase::During, Phase::During, Phase::During]
        );
        assert_eq!((phase(8000), last_heal(&faults)), (Phase::After, Some(Duration::from_secs(8))));
        assert_eq!(Phase::of(Duration::ZERO, &[]), Phase::Before);
    }

    #[test]
    fn faults_in_force_are_named_once() {
        let faults = plan().faults;
        let names = |from, to| in_force(&faults, Duration::from_secs(from), Duration::from_secs(to)).join(" ");
        assert_eq!(
            [names(0, 9), names(3, 3), names(1, 2), names(8, 8), names(5, 7)],
            ["cut kill restart", "", "cut", "restart", ""]
        );
    }
}
