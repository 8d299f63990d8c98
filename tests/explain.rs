//! `mqtt-bridge explain`, as a user types it.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used)] // A test may.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn explain(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("mqtt-bridge").unwrap().arg("explain").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The log that a recorded history holds, with every line as often as it was written.
fn log_of(history: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories").join(history);
    let mut log = String::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let (count, record) = match line.strip_prefix("x ").and_then(|rest| rest.split_once(' ')) {
            Some((count, record)) => (count.parse().unwrap(), record),
            None => (1, line),
        };
        let Ok(record) = serde_json::from_str::<Value>(record) else { continue };
        if record["event"] == "log" {
            log += &format!("{}\n", record["line"].as_str().unwrap()).repeat(count);
        }
    }
    log
}

/// The bridge of the original report, as it was posted.
const REPORTED: &str = "bridges.mqtt.emqx1 = {\n  server = \"mqtt-tcp://emqx:1883\"\n  password = \"password123\"\n  \
    keepalive = \"3s\"\n  backoff_max = \"10s\"\n  max_parallel_processes = 32\n  max_send_queue_len = 256\n  \
    resend_interval = 50\n  resend_wait = 65000\n  cancel_timeout = 5000\n}\nbridges.mqtt.cache {\n  \
    flush_mem_threshold = 100\n  resend_interval = 5000\n}\n";

#[test]
fn the_log_of_the_original_report_gives_the_cause_with_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (log, config) = (folder.path().join("nanomq.log"), folder.path().join("nanomq.conf"));
    std::fs::write(&log, log_of("nanomq-silent-n4-1.history")).unwrap();
    std::fs::write(&config, REPORTED).unwrap();
    let files = ["--log", log.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let (code, said, _) = explain(&files);
    assert_eq!(code, 0);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Certainly lost: 658 messages",
        "max_send_queue_len = 256",
        "keepalive = 3s, resend_interval = 50: a dead link is noticed about 3.05 s after the cut",
        "the SQLite cache was never reached",
        "resend_wait = 65000 ms is longer than cancel_timeout = 5000 ms",
        "What cannot be known from this log",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("password123"));

    let (code, json, _) = explain(&[&files[..], &["--format", "json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["certainly_lost"]), (0, &Value::from(658)));
    assert!(json["findings"][1]["mechanism"].as_str().unwrap().starts_with("Each worker has one slot"));
    let (code, markdown, _) = explain(&[&files[..], &["--format", "markdown"]].concat());
    assert!(code == 0 && markdown.starts_with("## NanoMQ's log: "), "{markdown}");
}

#[test]
fn where_the_cache_worked_the_loud_line_is_said_to_be_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("nanomq.log");
    std::fs::write(&log, log_of("nanomq-silent-n32-1.history")).unwrap();
    let (code, said, _) = explain(&["--log", log.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(said.contains("No line says for certain that a message is lost."), "{said}");
    let harmless = said.split("Loud and harmless").nth(1).unwrap();
    assert!(harmless.contains("869 x \"QoS msg ack failed\""), "{said}");
}

#[test]
fn what_cannot_be_explained_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.log");
    std::fs::write(&other, "Nov 24 host kernel: nothing of ours\n").unwrap();
    for (arguments, expected) in [
        (vec!["--log", other.to_str().unwrap()], "is of NanoMQ's or mosquitto's log"),
        (vec!["--log", "/nowhere/nanomq.log"], "cannot be read"),
        (vec!["/nowhere"], "plan.json: cannot be read"),
        (vec![], "RUN_DIR"),
        (vec!["--config", "nanomq.conf"], "--log"),
    ] {
        let (code, _, said) = explain(&arguments);
        assert!(code == 2 && said.contains(expected), "{arguments:?}: {code} {said}");
    }
}

/// What is said beforehand of a configuration in a file of this name.
fn foretold(name: &str, config: &str, arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, config).unwrap();
    explain(&[&["--config", file.to_str().unwrap()], arguments].concat())
}

const OURS: &str = "listeners: [{ bind: 127.0.0.1:0 }]\ncache: { path: x.db, max_messages: 60000 }\nbridges:\n  - { name: b, server: mqtt://h, client_id: c, forwards: [{ local: \"t/#\" }, { local: test1 }] }\n";
const THEIRS: &str = "connection up\naddress h\ntopic t/# out 1\ntopic test1 out 1\n";

#[test]
fn a_bridge_yaml_is_foretold() {
    let (code, said, _) = foretold("bridge.yaml", OURS, &["--qps", "10", "--outage", "1h"]);
    let survives = "bridge b survives 1 h 0 min at 10 a second; cache.max_messages would be reached after 1 h 40 min\n";
    assert!(code == 0 && said.starts_with(survives) && said.contains("backlog            36000"), "{said}");
    let (_, said, _) = foretold("bridge.yaml", OURS, &["--qps", "9", "--outage", "3h"]);
    let full = "bridge b is full after 1 h 51 min (cache.max_messages) at 9 a second; then publishes are refused\n";
    assert!(said.starts_with(full) && said.contains("beyond the limit   37200 messages"), "{said}");
    let (code, said, _) = foretold("bridge.yaml", OURS, &["--scenario", "silent-cut-100s", "--format", "json"]);
    let answers: Value = serde_json::from_str(&said).unwrap();
    // test1 alone is forwarded: five a second for 100 s.
    assert_eq!((code, &answers[0]["survives"], &answers[0]["backlog"]), (0, &Value::from(true), &Value::from(500)));
}

#[test]
fn a_mosquitto_conf_is_foretold() {
    let (code, said, _) = foretold("mosquitto.conf", THEIRS, &["--qps", "10", "--outage", "1h"]);
    let full = "connection up is full after 1 min 40 s (max_queued_messages) at 10 a second; then the newest are dropped, \
                acknowledged all the same: 35000 lost in 1 h 0 min\n";
    assert!(code == 0 && said.starts_with(full), "{said}");
    assert!(said.contains("loses 1000 of them at most (persistence false)"), "{said}");
    let arguments = ["--scenario", "silent-cut-100s", "--format", "json"];
    let (code, said, _) = foretold("mosquitto.conf", THEIRS, &arguments);
    let answers: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &answers[0]["survives"], &answers[0]["backlog"]), (0, &Value::from(true), &Value::from(500)));
}

#[test]
fn what_cannot_be_foretold_is_an_error_that_says_why() {
    let asked = ["--qps", "10", "--outage", "1h"];
    let bad = format!("{THEIRS}keepalive_interval 1\n");
    for (name, config, arguments, expected) in [
        ("mosquitto.conf", bad.as_str(), &asked[..], "mosquitto.conf:5: keepalive_interval: `1`: at least 5 seconds"),
        ("some.conf", "listener 1883\n", &asked, "whose configuration is this?"),
        ("bridge.yaml", "listeners: [{ bind: 127.0.0.1:0 }]\n", &asked, "no bridge in it"),
        ("bridge.yaml", OURS, &["--scenario", "broken-acks"], "no fault in it takes the remote away"),
        ("bridge.yaml", OURS, &["--qps", "10", "--outage", "3"], "`3` is not a duration"),
        ("bridge.yaml", OURS, &["--qps", "0", "--outage", "3s"], "a rate above 0"),
        ("bridge.yaml", OURS, &["--qps", "1", "--outage", "3s", "--workers", "4"], "are of a nanomq.conf alone"),
    ] {
        let (code, _, said) = foretold(name, config, arguments);
        assert!(code == 2 && said.contains(expected), "{name}: {code} {said}");
    }
}
