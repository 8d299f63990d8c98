//! The arrows between the folders, and the words that may not stand in the pure core.
#![allow(clippy::unwrap_used)] // A test may.

use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if root.is_dir() {
        walk(&root, &mut found);
    } else {
        found.push((root.clone(), std::fs::read_to_string(root).unwrap()));
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// Lines of code that hold one of the words; comments may say what they like.
fn lines_with(folder: &str, words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    for (path, text) in sources(folder) {
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            if words.iter().any(|word| line.contains(word)) {
                hits.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    hits
}

#[test]
fn the_core_is_pure() {
    let words =
        ["Instant", "SystemTime", "tokio", "rusqlite", "std::net", "std::fs", "std::thread", "tracing::", "crash::"];
    assert_eq!(lines_with("src/bridge/core", &words), Vec::<String>::new());
}

#[test]
fn translating_a_configuration_is_pure() {
    let words =
        ["Instant", "SystemTime", "tokio", "std::fs", "std::env", "tracing::", "core::", "crate::bridge::cache"];
    let hits = lines_with("src/bridge/config/nanomq", &words).into_iter().filter(|hit| !hit.contains("tests.rs"));
    assert_eq!(hits.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_simulation_follows_from_its_seed() {
    let words =
        ["Instant::now", "SystemTime", "tokio", "rusqlite", "std::net", "std::fs", "std::thread", "fastrand::u"];
    let hits = lines_with("src/bridge/sim", &words);
    // How long a run is, and where it begins, is no part of a world.
    let in_worlds: Vec<String> = hits.into_iter().filter(|hit| !hit.contains("src/bridge/sim/mod.rs")).collect();
    assert_eq!(in_worlds, Vec::<String>::new());
}

#[test]
fn the_judging_half_of_the_laboratory_is_pure() {
    let words = ["Instant::now", "SystemTime", "tokio", "std::net", "rumqttc"];
    for folder in [
        "plan.rs",
        "plan",
        "history.rs",
        "identity.rs",
        "schedule.rs",
        "ledger",
        "spec",
        "verdict",
        "report/html",
        "report/compare",
        "findings",
        "log",
        "runner/agenda.rs",
    ] {
        assert_eq!(lines_with(&format!("src/scenario/{folder}"), &words), Vec::<String>::new());
    }
}

#[test]
fn the_model_of_nanomq_is_pure() {
    let words = ["Instant", "SystemTime", "tokio", "rusqlite", "std::net", "std::fs", "fastrand::u", "eprintln"];
    for place in ["subject/nanomq_model", "runner/virtual_time.rs", "prediction"] {
        assert_eq!(lines_with(&format!("src/scenario/{place}"), &words), Vec::<String>::new());
    }
}

#[test]
fn arrows_point_down() {
    // Floor 0 knows nothing above it.
    let above = ["cache::", "listener", "remote::", "supervisor", "metrics::", "hub::"];
    for file in ["message.rs", "topic.rs", "delivery.rs", "units.rs", "yaml.rs", "wire"] {
        let words: Vec<&str> = above.iter().copied().chain(["core::forwarder", "core::client", "scenario"]).collect();
        assert_eq!(lines_with(&format!("src/bridge/{file}"), &words), Vec::<String>::new());
    }
    // The core knows the domain types; the cache knows the core; neither knows a shell.
    let shells = ["bridge::listener", "bridge::remote", "bridge::supervisor", "bridge::metrics", "bridge::hub"];
    let core: Vec<&str> = shells.iter().copied().chain(["bridge::cache::sqlite", "bridge::cache::writer"]).collect();
    assert_eq!(lines_with("src/bridge/core", &core), Vec::<String>::new());
    assert_eq!(lines_with("src/bridge/cache", &shells), Vec::<String>::new());
    assert_eq!(lines_with("src/bridge", &["crate::scenario"]), Vec::<String>::new());
}

#[test]
fn the_laboratory_sees_the_bridge_as_a_process() {
    let inside = ["bridge::core", "bridge::cache", "bridge::listener", "bridge::remote", "bridge::supervisor"];
    assert_eq!(lines_with("src/scenario", &inside), Vec::<String>::new());
}

#[test]
fn only_the_wire_module_knows_the_codec() {
    let outside: Vec<String> = lines_with("src", &["mqtt_protocol_core"])
        .into_iter()
        .filter(|hit| !hit.contains("src/bridge/wire/"))
        .collect();
    assert_eq!(outside, Vec::<String>::new());
}

#[test]
fn a_process_wide_error_type_stands_only_in_the_binary() {
    assert_eq!(lines_with("src/bridge", &["anyhow"]), Vec::<String>::new());
    assert_eq!(lines_with("src/scenario", &["anyhow"]), Vec::<String>::new());
}
