//! Whether the files that have the cache's names are still those that SQLite has open: it goes on writing to a file that
//! was removed, and a commit there is worth nothing.
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tracing::{error, warn};

use super::{create, open};
use crate::bridge::cache::CacheError;

/// Bytes before the first frame of a WAL, and before the page in each (<https://www.sqlite.org/fileformat2.html#walformat>).
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// What a path means and how large that is; `None`: nothing.
fn look(path: &Path) -> Option<(Identity, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((Identity { device: metadata.dev(), inode: metadata.ino() }, metadata.len()))
}

/// The files as they were found.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    wal_path: PathBuf,
    database: Option<Identity>,
    wal: Option<(Identity, u64)>,
    /// What the removed WAL held was moved into the file.
    rescued: bool,
}

impl Watch {
    /// Of a cache that has just been opened and read.
    pub(super) fn new(path: &Path) -> Self {
        let wal_path = open::beside(&create::resolved(path), "-wal");
        let (database, wal) = (look(path).map(|(database, _)| database), look(&wal_path));
        Self { path: path.to_owned(), wal_path, database, wal, rescued: false }
    }

    /// Before anything is committed.
    ///
    /// # Errors
    /// Where it would be lost.
    pub(super) fn check(&mut self, connection: &Connection) -> Result<(), CacheError> {
        if look(&self.path).map(|(database, _)| database) != self.database {
            return Err(CacheError::Gone { path: self.path.clone() });
        }
        let (known, found) = (self.wal, look(&self.wal_path));
        if found.map(|(wal, _)| wal) != known.map(|(wal, _)| wal) {
            self.rescue(connection);
            return Err(CacheError::Gone { path: self.wal_path.clone() });
        }
        let size = |wal: Option<(Identity, u64)>| wal.map_or(0, |(_, size)| size);
        // SQLite makes it smaller too, once it holds nothing that is needed.
        if size(found) < size(known) && size(found) < needed(connection)? {
            return Err(CacheError::WalCut { path: self.wal_path.clone() });
        }
        self.wal = found;
        Ok(())
    }

    /// Bytes of the WAL when it was looked at last.
    pub(super) fn wal_size(&self) -> u64 {
        self.wal.map_or(0, |(_, size)| size)
    }

    /// What was acknowledged is in a WAL without a name, which ends with the process; the file has its name still.
    fn rescue(&mut self, connection: &Connection) {
        if std::mem::replace(&mut self.rescued, true) {
            return;
        }
        let complete = |row: &rusqlite::Row<'_>| {
            let [busy, in_wal, checkpointed]: [i64; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok(busy == 0 && in_wal == checkpointed)
        };
        match connection.query_row("PRAGMA wal_checkpoint(FULL)", [], complete) {
            Ok(true) => warn!("what {} held was moved into the cache", self.wal_path.display()),
            Ok(false) => self.rescued = false,
            Err(error) => {
                error!("moving what {} held into the cache: {error}", self.wal_path.display());
                self.rescued = false;
            }
        }
    }
}

/// Bytes of the WAL that SQLite will read again.
fn needed(connection: &Connection) -> rusqlite::Result<u64> {
    let page: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let frames: i64 = connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
    let frames = u64::try_from(frames).unwrap_or_default();
    Ok(if frames == 0 { 0 } else { WAL_HEADER + frames * (page + FRAME_HEADER) })
}
