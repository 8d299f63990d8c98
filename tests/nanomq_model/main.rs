//! The model of NanoMQ: against what was measured on a native build of 0.24.6, and mechanism by mechanism.
#![allow(clippy::unwrap_used)] // A test may.
mod measured;
mod mechanisms;
mod replayed;

use std::path::{Path, PathBuf};

use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::plan::Plan;
use mqtt_bridge::scenario::prediction::{Outcome, Prediction, Range};
use mqtt_bridge::scenario::spec;

/// The load of the original report.
const LOAD: &str = "load:
  - { topic: test1, qos: 1, qps: 5 }
  - { topic: test2, qos: 1, qps: 1 }
  - { topic: test3, qos: 2, qps: 1 }
  - { topic: test4, qos: 2, qps: 1 }
  - { topic: test5, qos: 2, qps: 1 }
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nanomq_model")
}

/// A scenario of the model: the subject's keys, and what comes behind it.
fn plan(subject: &str, rest: &str) -> Plan {
    let text = format!(
        "name: modelled\nabout: A run in virtual time.\nsubjects:\n  - {{ kind: nanomq-model, {subject} }}\n{rest}"
    );
    spec::read(&Document::from_text(folder().join("modelled.yaml"), &text), &[""; 0]).unwrap()
}

fn outcomes(plan: &Plan, seeds: u64) -> Vec<Outcome> {
    Prediction::new(plan, &plan.subjects[0]).unwrap().outcomes(seeds)
}

fn range(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> u64) -> Range {
    Range::of(outcomes.iter().map(figure)).unwrap()
}

fn peak(counter: &str) -> impl Fn(&Outcome) -> u64 {
    move |outcome| outcome.peak(counter).map_or(0, |peak| peak.value as u64)
}

fn logged(line: &str) -> impl Fn(&Outcome) -> u64 {
    move |outcome| outcome.lines.get(line).copied().unwrap_or_default()
}
