//! One `bridges.mqtt.<name>`.
use std::time::Duration;

use super::block::{Block, Found, Wrong};
use super::note::Sheet;
use super::reasons::{self, note_rest};
use super::{secured, topics};
use crate::bridge::config::{Bridge, Server};

const READ: &[&str] = &[
    "server",
    "enable",
    "proto_ver",
    "clientid",
    "clean_start",
    "keepalive",
    "backoff_max",
    "username",
    "password",
    "retry_qos_0",
    "transparent",
    "hybrid_bridging",
    "ssl",
    "tcp",
    "conn_properties",
    "forwards",
    "subscription",
];

/// `None`: it is not enabled. `index` is its place in bridge.yaml.
pub(super) fn bridge(
    name: &str,
    mut block: Block<'_>,
    index: usize,
    sheet: &mut Sheet,
) -> Result<Option<Bridge>, Wrong> {
    if let Some(enable) = block.boolean("enable")? {
        if !enable.value {
            sheet.mapped(&enable, "the bridge is left out");
            return Ok(None);
        }
        sheet.mapped(&enable, "the bridge is there");
    }
    let key = format!("bridges[{index}]");
    sheet.origin(&key, block.place());
    let mut bridge = connection(name, &key, &mut block, sheet)?;
    session(&mut bridge, &key, &mut block, sheet)?;
    traffic(&mut bridge, &mut block, sheet)?;
    bridge.forwards = topics::forwards(&mut block, &key, sheet)?;
    bridge.subscriptions = topics::subscriptions(&mut block, &key, sheet)?;
    note_rest(&block, reasons::BRIDGE, READ, sheet)?;
    Ok(Some(bridge))
}

fn server(found: &Found<String>) -> Result<Server, Wrong> {
    let Some((scheme, rest)) = found.value.split_once("://") else {
        return Err(found.wrong("a URL is expected, as in \"mqtt-tcp://emqx:1883\""));
    };
    let scheme = match scheme {
        "mqtt-tcp" | "mqtt" | "tcp" => "mqtt",
        "mqtts" | "ssl" => "mqtts",
        _ if scheme.starts_with("tls") => "mqtts",
        "ws" | "wss" => scheme,
        "mqtt-quic" => {
            let what = "QUIC is not available: \"tls+mqtt-tcp://host:port\" for TLS";
            return Err(found.wrong(what));
        }
        _ => {
            return Err(found.wrong(
                "an unknown kind of URL: \"mqtt-tcp://host:port\" or \"tls+mqtt-tcp://host:port\" is expected",
            ));
        }
    };
    let wrong = |_| found.wrong("host and port are expected, as in \"mqtt-tcp://emqx:1883\"");
    Server::try_from(format!("{scheme}://{rest}")).map_err(wrong)
}

fn connection(name: &str, key: &str, block: &mut Block<'_>, sheet: &mut Sheet) -> Result<Bridge, Wrong> {
    let Some(url) = block.text("server")? else {
        return Err(block.place().wrong("no server: write server = \"mqtt-tcp://host:port\""));
    };
    let server = server(&url)?;
    sheet.origin(format!("{key}.server"), &url);
    sheet.mapped(&url, format!("server: {server}"));
    let tls = secured::remote(block, &url.with(server.clone()), key, sheet)?;
    let Some(client_id) = block.text("clientid")? else {
        let what = "no clientid: NanoMQ takes a random one at each start, but the remote keeps the session, and with it what \
                    is exactly once, under a lasting one: write one that no other client of this remote has";
        return Err(block.place().wrong(what));
    };
    sheet.origin(format!("{key}.client_id"), &client_id);
    sheet.mapped(&client_id, "client_id");
    let mut bridge = Bridge::new(name, server, client_id.value);
    bridge.tls = tls;
    match block.number("proto_ver")? {
        Some(version) if version.value == 3 => {
            return Err(version.wrong("MQTT 3.1 is not spoken: write 4 (MQTT 3.1.1), which its remotes take, or 5"));
        }
        Some(version) => {
            sheet.origin(format!("{key}.protocol"), &version);
            bridge.protocol = version.value.try_into().unwrap_or(u8::MAX);
            sheet.mapped(&version, format!("protocol: {}", bridge.protocol));
        }
        None => bridge.protocol = 4,
    }
    if let Some(keep_alive) = block.duration("keepalive")? {
        sheet.origin(format!("{key}.keep_alive"), &keep_alive);
        sheet.mapped(&keep_alive, "keep_alive; a dead connection is noticed after 1.5 times this");
        bridge.keep_alive = keep_alive.value;
    }
    if let Some(longest) = block.duration("backoff_max")? {
        sheet.origin(format!("{key}.reconnect"), &longest);
        sheet.mapped(&longest, "reconnect.max");
        bridge.reconnect.max = longest.value;
    }
    for (from, to) in [("username", "username"), ("password", "password")] {
        let Some(found) = block.text(from)? else { continue };
        sheet.origin(format!("{key}.{to}"), &found);
        sheet.mapped(&found, to);
        match to {
            "username" => bridge.username = Some(found.value),
            _ => bridge.password = Some(found.value.into()),
        }
    }
    Ok(bridge)
}

/// How long the remote knows us, and what we know of each other.
fn session(bridge: &mut Bridge, key: &str, block: &mut Block<'_>, sheet: &mut Sheet) -> Result<(), Wrong> {
    match block.boolean("clean_start")? {
        Some(found) => {
            bridge.clean_start = found.value;
            sheet.mapped(&found, format!("clean_start: {}", found.value));
        }
        None => {
            bridge.clean_start = true;
            let what = "no clean_start: NanoMQ's default is true, and so it is here: at each connect the remote forgets what \
                        it had; `clean_start = false` keeps QoS 2 exactly once";
            sheet.different(block.place(), what);
        }
    }
    let mut expiry = None;
    if let Some(mut properties) = block.block("conn_properties")? {
        expiry = properties.number("session_expiry_interval")?;
        if let Some(maximum) = properties.number("receive_maximum")? {
            receive_maximum(bridge, key, &maximum, sheet);
        }
        note_rest(&properties, reasons::CONNECT, &["session_expiry_interval", "receive_maximum"], sheet)?;
    }
    match expiry {
        Some(found) if bridge.protocol == 4 => sheet.ignored(&found, "MQTT 3.1.1 has no Session Expiry Interval"),
        Some(found) if found.value > u32::MAX.into() => {
            return Err(found.wrong("at most 4294967295 (seconds), which means: never"));
        }
        Some(found) => {
            bridge.session_expiry = Duration::from_secs(found.value);
            sheet.mapped(&found, "session_expiry");
        }
        None if bridge.protocol != 5 => {}
        None if bridge.clean_start => bridge.session_expiry = Duration::ZERO,
        None => {
            let what = "no conn_properties.session_expiry_interval: by NanoMQ's default, 0, the remote would forget the session \
                        at each cut, in spite of clean_start = false; ours asks it to keep it for session_expiry, 7d";
            sheet.different(block.place(), what);
        }
    }
    Ok(())
}

fn receive_maximum(bridge: &mut Bridge, key: &str, maximum: &Found<u64>, sheet: &mut Sheet) {
    if bridge.protocol == 4 {
        return sheet.ignored(maximum, "MQTT 3.1.1 has no Receive Maximum");
    }
    match u16::try_from(maximum.value) {
        Ok(value) if value < bridge.window => {
            bridge.window = value;
            sheet.origin(format!("{key}.window"), maximum);
            sheet.mapped(maximum, format!("window: {value}, in both directions"));
        }
        _ => sheet.ignored(maximum, format!("ours takes `window` messages at a time, {}", bridge.window)),
    }
}

fn traffic(bridge: &mut Bridge, block: &mut Block<'_>, sheet: &mut Sheet) -> Result<(), Wrong> {
    if let Some(cached) = block.boolean("retry_qos_0")? {
        bridge.cache_qos0 = cached.value;
        sheet.mapped(&cached, format!("cache_qos0: {}", cached.value));
    }
    if let Some(tcp) = block.block("tcp")? {
        note_rest(&tcp, reasons::TCP, &["enable"], sheet)?;
    }
    if let Some(transparent) = block.boolean("transparent")? {
        if transparent.value {
            let what = "true cannot be honoured, what local clients subscribe to does not go up: write `subscription` rules for \
                        what they need, and false";
            return Err(transparent.wrong(what));
        }
        sheet.ignored(&transparent, "false, here as well");
    }
    if let Some(hybrid) = block.boolean("hybrid_bridging")? {
        if hybrid.value {
            sheet.different(&hybrid, "not honoured: there is no QUIC to switch to, the server is reached over TCP");
        } else {
            sheet.ignored(&hybrid, "false, here as well");
        }
    }
    Ok(())
}
