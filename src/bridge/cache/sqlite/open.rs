//! Opening: what is there is looked at before anything is touched.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::debug;

use super::create::{self, Disk};
use super::{aside, schema};
use crate::bridge::cache::CacheError;
use crate::bridge::config::Synchronous;

/// Files up to this size are checked page by page at start; larger ones by `cache verify`, since a start must not take
/// longer the more has been cached.
const CHECKED_AT_START: u64 = 16 << 20;
/// How often a lock that is held is tried again, and after what time.
pub(super) const LOOKS: u32 = 5;
pub(super) const LOOK: Duration = Duration::from_millis(10);
/// How long a reader waits for a writer, and the writer for what a reader must not see half done.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// That a cache is ours alone, by whatever name and as long as this lives.
pub(super) struct Locks {
    /// A file beside it, which is there before the cache is; and what a reader asks whether a bridge runs.
    _beside: File,
    /// The file itself: that lock holds by every name it has, in every directory, whatever becomes of the one beside it.
    /// To close it would give up SQLite's own, so it is closed after the connection.
    _itself: File,
}

/// Opens, or creates, and locks.
pub(super) fn open(disk: &impl Disk, path: &Path, synchronous: Synchronous) -> Result<(Connection, Locks), CacheError> {
    // One that is in use is not even read; where nobody has locked it yet, the lock comes after the look.
    let locked = lock_path(path).exists().then(|| lock(path)).transpose()?;
    open_locked(disk, path, synchronous, locked)
}

/// The same under a lock that is held already, if there is one.
pub(super) fn open_locked(
    disk: &impl Disk,
    path: &Path,
    synchronous: Synchronous,
    locked: Option<File>,
) -> Result<(Connection, Locks), CacheError> {
    without_memory_statistics();
    let found = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(CacheError::Unusable { path: path.to_owned(), what: "it is a directory".to_owned() });
        }
        Ok(metadata) if metadata.len() > 0 => inspect(path, metadata.len())?,
        Ok(_) => State::Missing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::Missing,
        Err(error) => return Err(unusable(path, &error)),
    };
    let is_new = locked.is_none();
    let beside = locked.map_or_else(|| lock(path), Ok)?;
    let (connection, itself) = prepare(disk, path, synchronous, &found).inspect_err(|_| {
        if is_new {
            // It is ours still, so nobody else can have taken it.
            let _ = std::fs::remove_file(lock_path(path));
        }
    })?;
    Ok((connection, Locks { _beside: beside, _itself: itself }))
}

/// Nobody reads them, and they cost a mutex an allocation (<https://www.sqlite.org/c3ref/c_config_covering_index_scan.html>).
fn without_memory_statistics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: this option takes one int. Where SQLite has been initialized already it says so and changes nothing.
        let result = unsafe { rusqlite::ffi::sqlite3_config(rusqlite::ffi::SQLITE_CONFIG_MEMSTATUS, 0) };
        if result != rusqlite::ffi::SQLITE_OK {
            debug!("SQLite keeps its memory statistics ({result})");
        }
    });
}

/// What is there at the path of a cache.
enum State {
    /// Nothing, or an empty file.
    Missing,
    /// A database without a table.
    Bare,
    /// A cache.
    Cache,
}

/// Opens for writing, which changes files.
fn prepare(
    disk: &impl Disk,
    path: &Path,
    synchronous: Synchronous,
    found: &State,
) -> Result<(Connection, File), CacheError> {
    let configure = |connection: &Connection| {
        configure(connection, synchronous).map_err(|error| match error {
            CacheError::Sqlite(error) => classify(path, error),
            error => error,
        })
    };
    if matches!(found, State::Missing) {
        aside::complete(disk, path)?;
        create::create(disk, path, configure)?;
    }
    let itself = lock_itself(path)?;
    let connection = disk.connect(path).map_err(|error| classify(path, error))?;
    configure(&connection)?;
    if matches!(found, State::Bare) {
        schema::create(&connection).map_err(|error| classify(path, error))?;
    } else {
        schema::complete(&connection).map_err(|error| classify(path, error))?;
    }
    Ok((connection, itself))
}

/// A lock beside the file: SQLite's own are given up whenever any descriptor of the file is closed.
pub(super) fn lock(path: &Path) -> Result<File, CacheError> {
    let beside = lock_path(path);
    let create = || OpenOptions::new().create(true).append(true).mode(0o600).open(&beside);
    // `mqtt-bridge cache` looks at it for a moment.
    for _ in 0..LOOKS {
        let file = create().map_err(|error| unusable(&beside, &error))?;
        match file.try_lock() {
            Ok(()) if is_at(&file, &beside) => return Ok(file),
            // Whoever had it has removed it: the lock of a file that nobody can open any more keeps out nobody.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            Err(TryLockError::Error(error)) => return Err(unusable(&beside, &error)),
        }
    }
    Err(CacheError::Locked { path: path.to_owned() })
}

fn is_at(file: &File, path: &Path) -> bool {
    let (file, at) = (file.metadata(), std::fs::metadata(path));
    file.is_ok_and(|file| at.is_ok_and(|at| (file.dev(), file.ino()) == (at.dev(), at.ino())))
}

/// Locks the file itself.
pub(super) fn lock_itself(path: &Path) -> Result<File, CacheError> {
    let file = File::open(path).map_err(|error| unusable(path, &error))?;
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            Err(TryLockError::Error(error)) => return Err(unusable(path, &error)),
        }
    }
    Err(CacheError::Locked { path: path.to_owned() })
}

/// Where the lock beside a file is.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

pub(super) fn unusable(path: &Path, error: &std::io::Error) -> CacheError {
    CacheError::Unusable { path: path.to_owned(), what: error.to_string() }
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The first bytes of a file that is a SQLite database.
pub(super) fn check_header(path: &Path) -> Result<[u8; 100], CacheError> {
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut header));
    read.map_err(|error| unusable(path, &error))?;
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(CacheError::Foreign { path: path.to_owned(), what: "no SQLite database".to_owned() });
    }
    <[u8; 100]>::try_from(header).map_err(|header| {
        let what = format!("{} bytes, less than a header", header.len());
        CacheError::Corrupted { path: path.to_owned(), what }
    })
}

/// Looks at a file without changing it.
fn inspect(path: &Path, size: u64) -> Result<State, CacheError> {
    let foreign = |what: String| CacheError::Foreign { path: path.to_owned(), what };
    let corrupted = |what: String| CacheError::Corrupted { path: path.to_owned(), what };
    let header = check_header(path)?;
    let wal = std::fs::metadata(beside(path, "-wal")).is_ok_and(|metadata| metadata.len() > 0);
    let found = look(path, size, wal).map_err(|error| classify(path, error))?;
    if found.application_id == 0 && found.tables == 0 {
        return Ok(State::Bare);
    }
    if found.application_id != schema::APPLICATION_ID {
        let id = found.application_id;
        return Err(foreign(format!("a SQLite database of another program (application_id {id})")));
    }
    if found.version > schema::VERSION {
        return Err(CacheError::Newer { path: path.to_owned(), found: found.version, known: schema::VERSION });
    }
    if found.check != "ok" {
        return Err(corrupted(found.check));
    }
    // A page number in the header that the file does not reach: cut short, where the WAL does not explain it.
    let page_size = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65_536,
        size => size,
    };
    let pages = u64::from(u32::from_be_bytes([header[28], header[29], header[30], header[31]]));
    if !wal && pages * page_size > size {
        return Err(corrupted(format!("{size} bytes of {}", pages * page_size)));
    }
    Ok(State::Cache)
}

struct Found {
    application_id: i64,
    version: i64,
    tables: i64,
    check: String,
}

/// How a file is read.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// It has no WAL, and nobody writes.
    FileAlone,
    /// It has a WAL, and nobody writes.
    WithWal,
    /// A bridge runs on it.
    InUse,
}

/// How a file is to be read, by what is beside it.
pub(super) fn access(path: &Path, in_use: bool) -> Access {
    let wal = std::fs::metadata(beside(path, "-wal")).is_ok_and(|metadata| metadata.len() > 0);
    match (in_use, wal) {
        (true, _) => Access::InUse,
        (false, true) => Access::WithWal,
        (false, false) => Access::FileAlone,
    }
}

/// Reads through SQLite, which must not leave a trace: without a WAL it looks at the file alone; a WAL is indexed in
/// memory of our own (exclusive locking, and no locks), where a read-only connection would create the shared file.
pub(super) fn read_only(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let mode = match access {
        Access::FileAlone => "immutable=1",
        Access::WithWal => "mode=ro&vfs=unix-none",
        Access::InUse => "mode=ro",
    };
    let uri = format!("file:{}?{mode}", percent_encoded(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(&uri, flags)?;
    match access {
        Access::FileAlone => {}
        Access::WithWal => {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.query_row("PRAGMA locking_mode = exclusive", [], |_| Ok(()))?;
        }
        Access::InUse => connection.busy_timeout(BUSY)?,
    }
    Ok(connection)
}

fn look(path: &Path, size: u64, wal: bool) -> rusqlite::Result<Found> {
    let connection = read_only(path, if wal { Access::WithWal } else { Access::FileAlone })?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (application_id, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let ours = application_id == schema::APPLICATION_ID && (1..=schema::VERSION).contains(&version);
    let check = if ours && size <= CHECKED_AT_START {
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?
    } else {
        "ok".to_owned()
    };
    Ok(Found { application_id, version, tables, check })
}

fn percent_encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let encode = |&byte: &u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.as_os_str().as_bytes().iter().map(encode).collect()
}

/// Sets what the guarantees rest on, and reads it back.
fn configure(connection: &Connection, synchronous: Synchronous) -> Result<(), CacheError> {
    let synchronous = match synchronous {
        Synchronous::Full => "2",
        Synchronous::Normal => "1",
    };
    // auto_vacuum counts only before the first table, and before WAL writes the first page.
    for (pragma, wanted) in [
        ("auto_vacuum", "2"),
        ("journal_mode", "wal"),
        ("synchronous", synchronous),
        ("journal_size_limit", "16777216"),
        ("cache_size", "-4096"),
        ("busy_timeout", &BUSY.as_millis().to_string()),
    ] {
        connection.pragma_update(None, pragma, wanted).or_else(|error| match error {
            rusqlite::Error::ExecuteReturnedResults => Ok(()),
            error => Err(error),
        })?;
        let found: rusqlite::types::Value = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        let found = match found {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        };
        if found != wanted {
            return Err(CacheError::Pragma { pragma, wanted: wanted.to_owned(), found });
        }
    }
    Ok(())
}

pub(super) fn classify(path: &Path, error: rusqlite::Error) -> CacheError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => CacheError::Foreign { path, what: error.to_string() },
        Some(ErrorCode::DatabaseCorrupt) => CacheError::Corrupted { path, what: error.to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => CacheError::Locked { path },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            CacheError::Unusable { path, what: error.to_string() }
        }
        Some(ErrorCode::DiskFull) => CacheError::Full,
        _ => CacheError::Sqlite(error),
    }
}
