//! What changes a cache file that no bridge uses.
use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;

use mqtt_bridge::bridge::cache::sqlite::Sqlite;
use mqtt_bridge::bridge::cache::sqlite::file::{CacheFile, Selection, State, open_any};
use mqtt_bridge::bridge::cache::{Cache, CacheError};
use mqtt_bridge::bridge::config::Synchronous;

use super::print::size;

pub(super) fn purge(path: &Path, selection: &Selection, yes: bool) -> anyhow::Result<u8> {
    let Selection { bridge, state, seq, topic, since, until } = selection;
    anyhow::ensure!(
        bridge.is_some() || state.is_some() || seq.is_some() || topic.is_some() || since.is_some() || until.is_some(),
        "purge: which ones? --topic FILTER ('#' for all), --bridge NAME, --state STATE, --older-than AGE or --seq ID"
    );
    ours("purge", path)?;
    if !yes {
        let (mut found, mut bytes) = (0u64, 0);
        open_any(path)?.list(selection, usize::MAX, &mut |row| {
            (found, bytes) = (found + 1, bytes + row.bytes);
            true
        })?;
        let would = format!("{found} deliveries of {}", size(bytes));
        if found == 0 || !stdin().is_terminal() {
            println!("{would} would be removed; --yes removes them");
            return Ok(0);
        }
        eprint!("remove {would} for good? [y/N] ");
        stderr().flush()?;
        let mut answer = String::new();
        stdin().read_line(&mut answer)?;
        if !is_yes(&answer) {
            println!("nothing was removed");
            return Ok(0);
        }
    }
    let purged = change("purge", path, |cache| cache.purge(selection))?;
    println!("{purged} deliveries removed");
    Ok(0)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

pub(super) fn requeue(path: &Path, selection: &Selection) -> anyhow::Result<u8> {
    anyhow::ensure!(
        selection.state.is_none_or(|state| state == State::Quarantined),
        "requeue: --state: only what is quarantined is queued again; the rest is in the queue"
    );
    ours("requeue", path)?;
    let requeued = change("requeue", path, |cache| cache.requeue(selection))?;
    println!("{requeued} deliveries queued again (state {} before)", State::Quarantined.label());
    Ok(0)
}

/// NanoMQ's file is NanoMQ's.
fn ours(what: &str, path: &Path) -> anyhow::Result<()> {
    // A wrong name must not create a cache.
    let file = open_any(path)?;
    anyhow::ensure!(
        !file.is_nanomq(),
        "{what}: {} is NanoMQ's: it is read here and never changed, and has no quarantine. `cache import` brings what \
         waits in it into a cache of ours, where this can be done",
        path.display()
    );
    Ok(())
}

fn change(what: &str, path: &Path, change: impl FnOnce(&mut Sqlite) -> Result<u64, CacheError>) -> anyhow::Result<u64> {
    CacheFile::open(path)?;
    let mut cache = Sqlite::open(path, Synchronous::Full).map_err(|error| stopped(what, error))?;
    let changed = change(&mut cache)?;
    cache.close()?;
    Ok(changed)
}

/// Says what to do about a cache that is in use.
pub(super) fn stopped(what: &str, error: CacheError) -> anyhow::Error {
    let in_use = matches!(error, CacheError::Locked { .. });
    let error = anyhow::Error::new(error);
    if in_use { error.context(format!("{what} changes the cache, so its bridge must be stopped first")) } else { error }
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn nothing_but_yes_is_yes() {
        assert!(["y\n", "Yes\n", " YES "].iter().all(|answer| is_yes(answer)));
        assert!(["", "\n", "n\n", "yikes\n", "no\n"].iter().all(|answer| !is_yes(answer)));
    }
}
