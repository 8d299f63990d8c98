//! The catalogue's stories in short, on our own bridge: real processes, real sockets, real faults.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::io::Write;
use std::path::PathBuf;

use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::report::model::{Check, SubjectReport, Verdict};
use mqtt_bridge::scenario::runner::{Options, run};
use mqtt_bridge::scenario::{spec, verdict};

async fn replay(text: &str) -> SubjectReport {
    let plan = spec::read(&Document::from_text("test.yaml", text), &["mqtt-bridge"]).unwrap();
    let own = PathBuf::from(env!("CARGO_BIN_EXE_mqtt-bridge"));
    let outcome = run(&plan, &Options { own, out: None }).await.unwrap();
    let ledgers: Vec<_> = outcome.subjects.into_iter().map(|subject| (subject.name, subject.ledger)).collect();
    verdict::report(&plan, &ledgers).subjects.remove(0)
}

/// Every check passes. The load may be behind its schedule where the machine is busy, which makes a run inconclusive,
/// and no test red.
fn shown(report: &SubjectReport) {
    let failed: Vec<&Check> = report.checks.iter().filter(|check| check.verdict != Verdict::Pass).collect();
    let doubts: Vec<&String> =
        report.doubts.iter().filter(|doubt| !doubt.contains("was behind its schedule")).collect();
    assert!(failed.is_empty() && doubts.is_empty(), "{}\n{failed:?}\n{doubts:?}", report.summary);
}

fn check<'a>(report: &'a SubjectReport, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"))
}

const BRIDGE: &str = "bridge: { connect_timeout: 500ms, ack_timeout: 2s, reconnect: { min: 50ms, max: 200ms } }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_is_cut_while_the_backlog_of_a_stopped_remote_drains() {
    if !common::has("mosquitto", "the_link_is_cut_while_the_backlog_of_a_stopped_remote_drains") {
        return;
    }
    let report = replay(&format!(
        "{BRIDGE}load:\n  - {{ topic: a, qos: 1, qps: 400 }}\n  - {{ topic: b, qos: 2, qps: 100 }}\ntimeline:\n  \
         - {{ at: 0s, do: publish, for: 6s }}\n  - {{ at: 1s, do: stop, on: remote, for: 4s }}\n  \
         - {{ at: 4s, do: throttle, rate: 512kbit, for: 2s }}\n  \
         - {{ when: {{ drained: 20% }}, do: cut, for: 3s }}\nsettle: 20s\n"
    ))
    .await;
    shown(&report);
    let cut = &report.timeline.faults[2];
    assert_eq!(cut.waited_for.as_deref(), Some("20% of the backlog drained"));
    assert!(cut.start_s > 5.0 && (2.9..3.5).contains(&(cut.end_s - cut.start_s)), "{cut:?}");
    assert!(report.recovery_ms.backlog > 100, "{:?}", report.recovery_ms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_that_never_comes_is_inconclusive() {
    let report = replay(&format!(
        "{BRIDGE}load:\n  - {{ topic: a, qos: 1, qps: 20 }}\ntimeline:\n  - {{ at: 0s, do: publish, for: 1s }}\n  \
         - {{ when: {{ drained: 20% }}, do: cut, for: 3s }}\nsettle: 5s\n"
    ))
    .await;
    assert_eq!(report.verdict, Verdict::Inconclusive);
    let said = "the cut never began: it never came to 20% of the backlog drained";
    assert!(report.doubts.contains(&said.to_owned()), "{:?}", report.doubts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_are_swallowed_and_late_and_the_session_is_lost() {
    if !common::has("mosquitto", "acknowledgements_are_swallowed_and_late_and_the_session_is_lost") {
        return;
    }
    let report = replay(&format!(
        "{BRIDGE}load:\n  - {{ topic: a, qos: 1, qps: 50 }}\n  - {{ topic: b, qos: 2, qps: 20 }}\ntimeline:\n  \
         - {{ at: 0s, do: publish, for: 14s }}\n  \
         - {{ at: 1s, do: drop_packets, packets: [puback], every: 20, for: 8s }}\n  \
         - {{ at: 1s, do: delay, packets: [puback], every: 10, by: 3s, for: 8s }}\n  \
         - {{ at: 4s, do: drop_packets, packets: [pubrec], for: 4s }}\n  \
         - {{ at: 11s, do: restart, on: remote, session: lost }}\nsettle: 30s\n\
         expect: {{ duplicated: {{ qos2: ambiguous }} }}\n"
    ))
    .await;
    shown(&report);
    assert!(report.topics[0].totals.duplicated > 0, "what was not acknowledged is sent again: {:?}", report.topics[0]);
    assert!(report.counters["mqtt_bridge_connections_total{bridge=\"remote\"}"] > 2.0, "{:?}", report.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_is_killed_keeps_its_session_and_loses_none_of_ours() {
    if !common::has("mosquitto", "a_remote_that_is_killed_keeps_its_session_and_loses_none_of_ours") {
        return;
    }
    let report = replay(&format!(
        "{BRIDGE}load:\n  - {{ topic: a, qos: 1, qps: 200 }}\n  - {{ topic: b, qos: 2, qps: 200 }}\ntimeline:\n  \
         - {{ at: 0s, do: publish, for: 6s }}\n  \
         - {{ at: 1s, times: 3, period: 1500ms, do: kill, on: remote, for: 500ms }}\nsettle: 30s\n"
    ))
    .await;
    shown(&report);
    assert_eq!(report.timeline.faults.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_cannot_keep_its_session_proves_nothing() {
    let report = replay(&format!(
        "remote: {{ broker: built-in }}\n{BRIDGE}load:\n  - {{ topic: a, qos: 1, qps: 50 }}\ntimeline:\n  \
         - {{ at: 0s, do: publish, for: 3s }}\n  - {{ at: 1s, do: kill, on: remote, for: 500ms }}\nsettle: 20s\n"
    ))
    .await;
    assert_eq!(report.verdict, Verdict::Inconclusive, "{}", report.summary);
    assert!(report.doubts.iter().any(|doubt| doubt.contains("keeps its sessions in memory")), "{:?}", report.doubts);
    assert_eq!(check(&report, "lost").observed, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_flaps_in_every_way() {
    let report = replay(&format!(
        "{BRIDGE}load:\n  - {{ topic: a, qos: 1, qps: 100 }}\n  - {{ topic: b, qos: 2, qps: 50 }}\ntimeline:\n  \
         - {{ at: 0s, do: publish, for: 16s }}\n  \
         - {{ at: 1s, times: 2, period: 8s, spread: 500ms, do: reset, for: 700ms }}\n  \
         - {{ at: 3s, times: 2, period: 8s, spread: 500ms, do: half_open, for: 1s }}\n  \
         - {{ at: 5s, times: 2, period: 8s, spread: 500ms, do: loss, share: 30%, for: 1s }}\n  \
         - {{ at: 7s, do: pause, for: 1s }}\n  - {{ at: 15s, do: pause, on: bridge, for: 500ms }}\nsettle: 30s\n"
    ))
    .await;
    shown(&report);
    assert_eq!(report.timeline.faults.len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_at_a_time_drain_a_wave() {
    if !common::has("mosquitto", "ten_at_a_time_drain_a_wave") {
        return;
    }
    let report = replay(&format!(
        "remote: {{ broker: mosquitto, receive_maximum: 10 }}\n{BRIDGE}load:\n  - {{ topic: wave, qos: 1, qps: 500 }}\n  \
         - {{ topic: live, qos: 2, qps: 9 }}\ntimeline:\n  - {{ at: 1s, do: publish, for: 4s, load: [wave] }}\n  \
         - {{ at: 0s, do: publish, for: 8s, load: [live] }}\n  - {{ at: 1s, do: cut, for: 4s }}\nsettle: 30s\n"
    ))
    .await;
    shown(&report);
    assert!(report.recovery_ms.backlog >= 2000, "{:?}", report.recovery_ms);
}

/// Whether a disk can be filled here.
fn is_root(test: &str) -> bool {
    // SAFETY: asks for a number.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        assert!(std::env::var_os("CI").is_none(), "{test} needs root");
        // Not eprintln: that is shown only for a test that fails.
        let skipped = format!("SKIPPED {test}: it needs root, to mount a tmpfs\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    root
}

const FULL: &str = "load:\n  - { topic: a, qos: 1, qps: 100 }\n  - { topic: b, qos: 2, qps: 50 }\ntimeline:\n  \
    - { at: 0s, do: publish, for: 9s }\n  - { at: 1s, do: cut, for: 6s }\n  \
    - { at: 5s, do: fill_disk, size: 16MiB, for: 3s }\nsettle: 30s\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cache_on_a_full_disk_refuses_and_keeps_what_it_acknowledged() {
    if !is_root("a_full_cache_on_a_full_disk_refuses_and_keeps_what_it_acknowledged") {
        return;
    }
    let bridge = BRIDGE.replace("bridge: { ", "bridge: { cache: { max_messages: 200, when_full: reject }, ");
    let report = replay(&format!("{bridge}{FULL}expect: {{ refused: counted }}\n")).await;
    shown(&report);
    assert!(report.totals.refused > 100, "{:?}", report.totals);
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains("mqtt-bridge-replay"), "{mounts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_oldest_are_evicted_the_newest_survive_and_the_others_are_counted() {
    let bridge = BRIDGE.replace("bridge: { ", "bridge: { cache: { max_messages: 200, when_full: drop_oldest }, ");
    let text = FULL.lines().filter(|line| !line.contains("fill_disk")).map(|line| format!("{line}\n"));
    let text: String = text.collect();
    let report = replay(&format!("{bridge}{text}expect: {{ lost: evicted }}\n")).await;
    shown(&report);
    assert!(report.totals.lost > 100, "{:?}", report.totals);
    assert_eq!(check(&report, "survivors").observed, "they are");
}
