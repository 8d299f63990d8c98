//! Real replays: real processes, real sockets, real faults.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used)] // A test may.

use std::path::{Path, PathBuf};

use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::ledger::{Ledger, Row};
use mqtt_bridge::scenario::runner::{Options, Outcome, run};
use mqtt_bridge::scenario::spec;

/// Whether a replay with mosquitto can be tried. On CI it must be.
fn has_mosquitto(test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.any(|folder| folder.join("mosquitto").is_file());
    assert!(found || std::env::var_os("CI").is_none(), "{test}: mosquitto is missing on CI");
    if !found {
        eprintln!("SKIPPED {test}: mosquitto is not installed");
    }
    found
}

async fn replay(text: &str, subject: &str, out: Option<&Path>) -> Outcome {
    let plan = spec::read(&Document::from_text("test.yaml", text), &[subject]).unwrap();
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
  - { at: 0s, do: publish, for: 7s }
  - { at: 1s, do: disconnect, for: 5s }
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
