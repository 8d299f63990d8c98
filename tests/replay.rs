//! Real replays: real processes, real sockets, real faults.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::path::{Path, PathBuf};

use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::ledger::{Ledger, Row};
use mqtt_bridge::scenario::plan::EnvironmentKind;
use mqtt_bridge::scenario::runner::{Options, Outcome, run};
use mqtt_bridge::scenario::spec;

/// Whether a replay with mosquitto can be tried.
fn has_mosquitto(test: &str) -> bool {
    common::has("mosquitto", test)
}

async fn replay(text: &str, subject: &str, out: Option<&Path>) -> Outcome {
    let mut plan = spec::read(&Document::from_text("test.yaml", text), &[subject]).unwrap();
    // Left open, it would be Docker where that answers.
    plan.environment = EnvironmentKind::Local;
    let own = PathBuf::from(env!("CARGO_BIN_EXE_mqtt-bridge"));
    run(&plan, &Options { own, out: out.map(Path::to_owned) }).await.unwrap()
}

fn count(ledger: &Ledger, load: usize, is: impl Fn(&Row) -> bool) -> usize {
    ledger.rows(load).filter(|(_, row)| is(row)).count()
}

fn lost(row: &Row) -> bool {
    row.acknowledged() && row.copies() == 0
}

const CUT: &str = "
load:
  - { topic: test1, qos: 1, qps: 50 }
  - { topic: test2, qos: 2, qps: 20 }
  - { topic: test6, qos: 2, qps: 10, via: remote }
timeline:
  - { at: 0s, do: publish, for: 6s }
  - { at: 1s, do: cut, for: 3s }
settle: 20s
";

async fn a_cut_of_3_s(subject: &str) {
    let out = tempfile::tempdir().unwrap();
    let outcome = replay(CUT, subject, Some(out.path())).await;
    let ledger = &outcome.subjects[0].ledger;
    let facts = ledger.facts();
    assert_eq!(facts.doubts, Vec::<String>::new());
    assert!(facts.ended.is_empty() && facts.receivers_gone.is_empty(), "{facts:?}");
    assert!(!facts.settled.unwrap().timed_out);
    assert_eq!(facts.faults.len(), 1);
    let took = facts.faults[0].fault.end - facts.faults[0].fault.start;
    assert!((2.9..3.2).contains(&took.as_secs_f64()), "{took:?}");
    for (load, intended) in [(0, 300), (1, 120), (2, 60)] {
        assert_eq!(count(ledger, load, Row::acknowledged), intended);
        assert_eq!(count(ledger, load, lost), 0);
        assert_eq!(count(ledger, load, Row::out_of_order), 0);
    }
    assert_eq!(count(ledger, 1, |row| row.copies() > 1) + count(ledger, 2, |row| row.copies() > 1), 0);
    // Nothing came through while the link was cut.
    let seconds = ledger.received_per_second();
    assert_eq!(seconds[2], 0, "{seconds:?}");
    for file in ["plan.json", &format!("{subject}/history.jsonl"), &format!("{subject}/logs/subject.log")] {
        assert!(out.path().join(file).metadata().unwrap().len() > 0, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_gets_through_a_cut_of_3_s() {
    if has_mosquitto("mosquitto_gets_through_a_cut_of_3_s") {
        a_cut_of_3_s("mosquitto").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_that_is_made_to_lose_is_seen_to_lose() {
    if !has_mosquitto("a_subject_that_is_made_to_lose_is_seen_to_lose") {
        return;
    }
    let text = "
subjects:
  - { kind: mosquitto, settings: { max_queued_messages: 100 } }
load:
  - { topic: test1, qos: 1, qps: 100 }
timeline:
  - { at: 0s, do: publish, for: 6s }
  - { at: 1s, do: reset, for: 4s }
settle: 4s
";
    let outcome = replay(text, "mosquitto", None).await;
    let ledger = &outcome.subjects[0].ledger;
    assert!(count(ledger, 0, lost) > 100, "{:?}", ledger.progress());
    assert!(ledger.facts().settled.unwrap().timed_out);
    let folder = outcome.folder.path().to_owned();
    drop(outcome);
    assert!(!folder.exists());
}

/// Publishing is open-loop: the n-th message leaves at its moment, not an interval after the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_a_second_are_published_without_drift() {
    if !has_mosquitto("a_thousand_messages_a_second_are_published_without_drift") {
        return;
    }
    let text = "
load:
  - { topic: a, qos: 0, qps: 1000 }
  - { topic: b, qos: 1, qps: 1000 }
  - { topic: c, qos: 1, qps: 1000, via: remote }
timeline:
  - { at: 0s, do: publish, for: 5s }
settle: 20s
";
    let out = tempfile::tempdir().unwrap();
    let outcome = replay(text, "mosquitto", Some(out.path())).await;
    let plan = spec::read(&Document::from_text("test.yaml", text), &["mosquitto"]).unwrap();
    let ledger = &outcome.subjects[0].ledger;
    assert_eq!(ledger.facts().doubts, Vec::<String>::new());
    for (index, load) in plan.loads.iter().enumerate() {
        let sent: Vec<f64> = ledger.rows(index).map(|(_, row)| row.sent().unwrap().as_secs_f64()).collect();
        assert_eq!(sent.len(), 5000);
        let intended = |seq: usize| load.intended(seq as u64).unwrap().as_secs_f64();
        let mut late: Vec<f64> = (0..sent.len()).map(|seq| sent[seq] - intended(seq)).collect();
        // Without the single stutter of a busy machine: the middle of the first and of the last second.
        let (mut first, mut last) = (late[..1000].to_vec(), late[4000..].to_vec());
        [&mut first, &mut last, &mut late].iter_mut().for_each(|part| part.sort_by(f64::total_cmp));
        let drift = (last[500] - first[500]) / 4.0;
        eprintln!(
            "{}: drift {:.5} %, late by {:.2} ms (median), {:.2} ms (99 %), {:.2} ms (most)",
            load.topic,
            drift * 100.0,
            late[2500] * 1e3,
            late[4950] * 1e3,
            late[4999] * 1e3
        );
        assert!(drift.abs() < 0.001, "{drift}");
        assert!(late[0] >= 0.0, "no message is sent before its time: {}", late[0]);
        assert_eq!(count(ledger, index, lost), 0);
    }
}

/// The publisher reconnects, and what it was not sure of comes again: nothing acknowledged is lost by us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_get_through_a_kill_of_the_subject() {
    if !has_mosquitto("publishers_get_through_a_kill_of_the_subject") {
        return;
    }
    let text = "
load:
  - { topic: a, qos: 1, qps: 100 }
  - { topic: b, qos: 2, qps: 100 }
timeline:
  - { at: 0s, do: publish, for: 6s }
  - { at: 1s, do: kill, for: 1s }
  - { at: 4s, do: restart }
settle: 5s
";
    let out = tempfile::tempdir().unwrap();
    let outcome = replay(text, "mosquitto", Some(out.path())).await;
    let ledger = &outcome.subjects[0].ledger;
    let facts = ledger.facts();
    assert_eq!(facts.doubts, Vec::<String>::new());
    assert!(facts.ended.is_empty(), "both ends were wanted: {:?}", facts.ended);
    assert_eq!(facts.publisher_losses, [2, 2]);
    assert_eq!(facts.faults.iter().filter(|done| done.healed).count(), 2);
    for load in [0, 1] {
        assert_eq!(count(ledger, load, Row::acknowledged), 600);
        // mosquitto keeps its sessions on disk once a second: what it loses at a kill is its own loss.
        assert!(count(ledger, load, lost) < 150, "{:?}", ledger.progress());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_bridge_gets_through_a_cut_of_3_s() {
    a_cut_of_3_s("mqtt-bridge").await;
}

/// Publishers that resume their sessions, a cache that was committed, a remote leg that resumes its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_bridge_is_killed_under_load_and_loses_nothing_it_acknowledged() {
    let text = "
load:
  - { topic: a, qos: 1, qps: 200 }
  - { topic: b, qos: 2, qps: 200 }
timeline:
  - { at: 0s, do: publish, for: 8s }
  - { at: 1s, do: kill, for: 200ms }
  - { at: 2s, do: cut, for: 3s }
  - { at: 3s, do: kill, for: 500ms }
  - { at: 6s, do: restart }
  - { at: 7s, do: kill, for: 200ms }
settle: 30s
";
    let outcome = replay(text, "mqtt-bridge", None).await;
    let ledger = &outcome.subjects[0].ledger;
    let facts = ledger.facts();
    assert_eq!(facts.doubts, Vec::<String>::new());
    assert!(facts.ended.is_empty(), "{:?}", facts.ended);
    assert_eq!(facts.first_imbalance, None);
    assert!(!facts.settled.unwrap().timed_out, "{:?}", ledger.progress());
    for load in [0, 1] {
        assert_eq!(count(ledger, load, Row::acknowledged), 1600);
        assert_eq!(count(ledger, load, lost), 0);
        assert_eq!(count(ledger, load, Row::out_of_order), 0);
    }
    assert_eq!(count(ledger, 1, |row| row.copies() > 1), 0);
}
