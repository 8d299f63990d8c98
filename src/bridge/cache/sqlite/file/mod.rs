//! A cache file looked at from outside: by `mqtt-bridge cache`, also while a bridge uses it, and also where it is damaged.
//!
//! Reading takes no lock and leaves no trace. While a bridge runs it goes through SQLite's own locks, one short statement
//! at a time, so that it holds up neither a commit nor a checkpoint for long. [`import`](super::Sqlite::import),
//! [`purge`](super::Sqlite::purge) and [`requeue`](super::Sqlite::requeue) are for one that is not in use.
mod change;
mod export;
mod record;
mod rows;
mod salvage;
mod stats;
#[cfg(test)]
mod tests;
mod verify;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

pub use change::{ImportError, Imported};
pub use export::{ExportError, Exported};
pub use record::{ExportedDelivery, ExportedMessage};
pub use rows::{Row, Selection, State};
pub use salvage::Gap;
pub use stats::{BridgeStats, Stats};
pub use verify::{Report, Table};

use super::{create, open, schema};
use crate::bridge::cache::CacheError;

/// A cache file that is read.
pub struct CacheFile {
    connection: Connection,
    path: PathBuf,
    in_use: bool,
}

impl CacheFile {
    /// Opens one for reading.
    ///
    /// # Errors
    /// Where there is no file, or it is no cache of this version or an older one.
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        // The WAL is beside the file that a link means.
        let path = &create::resolved(path);
        open::check_header(path)?;
        let in_use = is_locked(path);
        let wal = std::fs::metadata(open::beside(path, "-wal")).is_ok_and(|metadata| metadata.len() > 0);
        let access = match (in_use, wal) {
            (true, _) => open::Access::InUse,
            (false, true) => open::Access::WithWal,
            (false, false) => open::Access::FileAlone,
        };
        let classify = |error| open::classify(path, error);
        let connection = open::read_only(path, access).map_err(classify)?;
        connection.set_prepared_statement_cache_capacity(32);
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let application_id = number("PRAGMA application_id").map_err(classify)?;
        if application_id != schema::APPLICATION_ID {
            let what = format!("a SQLite database of another program (application_id {application_id})");
            return Err(CacheError::Foreign { path: path.to_owned(), what });
        }
        let found = number("PRAGMA user_version").map_err(classify)?;
        if found > schema::VERSION {
            return Err(CacheError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        // Where this cannot be read there is nothing to begin with.
        number("SELECT count(*) FROM sqlite_schema").map_err(classify)?;
        Ok(Self { connection, path: path.to_owned(), in_use })
    }

    /// Whether a bridge runs on it.
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// Whether a bridge was started while it was read as one that is not in use: what was read may be of two moments.
    pub fn was_taken_meanwhile(&self) -> bool {
        !self.in_use && is_locked(&self.path)
    }

    fn classify(&self, error: rusqlite::Error) -> CacheError {
        open::classify(&self.path, error)
    }
}

/// Held for no longer than the look takes, and a bridge that starts in this moment tries again; so does this, since a lock
/// may outlive its owner by the moment that a child takes from its fork to its program.
fn is_locked(path: &Path) -> bool {
    let is_locked = |path: &Path| {
        File::open(path).is_ok_and(|file| {
            (0..open::LOOKS).all(|look| {
                if look > 0 {
                    std::thread::sleep(open::LOOK);
                }
                matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
            })
        })
    };
    is_locked(&open::lock_path(path)) || is_locked(path)
}
