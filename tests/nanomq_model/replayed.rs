//! The model as a subject of `replay`: the same report, the same history, and no environment.
use std::process::Command;

use serde_json::Value;

use super::{LOAD, folder};

#[test]
fn a_run_of_the_model_is_reported_like_any_other() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let scenario = place.path().join("cut.yaml");
    let conf = folder().join("report.conf");
    let text = format!(
        "name: cut\nabout: A silent cut.\nsubjects:\n  \
           - {{ kind: nanomq-model, config: {}, workers: 4 }}\n{LOAD}timeline:\n  - {{ at: 0s, do: publish, for: 130s }}\n  \
           - {{ at: 10s, do: disconnect, for: 100s }}\nsettle: 60s\nexpect: {{ lost: 0 }}\n",
        conf.display()
    );
    std::fs::write(&scenario, text).unwrap();
    let begun = std::time::Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"))
        .args(["replay", "--format", "json", "--out"])
        .args([&out, &scenario])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    // 190 s of virtual time; the limit is for a machine that does much else.
    assert!(begun.elapsed().as_secs() < 10);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let subject = &report["subjects"][0];
    assert_eq!(report["environment"], "virtual");
    assert_eq!(subject["version"], "model of NanoMQ 0.24.6, 4 workers");
    assert_eq!(subject["totals"]["acknowledged"], 1170);
    assert_eq!(subject["counters"]["nanomq_sqlite_rows{bridge=\"emqx1\"}"], 0.0);
    let lost = subject["totals"]["lost"].as_u64().unwrap();
    let history = std::fs::read_to_string(out.join("nanomq-model/history.jsonl")).unwrap();
    let lines = history.lines().filter(|line| line.contains("Cached Message in ctx_msgs is lost!")).count();
    assert_eq!(lines as u64, lost);
    // It is judged again from its folder, with the same verdict.
    let again = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge")).arg("report").arg(&out).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{}", String::from_utf8_lossy(&again.stderr));
}
