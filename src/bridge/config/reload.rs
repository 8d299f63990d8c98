//! What a configuration that is read again changes: what is applied while the bridge runs, and what needs a restart.
use std::collections::BTreeSet;

use serde_json::Value;

use super::Config;

/// What is applied without a restart, as paths in bridge.yaml; `*` is any element of a list.
const APPLIED: [&str; 18] = [
    "bridges.*.ack_timeout",
    "bridges.*.cache_qos0",
    "bridges.*.connect_timeout",
    "bridges.*.drain",
    "bridges.*.forwards",
    "bridges.*.password",
    "bridges.*.password_file",
    "bridges.*.reconnect",
    "bridges.*.subscriptions",
    "bridges.*.username",
    "cache.max_age",
    "cache.max_bytes",
    "cache.max_messages",
    "cache.when_full",
    "listeners.*.max_packet_size",
    "listeners.*.max_queued_bytes",
    "listeners.*.receive_maximum",
    "state_interval",
];

/// One key that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is in force at once, or where it concerns connections from the next one on.
    Applied(String),
    /// It stays as it is until the next start.
    NeedsRestart(String),
}

/// What is different in `new`, in the order of the keys. A key that is unknown here needs a restart.
pub fn changes(running: &Config, new: &Config) -> Vec<Change> {
    let mut found = BTreeSet::new();
    if let (Ok(before), Ok(after)) = (serde_json::to_value(running), serde_json::to_value(new)) {
        compare(&before, &after, "", "", &mut found);
    }
    // Secrets are written as stars, whatever they are.
    for bridge in &new.bridges {
        let former = running.bridges.iter().find(|former| former.name == bridge.name);
        if former.is_some_and(|former| former.password != bridge.password) {
            found.insert(Change::Applied(format!("bridges.{}.password", bridge.name)));
        }
    }
    if found.is_empty() && sorted(running) != sorted(new) {
        found.insert(Change::NeedsRestart("a secret".to_owned()));
    }
    found.into_iter().collect()
}

/// The order of bridges and listeners says nothing.
fn sorted(config: &Config) -> Config {
    let mut config = config.clone();
    config.bridges.sort_by(|one, other| one.name.cmp(&other.name));
    config.listeners.sort_by_key(|listener| listener.bind);
    config
}

/// The running configuration with what is applied of the new one.
pub fn merged(running: &Config, new: &Config) -> Config {
    let mut merged = running.clone();
    for bridge in &mut merged.bridges {
        let Some(new) = new.bridges.iter().find(|new| new.name == bridge.name) else { continue };
        bridge.ack_timeout = new.ack_timeout;
        bridge.cache_qos0 = new.cache_qos0;
        bridge.connect_timeout = new.connect_timeout;
        bridge.drain = new.drain;
        bridge.forwards = new.forwards.clone();
        bridge.password = new.password.clone();
        bridge.password_file = new.password_file.clone();
        bridge.reconnect = new.reconnect;
        bridge.subscriptions = new.subscriptions.clone();
        bridge.username = new.username.clone();
    }
    if let (Some(cache), Some(new)) = (&mut merged.cache, &new.cache) {
        cache.max_age = new.max_age;
        cache.max_bytes = new.max_bytes;
        cache.max_messages = new.max_messages;
        cache.when_full = new.when_full;
    }
    for listener in &mut merged.listeners {
        let Some(new) = new.listeners.iter().find(|new| new.bind == listener.bind) else { continue };
        listener.max_packet_size = new.max_packet_size;
        listener.max_queued_bytes = new.max_queued_bytes;
        listener.receive_maximum = new.receive_maximum;
    }
    merged.state_interval = new.state_interval;
    merged
}

/// `path` names elements of lists, `pattern` has `*` in their place.
fn compare(before: &Value, after: &Value, path: &str, pattern: &str, found: &mut BTreeSet<Change>) {
    if before == after {
        return;
    }
    if APPLIED.contains(&pattern) {
        found.insert(Change::Applied(path.to_owned()));
        return;
    }
    let below = |path: &str, key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
                let (one, other) = (before.get(key).unwrap_or(&Value::Null), after.get(key).unwrap_or(&Value::Null));
                compare(one, other, &below(path, key), &below(pattern, key), found);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let names: BTreeSet<String> = before.iter().chain(after).filter_map(identity).collect();
            if names.is_empty() {
                found.insert(Change::NeedsRestart(path.to_owned()));
            }
            for name in names {
                let of = |list: &[Value]| list.iter().find(|one| identity(one).as_ref() == Some(&name)).cloned();
                match (of(before), of(after)) {
                    (Some(one), Some(other)) => {
                        compare(&one, &other, &below(path, &name), &below(pattern, "*"), found);
                    }
                    (one, _) => {
                        let what = if one.is_some() { "removed" } else { "added" };
                        found.insert(Change::NeedsRestart(format!("{} ({what})", below(path, &name))));
                    }
                }
            }
        }
        _ => {
            found.insert(Change::NeedsRestart(path.to_owned()));
        }
    }
}

/// What tells an element of a list from the others.
fn identity(element: &Value) -> Option<String> {
    ["name", "bind"].into_iter().find_map(|key| Some(element.get(key)?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::yaml::Document;

    const RUNNING: &str = "
listeners: [{ bind: 127.0.0.1:1883 }]
cache: { path: a.db }
bridges:
  - { name: one, server: mqtt://a, client_id: c, username: u, password: p, forwards: [{ local: a }] }
  - { name: two, server: mqtt://b, client_id: c, forwards: [{ local: b }] }
";

    fn config(text: &str) -> Config {
        Config::from_document(&Document::from_text(std::path::Path::new("bridge.yaml"), text)).unwrap()
    }

    fn changed(from: &str, to: &str) -> Vec<Change> {
        assert!(RUNNING.contains(from), "{from}");
        let (running, new) = (config(RUNNING), config(&RUNNING.replace(from, to)));
        let changes = changes(&running, &new);
        // What is applied is in the merged configuration, and what needs a restart is still named the next time.
        let restart = |change: &&Change| matches!(change, Change::NeedsRestart(_));
        let again = super::changes(&merged(&running, &new), &new);
        assert_eq!(again, changes.iter().filter(restart).cloned().collect::<Vec<_>>());
        changes
    }

    #[test]
    fn every_key_that_is_applied_is_merged_and_every_other_is_named() {
        let applied = |key: &str| vec![Change::Applied(key.to_owned())];
        for (from, to, key) in [
            ("{ local: a }", "{ local: a }, { local: c }", "bridges.one.forwards"),
            ("local: b", "local: b, qos: 0", "bridges.two.forwards"),
            ("password: p", "password: other", "bridges.one.password"),
            ("username: u", "username: v", "bridges.one.username"),
            ("client_id: c, forwards", "client_id: c, cache_qos0: true, forwards", "bridges.two.cache_qos0"),
            ("client_id: c, forwards", "client_id: c, ack_timeout: 9s, forwards", "bridges.two.ack_timeout"),
            ("client_id: c, forwards", "client_id: c, connect_timeout: 9s, forwards", "bridges.two.connect_timeout"),
            ("client_id: c, forwards", "client_id: c, drain: { max_rate: 9/s }, forwards", "bridges.two.drain"),
            ("client_id: c, forwards", "client_id: c, reconnect: { max: 9s }, forwards", "bridges.two.reconnect"),
            ("{ local: b }]", "{ local: b }], subscriptions: [{ remote: r }]", "bridges.two.subscriptions"),
            ("path: a.db", "path: a.db, max_age: 1h", "cache.max_age"),
            ("path: a.db", "path: a.db, max_bytes: 1MiB", "cache.max_bytes"),
            ("path: a.db", "path: a.db, max_messages: 7", "cache.max_messages"),
            ("path: a.db", "path: a.db, when_full: block", "cache.when_full"),
            (":1883", ":1883, max_packet_size: 2KiB", "listeners.127.0.0.1:1883.max_packet_size"),
            (":1883", ":1883, max_queued_bytes: 2KiB", "listeners.127.0.0.1:1883.max_queued_bytes"),
            (":1883", ":1883, receive_maximum: 2", "listeners.127.0.0.1:1883.receive_maximum"),
            ("cache:", "state_interval: 1s\ncache:", "state_interval"),
        ] {
            assert_eq!(changed(from, to), applied(key));
        }
        let restart = |key: &str| vec![Change::NeedsRestart(key.to_owned())];
        for (from, to, key) in [
            ("mqtt://b", "mqtt://c", "bridges.two.server"),
            ("path: a.db", "path: b.db", "cache.path"),
            ("client_id: c, forwards", "client_id: c, window: 5, forwards", "bridges.two.window"),
            ("cache:", "metrics: { bind: 127.0.0.1:1 }\ncache:", "metrics"),
        ] {
            assert_eq!(changed(from, to), restart(key));
        }
        assert_eq!(changed(":1883", ":1884").len(), 2, "one listener removed, one added");
        assert_eq!(changed("name: two", "name: three").len(), 2);
        assert_eq!(changed("listeners", "listeners"), []);
    }

    #[test]
    fn the_order_of_bridges_says_nothing() {
        let mut new = config(RUNNING);
        new.bridges.reverse();
        assert_eq!(changes(&config(RUNNING), &new), []);
    }
}
