//! What a package brings along besides the program: completions, man pages, and a version that says what it is.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
use std::path::Path;

use assert_cmd::Command;

fn said(arguments: &[&str]) -> String {
    let output = Command::cargo_bin("mqtt-bridge").unwrap().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Subcommands with what stands before them: `cache`, `cache stats`; as `--help` lists them.
fn subcommands(of: &[&str]) -> Vec<Vec<String>> {
    let help = said(&[of, &["--help"]].concat());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Text that goes on stands further to the right.
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    let mut found = Vec::new();
    for name in names.into_iter().filter(|name| *name != "help") {
        let path = [of, &[name]].concat();
        found.push(path.iter().map(|word| (*word).to_owned()).collect());
        found.extend(subcommands(&path));
    }
    found
}

#[test]
fn every_subcommand_has_its_man_page() {
    let folder = tempfile::tempdir().unwrap();
    said(&["man", folder.path().to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(page("mqtt-bridge.1").contains(".SH SYNOPSIS"));
    let all = subcommands(&[]);
    assert!(all.contains(&vec!["run".to_owned()]) && all.contains(&vec!["cache".to_owned(), "stats".to_owned()]));
    for words in all {
        let text = page(&format!("mqtt-bridge-{}.1", words.join("-")));
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{words:?}: {text}");
    }
    for hidden in ["man", "completions", "fault-proxy"] {
        assert!(!Path::new(&folder.path().join(format!("mqtt-bridge-{hidden}.1"))).exists(), "{hidden}");
    }
}

#[test]
fn every_shell_completes_every_subcommand() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        for words in subcommands(&[]) {
            let word = words.last().unwrap();
            assert!(script.contains(word.as_str()), "{shell} does not know {words:?}");
        }
        assert!(script.contains("config"), "{shell} does not know --config");
    }
}

#[test]
fn the_version_names_commit_and_sqlite() {
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(said(&["-V"]), format!("mqtt-bridge {number}\n"));
    let long = said(&["--version"]);
    let rest = long.strip_prefix(&format!("mqtt-bridge {number} (commit ")).expect(&long);
    let (commit, sqlite) = rest.trim_end().split_once(", SQLite ").expect(&long);
    assert!(commit == "unknown" || commit.chars().all(|digit| digit.is_ascii_hexdigit()), "{long}");
    assert!(sqlite.starts_with("3.") && sqlite.ends_with(')'), "{long}");
}
