//! Bad input: a clear message with file, line and key, the right exit code, nothing started, nothing changed.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use common::Bridge;

const INVALID: i32 = 2;
const ENVIRONMENT: i32 = 4;

/// Runs the binary; its exit code and what it said on stderr.
fn said(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::cargo_bin("mqtt-bridge").unwrap();
    let output = command.args(arguments).timeout(Duration::from_secs(30)).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

/// `run` must refuse and leave everything as it was.
fn refused(folder: &Path, config: &str) -> (i32, String) {
    let file = folder.join("bridge.yaml");
    std::fs::write(&file, config).unwrap();
    let before = files(folder);
    let answer = said(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(files(folder), before, "nothing on the disk is changed");
    answer
}

#[test]
fn a_wrong_configuration_is_named_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = |lines: &str| {
        format!(
            "listeners:\n  - bind: 127.0.0.1:0\nbridges:\n  - name: b\n    server: mqtt://h:1883\n    client_id: c\n{lines}"
        )
    };
    let cases = [
        (
            bridge("    keepalive: 3s\n"),
            ":7: bridges[0].keepalive: unknown key `keepalive`: did you mean `keep_alive`?",
        ),
        (bridge("    keep_alive: 3\n"), ":7: bridges[0].keep_alive: `3` is not a duration: write a number and one of"),
        (
            bridge("    window: -1\n"),
            ":7: bridges[0].window: invalid type: integer `-1`, expected a whole number from 0 to 65535",
        ),
        (
            bridge("    drain: { max_rate: 500 }\n"),
            ":7: bridges[0].drain.max_rate: `500` is not a rate: write a whole number from 1 to 1000000 and one of /s",
        ),
        (
            bridge("    forwards:\n      - { local: a, when_full: drop }\n"),
            ":8: bridges[0].forwards[0].when_full: unknown value `drop`",
        ),
        (bridge("    window: 0\n"), ":7: bridges[0].window: 0 is too small: at least 1"),
        (bridge("    protocol: 3\n"), ":7: bridges[0].protocol: 3 does not exist: 4 (MQTT 3.1.1) or 5"),
        (
            bridge("    forwards:\n      - { local: a/#/b }\n"),
            ":8: bridges[0].forwards[0]: Topic Filter `a/#/b`: `#` must be the last level",
        ),
        (
            bridge("    forwards:\n      - { local: a, qos: 3 }\n"),
            ":8: bridges[0].forwards[0].qos: QoS 3 does not exist",
        ),
        (bridge("    password: secret\n"), "bridges[0].username: a password needs a username"),
        (
            bridge("    username: u\n    password: '***'\n"),
            ":8: bridges[0].password: `***` is what `check` prints in its place: the password, or password_file",
        ),
        (
            bridge("    forwards:\n      - { local: a/+, strip_levels: 2 }\n"),
            ":8: bridges[0].forwards[0]: strip_levels: 2 leaves nothing of what `a/+` matches",
        ),
        (
            bridge("    forwards:\n      - { local: a/b, remote: c, strip_levels: 1 }\n"),
            ":8: bridges[0].forwards[0]: strip_levels: a topic of its own is given as well",
        ),
        (
            bridge("    forwards:\n      - { local: a/+, suffix: '/#' }\n"),
            ":8: bridges[0].forwards[0]: Topic Name `/#` holds the wildcard `#`",
        ),
        (bridge("    server: mqtts://h\n"), "duplicate"),
        ("listeners: []\n".to_owned(), ":1: listeners: no listener: at least one"),
        ("listener: []\n".to_owned(), ":1: listener: unknown key `listener`: did you mean `listeners`?"),
        ("listeners: [\n".to_owned(), "bridge.yaml"),
    ];
    for (config, expected) in cases {
        let (code, said) = refused(folder.path(), &config);
        assert!(said.contains(expected), "{expected}\nin\n{said}");
        assert!(said.contains("bridge.yaml") && !said.contains("secret"), "{said}");
        assert_eq!(code, INVALID, "{said}");
    }
    let (code, said) = said(&["run", "--config", "no-such-file.yaml"]);
    assert_eq!(code, INVALID);
    assert!(said.contains("no-such-file.yaml: cannot be read"), "{said}");
}

#[test]
fn a_wrong_cache_file_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache.db");
    let config = format!(
        "listeners: [{{ bind: 127.0.0.1:0 }}]\ncache: {{ path: {} }}\nbridges: [{{ name: b, server: mqtt://127.0.0.1:1, \
         client_id: b }}]\n",
        cache.display()
    );
    std::fs::write(&cache, "a shopping list, and a long one at that\n".repeat(100)).unwrap();
    let (code, said) = refused(folder.path(), &config);
    assert_eq!(code, INVALID);
    assert!(said.contains("cache.db: not a cache of mqtt-bridge") && said.contains("move the file away"), "{said}");

    std::fs::remove_file(&cache).unwrap();
    let other = rusqlite::Connection::open(&cache).unwrap();
    other.execute_batch("CREATE TABLE things (name TEXT)").unwrap();
    drop(other);
    let (code, said) = refused(folder.path(), &config);
    assert_eq!(code, INVALID);
    assert!(said.contains("a SQLite database of another program"), "{said}");

    std::fs::remove_file(&cache).unwrap();
    let rest = config.split_once('\n').unwrap().1.to_owned();
    assert!(Bridge::start(folder.path(), &rest).terminate().0.success());
    let newer = rusqlite::Connection::open(&cache).unwrap();
    newer.pragma_update(None, "journal_mode", "delete").unwrap_or(());
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let (code, said) = refused(folder.path(), &config);
    assert_eq!(code, INVALID);
    assert!(said.contains("written by a newer version (schema 99, this one knows 2)"), "{said}");
}

#[test]
fn a_port_that_is_taken_and_a_cache_in_use_are_the_environments_fault() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let cache = format!(
        "cache: {{ path: {} }}\nbridges: [{{ name: b, server: mqtt://127.0.0.1:1, client_id: b }}]\n",
        folder.path().join("cache.db").display()
    );
    let (code, said) = refused(folder.path(), &format!("listeners: [{{ bind: {address} }}]\n{cache}"));
    assert_eq!(code, ENVIRONMENT);
    assert!(said.contains(&format!("listeners[0].bind: {address}: Address already in use")), "{said}");

    let _first = Bridge::start(folder.path(), &cache);
    let (code, said) = refused(folder.path(), &format!("listeners: [{{ bind: 127.0.0.1:0 }}]\n{cache}"));
    assert_eq!(code, ENVIRONMENT);
    assert!(said.contains("cache.db: in use by another process"), "{said}");
}

#[test]
fn check_prints_the_effective_configuration_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    let config = "listeners: [{ bind: 127.0.0.1:0 }]\nbridges:\n  - { name: b, server: mqtt://emqx, client_id: b, \
                  username: u, password: password123, clean_start: true, forwards: [{ local: '#' }] }\n";
    std::fs::write(&file, config).unwrap();
    let mut command = Command::cargo_bin("mqtt-bridge").unwrap();
    let output = command.args(["check", "--config"]).arg(&file).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for expected in
        ["server: mqtt://emqx:1883", "ack_timeout: 20s", "password: '***'", "# warning: bridge b: clean_start"]
    {
        assert!(printed.contains(expected), "{expected}\nin\n{printed}");
    }
    assert!(!printed.contains("password123"), "{printed}");
}

#[test]
fn check_says_what_deferred_commits_mean_and_which_times_make_sense() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    let check = |cache: &str| {
        let config = format!(
            "listeners: [{{ bind: 127.0.0.1:0 }}]\ncache: {{ path: c.db{cache} }}\n\
             bridges: [{{ name: b, server: mqtt://emqx, client_id: b, forwards: [{{ local: '#', qos: 1 }}] }}]\n"
        );
        std::fs::write(&file, config).unwrap();
        let output =
            Command::cargo_bin("mqtt-bridge").unwrap().args(["check", "--config"]).arg(&file).output().unwrap();
        let (printed, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (output.status.code().unwrap(), printed, said)
    };
    let (code, printed, _) = check("");
    assert!(code == 0 && printed.contains("durability: immediate") && !printed.contains("deferred"), "{printed}");
    let (code, printed, _) = check(", durability: deferred, commit_after: 1s");
    assert_eq!(code, 0);
    for expected in
        ["durability: deferred", "commit_after: 1s", "# - flash that wears", "# warning: cache.durability: deferred"]
    {
        assert!(printed.contains(expected), "{expected}\nin\n{printed}");
    }
    for commit_after in ["0s", "1m"] {
        let (code, _, said) = check(&format!(", commit_after: {commit_after}"));
        assert!(code == INVALID && said.contains("cache.commit_after"), "{said}");
    }
}

#[cfg(feature = "lab")]
mod laboratory {
    use super::*;

    #[test]
    fn a_wrong_scenario_is_named_with_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scenario.yaml");
        let scenario = |timeline: &str| {
            format!(
                "name: s\nload:\n  - {{ topic: t, qos: 1, qps: 1 }}\ntimeline:\n  - {{ at: 0s, do: publish, for: 5s }}\n{timeline}"
            )
        };
        let cases = [
            (
                scenario("  - { at: 1s, do: cutt, for: 1s }\n"),
                ":6: timeline[1].do: unknown value `cutt`: did you mean `cut`?",
            ),
            (scenario("  - { at: -1s, do: cut, for: 1s }\n"), ":6: timeline[1].at: "),
            (scenario("  - { at: 1s, do: cut, for: 2s }\n  - { at: 2s, do: reset, for: 2s }\n"), ":7: timeline[2]"),
            (scenario("").replace("qps: 1", "qps: -1"), ":3: load[0].qps"),
            (scenario("speed: 3\n"), ":6: speed: unknown key `speed`"),
            (scenario("subjects:\n  - { kind: mosquito }\n"), ":7: subjects[0].kind"),
        ];
        for (text, expected) in cases {
            std::fs::write(&file, &text).unwrap();
            let (code, said) = said(&["replay", file.to_str().unwrap()]);
            assert!(said.contains(expected), "{expected}\nin\n{said}");
            assert_eq!(code, INVALID, "{said}");
            assert_eq!(files(folder.path()).len(), 1, "nothing is written");
        }
    }

    #[test]
    fn an_unknown_subject_and_an_unknown_environment_are_usage_errors() {
        let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/silent-cut-10s.yaml");
        let (code, text) = said(&["replay", scenario, "--subject", "mosquito"]);
        assert_eq!(code, INVALID);
        assert!(text.contains("did you mean mosquitto"), "{text}");
        assert_eq!(said(&["replay", scenario, "--environment", "mars"]).0, INVALID);
        assert_eq!(said(&["replay", scenario, "--image", "nobody=x"]).0, INVALID);
        assert_eq!(said(&["report", "no-such-folder"]).0, INVALID);
    }

    /// An environment that is named is never replaced by another.
    #[test]
    fn docker_without_an_engine_is_the_environments_fault() {
        let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/silent-cut-10s.yaml");
        for (host, expected) in
            [("ssh://box", "ssh is not spoken here"), ("tcp://127.0.0.1:1", "no Docker engine answers")]
        {
            let mut command = Command::cargo_bin("mqtt-bridge").unwrap();
            let output =
                command.args(["replay", scenario, "--environment", "docker"]).env("DOCKER_HOST", host).output();
            let output = output.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(4), "{said}");
            assert!(said.contains(expected) && said.contains("DOCKER_HOST"), "{said}");
        }
    }

    #[test]
    fn the_shipped_scenarios_are_listed() {
        let output = Command::cargo_bin("mqtt-bridge").unwrap().arg("scenarios").output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let shipped = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
        let names: Vec<String> = shipped
            .filter_map(|entry| {
                entry.unwrap().file_name().into_string().unwrap().strip_suffix(".yaml").map(str::to_owned)
            })
            .collect();
        assert_eq!(listed.lines().count(), names.len());
        for name in names {
            assert!(listed.lines().any(|line| line.starts_with(&name)), "{name} in\n{listed}");
        }
    }
}
