//! Creating a cache file, so that it is there whole or not at all.
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Never creates: a file comes to be in one way.
pub(super) const READ_WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE;

/// What creation asks of the disk. The test of power loss stands in its place.
pub(super) trait Disk {
    /// Opens what is there.
    fn connect(&self, path: &Path) -> rusqlite::Result<Connection>;
    /// Creates an empty file, or leaves what is there.
    fn create(&self, path: &Path) -> io::Result<()>;
    /// Makes a file's content durable.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Renames, over what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's.
pub(super) struct Real;

impl Disk for Real {
    fn connect(&self, path: &Path) -> rusqlite::Result<Connection> {
        Connection::open_with_flags(path, READ_WRITE)
    }
    fn create(&self, path: &Path) -> io::Result<()> {
        // Only the owner may read what was published; WAL and shared memory inherit it.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}
