//! Replays in network namespaces, each by the program itself: as root, or as anyone where user namespaces are allowed.
#![cfg(all(feature = "lab", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use mqtt_bridge::scenario::environment::netns;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Whether a replay can be tried here; says aloud where not, and fails there on CI.
fn possible(test: &str) -> bool {
    let unshare = |arguments: &[&str]| Command::new("unshare").args(arguments).arg("true").output();
    let allowed = [["-nm"].as_slice(), ["-rnm"].as_slice()]
        .iter()
        .any(|arguments| unshare(arguments).is_ok_and(|output| output.status.success()));
    let skipped = |why: &str| {
        assert!(std::env::var_os("CI").is_none(), "{test} on CI: {why}");
        // Not eprintln: that is shown only for a test that fails.
        std::io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
        false
    };
    if !allowed {
        return skipped("neither root nor user namespaces");
    }
    ["ip", "nft", "tc", "ss", "getent", "mosquitto"].iter().all(|program| common::has(program, test))
}

/// A run of the program and the folder that it writes to.
struct Replay {
    out: tempfile::TempDir,
    command: Command,
}

impl Replay {
    fn of(scenario: &Path) -> Self {
        Self::within(tempfile::tempdir().unwrap(), scenario)
    }

    fn text(text: &str) -> Self {
        let out = tempfile::tempdir().unwrap();
        let scenario = out.path().join("scenario.yaml");
        std::fs::write(&scenario, text).unwrap();
        Self::within(out, &scenario)
    }

    fn within(out: tempfile::TempDir, scenario: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
        command.arg("replay").arg(scenario).args(["--environment", "netns", "--format", "json", "--out"]);
        command.arg(out.path().join("run")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { out, command }
    }

    fn history(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.out.path().join("run/mqtt-bridge/history.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Runs it to its end and gives the report of the one subject.
    fn report(&mut self) -> (ExitStatus, Value) {
        let Output { status, stdout, stderr } = self.command.output().unwrap();
        let report: Value = serde_json::from_slice(&stdout)
            .unwrap_or_else(|error| panic!("{error}: {status}: {}", String::from_utf8_lossy(&stderr)));
        (status, report["subjects"][0].clone())
    }

    /// Starts it and waits until its first fault is in force.
    fn until_fault(&mut self) -> Child {
        let mut child = self.command.spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while !self.history().iter().any(|record| record["event"] == "fault_on") {
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "no fault: {:?}", child.try_wait());
            // Nothing else says so.
            std::thread::sleep(LOOK);
        }
        child
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name)
}

/// What is there of a runner's worlds: interfaces in this namespace, and processes.
fn traces(runner: u32) -> Vec<String> {
    let links = Command::new("ip").args(["-o", "link", "show"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    let alias = format!("mqtt-bridge replay {runner}:");
    let interfaces = links.lines().filter(|line| line.contains(&alias)).map(str::to_owned);
    let mark = format!("MQTT_BRIDGE_REPLAY={runner}:");
    let marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    interfaces.chain(pids.filter(marked).map(|pid| format!("process {pid}"))).collect()
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: touches no memory; the child is not waited for yet, so its id is still its own.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

fn assert_all_arrived(report: &Value) {
    assert_eq!(report["verdict"], "pass", "{report:#}");
    let totals = &report["totals"];
    for (what, expected) in [("lost", 0), ("out_of_order", 0), ("unexpected", 0), ("unacknowledged", 0)] {
        assert_eq!(totals[what], expected, "{what}: {totals:#}");
    }
}

#[test]
fn our_bridge_gets_through_silent_cut_10s() {
    if !possible("our_bridge_gets_through_silent_cut_10s") {
        return;
    }
    let (status, report) = Replay::of(&shipped("silent-cut-10s.yaml")).report();
    assert_all_arrived(&report);
    assert_eq!((status.code(), &report["totals"]["delivered"]), (Some(0), &250.into()));
}

/// TCP itself goes on only until its first retransmission time-out, some 200 ms: what it sends until then arrives in one
/// direction, and comes twice since its acknowledgements do not.
#[test]
fn half_open_lets_through_what_is_sent_and_keeps_back_its_acknowledgement() {
    if !possible("half_open_lets_through_what_is_sent_and_keeps_back_its_acknowledgement") {
        return;
    }
    let during = |what: &str| {
        let text = format!(
            "load:\n  - {{ topic: a, qos: 1, qps: 20 }}\ntimeline:\n  - {{ at: 0s, do: publish, for: 9s }}\n  \
             - {{ at: 2s, {what}, for: 5s }}\nsettle: 20s\n"
        );
        let mut replay = Replay::text(&text);
        let (_, report) = replay.report();
        assert_all_arrived(&report);
        let history = replay.history();
        let times = |event: &str| -> Vec<f64> {
            let events = history.iter().filter(|record| record["event"] == event);
            events.map(|record| record["t"].as_f64().unwrap() / 1e6).collect()
        };
        // What was on its way when it began.
        let (from, to) = (times("fault_on")[0] + 0.05, times("fault_off")[0]);
        let received = times("received").iter().filter(|&&time| (from..to).contains(&time)).count();
        (received, report["totals"]["duplicated"].as_u64().unwrap())
    };
    let (received, duplicated) = during("do: half_open");
    assert!(received >= 2 && duplicated >= 2, "{received} received, {duplicated} twice");
    assert_eq!(during("do: half_open, passes: to_bridge").0, 0);
    assert_eq!(during("do: cut").0, 0);
}

#[test]
fn packets_are_lost_and_no_message_is() {
    if !possible("packets_are_lost_and_no_message_is") {
        return;
    }
    let text = "load:\n  - { topic: a, qos: 1, qps: 50 }\n  - { topic: b, qos: 2, qps: 20 }\ntimeline:\n  \
        - { at: 0s, do: publish, for: 8s }\n  - { at: 1s, do: loss, share: 30%, for: 6s }\nsettle: 40s\n";
    let mut replay = Replay::text(text);
    let (_, report) = replay.report();
    assert_all_arrived(&report);
    let doubts: Vec<Value> = replay.history().into_iter().filter(|record| record["event"] == "doubt").collect();
    assert!(doubts.is_empty(), "none of the sampled packets was lost: {doubts:?}");
}

/// What only somebody does who reads MQTT: the fault proxy, in the remote's namespace, behind all that the kernel does.
#[test]
fn acknowledgements_are_swallowed_and_late() {
    if !possible("acknowledgements_are_swallowed_and_late") {
        return;
    }
    let text = "bridge: { ack_timeout: 1s, reconnect: { min: 50ms, max: 200ms } }\nload:\n  \
        - { topic: a, qos: 1, qps: 40 }\n  - { topic: b, qos: 2, qps: 10 }\ntimeline:\n  \
        - { at: 0s, do: publish, for: 12s }\n  \
        - { at: 1s, do: drop_packets, packets: [puback], every: 20, for: 6s }\n  \
        - { at: 1s, do: delay, packets: [puback], every: 9, by: 2s, for: 6s }\n  \
        - { at: 3s, do: drop_packets, packets: [pubrec], for: 2s }\n  \
        - { at: 5s, do: cut, for: 1s }\n  - { at: 9s, do: stop, on: remote, for: 1s }\nsettle: 20s\n\
        expect: { duplicated: { qos2: 0 } }\n";
    let mut replay = Replay::text(text);
    let (_, report) = replay.report();
    assert_eq!(report["verdict"], "pass", "{report:#}");
    assert_eq!(report["doubts"], serde_json::json!([]), "{report:#}");
    assert!(report["totals"]["duplicated"].as_u64() > Some(0), "what was not acknowledged is sent again: {report:#}");
}

/// By the kernel where it can, else by the proxy, and then the report says so.
#[test]
fn what_is_delayed_comes_later() {
    if !possible("what_is_delayed_comes_later") {
        return;
    }
    let text = "load:\n  - { topic: a, qos: 1, qps: 20 }\ntimeline:\n  - { at: 0s, do: publish, for: 6s }\n  \
        - { at: 2s, do: delay, by: 300ms, for: 2s }\nsettle: 20s\n";
    let mut replay = Replay::text(text);
    let (_, report) = replay.report();
    assert_all_arrived(&report);
    let p50 = |phase: &str| report["latency_ms"][phase]["p50"].as_f64().unwrap();
    assert!(p50("before") < 150.0 && p50("during") >= 300.0, "{:#}", report["latency_ms"]);
}

const LONG: &str = "load:\n  - { topic: a, qos: 1, qps: 50 }\ntimeline:\n  - { at: 0s, do: publish, for: 60s }\n  \
    - { at: 500ms, do: disconnect, for: 50s }\n";

#[test]
fn ctrl_c_leaves_nothing_behind() {
    if !possible("ctrl_c_leaves_nothing_behind") {
        return;
    }
    let mut replay = Replay::text(LONG);
    let child = replay.until_fault();
    let runner = child.id();
    assert!(traces(runner).len() >= 2, "subject and remote at least: {:?}", traces(runner));
    signal(&child, libc::SIGINT);
    child.wait_with_output().unwrap();
    assert_eq!(traces(runner), Vec::<String>::new());
    let events: Vec<Value> = replay.history().into_iter().map(|record| record["event"].clone()).collect();
    assert!(events.contains(&"interrupted".into()) && events.contains(&"fault_off".into()), "{events:?}");
}

#[test]
fn what_a_killed_runner_leaves_is_gone_at_the_next_start() {
    if !possible("what_a_killed_runner_leaves_is_gone_at_the_next_start") {
        return;
    }
    let mut replay = Replay::text(LONG);
    let mut child = replay.until_fault();
    let runner = child.id();
    child.kill().unwrap();
    child.wait().unwrap();
    // Its processes die with it; its interfaces may wait for a socket that has something to send still.
    let cleaned = netns::clean().unwrap();
    let until = Instant::now() + PATIENCE;
    while !traces(runner).is_empty() {
        assert!(Instant::now() < until, "{:?} after {cleaned}", traces(runner));
        std::thread::sleep(LOOK);
    }
}

/// Whoever is not root gets a user namespace, and the same verdict.
#[test]
fn root_is_not_needed() {
    // SAFETY: asks for a number.
    let root = unsafe { libc::geteuid() } == 0;
    if !possible("root_is_not_needed") || !root {
        return; // All other tests have shown it.
    }
    let text = "load:\n  - { topic: a, qos: 1, qps: 20 }\ntimeline:\n  - { at: 0s, do: publish, for: 5s }\n  \
        - { at: 1s, do: disconnect, for: 2s }\nsettle: 20s\n";
    let mut replay = Replay::text(text);
    std::os::unix::fs::chown(replay.out.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    replay.command.uid(NOBODY).gid(NOBODY);
    let (_, report) = replay.report();
    assert_all_arrived(&report);
}

const NOBODY: u32 = 65_534;
