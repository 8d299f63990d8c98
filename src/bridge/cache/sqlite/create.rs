//! Creating a cache file, so that it is there whole or not at all, whenever the process or the power ends.
//!
//! It is built under another name, made durable, and renamed. (A change of the schema is a single
//! transaction that also sets `user_version`: SQLite does the same for it.)
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::open::{beside, classify};
use super::schema;
use crate::bridge::cache::CacheError;
use crate::bridge::crash;

/// Never creates: a file comes to be in one way. One thread uses a connection, so it needs no mutex.
pub(super) const READ_WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Symbolic links one after another that Linux follows.
const LINKS: usize = 40;

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

/// Creates a cache at a path where nothing is, or an empty file. What `prepare` sets is part of the file.
pub(super) fn create(
    disk: &impl Disk,
    path: &Path,
    prepare: impl Fn(&Connection) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let unusable = |error: io::Error| CacheError::Unusable { path: path.to_owned(), what: error.to_string() };
    let building = beside(path, ".new");
    let folder = folder(path);
    // A creation that was cut short leaves it.
    remove_all(disk, &building).map_err(unusable)?;
    disk.create(&building).map_err(unusable)?;
    crash::point("file_created");
    build(disk, &building, path, prepare).inspect_err(|_| {
        // Whether it goes or not, the next creation removes it.
        let _ = remove_all(disk, &building);
    })?;
    disk.sync(&building).map_err(unusable)?;
    // A journal or WAL whose file is gone would be taken for one of the new file.
    let mut removed = false;
    for suffix in ["-journal", "-wal", "-shm"] {
        removed |= remove(disk, &beside(path, suffix)).map_err(unusable)?;
    }
    if removed {
        disk.sync_directory(folder).map_err(unusable)?;
    }
    disk.rename(&building, path).map_err(unusable)?;
    // Or a power loss could take the name, and with it every message that was acknowledged.
    disk.sync_directory(folder).map_err(unusable)
}

fn build(
    disk: &impl Disk,
    building: &Path,
    path: &Path,
    prepare: impl Fn(&Connection) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let connection = disk.connect(building).map_err(|error| classify(path, error))?;
    prepare(&connection)?;
    crash::point("cache_configured");
    schema::create(&connection).map_err(|error| classify(path, error))?;
    // Takes the WAL away, so that the file is all there is; or says nothing of it where it could not.
    connection.close().map_err(|(_, error)| classify(path, error))?;
    if std::fs::metadata(beside(building, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(CacheError::Unusable { path: path.to_owned(), what: "its WAL could not be emptied".to_owned() });
    }
    Ok(())
}

fn remove_all(disk: &impl Disk, path: &Path) -> io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        remove(disk, &beside(path, suffix))?;
    }
    Ok(())
}

/// True where there was something.
fn remove(disk: &impl Disk, path: &Path) -> io::Result<bool> {
    match disk.remove(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The directory of a file.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file that a path means, also where it is a symbolic link to a file that is not there yet: SQLite keeps the WAL
/// beside that, and so does whatever else belongs to it.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => path = folder(&path).join(target),
            Err(_) => break,
        }
    }
    path
}
