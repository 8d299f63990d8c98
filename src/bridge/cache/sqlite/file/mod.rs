//! A cache file looked at from outside: by `mqtt-bridge cache`, also while a bridge uses it, and also where it is damaged;
//! ours or NanoMQ's ([`Readable`]).
//!
//! Reading takes no lock and leaves no trace. While a bridge runs it goes through SQLite's own locks, one short statement
//! at a time, so that it holds up neither a commit nor a checkpoint for long. [`import`](super::Sqlite::import),
//! [`purge`](super::Sqlite::purge) and [`requeue`](super::Sqlite::requeue) are for one that is not in use.
mod change;
mod export;
mod nanomq;
mod record;
pub mod route;
mod rows;
mod salvage;
mod stats;
mod tally;
#[cfg(test)]
mod tests;
mod verify;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

pub use change::{ImportError, Imported};
pub use export::{ExportError, Exported, Unreadable, export};
pub use record::{ExportedDelivery, ExportedMessage};
pub use rows::{Row, Selection, State};
pub use salvage::Gap;
pub use stats::{BridgeStats, Sizes, Stats, TopicStats};
pub use verify::{Report, Table};

use super::{create, open, schema};
use crate::bridge::cache::CacheError;
use crate::bridge::delivery::BridgeId;

/// A file in which messages wait: a cache of ours, or NanoMQ's `mqtt_client.db`.
pub trait Readable {
    /// Counts.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn stats(&self) -> Result<Stats, CacheError>;

    /// Hands over deliveries in order of arrival, bridge by bridge where the file keeps them so, until `limit` or until
    /// `take` says that it is enough; how many could not be read and were passed over.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn list(&self, selection: &Selection, limit: usize, take: &mut dyn FnMut(Row) -> bool) -> Result<u64, CacheError>;

    /// One message, with its payload; `None`: it is not there.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn message(&self, seq: i64) -> Result<Option<ExportedMessage>, CacheError>;

    /// Hands over every message that can be read, in order of arrival, until `take` says that it is enough.
    ///
    /// # Errors
    /// Where the file cannot be read for another reason than that it is damaged.
    fn each(&self, take: &mut dyn FnMut(ExportedMessage) -> bool) -> Result<Exported, CacheError>;

    /// Checks the whole file.
    ///
    /// # Errors
    /// Where it cannot be read for another reason than that it is damaged.
    fn verify(&self) -> Result<Report, CacheError>;

    /// Whether a bridge runs on it.
    fn is_in_use(&self) -> bool;

    /// Whether a bridge was started while it was read as one that is not in use: what was read may be of two moments.
    fn was_taken_meanwhile(&self) -> bool;

    /// Whether it is NanoMQ's, which is read and not changed.
    fn is_nanomq(&self) -> bool {
        false
    }
}

/// Opens a cache of ours or NanoMQ's for reading.
///
/// # Errors
/// Where there is no file, or it is neither.
pub fn open_any(path: &Path) -> Result<Box<dyn Readable>, CacheError> {
    match CacheFile::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(foreign @ CacheError::Foreign { .. }) if open::check_header(path).is_ok() => {
            match nanomq::NanomqFile::open(&create::resolved(path))? {
                Some(file) => Ok(Box::new(file)),
                None => Err(foreign),
            }
        }
        Err(error) => Err(error),
    }
}

/// A cache file of ours that is read.
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
        let classify = |error| open::classify(path, error);
        let connection = open::read_only(path, open::access(path, in_use)).map_err(classify)?;
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

    /// The names of the bridges that it knows.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn bridges(&self) -> Result<Vec<String>, CacheError> {
        let bridges = export::bridges(&self.connection).map_err(|error| self.classify(error))?;
        let bridges = bridges.into_iter().filter(|(id, _)| !BridgeId(*id).is_session());
        Ok(bridges.map(|(_, name)| name).collect())
    }

    fn classify(&self, error: rusqlite::Error) -> CacheError {
        open::classify(&self.path, error)
    }
}

impl Readable for CacheFile {
    fn stats(&self) -> Result<Stats, CacheError> {
        self.read_stats()
    }

    fn list(&self, selection: &Selection, limit: usize, take: &mut dyn FnMut(Row) -> bool) -> Result<u64, CacheError> {
        self.read_list(selection, limit, take).map(|()| 0)
    }

    fn message(&self, seq: i64) -> Result<Option<ExportedMessage>, CacheError> {
        self.read_message(seq)
    }

    fn each(&self, take: &mut dyn FnMut(ExportedMessage) -> bool) -> Result<Exported, CacheError> {
        self.read_each(take)
    }

    fn verify(&self) -> Result<Report, CacheError> {
        self.check_all()
    }

    fn is_in_use(&self) -> bool {
        self.in_use
    }

    fn was_taken_meanwhile(&self) -> bool {
        !self.in_use && is_locked(&self.path)
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
