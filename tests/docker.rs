//! Replays in containers, on a real engine: with mosquitto as the remote, in an image of Debian's packages, since CI has
//! no registry.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

const IMAGE: &str = "mqtt-bridge-test-mosquitto:latest";
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether there is an engine. On CI there must be one.
fn engine(test: &str) -> bool {
    let answers = Command::new("docker").arg("version").output().is_ok_and(|output| output.status.success());
    assert!(answers || std::env::var_os("CI").is_none(), "{test}: no Docker engine answers on CI");
    if !answers {
        // Not eprintln: that is shown only for a test that fails.
        let skipped = format!("SKIPPED {test}: no Docker engine answers\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        return false;
    }
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if Command::new("docker").args(["image", "inspect", IMAGE]).output().unwrap().status.success() {
            return;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/debian.sh");
        let built = Command::new(script).args([IMAGE, "mosquitto"]).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
    true
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn bridge() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env("NO_COLOR", "1");
    command
}

/// A replay that is running.
struct Replay {
    child: Child,
    out: tempfile::TempDir,
    /// A file of its own, which it reads only now.
    scenario: Option<tempfile::TempPath>,
}

impl Replay {
    fn start(scenario: &Path, more: &[&str]) -> Self {
        let out = tempfile::tempdir().unwrap();
        let mut command = bridge();
        command.arg("replay").arg(scenario).args(["--environment", "docker", "--format", "json"]);
        command.args(["--image", &format!("remote={IMAGE}")]);
        Self { child: command.args(more).arg("--out").arg(out.path()).spawn().unwrap(), out, scenario: None }
    }

    fn text(text: &str, more: &[&str]) -> Self {
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut replay = Self::start(file.path(), more);
        replay.scenario = Some(file.into_temp_path());
        replay
    }

    fn history(&self, subject: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.out.path().join(subject).join("history.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn events(&self, event: &str) -> Vec<Value> {
        self.history("mqtt-bridge").into_iter().filter(|record| record["event"] == event).collect()
    }

    fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: a process of ours that has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    /// Everything that it has on the engine, by its label.
    fn things(&self) -> Vec<String> {
        things(self.child.id())
    }

    /// Its id in the names of its containers.
    fn container(&self, what: &str) -> String {
        let all = self.things();
        all.iter().find(|name| name.ends_with(&format!("-{what}"))).unwrap_or_else(|| panic!("{all:?}")).clone()
    }

    /// Waits for its end; its report, and what it said.
    fn end(self) -> Ended {
        let pid = self.child.id();
        let Self { child, out, scenario: _scenario } = self;
        let output = child.wait_with_output().unwrap();
        Ended { pid, output, out }
    }
}

struct Ended {
    pid: u32,
    output: Output,
    out: tempfile::TempDir,
}

impl Ended {
    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stderr()))
    }

    /// It passed, without doubts, and has left nothing on the engine.
    fn passes(&self) -> Value {
        let report = self.report();
        let subject = &report["subjects"][0];
        assert_eq!(report["verdict"], "pass", "{subject:#}\n{}", self.stderr());
        assert_eq!(subject["doubts"], serde_json::json!([]), "{}", self.stderr());
        assert_eq!(self.output.status.code(), Some(0));
        assert_eq!(things(self.pid), Vec::<String>::new());
        report
    }
}

/// What a runner has on the engine.
fn things(pid: u32) -> Vec<String> {
    let label = "{{.Label \"mqtt-bridge.runner\"}}";
    let mut found = Vec::new();
    for listing in [
        ["ps", "-a", "--format", &format!("{{{{.Names}}}} {label}")],
        ["network", "ls", "--format", &format!("{{{{.Name}}}} {label}")],
        ["volume", "ls", "--format", &format!("{{{{.Name}}}} {label}")],
    ] {
        let listed = docker(&listing);
        let own = listed.lines().filter(|line| line.contains(&format!("/{pid}/")));
        found.extend(own.filter_map(|line| line.split(' ').next().map(str::to_owned)));
    }
    found
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.yaml"))
}

#[test]
fn silent_cut_10s_passes_by_a_real_disconnect() {
    if !engine("silent_cut_10s_passes_by_a_real_disconnect") {
        return;
    }
    let replay = Replay::start(&shipped("silent-cut-10s"), &[]);
    replay.until("the heal", |replay| !replay.events("fault_off").is_empty());
    let usage = replay.events("usage");
    for role in ["subject", "remote"] {
        let used = usage.iter().find(|usage| usage["role"] == role).unwrap_or_else(|| panic!("{usage:?}"));
        assert!(used["memory_bytes"].as_u64() > Some(100_000), "{used}");
    }
    assert!(!replay.events("counters").is_empty(), "/metrics is reached");
    let ended = replay.end();
    let report = ended.passes();
    assert_eq!(report["environment"], "docker");
    assert!(report.get("because").is_none(), "it was named");
    assert_eq!(report["subjects"][0]["totals"]["acknowledged"], 250);
    let artifacts = &report["subjects"][0]["artifacts"];
    assert!(artifacts["engine"].as_str().unwrap().starts_with("Docker "), "{artifacts}");
    assert!(artifacts["remote"].as_str().unwrap().contains("sha256:"), "{artifacts}");
    let span = &report["subjects"][0]["timeline"]["faults"][0];
    let length = span["end_s"].as_f64().unwrap() - span["start_s"].as_f64().unwrap();
    assert!((length - 10.0).abs() < 1.0, "{span}");
    for log in ["subject.log", "remote.log", "probe.log"] {
        assert!(ended.out.path().join("mqtt-bridge/logs").join(log).exists(), "{log}");
    }
    let remote = std::fs::read_to_string(ended.out.path().join("mqtt-bridge/logs/remote.log")).unwrap();
    assert!(remote.contains("mosquitto version"), "{remote}");
}

/// An image that the engine has lost, from `docker save`'s file.
#[test]
fn a_remote_comes_from_an_archive() {
    if !engine("a_remote_comes_from_an_archive") {
        return;
    }
    let (name, folder) = ("mqtt-bridge-test-archive:1", tempfile::tempdir().unwrap());
    let file = folder.path().join("remote.tar");
    let container = docker(&["create", IMAGE, "none"]);
    docker(&["commit", "--change", "LABEL of=a-test", container.trim(), name]);
    docker(&["rm", container.trim()]);
    docker(&["save", "-o", file.to_str().unwrap(), name]);
    docker(&["rmi", name]);
    let text = "remote: { image_archive: remote.tar, preset: mosquitto }\nload:\n  - { topic: a, qos: 1, qps: 20 }\n\
        timeline:\n  - { at: 0s, do: publish, for: 2s }\nsettle: 20s\n";
    let scenario = folder.path().join("scenario.yaml");
    std::fs::write(&scenario, text).unwrap();
    let output = bridge().arg("replay").arg(&scenario).args(["--environment", "docker", "--format", "json"]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    docker(&["rmi", name]);
    assert_eq!(report["verdict"], "pass", "{report:#}");
    let remote = &report["subjects"][0]["artifacts"]["remote"];
    assert!(remote.as_str().unwrap().contains(name), "{remote}");
}

const CUT: &str = "
load:
  - { topic: test1, qos: 1, qps: 20 }
timeline:
  - { at: 0s, do: publish, for: 60s }
  - { at: 4s, do: disconnect, for: 50s }
";

#[test]
fn there_is_no_way_around_the_link() {
    if !engine("there_is_no_way_around_the_link") {
        return;
    }
    let replay = Replay::text(CUT, &[]);
    let begun = |replay: &Replay| replay.history("mqtt-bridge").iter().any(|record| record["t"].as_u64() > Some(0));
    replay.until("the begin of the timeline", begun);
    let (subject, remote) = (replay.container("subject"), replay.container("remote"));
    let inspect = |container: &str, format: &str| docker(&["inspect", "--format", format, container]).trim().to_owned();
    let addresses = inspect(&remote, "{{range .NetworkSettings.Networks}}{{.IPAddress}}:1883 {{end}}");
    let published = inspect(&remote, "{{(index (index .NetworkSettings.Ports \"1883/tcp\") 0).HostPort}}");
    let networks = docker(&["network", "ls", "--format", "{{.Name}}"]);
    let gateways = networks
        .lines()
        .filter(|name| !matches!(*name, "host" | "none"))
        .map(|name| docker(&["network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", name]));
    let gateways: Vec<String> =
        gateways.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let ways: Vec<String> = addresses
        .split_whitespace()
        .map(str::to_owned)
        .chain(gateways.iter().flat_map(|gateway| [format!("{gateway}:{published}"), format!("{gateway}:1883")]))
        .collect();
    let look = || {
        let mut arguments = vec!["exec", subject.as_str(), "/mqtt-bridge", "probe", "connect"];
        arguments.extend(ways.iter().map(String::as_str));
        let seen = docker(&arguments);
        let open = seen.lines().filter(|line| line.ends_with(" connected"));
        open.map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let open = look();
    assert_eq!(open.len(), 1, "the link and nothing else: {open:?} of {ways:?}");
    replay.until("the fault", |replay| !replay.events("fault_on").is_empty());
    assert_eq!(look(), Vec::<String>::new(), "of {ways:?}");
    assert_eq!(replay.events("doubt"), Vec::<Value>::new());
    replay.signal(libc::SIGINT);
    let ended = replay.end();
    assert_eq!(things(ended.pid), Vec::<String>::new());
}

#[test]
fn ctrl_c_heals_reports_and_leaves_nothing() {
    if !engine("ctrl_c_heals_reports_and_leaves_nothing") {
        return;
    }
    let replay = Replay::text(CUT, &[]);
    replay.until("the fault", |replay| !replay.events("fault_on").is_empty());
    assert!(replay.things().len() >= 7, "{:?}", replay.things());
    let begun = Instant::now();
    replay.signal(libc::SIGINT);
    let ended = replay.end();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let report = ended.report();
    assert_eq!(report["verdict"], "inconclusive");
    assert_eq!(ended.output.status.code(), Some(3), "{}", ended.stderr());
    assert_eq!(things(ended.pid), Vec::<String>::new());
}

/// Two replays at once do not meet; what a killed one leaves is removed, and what belongs to a living one is not.
#[test]
fn what_a_killed_runner_leaves_is_removed_by_clean_and_at_the_next_start() {
    if !engine("what_a_killed_runner_leaves_is_removed_by_clean_and_at_the_next_start") {
        return;
    }
    let (killed, living) = (Replay::text(CUT, &[]), Replay::text(CUT, &[]));
    for replay in [&killed, &living] {
        replay.until("the fault", |replay| !replay.events("fault_on").is_empty());
    }
    killed.signal(libc::SIGKILL);
    let killed = killed.end();
    assert!(!things(killed.pid).is_empty());
    let cleaned = bridge().arg("clean").output().unwrap();
    let said = String::from_utf8_lossy(&cleaned.stdout).into_owned();
    assert!(cleaned.status.success() && said.contains("removed container mqtt-bridge-"), "{said}");
    assert!(said.contains("its replay is running"), "{said}");
    assert_eq!(things(killed.pid), Vec::<String>::new());
    assert!(living.things().len() >= 7, "{:?}", living.things());
    assert_eq!(living.events("doubt"), Vec::<Value>::new());

    living.signal(libc::SIGKILL);
    let living = living.end();
    assert!(!things(living.pid).is_empty());
    // The next start cleans up first; that it has no image is found before anything is started.
    let begun = Instant::now();
    let next = Replay::text(CUT, &["--image", "remote=registry.invalid/nothing:1"]).end();
    let said = next.stderr();
    assert_eq!(next.output.status.code(), Some(4), "{said}");
    assert!(begun.elapsed() < PATIENCE);
    assert!(said.contains("removed what a killed replay had left: container mqtt-bridge-"), "{said}");
    assert!(said.contains("registry.invalid/nothing:1") && said.contains("--image remote=IMAGE"), "{said}");
    assert_eq!(things(living.pid), Vec::<String>::new());
    assert_eq!(things(next.pid), Vec::<String>::new());
}

/// Every fault that the engine does, on both sides.
#[test]
fn processes_and_disks_fail_and_come_back() {
    if !engine("processes_and_disks_fail_and_come_back") {
        return;
    }
    let text = "
load:
  - { topic: a, qos: 1, qps: 50 }
  - { topic: b, qos: 2, qps: 20 }
timeline:
  - { at: 0s, do: publish, for: 34s }
  - { at: 1s, do: pause, for: 2s }
  - { at: 5s, do: stop, on: remote, for: 2s }
  - { at: 10s, do: kill, on: remote }
  - { at: 14s, do: restart }
  - { at: 17s, do: disconnect, on: bridge, for: 2s }
  - { at: 22s, do: fill_disk, for: 2s }
  - { at: 27s, do: pause, on: bridge, for: 1s }
  - { at: 30s, do: restart, on: remote, session: kept }
settle: 30s
";
    let report = Replay::text(text, &[]).end().passes();
    assert_eq!(report["subjects"][0]["timeline"]["faults"].as_array().unwrap().len(), 8);
    assert_eq!(report["subjects"][0]["totals"]["acknowledged"], 2380);
}

/// The faults of the proxy, and with them those of the engine.
#[test]
fn links_fail_in_every_way_and_come_back() {
    if !engine("links_fail_in_every_way_and_come_back") {
        return;
    }
    let text = "
bridge: { ack_timeout: 2s }
load:
  - { topic: a, qos: 1, qps: 50 }
  - { topic: b, qos: 2, qps: 20 }
timeline:
  - { at: 0s, do: publish, for: 30s }
  - { at: 1s, do: reset }
  - { at: 3s, do: refuse, for: 1s }
  - { at: 5s, do: half_open, for: 5s }
  - { at: 12s, do: delay, by: 200ms, for: 2s }
  - { at: 15s, do: throttle, rate: 64kbit, for: 2s }
  - { at: 18s, do: drop_packets, packets: [puback], every: 20, for: 1s }
  - { at: 22s, do: cut, for: 2s }
  - { at: 26s, do: stop, on: remote, for: 1s }
settle: 30s
expect: { out_of_order: any }
";
    let report = Replay::text(text, &[]).end().passes();
    assert_eq!(report["subjects"][0]["timeline"]["faults"].as_array().unwrap().len(), 8);
}

/// What only a kernel does is an error before anything is started.
#[test]
fn loss_is_refused_before_the_start() {
    if !engine("loss_is_refused_before_the_start") {
        return;
    }
    let text = "load:\n  - { topic: a }\ntimeline:\n  - { at: 0s, do: publish, for: 1s }\n  \
        - { at: 0s, do: loss, share: 30%, for: 1s }\n";
    let ended = Replay::text(text, &[]).end();
    assert_eq!(ended.output.status.code(), Some(2));
    assert!(ended.stderr().contains("docker cannot do loss") && ended.stderr().contains("netns"), "{}", ended.stderr());
}

#[test]
fn cut_during_drain_passes() {
    if engine("cut_during_drain_passes") {
        Replay::start(&shipped("cut-during-drain"), &[]).end().passes();
    }
}

#[test]
fn kill_while_offline_passes() {
    if engine("kill_while_offline_passes") {
        Replay::start(&shipped("kill-while-offline"), &[]).end().passes();
    }
}

/// A subject in an image of somebody else's.
#[test]
fn mosquitto_is_a_subject_too() {
    if !engine("mosquitto_is_a_subject_too") {
        return;
    }
    let text = "
subjects: [{ kind: mosquitto }]
load:
  - { topic: a, qos: 1, qps: 20 }
timeline:
  - { at: 0s, do: publish, for: 4s }
  - { at: 1s, do: restart }
settle: 20s
";
    let ended = Replay::text(text, &["--image", &format!("mosquitto={IMAGE}")]).end();
    let report = ended.report();
    assert_eq!(report["subjects"][0]["name"], "mosquitto", "{}", ended.stderr());
    assert_eq!(report["subjects"][0]["doubts"], serde_json::json!([]));
    assert!(report["subjects"][0]["totals"]["delivered"].as_u64() > Some(60), "{report:#}");
    assert_eq!(things(ended.pid), Vec::<String>::new());
}

/// Left open, it is decided within 5 s, and said on the first line; a registry that does not answer included.
#[test]
fn what_is_left_open_is_decided_soon_and_said() {
    if !engine("what_is_left_open_is_decided_soon_and_said") {
        return;
    }
    let text = "load:\n  - { topic: a }\ntimeline:\n  - { at: 0s, do: publish, for: 1s }\n";
    let mut file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let replay = |more: &[&str]| {
        let mut command = bridge();
        command.arg("replay").arg(file.path()).args(["--format", "json"]).args(more);
        let output = command.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (report, said.lines().next().unwrap_or_default().to_owned())
    };
    let begun = Instant::now();
    let (report, first) = replay(&["--image", "remote=registry.invalid/nothing:1"]);
    assert!(begun.elapsed() < Duration::from_secs(15), "5 s for the decision, and the run: {:?}", begun.elapsed());
    assert_eq!(report["environment"], "local");
    assert!(first.starts_with("environment local: "), "{first}");
    assert!(report["because"].as_str().unwrap().contains("registry.invalid/nothing:1"), "{report:#}");
    let (report, first) = replay(&["--image", &format!("remote={IMAGE}")]);
    assert_eq!(report["environment"], "docker");
    assert!(first.starts_with("environment docker: a Docker engine answers"), "{first}");
}
