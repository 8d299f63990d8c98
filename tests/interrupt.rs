//! Ctrl-C in the middle of a replay. Alone in its file, since the signal is for the whole process.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used)] // A test may.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::runner::{Options, run};
use mqtt_bridge::scenario::spec;

const SCENARIO: &str = "
environment: local
subjects:
  - { kind: mqtt-bridge, name: first }
  - { kind: mqtt-bridge, name: second }
load:
  - { topic: test1, qos: 1, qps: 50 }
timeline:
  - { at: 0s, do: publish, for: 60s }
  - { at: 500ms, do: cut, for: 50s }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_heals_stops_and_still_gives_the_ledger() {
    let plan = spec::read(&Document::from_text("test.yaml", SCENARIO), &[""; 0]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let options = Options { own: PathBuf::from(env!("CARGO_BIN_EXE_mqtt-bridge")), out: Some(out.path().to_owned()) };
    let history = out.path().join("first/history.jsonl");
    let interrupting = tokio::spawn(async move {
        // The cut is in force: its line has been written.
        while !std::fs::read_to_string(&history).is_ok_and(|text| text.contains("fault_on")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // SAFETY: raises a signal that the runner listens to.
        unsafe { libc::raise(libc::SIGINT) };
    });
    let begun = Instant::now();
    let outcome = run(&plan, &options).await.unwrap();
    interrupting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(outcome.interrupted);
    assert_eq!(outcome.subjects.len(), 1, "the second subject is not tried any more");
    let facts = outcome.subjects[0].ledger.facts();
    assert!(facts.interrupted && facts.settled.is_none() && facts.faults[0].healed, "{facts:?}");
    assert_eq!(facts.ended, []);
    assert!(outcome.subjects[0].ledger.progress().acknowledged > 0);
    let history = std::fs::read_to_string(out.path().join("first/history.jsonl")).unwrap();
    assert_eq!(history.matches("process_started").count(), history.matches("process_ended").count());
    assert!(history.contains(r#""role":"subject","status":"exit code 0","wanted":true"#), "SIGTERM is taken politely");
}
