//! `mqtt-bridge cache import`: from an export, from NanoMQ's file, or from another cache.
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::path::Path;

use anyhow::Context;
use mqtt_bridge::bridge::cache::Cache;
use mqtt_bridge::bridge::cache::sqlite::Sqlite;
use mqtt_bridge::bridge::cache::sqlite::file::route::{NAMELESS, route};
use mqtt_bridge::bridge::cache::sqlite::file::{CacheFile, ImportError, Imported, open_any};
use mqtt_bridge::bridge::config::Synchronous;

use super::DAMAGED;
use super::change::stopped;
use super::look::say_damage;

/// What a SQLite database begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

pub(super) fn import(path: &Path, source: Option<&Path>, bridges: &[String]) -> anyhow::Result<u8> {
    match source.filter(|source| *source != Path::new("-")) {
        Some(source) => {
            let named = |error: std::io::Error| anyhow::Error::new(error).context(source.display().to_string());
            let mut lines = BufReader::new(File::open(source).map_err(named)?);
            if lines.fill_buf().map_err(named)?.starts_with(SQLITE) {
                // Before SQLite opens it: to close a file gives up its locks.
                drop(lines);
                return from_database(path, source, bridges);
            }
            from_lines(path, lines, bridges)
        }
        None => {
            anyhow::ensure!(
                !stdin().is_terminal(),
                "import: from where? SOURCE names an export, NanoMQ's mqtt_client.db or another cache; without it an \
                 export is read from stdin"
            );
            from_lines(path, stdin().lock(), bridges)
        }
    }
}

fn from_lines(path: &Path, lines: impl BufRead, bridges: &[String]) -> anyhow::Result<u8> {
    let fallback = match bridges {
        [] => None,
        [name] if !name.contains('=') => Some(name.as_str()),
        _ => anyhow::bail!("--bridge: of an export every message says where it goes; one NAME for those that do not"),
    };
    let mut cache = Sqlite::open(path, Synchronous::Full).map_err(|error| stopped("import", error))?;
    let imported = cache.import(lines, fallback).map_err(cause)?;
    cache.close()?;
    say(&imported);
    Ok(0)
}

fn from_database(path: &Path, source: &Path, bridges: &[String]) -> anyhow::Result<u8> {
    let file = open_any(source)?;
    anyhow::ensure!(!file.is_in_use(), InUse(source.display().to_string()));
    let stats = file.stats()?;
    let count = |bridge: &mqtt_bridge::bridge::cache::sqlite::file::BridgeStats| {
        (bridge.name.clone(), bridge.queued + bridge.in_flight + bridge.quarantined)
    };
    let waiting: Vec<_> = stats.bridges.iter().map(count).filter(|(_, messages)| *messages > 0).collect();
    // A file that is not there yet is created below, once it is clear what comes into it.
    let known = if path.exists() { CacheFile::open(path)?.bridges()? } else { Vec::new() };
    let routes = route(&waiting, &known, bridges).with_context(|| source.display().to_string())?;
    let mut cache = Sqlite::open(path, Synchronous::Full).map_err(|error| stopped("import", error))?;
    let (imported, exported) = cache.import_from(file.as_ref(), &routes).map_err(cause)?;
    cache.close()?;
    for (from, to) in &routes {
        let of = waiting.iter().find(|(name, _)| name == from).map_or(0, |(_, messages)| *messages);
        let from = if from == NAMELESS { "a bridge that it does not name" } else { from };
        eprintln!("{of} deliveries of {from} go to bridge {to}");
        if !known.contains(to) {
            eprintln!("bridge {to} is new to this cache: bridge.yaml must have one of that name to deliver them");
        }
    }
    say(&imported);
    say_damage(&exported);
    anyhow::ensure!(!file.was_taken_meanwhile(), InUse(source.display().to_string()));
    Ok(if exported.unreadable.is_empty() && exported.gaps.is_empty() { 0 } else { DAMAGED })
}

/// A program still sends what is to be imported.
#[derive(Debug, thiserror::Error)]
#[error("{0}: in use by a bridge, which would send what is imported as well: stop it first")]
pub(crate) struct InUse(String);

fn cause(error: ImportError) -> anyhow::Error {
    match error {
        ImportError::Cache(error) => error.into(),
        ImportError::Input(error) => error.into(),
        error => anyhow::Error::new(error),
    }
}

fn say(imported: &Imported) {
    eprintln!("{} messages with {} deliveries imported", imported.messages, imported.deliveries);
    if imported.requeued > 0 {
        eprintln!("{} had been in flight and are queued: the remote may get them twice", imported.requeued);
    }
    if imported.left_out > 0 {
        eprintln!("{} deliveries left out, which no --bridge names", imported.left_out);
    }
}
