//! What reads a cache file.
use std::fs::OpenOptions;
use std::io::{BufWriter, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mqtt_bridge::bridge::cache::sqlite::file::{
    ExportError, Exported, Row, Selection, Sizes, Stats, Table, export as write_export, open_any,
};
use mqtt_bridge::bridge::delivery::Time;
use serde_json::json;

use super::print::{age, columns, plain, size};
use super::{DAMAGED, Format};

/// Rows that share the widths of their columns.
const BLOCK: usize = 1000;

pub(super) fn stats(path: &Path, format: Format, most: usize) -> anyhow::Result<u8> {
    let stats = open_any(path)?.stats()?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json) {
        writeln!(out, "{}", stats_json(&stats))?;
        return Ok(if stats.unreadable == 0 { 0 } else { DAMAGED });
    }
    let heads = ["bridge", "queued", "in flight", "quarantined", "bytes", "oldest"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for bridge in &stats.bridges {
        let numbers = [bridge.queued, bridge.in_flight, bridge.quarantined];
        rows.push(counted(vec![plain(&bridge.name)], numbers, bridge.bytes, bridge.oldest));
    }
    write!(out, "{}", columns(&rows, &[1, 2, 3, 4, 5]))?;
    let heads = ["bridge", "topic", "queued", "in flight", "quarantined", "bytes", "oldest"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let most = if most == 0 { usize::MAX } else { most };
    for topic in stats.topics.iter().take(most) {
        let numbers = [topic.queued, topic.in_flight, topic.quarantined];
        rows.push(counted(vec![plain(&topic.bridge), plain(&topic.topic)], numbers, topic.bytes, topic.oldest));
    }
    if rows.len() > 1 {
        write!(out, "\n{}", columns(&rows, &[2, 3, 4, 5, 6]))?;
    }
    if stats.topics.len() > most {
        writeln!(out, "and {} more topics; --topics 0 shows all", stats.topics.len() - most)?;
    }
    let Sizes { file_bytes, wal_bytes, page_size, pages, free_pages } = stats.sizes;
    let (free, page) = (size(free_pages * page_size), size(page_size));
    let whose = match (stats.nanomq, stats.in_use) {
        (false, false) => "not in use",
        (false, true) => "a bridge runs on it",
        (true, false) => "NanoMQ's, not in use",
        (true, true) => "NanoMQ's, which runs on it",
    };
    writeln!(out, "\n{} messages, {} local sessions; {whose}", stats.messages, stats.sessions)?;
    let (file, wal) = (size(file_bytes), size(wal_bytes));
    writeln!(out, "{file} in the file ({pages} pages of {page}, {free_pages} of them free: {free}), {wal} in its WAL")?;
    if stats.unreadable > 0 {
        writeln!(out, "{} rows cannot be read and are not counted; `cache verify` names them", stats.unreadable)?;
        return Ok(DAMAGED);
    }
    Ok(0)
}

fn stats_json(stats: &Stats) -> serde_json::Value {
    let millis = |time: Option<Time>| time.map(|time| time.as_millis() as u64);
    let bridges = stats.bridges.iter().map(|bridge| {
        json!({ "bridge": bridge.name, "queued": bridge.queued, "in_flight": bridge.in_flight,
            "quarantined": bridge.quarantined, "bytes": bridge.bytes, "oldest_received_at": millis(bridge.oldest) })
    });
    let topics = stats.topics.iter().map(|topic| {
        json!({ "bridge": topic.bridge, "topic": topic.topic, "queued": topic.queued, "in_flight": topic.in_flight,
            "quarantined": topic.quarantined, "bytes": topic.bytes, "oldest_received_at": millis(topic.oldest) })
    });
    let Sizes { file_bytes, wal_bytes, page_size, pages, free_pages } = stats.sizes;
    json!({ "kind": if stats.nanomq { "nanomq" } else { "mqtt-bridge" }, "in_use": stats.in_use,
        "schema": stats.version, "file_bytes": file_bytes, "wal_bytes": wal_bytes, "page_size": page_size,
        "pages": pages, "free_pages": free_pages, "free_bytes": free_pages * page_size, "messages": stats.messages,
        "sessions": stats.sessions, "unreadable": stats.unreadable, "bridges": bridges.collect::<Vec<_>>(),
        "topics": topics.collect::<Vec<_>>() })
}

fn counted(mut row: Vec<String>, numbers: [u64; 3], bytes: u64, oldest: Option<Time>) -> Vec<String> {
    row.extend(numbers.map(|number| number.to_string()));
    row.extend([size(bytes), oldest.map_or_else(|| "-".to_owned(), age)]);
    row
}

pub(super) fn list(path: &Path, selection: &Selection, limit: usize, format: Format) -> anyhow::Result<u8> {
    let file = open_any(path)?;
    let mut out = BufWriter::new(stdout().lock());
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut written = Ok(());
    let unreadable = if matches!(format, Format::Json) {
        file.list(selection, limit, &mut |row| {
            written = writeln!(out, "{}", json(&row));
            written.is_ok()
        })?
    } else {
        let heads = ["ID", "bridge", "topic", "QoS", "bytes", "age", "state", "reason"].map(str::to_owned).to_vec();
        let mut rows = vec![heads];
        let unreadable = file.list(selection, limit, &mut |row| {
            rows.push(cells(&row));
            if rows.len() > BLOCK {
                written = out.write_all(columns(&std::mem::take(&mut rows), &[0, 3, 4, 5]).as_bytes());
            }
            written.is_ok()
        })?;
        if written.is_ok() {
            written = out.write_all(columns(&rows, &[0, 3, 4, 5]).as_bytes());
        }
        unreadable
    };
    written?;
    out.flush()?;
    if unreadable > 0 {
        eprintln!("{unreadable} rows cannot be read and were passed over; `cache verify` names them");
        return Ok(DAMAGED);
    }
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

pub(super) fn export(path: &Path, out: Option<&Path>) -> anyhow::Result<u8> {
    let file = open_any(path)?;
    let exported = match out {
        Some(out) => {
            let named = |error: std::io::Error| anyhow::Error::new(error).context(format!("--out {}", out.display()));
            // Only the owner may read what was published.
            let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(named)?;
            let mut writer = BufWriter::new(target);
            let exported = write_export(file.as_ref(), &mut writer).map_err(cause)?;
            writer.flush().map_err(named)?;
            writer.get_ref().sync_all().map_err(named)?;
            exported
        }
        None => {
            let mut writer = BufWriter::new(stdout().lock());
            let exported = write_export(file.as_ref(), &mut writer).map_err(cause)?;
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
    say_damage(exported);
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

/// What is missing in what was read.
pub(super) fn say_damage(exported: &Exported) {
    if !exported.unreadable.is_empty() {
        eprintln!("{} messages cannot be read: {}", exported.unreadable.len(), some(&exported.unreadable));
    }
    if !exported.gaps.is_empty() {
        eprintln!("nothing can be read of the sequences {}", some(&exported.gaps));
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
    let file = open_any(path)?;
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
    let next = if file.is_nanomq() {
        "`cache import` brings what can be read into a cache of ours"
    } else {
        "`cache export` saves what can be read, `cache import` brings it into a fresh file"
    };
    writeln!(out, "\nnot sound: {next}")?;
    Ok(DAMAGED)
}
