//! What NanoMQ itself makes of a `nanomq.conf`: the settings of its send path, with its own defaults, which have no
//! counterpart here. For the laboratory, which predicts what NanoMQ does with them.
use std::path::Path;
use std::time::Duration;

use super::NanomqError;
use super::block::{Block, Wrong};

/// The send path of a broker: its bridges, and the cache that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendPath {
    /// In the order of the file.
    pub bridges: Vec<BridgeSendPath>,
    /// `None`: there is no SQLite.
    pub cache: Option<CacheSettings>,
}

/// One `bridges.mqtt.<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSendPath {
    /// Its name, under which its rows are found again.
    pub name: String,
    /// Host and port of the remote, as they are logged.
    pub server: String,
    /// MQTT version: 4 or 5.
    pub protocol: u8,
    /// Whether the remote forgets the session at each connect.
    pub clean_start: bool,
    /// How long the remote keeps the session after a disconnect; without effect in 3.1.1.
    pub session_expiry: Duration,
    /// `keepalive`.
    pub keep_alive: Duration,
    /// `backoff_max`: a wait that would be longer begins anew with a random one below a second.
    pub backoff_max: Duration,
    /// `retry_qos_0`: whether QoS 0 goes into the cache too.
    pub retry_qos_0: bool,
    /// `max_send_queue_len`: the capacity of `ctx_msgs`; `None` crashes 0.24.6 at the first message that needs it.
    pub max_send_queue_len: Option<usize>,
    /// `resend_interval`: the one tick of the client.
    pub resend_interval: Duration,
    /// `resend_wait`: the age from which an unacknowledged message is sent again.
    pub resend_wait: Duration,
    /// `cancel_timeout`: how long an acknowledgement is waited for.
    pub cancel_timeout: Duration,
    /// Local Topic Filter, and the QoS that it forces, if it does.
    pub forwards: Vec<(String, Option<u8>)>,
    /// Remote Topic Filters.
    pub subscriptions: Vec<String>,
}

/// `bridges.mqtt.cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// `disk_cache_size`, rows.
    pub disk_cache_size: u64,
    /// `flush_mem_threshold`: messages that stand in memory before they are written.
    pub flush_mem_threshold: usize,
}

/// Reads the text of a `nanomq.conf`; `file` is what errors call it.
///
/// # Errors
/// With file, line and key, where the text is no HOCON or a value is not of the type that NanoMQ takes.
pub fn read(file: &Path, text: &str) -> Result<SendPath, NanomqError> {
    let root = super::parsed(file, text)?;
    send_path(Block::root(&root)).map_err(|Wrong { line, key, what }| NanomqError::Wrong {
        file: file.to_owned(),
        line,
        key,
        what,
    })
}

fn send_path(mut root: Block<'_>) -> Result<SendPath, Wrong> {
    let none = "there is no bridges.mqtt.<name>: nothing would be sent to a remote";
    let Some(mut all) = root.block("bridges")? else { return Err(root.place().wrong(none)) };
    let Some(mut mqtt) = all.block("mqtt")? else { return Err(all.place().wrong(none)) };
    let cache = mqtt.block("cache")?.map(cache).transpose()?.flatten();
    let mut bridges = Vec::new();
    for found in mqtt.closed_rest()? {
        if let Some(block) = mqtt.block(found.value)?
            && let Some(bridge) = bridge(found.value, block)?
        {
            bridges.push(bridge);
        }
    }
    if bridges.is_empty() {
        return Err(mqtt.place().wrong(none));
    }
    Ok(SendPath { bridges, cache })
}

/// To NanoMQ a number of 0 is none at all.
fn number(block: &mut Block<'_>, key: &str) -> Result<Option<u64>, Wrong> {
    Ok(block.number(key)?.map(|found| found.value).filter(|value| *value > 0))
}

fn millis(block: &mut Block<'_>, key: &str, default: u64) -> Result<Duration, Wrong> {
    Ok(Duration::from_millis(number(block, key)?.unwrap_or(default)))
}

fn boolean(block: &mut Block<'_>, key: &str, default: bool) -> Result<bool, Wrong> {
    Ok(block.boolean(key)?.map_or(default, |found| found.value))
}

fn cache(mut block: Block<'_>) -> Result<Option<CacheSettings>, Wrong> {
    if !boolean(&mut block, "enable", true)? {
        return Ok(None);
    }
    Ok(Some(CacheSettings {
        disk_cache_size: number(&mut block, "disk_cache_size")?.unwrap_or(102_400),
        flush_mem_threshold: number(&mut block, "flush_mem_threshold")?.unwrap_or(100) as usize,
    }))
}

fn bridge(name: &str, mut block: Block<'_>) -> Result<Option<BridgeSendPath>, Wrong> {
    if !boolean(&mut block, "enable", true)? {
        return Ok(None);
    }
    let server = block.text("server")?.map_or(String::new(), |found| found.value);
    let seconds = |found: Option<super::block::Found<Duration>>, default| {
        found.map_or(Duration::from_secs(default), |found| found.value)
    };
    let keep_alive = seconds(block.duration("keepalive")?, 60);
    let backoff_max = seconds(block.duration("backoff_max")?, 5);
    let session_expiry = match block.block("conn_properties")? {
        Some(mut properties) => number(&mut properties, "session_expiry_interval")?.unwrap_or(0),
        None => 0,
    };
    let resend_interval = millis(&mut block, "resend_interval", 5_000)?;
    Ok(Some(BridgeSendPath {
        name: name.to_owned(),
        server: server.split_once("://").map_or(server.clone(), |(_, rest)| rest.to_owned()),
        protocol: number(&mut block, "proto_ver")?.map_or(4, |version| version.min(5) as u8),
        clean_start: boolean(&mut block, "clean_start", true)?,
        session_expiry: Duration::from_secs(session_expiry),
        keep_alive,
        backoff_max,
        retry_qos_0: boolean(&mut block, "retry_qos_0", false)?,
        max_send_queue_len: number(&mut block, "max_send_queue_len")?.map(|length| length as usize),
        // As NanoMQ has it: beyond ten minutes it takes six.
        resend_interval: match resend_interval.as_secs() {
            ..=600 => resend_interval,
            _ => Duration::from_secs(360),
        },
        resend_wait: millis(&mut block, "resend_wait", 3_000)?,
        cancel_timeout: millis(&mut block, "cancel_timeout", 10_000)?,
        forwards: forwards(&mut block)?,
        subscriptions: subscriptions(&mut block)?,
    }))
}

fn forwards(block: &mut Block<'_>) -> Result<Vec<(String, Option<u8>)>, Wrong> {
    let Some(items) = block.blocks("forwards")? else { return Ok(Vec::new()) };
    let mut forwards = Vec::new();
    for mut item in items.value {
        if let Some(filter) = item.text("local_topic")? {
            // `qos = 0` is no number to it either: such a forward keeps the publisher's QoS.
            let qos = number(&mut item, "qos")?.map(|qos| qos.min(2) as u8);
            forwards.push((filter.value, qos));
        }
    }
    Ok(forwards)
}

fn subscriptions(block: &mut Block<'_>) -> Result<Vec<String>, Wrong> {
    let Some(items) = block.blocks("subscription")? else { return Ok(Vec::new()) };
    let mut filters = Vec::new();
    for mut item in items.value {
        if let Some(filter) = item.text("remote_topic")? {
            filters.push(filter.value);
        }
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_0_24_6() {
        let text = "bridges.mqtt.a { server = \"mqtt-tcp://emqx:1883\"\n forwards = [ { local_topic = \"t/#\" } ] }\n\
                    bridges.mqtt.b { enable = false }\nbridges.mqtt.cache { flush_mem_threshold = 0 }";
        let read = read(Path::new("nanomq.conf"), text).unwrap();
        let expected = BridgeSendPath {
            name: "a".into(),
            server: "emqx:1883".into(),
            protocol: 4,
            clean_start: true,
            session_expiry: Duration::ZERO,
            keep_alive: Duration::from_secs(60),
            backoff_max: Duration::from_secs(5),
            retry_qos_0: false,
            max_send_queue_len: None,
            resend_interval: Duration::from_secs(5),
            resend_wait: Duration::from_secs(3),
            cancel_timeout: Duration::from_secs(10),
            forwards: vec![("t/#".into(), None)],
            subscriptions: vec![],
        };
        assert_eq!(read.bridges, [expected]);
        assert_eq!(read.cache, Some(CacheSettings { disk_cache_size: 102_400, flush_mem_threshold: 100 }));
    }

    #[test]
    fn a_file_without_a_bridge_says_so() {
        let said = read(Path::new("nanomq.conf"), "mqtt { }").unwrap_err().to_string();
        assert!(said.contains("nanomq.conf:1: ") && said.contains("no bridges.mqtt.<name>"), "{said}");
    }
}
