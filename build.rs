//! Which commit a release is built from, for `--version`: from MQTT_BRIDGE_COMMIT, from git, or unknown (a tarball).
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MQTT_BRIDGE_COMMIT");
    let given = std::env::var("MQTT_BRIDGE_COMMIT").ok().filter(|commit| !commit.is_empty());
    // A debug build does not ask, so that a commit is no reason to build everything again.
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| release.then(from_git).flatten());
    println!("cargo::rustc-env=MQTT_BRIDGE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn from_git() -> Option<String> {
    // Another project's repository around an unpacked tarball is none of ours.
    let root = git(&["rev-parse", "--show-toplevel"])?;
    if std::fs::canonicalize(root).ok()? != std::fs::canonicalize(std::env::var_os("CARGO_MANIFEST_DIR")?).ok()? {
        return None;
    }
    // Grows with every commit, checkout and reset; where it is kept, nothing else need be looked at.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "--short=7", "HEAD"])
}

/// What git answers; `None` without git, or outside of a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !said.trim().is_empty()).then(|| said.trim().to_owned())
}
