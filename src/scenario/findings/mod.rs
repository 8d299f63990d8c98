//! The findings: anomalies of a run, explained. One rule a file, each a pure function of the [`Case`] that is silent
//! where its evidence is not there.
//!
//! A finding cites its evidence with numbers, and the threads of users who met the same thing. What a rule holds to be
//! the mechanism is the same for all its findings: [`mechanism`].
mod backlog_waits;
mod bistable_slots;
mod case;
mod counters_disagree;
mod doubts;
mod drain_paced;
mod duplicates;
mod limit_reached;
mod memory_part_lost;
mod out_of_order;
mod post_heal_stall;
mod refused;
mod ring_overflow;
mod row_deleted;
mod slow_detection;
mod slow_reconnect;
#[cfg(test)]
mod tests;
mod undetected_window;
mod words;

pub use case::Case;

use super::report::model::Finding;

/// A rule: what it looks for, and what it holds to be behind it.
#[derive(Debug)]
struct Rule {
    name: &'static str,
    /// Three sentences at most.
    mechanism: &'static str,
    /// The threads of `field-reports.md`.
    reference: &'static str,
    find: fn(&Case<'_>) -> Option<Said>,
}

/// What a rule has to say of a case.
#[derive(Debug, Default)]
struct Said {
    title: String,
    evidence: Vec<String>,
    advice: String,
}

/// In order of importance: what lost messages, what delayed or repeated them, and what makes the run doubtful.
const RULES: &[Rule] = &[
    ring_overflow::RULE,
    bistable_slots::RULE,
    undetected_window::RULE,
    row_deleted::RULE,
    memory_part_lost::RULE,
    limit_reached::RULE,
    refused::RULE,
    counters_disagree::RULE,
    duplicates::AT_QOS_2,
    duplicates::AFTER_LOST_ACK,
    out_of_order::RULE,
    post_heal_stall::RULE,
    backlog_waits::RULE,
    drain_paced::RULE,
    slow_detection::RULE,
    slow_reconnect::RULE,
    doubts::RULE,
];

/// The findings of a case, the gravest first.
pub fn all(case: &Case<'_>) -> Vec<Finding> {
    let finding = |rule: &Rule| {
        let Said { title, evidence, advice } = (rule.find)(case)?;
        let (rule, reference) = (rule.name.to_owned(), rule.reference.to_owned());
        Some(Finding { rule, title, evidence, advice, reference })
    };
    RULES.iter().filter_map(finding).collect()
}

/// What is behind the findings of a rule; `None` where there is no such rule.
pub fn mechanism(rule: &str) -> Option<&'static str> {
    RULES.iter().find(|known| known.name == rule).map(|known| known.mechanism)
}
