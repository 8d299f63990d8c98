//! What changes a cache file that no bridge uses.
use std::io::{BufReader, stdin};
use std::path::Path;

use mqtt_bridge::bridge::cache::Cache;
use mqtt_bridge::bridge::cache::sqlite::Sqlite;
use mqtt_bridge::bridge::cache::sqlite::file::{CacheFile, ImportError, Selection, State};
use mqtt_bridge::bridge::config::Synchronous;

pub(super) fn import(path: &Path, fallback: Option<&str>) -> anyhow::Result<u8> {
    let mut cache = Sqlite::open(path, Synchronous::Full)?;
    let imported = cache.import(BufReader::new(stdin().lock()), fallback).map_err(|error| match error {
        ImportError::Cache(error) => error.into(),
        ImportError::Input(error) => error.into(),
        error @ ImportError::Invalid { .. } => anyhow::Error::new(error),
    })?;
    cache.close()?;
    eprintln!("{} messages with {} deliveries imported", imported.messages, imported.deliveries);
    if imported.requeued > 0 {
        eprintln!("{} had been in flight and are queued: the remote may get them twice", imported.requeued);
    }
    Ok(0)
}

pub(super) fn purge(path: &Path, selection: &Selection, yes: bool) -> anyhow::Result<u8> {
    anyhow::ensure!(
        selection.bridge.is_some() || selection.state.is_some() || selection.seq.is_some(),
        "purge: which ones? --bridge NAME, --state STATE or --seq SEQ"
    );
    if yes {
        let purged = change(path, |cache| cache.purge(selection))?;
        println!("{purged} deliveries removed");
        return Ok(0);
    }
    let (mut found, mut bytes) = (0u64, 0);
    CacheFile::open(path)?.list(selection, usize::MAX, |row| {
        (found, bytes) = (found + 1, bytes + row.bytes);
        true
    })?;
    println!("{found} deliveries of {bytes} bytes would be removed; --yes removes them");
    Ok(0)
}

pub(super) fn requeue(path: &Path, selection: &Selection) -> anyhow::Result<u8> {
    let requeued = change(path, |cache| cache.requeue(selection))?;
    println!("{requeued} deliveries queued again (state {} before)", State::Quarantined.label());
    Ok(0)
}

type Outcome = Result<u64, mqtt_bridge::bridge::cache::CacheError>;

fn change(path: &Path, change: impl FnOnce(&mut Sqlite) -> Outcome) -> anyhow::Result<u64> {
    // A wrong name must not create a cache.
    CacheFile::open(path)?;
    let mut cache = Sqlite::open(path, Synchronous::Full)?;
    let changed = change(&mut cache)?;
    cache.close()?;
    Ok(changed)
}
