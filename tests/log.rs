//! The log with the real binary: its two forms, and that nobody can flood it.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::path::Path;
use std::process::Command;

use common::process::Process;
use common::{Bridge, Client};
use mqtt_bridge::bridge::wire::{Connect, Version};

const CLIENTS: usize = 500;

/// Connects many clients, each with a name of its own and a line end in it.
fn flood(bridge: &Bridge) {
    for number in 0..CLIENTS {
        let name = format!("client-{number}\n2026-01-01T00:00:00Z ERROR forged");
        let connect = Connect::new(Version::V5, &name);
        let (_, connack) = Client::connect(bridge.address, connect);
        assert!(!connack.reason.is_failure());
    }
}

#[test]
fn a_hostile_client_costs_a_few_lines_and_cannot_write_one_itself() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(folder.path(), "");
    flood(&bridge);
    let (status, log) = bridge.terminate();
    assert!(status.success());
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() < 150, "{} lines: {log}", lines.len());
    assert!(!lines.iter().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "{log}");
    assert!(lines.iter().any(|line| line.contains("client-0\\n2026-01-01T00:00:00Z ERROR forged: connected")), "{log}");
    // What was left out is counted, to the last one.
    let connected = lines.iter().filter(|line| line.ends_with(": connected") && !line.contains("more lines")).count();
    let told = lines.iter().filter(|line| line.ends_with(": connected")).filter_map(|line| {
        let (before, _) = line.split_once(" more lines within a minute")?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    });
    assert_eq!(connected + told.sum::<usize>(), CLIENTS, "{log}");
}

fn json(folder: &Path, arguments: &[&str], rest: &str) -> Vec<serde_json::Value> {
    let file = folder.join("bridge.yaml");
    std::fs::write(&file, format!("listeners: [{{ bind: 127.0.0.1:0 }}]\n{rest}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
    command.args(["run", "--config"]).arg(&file).args(arguments);
    let process = Process::start(&mut command);
    process.line("no link to").unwrap();
    let (_, log) = process.terminate();
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

#[test]
fn json_lines_have_what_they_are_about_as_keys_by_option_and_by_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db").display().to_string();
    let rest = format!(
        "cache: {{ path: {path} }}\n\
         bridges: [{{ name: b, server: mqtt://127.0.0.1:1, client_id: b, forwards: [{{ local: a }}] }}]\n"
    );
    let by_option = json(folder.path(), &["--log-format", "json"], &rest);
    let by_configuration = json(folder.path(), &[], &format!("{rest}log: {{ format: json, level: warn }}\n"));
    for lines in [&by_option, &by_configuration] {
        let lost = lines.iter().find(|line| line["event"] == "lost").unwrap();
        assert_eq!((&lost["bridge"], &lost["level"]), (&"b".into(), &"WARN".into()));
        assert!(lost["timestamp"].is_string() && lost["message"].as_str().unwrap().starts_with("bridge b: no link"));
    }
    assert!(by_option.iter().any(|line| line["level"] == "INFO"));
    assert!(by_configuration.iter().all(|line| line["level"] == "WARN"));
}
