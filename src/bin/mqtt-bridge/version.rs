//! What `--version` says; `-V` says the number alone.
use std::sync::LazyLock;

/// Number, commit, and the SQLite that is built in.
pub(crate) static LONG: LazyLock<String> = LazyLock::new(|| {
    let (number, commit) = (env!("CARGO_PKG_VERSION"), env!("MQTT_BRIDGE_COMMIT"));
    format!("{number} (commit {commit}, SQLite {})", rusqlite::version())
});
