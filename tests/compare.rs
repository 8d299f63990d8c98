//! `compare`, and the formats of `replay` and `report`, with the real binary on a recorded run.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.

use std::path::Path;

use assert_cmd::Command;

const SCENARIO: &str = "
name: a <short> & silent cut
remote: { broker: built-in }
load:
  - { topic: plant/a|b, qos: 1, qps: 20 }
  - { topic: test2, qos: 2, qps: 20 }
timeline:
  - { at: 0s, do: publish, for: 3s }
  - { at: 1s, do: cut, for: 1s }
settle: 20s
";

/// Exit code, stdout and stderr; never on a terminal.
fn ours(folder: &Path, arguments: &[&str], columns: &str) -> (i32, String, String) {
    let mut command = Command::cargo_bin("mqtt-bridge").unwrap();
    command.current_dir(folder).args(arguments).env_remove("NO_COLOR").env("COLUMNS", columns);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A copy of a run in which five messages never arrived.
fn losing(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("mqtt-bridge")).unwrap();
    std::fs::copy(from.join("plan.json"), to.join("plan.json")).unwrap();
    let history = std::fs::read_to_string(from.join("mqtt-bridge/history.jsonl")).unwrap();
    let is_gone = |line: &&str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["event"] == "received" && record["load"] == 1 && record["seq"].as_u64().unwrap() < 5
    };
    let kept: Vec<&str> = history.lines().filter(|line| !is_gone(line)).collect();
    assert_eq!(history.lines().count() - kept.len(), 5);
    std::fs::write(to.join("mqtt-bridge/history.jsonl"), kept.join("\n") + "\n").unwrap();
}

#[test]
fn a_run_is_reported_in_every_format_and_compared_with_a_worse_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cut.yaml"), SCENARIO).unwrap();
    let replay = ["replay", "cut.yaml", "--environment", "local", "--out", "good", "--format", "junit"];
    let (code, out, error) = ours(folder.path(), &replay, "");
    assert_eq!(code, 0, "{out}{error}");
    let junit = roxmltree::Document::parse(&out).unwrap();
    assert_eq!(junit.root_element().attribute("name"), Some("a <short> & silent cut"));
    assert_eq!(junit.root_element().attribute("failures"), Some("0"));
    losing(&folder.path().join("good"), &folder.path().join("bad"));
    let ours = |arguments: &[&str], columns: &str| ours(folder.path(), arguments, columns);

    let (code, out, _) = ours(&["report", "bad", "--format", "junit"], "");
    let junit = roxmltree::Document::parse(&out).unwrap();
    let failure = junit.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert_eq!((code, failure.parent().unwrap().attribute("name")), (1, Some("lost")), "{out}");
    let (code, out, _) = ours(&["report", "bad", "--format", "markdown"], "");
    assert!(code == 1 && out.contains("| `plant/a\\|b` | 1 | 60 | 60 | 60 | 0 | 0 | 0 |"), "{out}");
    assert!(out.starts_with("## a \\<short\\> &amp; silent cut: FAIL\n"), "{out}");

    for (columns, width) in [("", 80), ("60", 60), ("nonsense", 80)] {
        for arguments in [&["report", "bad"][..], &["compare", "good", "bad"]] {
            let (_, out, _) = ours(arguments, columns);
            let widest = out.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width && !out.contains('\u{1b}'), "{widest} columns: {out}");
        }
    }

    let (code, out, _) = ours(&["compare", "good", "bad"], "");
    assert_eq!(code, 0, "to compare is not to condemn");
    assert!(out.starts_with("WORSE  verdict: FAIL in bad/mqtt-bridge, PASS in good/mqtt-bridge"), "{out}");
    assert!(out.contains("lost: 5 in bad/mqtt-bridge, 0 in good/mqtt-bridge (test2 +5)"), "{out}");
    let failing = ["compare", "--fail-on-regression", "--format", "json"];
    let (code, out, _) = ours(&[&failing[..], &["good", "bad"]].concat(), "");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["differences"][1]["measure"]), (1, &"lost".into()), "{out}");
    assert_eq!(ours(&[&failing[..], &["bad", "good"]].concat(), "").0, 0, "it has become better");
    assert_eq!(ours(&[&failing[..], &["good", "good"]].concat(), "").0, 0);
    let (_, out, _) = ours(&["compare", "good", "bad", "--format", "markdown"], "");
    assert!(out.contains("- **worse**: lost: 5 in bad/mqtt-bridge") && out.contains("| lost | 0 | 5 |"), "{out}");

    let (_, out, _) = ours(&["compare", "good", "bad", "--format", "html"], "");
    assert!(out.starts_with("<!DOCTYPE html>") && out.contains("lost: 5 in bad/mqtt-bridge"), "{out}");

    for (wrong, what) in [(&["good"][..], "holds one subject"), (&["good", "none"], "plan.json: cannot be read")] {
        let (code, _, error) = ours(&[&failing[..], wrong].concat(), "");
        assert!(code == 2 && error.contains(what), "{error}");
    }
}
