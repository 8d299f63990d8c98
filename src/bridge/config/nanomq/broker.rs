//! The whole file: the listener, the cache, and which objects are bridges.
use std::net::SocketAddr;
use std::path::PathBuf;

use super::block::{Block, Found, Wrong};
use super::bridge;
use super::note::Sheet;
use super::reasons::{self, note_rest};
use super::secured;
use crate::bridge::config::{CACHE, Cache, Config, Listener};

/// The largest packet that MQTT can carry.
const MAX_PACKET_SIZE: u64 = 268_435_460;

pub(super) fn config(mut root: Block<'_>, sheet: &mut Sheet) -> Result<Config, Wrong> {
    if let Some(found) = root.anything("bridge") {
        let what =
            "the configuration of NanoMQ before 0.14, which is not understood: write bridges.mqtt.<name> { ... }";
        return Err(found.wrong(what));
    }
    let max_packet_size = mqtt(&mut root, sheet)?;
    let mut listeners = listeners(&mut root, sheet)?;
    if let Some(found) = max_packet_size {
        sheet.origin("listeners[0].max_packet_size", &found);
        listeners.iter_mut().for_each(|listener| listener.max_packet_size = found.value);
    }
    auth(&mut root, sheet)?;
    let (bridges, cache) = bridges(&mut root, sheet)?;
    let read = ["mqtt", "listeners", "auth", "bridges"];
    note_rest(&root, reasons::FILE, &read, sheet)?;
    Ok(Config { listeners, cache, bridges, ..Config::default() })
}

fn mqtt(root: &mut Block<'_>, sheet: &mut Sheet) -> Result<Option<Found<u64>>, Wrong> {
    let Some(mut mqtt) = root.block("mqtt")? else { return Ok(None) };
    let mut size = mqtt.size("max_packet_size")?;
    if let Some(found) = &mut size {
        found.value = found.value.min(MAX_PACKET_SIZE);
        sheet.mapped(found, "listeners[].max_packet_size");
    }
    note_rest(&mqtt, reasons::MQTT, &["max_packet_size"], sheet)?;
    Ok(size)
}

fn listeners(root: &mut Block<'_>, sheet: &mut Sheet) -> Result<Vec<Listener>, Wrong> {
    let everywhere = Listener::at(SocketAddr::from(([0, 0, 0, 0], 1883)));
    let Some(mut listeners) = root.block("listeners")? else {
        sheet.different(root.place(), "no listeners.tcp: NanoMQ's default, 0.0.0.0:1883, is listeners[0].bind");
        return Ok(vec![everywhere]);
    };
    let mut all = Vec::new();
    if let Some(mut block) = listeners.block("tcp")? {
        all.extend(tcp(&mut block, everywhere, sheet)?);
    }
    secured::listeners(&mut listeners, &mut all, sheet)?;
    if all.is_empty() {
        let none = "there is no listener for local clients: write tcp { bind = \"0.0.0.0:1883\" }";
        return Err(listeners.place().wrong(none));
    }
    note_rest(&listeners, reasons::LISTENERS, &["tcp", "ssl", "ws", "wss"], sheet)?;
    Ok(all)
}

/// `None`: it is not enabled.
fn tcp(tcp: &mut Block<'_>, everywhere: Listener, sheet: &mut Sheet) -> Result<Option<Listener>, Wrong> {
    if let Some(enable) = tcp.boolean("enable")?.filter(|enable| !enable.value) {
        sheet.mapped(&enable, "the listener is left out");
        return Ok(None);
    }
    let listener = match tcp.text("bind")? {
        Some(bind) => {
            let plain = bind.value.trim_start_matches("nmq-tcp://").replace("localhost", "127.0.0.1");
            let address =
                plain.parse().map_err(|_| bind.wrong("an address and a port are expected, as in \"0.0.0.0:1883\""))?;
            sheet.origin("listeners[0]", &bind);
            sheet.mapped(&bind, "listeners[0].bind");
            Listener::at(address)
        }
        None => {
            sheet.different(tcp.place(), "no bind: NanoMQ's default, 0.0.0.0:1883, is listeners[0].bind");
            everywhere
        }
    };
    note_rest(tcp, &[], &["bind", "enable"], sheet)?;
    Ok(Some(listener))
}

/// Whoever needs a password today must not find the door open tomorrow without a word.
fn auth(root: &mut Block<'_>, sheet: &mut Sheet) -> Result<(), Wrong> {
    let Some(mut auth) = root.block("auth")? else { return Ok(()) };
    if let Some(anonymous) = auth.boolean("allow_anonymous")? {
        if !anonymous.value {
            let what = "false cannot be honoured, accounts are not taken from here and every client would be let in: \
                        write a bridge.yaml with `accounts`, or bind listeners.tcp to an address that only trusted \
                        clients reach, and write true";
            return Err(anonymous.wrong(what));
        }
        sheet.ignored(&anonymous, "ours lets every client in");
    }
    if let Some(no_match) = auth.text("no_match")? {
        if no_match.value.eq_ignore_ascii_case("allow") {
            sheet.ignored(&no_match, "ours allows every topic");
        } else {
            sheet.different(
                &no_match,
                "not honoured: every client may use every topic; `access` of a bridge.yaml has rules",
            );
        }
    }
    note_rest(&auth, reasons::AUTH, &["allow_anonymous"], sheet)
}

type Bridges = (Vec<crate::bridge::config::Bridge>, Option<Cache>);

fn bridges(root: &mut Block<'_>, sheet: &mut Sheet) -> Result<Bridges, Wrong> {
    let none = "no bridges.mqtt.<name>: a small broker, nothing goes to a remote";
    let Some(mut all) = root.block("bridges")? else {
        sheet.different(root.place(), none);
        return Ok((Vec::new(), None));
    };
    let Some(mut mqtt) = all.block("mqtt")? else {
        sheet.different(all.place(), none);
        note_rest(&all, reasons::BRIDGES, &["mqtt"], sheet)?;
        return Ok((Vec::new(), None));
    };
    if let Some(nodes) = mqtt.anything("nodes") {
        let what =
            "the configuration of NanoMQ 0.14 to 0.18, which is not understood: write bridges.mqtt.<name> { ... }";
        return Err(nodes.wrong(what));
    }
    let cache = mqtt.block("cache")?;
    let mut bridges = Vec::new();
    for found in mqtt.closed_rest()? {
        if let Some(block) = mqtt.block(found.value)?
            && let Some(bridge) = bridge::bridge(found.value, block, bridges.len(), sheet)?
        {
            bridges.push(bridge);
        }
    }
    note_rest(&all, reasons::BRIDGES, &["mqtt"], sheet)?;
    let cache = match cache {
        Some(block) => cached(block, sheet)?,
        None => {
            let what = "no cache: NanoMQ would keep what waits in memory; ours always keeps it on disk, here in ./mqtt-bridge.db";
            sheet.different(mqtt.place(), what);
            Cache::at(CACHE)
        }
    };
    if bridges.is_empty() {
        sheet.different(mqtt.place(), none);
        return Ok((bridges, None));
    }
    Ok((bridges, Some(cache)))
}

fn cached(mut block: Block<'_>, sheet: &mut Sheet) -> Result<Cache, Wrong> {
    sheet.origin("cache", block.place());
    let mut cache = Cache::at(CACHE);
    match block.boolean("enable")? {
        Some(enable) if !enable.value => sheet.different(&enable, "not honoured: ours always keeps on disk what waits"),
        Some(enable) => sheet.ignored(&enable, "ours always keeps on disk what waits"),
        None => {}
    }
    if let Some(folder) = block.text("mounted_file_path")? {
        cache.path = PathBuf::from(&folder.value).join(CACHE);
        sheet.mapped(&folder, format!("cache.path: {}", cache.path.display()));
        let what = "what waits in NanoMQ's mqtt_client.db in this folder is not taken over by itself: \
                    `mqtt-bridge cache import` brings it into ours";
        sheet.different(&folder, what);
    }
    if let Some(rows) = block.number("disk_cache_size")? {
        // To NanoMQ 0 means its default.
        if rows.value > 0 {
            sheet.origin("cache.max_messages", &rows);
            cache.max_messages = rows.value;
        }
        sheet.mapped(&rows, format!("cache.max_messages: {}, of each bridge", cache.max_messages));
        let what = "when it is full NanoMQ deletes the oldest, of any bridge; ours refuses the publish, and its publisher \
                    keeps it (cache.when_full: drop_oldest for the other)";
        sheet.different(&rows, what);
    }
    note_rest(&block, reasons::CACHE, &["enable", "mounted_file_path", "disk_cache_size"], sheet)?;
    Ok(cache)
}
