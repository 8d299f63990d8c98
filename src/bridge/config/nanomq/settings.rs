//! The numbers of a `nanomq.conf` that decide what an outage costs, as they stand there.
use std::collections::BTreeMap;
use std::path::Path;

use super::NanomqError;
use super::hocon::{Object, Value};

/// The keys, without their path; no secret among them. `cache.` stands before those of the cache.
const KEYS: [&str; 10] = [
    "keepalive",
    "backoff_max",
    "clean_start",
    "resend_interval",
    "resend_wait",
    "cancel_timeout",
    "max_send_queue_len",
    "retry_qos_0",
    "disk_cache_size",
    "flush_mem_threshold",
];

/// The settings of a file's bridges, by key; of several bridges the first that has it. `None`: there is no bridge in it.
///
/// # Errors
/// [`NanomqError::Syntax`] where it is no HOCON.
pub fn settings(file: &Path, text: &str) -> Result<Option<BTreeMap<String, String>>, NanomqError> {
    let root = super::parsed(file, text)?;
    let Some(bridges) = object(&root, "bridges").and_then(|bridges| object(bridges, "mqtt")) else { return Ok(None) };
    let mut found = BTreeMap::new();
    for bridge in &bridges.entries {
        let Value::Object(block) = &bridge.node.value else { continue };
        for entry in &block.entries {
            // Parsed by NanoMQ and used nowhere: the bridge's own is the one that counts.
            let unused = bridge.key == "cache" && entry.key == "resend_interval";
            if let Value::Quoted(value) | Value::Bare(value) = &entry.node.value
                && KEYS.contains(&entry.key.as_str())
                && !unused
            {
                found.entry(entry.key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    Ok(Some(found))
}

fn object<'a>(object: &'a Object, key: &str) -> Option<&'a Object> {
    match &object.entries.iter().find(|entry| entry.key == key)?.node.value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_and_no_secret() {
        let text = "bridges.mqtt.a = {\n server = \"mqtt-tcp://h:1\"\n password = \"geheim\"\n resend_interval = 50\n \
                    keepalive = \"3s\"\n}\nbridges.mqtt.cache { flush_mem_threshold = 100, resend_interval = 5000 }\n";
        let found = settings(Path::new("n.conf"), text).unwrap().unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, [("flush_mem_threshold", "100"), ("keepalive", "3s"), ("resend_interval", "50")]);
        assert_eq!(settings(Path::new("n.conf"), "mqtt {}").unwrap(), None);
        assert!(settings(Path::new("n.conf"), "bridges {").is_err());
    }
}
