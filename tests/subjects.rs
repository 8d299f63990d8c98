//! Subjects of the user's own: NanoMQ by an executable, and any command. What stands in for them is our own bridge, which
//! reads their files.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::runner::{Options, run};
use mqtt_bridge::scenario::{spec, verdict};

const OWN: &str = env!("CARGO_BIN_EXE_mqtt-bridge");

/// An executable that is called as NanoMQ is, insists on what NanoMQ insists on, and leaves behind what NanoMQ leaves
/// behind.
fn stub(folder: &Path) {
    let path = folder.join("nanomq");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'NanoMQ 0.24.6-stub' && exit\n\
         [ \"$1 $2 $4 $5\" = 'start --conf -n 3' ] || {{ echo \"unknown arguments: $*\"; exit 64; }}\n\
         cd \"$(dirname \"$3\")\" && [ -d cache ] || {{ echo 'no cache folder'; exit 65; }}\n\
         grep -q max_send_queue_len nanomq.conf || {{ echo 'it would crash'; exit 139; }}\n\
         exec '{OWN}' run --config nanomq.conf\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const SCENARIO: &str = "
remote: { broker: built-in }
subjects:
  - { kind: nanomq, binary: nanomq, workers: 3, settings: { resend_wait: 65000 } }
  - { kind: command, name: mine, binary: OWN, config: mine.yaml, arguments: [run, --config, '{{config}}'] }
bridge: { keep_alive: 2s, reconnect: { min: 100ms, max: 500ms } }
load:
  - { topic: a, qos: 1, qps: 40 }
  - { topic: b, qos: 2, qps: 20 }
timeline:
  - { at: 0s, do: publish, for: 6s }
  - { at: 1s, do: cut, for: 3s }
  - { at: 2s, do: kill, for: 500ms }
settle: 20s
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nanomq_by_its_executable_and_a_command_by_its_template_are_examined_as_any_bridge() {
    let folder = tempfile::tempdir().unwrap();
    stub(folder.path());
    let mine = "listeners: [{ bind: '{{listen_host}}:{{listen_port}}' }]\ncache: { path: '{{folder}}/mine.db' }\nbridges:\n  \
        - name: r\n    server: mqtt://{{remote_host}}:{{remote_port}}\n    client_id: mine\n    keep_alive: 2s\n    \
        reconnect: { min: 100ms, max: 500ms }\n    forwards: [{ local: '#' }]\n";
    std::fs::write(folder.path().join("mine.yaml"), mine).unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, SCENARIO.replace("OWN", OWN)).unwrap();
    let plan = spec::read(&Document::read(&file).unwrap(), &[""; 0]).unwrap();
    let outcome = run(&plan, &Options { own: PathBuf::from(OWN), out: None }).await.unwrap();
    let ledgers: Vec<_> = outcome.subjects.into_iter().map(|subject| (subject.name, subject.ledger)).collect();
    let report = verdict::report(&plan, &ledgers);
    let named: Vec<(&str, &str)> =
        report.subjects.iter().map(|subject| (subject.name.as_str(), subject.version.as_str())).collect();
    assert_eq!(named[0], ("nanomq", "nanomq 0.24.6-stub"));
    assert_eq!(named[1].0, "mine");
    for subject in &report.subjects {
        assert_eq!(
            (subject.totals.acknowledged, subject.totals.lost),
            (360, 0),
            "{}: {}",
            subject.name,
            subject.summary
        );
        assert!(!subject.unexpressed.is_empty(), "{}", subject.name);
    }
}
