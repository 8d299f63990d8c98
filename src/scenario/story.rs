//! Histories for tests, told in short lines.
use super::history::{Event, Record};
use super::ledger::Ledger;
use super::plan::Plan;
use super::spec;
use crate::bridge::yaml::Document;

/// A plan from the text of a scenario.
pub(super) fn plan(text: &str) -> Plan {
    spec::read(&Document::from_text("story.yaml", text), &[""; 0]).unwrap()
}

/// An event of the timeline.
pub(super) fn at(millis: u64, event: Event) -> Record {
    Record { t: millis * 1000, event }
}

/// Folds a history.
pub(super) fn ledger(plan: &Plan, history: &[Record]) -> Ledger {
    let mut ledger = Ledger::new(plan);
    history.iter().for_each(|record| ledger.fold(record));
    ledger
}
