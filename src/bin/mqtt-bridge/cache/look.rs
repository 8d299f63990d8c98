//! What reads a cache file.
use std::fs::OpenOptions;
use std::io::{BufWriter, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use mqtt_bridge::bridge::cache::sqlite::file::{CacheFile, ExportError, Exported, Row, Selection, Table};
use mqtt_bridge::bridge::units::format_size;
use mqtt_bridge::bridge::wire::ReasonCode;
use serde_json::json;

use super::Format;
use super::print::{age, columns, payload, plain};

/// Damage was found.
const DAMAGED: u8 = 1;
/// Rows that share the widths of their columns.
const BLOCK: usize = 1000;

pub(super) fn stats(path: &Path, format: Format) -> anyhow::Result<u8> {
    let stats = CacheFile::open(path)?.stats()?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json) {
        let bridges = stats.bridges.iter().map(|bridge| {
            let oldest = bridge.oldest.map(|time| time.as_millis() as u64);
            json!({ "bridge": bridge.name, "queued": bridge.queued, "in_flight": bridge.in_flight,
                "quarantined": bridge.quarantined, "bytes": bridge.bytes, "oldest_received_at": oldest })
        });
        let stats = json!({ "in_use": stats.in_use, "schema": stats.version, "file_bytes": stats.file_bytes,
            "wal_bytes": stats.wal_bytes, "free_bytes": stats.free_bytes, "messages": stats.messages,
            "sessions": stats.sessions, "bridges": bridges.collect::<Vec<_>>() });
        writeln!(out, "{stats}")?;
        return Ok(0);
    }
    let heads = ["bridge", "queued", "in flight", "quarantined", "bytes", "oldest"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for bridge in &stats.bridges {
        let numbers = [bridge.queued, bridge.in_flight, bridge.quarantined].map(|number| number.to_string());
        let mut row = vec![plain(&bridge.name)];
        row.extend(numbers);
        row.extend([format_size(bridge.bytes), bridge.oldest.map_or_else(|| "-".to_owned(), age)]);
        rows.push(row);
    }
    write!(out, "{}", columns(&rows, &[1, 2, 3, 4, 5]))?;
    writeln!(
        out,
        "\n{} messages, {} local sessions; {} in the file ({} free), {} in its WAL; {}",
        stats.messages,
        stats.sessions,
        format_size(stats.file_bytes),
        format_size(stats.free_bytes),
        format_size(stats.wal_bytes),
        if stats.in_use { "a bridge runs on it" } else { "not in use" }
    )?;
    Ok(0)
}

pub(super) fn list(path: &Path, selection: &Selection, limit: usize, format: Format) -> anyhow::Result<u8> {
    let file = CacheFile::open(path)?;
    let mut out = BufWriter::new(stdout().lock());
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut written = Ok(());
    if matches!(format, Format::Json) {
        file.list(selection, limit, |row| {
            written = writeln!(out, "{}", json(&row));
            written.is_ok()
        })?;
    } else {
        let heads = ["seq", "bridge", "topic", "QoS", "bytes", "age", "state", "reason"].map(str::to_owned).to_vec();
        let mut rows = vec![heads.clone()];
        file.list(selection, limit, |row| {
            rows.push(cells(&row));
            if rows.len() > BLOCK {
                written = out.write_all(columns(&std::mem::take(&mut rows), &[0, 3, 4, 5]).as_bytes());
            }
            written.is_ok()
        })?;
        if written.is_ok() {
            written = out.write_all(columns(&rows, &[0, 3, 4, 5]).as_bytes());
        }
    }
    written?;
    out.flush()?;
    Ok(0)
}

fn json(row: &Row) -> serde_json::Value {
    json!({ "seq": row.seq.0, "bridge": row.bridge, "topic": row.topic, "qos": row.qos as u8, "bytes": row.bytes,
        "received_at": row.received_at.as_millis() as u64, "state": row.state.label(),
        "reason": row.reason.map(|reason| reason.0), "reason_name": row.reason.map(|reason| reason.to_string()) })
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.seq.0.to_string(),
        plain(&row.bridge),
        plain(&row.topic),
        row.qos.to_string(),
        row.bytes.to_string(),
        age(row.received_at),
        row.state.label().to_owned(),
        row.reason.map(|reason| reason.to_string()).unwrap_or_default(),
    ]
}

pub(super) fn show(path: &Path, seq: i64) -> anyhow::Result<u8> {
    let message = CacheFile::open(path)?.message(seq)?;
    let message = message
        .with_context(|| format!("{}: there is no message {seq}; `cache list` says which there are", path.display()))?;
    let mut out = stdout().lock();
    writeln!(out, "seq         {}", message.seq)?;
    writeln!(out, "topic       {}", plain(&message.topic))?;
    writeln!(out, "QoS         {}{}", message.qos, if message.retain { ", RETAIN" } else { "" })?;
    let received_at = std::time::Duration::from_millis(u64::try_from(message.received_at).unwrap_or_default());
    writeln!(out, "received    {} ms since 1970, {} ago", message.received_at, age(received_at))?;
    if let Some(seconds) = message.message_expiry {
        writeln!(out, "expires     {seconds} s after it was received, unless it has been sent")?;
    }
    if !message.properties.is_empty() {
        writeln!(out, "properties  {} bytes\n{}", message.properties.len(), payload(&message.properties).trim_end())?;
    }
    for delivery in &message.deliveries {
        let reason = delivery.reason.map(|reason| format!(": {}", ReasonCode(reason))).unwrap_or_default();
        let (bridge, topic) = (plain(&delivery.bridge), plain(&delivery.topic));
        writeln!(out, "to          {bridge} as {topic}, QoS {}, {}{reason}", delivery.qos, delivery.state.label())?;
    }
    writeln!(out, "payload     {} bytes\n{}", message.payload.len(), payload(&message.payload).trim_end())?;
    Ok(0)
}

pub(super) fn export(path: &Path, out: Option<&Path>) -> anyhow::Result<u8> {
    let file = CacheFile::open(path)?;
    let exported = match out {
        Some(out) => {
            let named = |error: std::io::Error| anyhow::Error::new(error).context(format!("--out {}", out.display()));
            // Only the owner may read what was published.
            let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(named)?;
            let mut writer = BufWriter::new(target);
            let exported = file.export(&mut writer).map_err(cause)?;
            writer.flush().map_err(named)?;
            writer.get_ref().sync_all().map_err(named)?;
            exported
        }
        None => {
            let mut writer = BufWriter::new(stdout().lock());
            let exported = file.export(&mut writer).map_err(cause)?;
            writer.flush()?;
            exported
        }
    };
    say(&exported);
    anyhow::ensure!(!file.was_taken_meanwhile(), "{}: a bridge was started meanwhile; export again", path.display());
    Ok(if exported.is_complete() { 0 } else { DAMAGED })
}

fn cause(error: ExportError) -> anyhow::Error {
    match error {
        ExportError::Cache(error) => error.into(),
        ExportError::Output(error) => error.into(),
    }
}

fn say(exported: &Exported) {
    eprintln!("{} messages with {} deliveries exported", exported.messages, exported.deliveries);
    if !exported.unreadable.is_empty() {
        eprintln!("{} messages cannot be read: {}", exported.unreadable.len(), some(&exported.unreadable));
    }
    if !exported.gaps.is_empty() {
        eprintln!("nothing can be read of the sequences {}", some(&exported.gaps));
    }
    if !exported.partly.is_empty() {
        eprintln!("these may have gone to one more bridge, which cannot be read: {}", some(&exported.partly));
    }
    if exported.without_delivery > 0 {
        eprintln!(
            "{} of them without a delivery, since where they go cannot be read: `cache import --bridge NAME`",
            exported.without_delivery
        );
    }
}

/// Not all of a million.
fn some(all: &[impl ToString]) -> String {
    let mut text = all.iter().take(20).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if all.len() > 20 {
        text.push_str(", ...");
    }
    text
}

pub(super) fn verify(path: &Path) -> anyhow::Result<u8> {
    let file = CacheFile::open(path)?;
    let report = file.verify()?;
    anyhow::ensure!(!file.was_taken_meanwhile(), "{}: a bridge was started meanwhile; verify again", path.display());
    let mut out = stdout().lock();
    for problem in &report.problems {
        writeln!(out, "damaged: {}", plain(problem))?;
    }
    let row = |table: &Table| {
        let gaps = if table.gaps.is_empty() { "-".to_owned() } else { some(&table.gaps) };
        vec![plain(&table.name), table.readable.to_string(), table.unreadable.to_string(), gaps]
    };
    let heads = ["table", "readable", "unreadable", "unreadable sequences"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(report.tables.iter().map(row)).collect();
    write!(out, "{}", columns(&rows, &[1, 2]))?;
    if report.problems.is_empty() {
        writeln!(out, "\nsound")?;
        return Ok(0);
    }
    writeln!(out, "\nnot sound: `cache export` saves what can be read, `cache import` brings it into a fresh file")?;
    Ok(DAMAGED)
}
