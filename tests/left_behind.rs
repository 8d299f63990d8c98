//! What a runner leaves mounted that is killed in the middle of a replay on loopback.
#![cfg(all(feature = "lab", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::mounts::with_own_mounts;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
const STORY: &str = "environment: local\nremote: { broker: built-in }\nload:\n  - { topic: a, qos: 1, qps: 20 }\n\
    timeline:\n  - { at: 0s, do: publish, for: 1s }\n";

fn bridge(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
    command.env("TMPDIR", temporary).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The disks of the laboratory that are mounted below a folder.
fn disks(below: &Path) -> Vec<String> {
    // The mounts of this thread, whose processes are the runners.
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let ours =
        mounts.lines().filter(|line| line.starts_with("mqtt-bridge-lab:") && line.contains(below.to_str().unwrap()));
    ours.map(str::to_owned).collect()
}

fn killed_in_the_middle(temporary: &Path, more: &[&str]) {
    let scenario = temporary.join("long.yaml");
    let fill = "  - { at: 500ms, do: fill_disk, size: 8MiB, for: 60s }\n";
    std::fs::write(&scenario, format!("{STORY}{fill}")).unwrap();
    let mut runner = bridge(temporary).arg("replay").arg(&scenario).args(more).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while disks(temporary).is_empty() {
        assert!(Instant::now() < until && runner.try_wait().unwrap().is_none(), "no disk: {:?}", runner.try_wait());
        // Nothing else says so.
        std::thread::sleep(LOOK);
    }
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert_eq!(disks(temporary).len(), 1, "it stays when its runner is killed");
}

fn runs(temporary: &Path) -> usize {
    let names = std::fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("mqtt-bridge-replay-")).count()
}

#[test]
fn a_disk_that_a_killed_runner_left_is_unmounted_by_clean_and_by_the_next_start() {
    with_own_mounts("a_disk_that_a_killed_runner_left_is_unmounted_by_clean_and_by_the_next_start", || {
        let temporary = tempfile::tempdir().unwrap();
        let temporary = temporary.path();
        killed_in_the_middle(temporary, &[]);
        assert_eq!(runs(temporary), 1);
        let cleaned = bridge(temporary).arg("clean").output().unwrap();
        let said = String::from_utf8(cleaned.stdout).unwrap();
        assert!(said.contains("local: unmounted ") && said.contains("/mqtt-bridge/work\n"), "{said}");
        assert_eq!((disks(temporary), runs(temporary)), (Vec::new(), 0));

        // A folder that somebody asked for stays, with what the subject was told in it.
        let out = temporary.join("out");
        killed_in_the_middle(temporary, &["--out", out.to_str().unwrap()]);
        let short = temporary.join("short.yaml");
        std::fs::write(&short, STORY).unwrap();
        let replayed = bridge(temporary).arg("replay").arg(&short).output().unwrap();
        assert_eq!(replayed.status.code(), Some(0), "{}", String::from_utf8_lossy(&replayed.stdout));
        assert_eq!(disks(temporary), Vec::<String>::new());
        assert!(out.join("mqtt-bridge/work/bridge.yaml").exists());
    });
}
