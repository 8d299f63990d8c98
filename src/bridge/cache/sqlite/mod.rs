//! The cache in a SQLite file: WAL mode, `synchronous=FULL`, one connection that writes.
mod apply;
mod aside;
mod create;
pub mod file;
mod insert;
mod open;
mod removal;
mod retained;
mod room;
mod schema;
mod shrink;
#[cfg(test)]
mod tests;
mod waiting;
mod watch;
mod will;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Applied, Cache, CacheError, Page, Usage};
use crate::bridge::config::{OnCorruption, Synchronous};
use crate::bridge::core::forwarder::Restored;
use crate::bridge::core::retained::Entry;
use crate::bridge::delivery::{
    BridgeId, Delivery, Held, HeldPhase, Kept, KeptWill, Kind, Origin, Seq, Session, Time, Waiting, Write,
};
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::wire::Subscription;
use apply::{Changes, apply_all, count, key};
use create::{Disk, Real};
use open::Locks;
use schema::state;
use shrink::Shrink;
use watch::Watch;

/// A cache in a SQLite file, locked against other processes as long as it lives.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    usage: HashMap<BridgeId, Usage>,
    watch: Watch,
    shrink: Shrink,
    _locks: Locks,
}

/// A delivery with its message, as [`delivery`] reads it.
const DELIVERY: &str = "d.seq, d.topic, d.qos, d.retain, m.received_at, m.topic, m.qos, m.retain, m.message_expiry, \
     m.properties, m.payload, d.identifiers";

/// Below the keys of sessions.
const NEW_BRIDGE: &str = "INSERT OR IGNORE INTO bridge (id, name) \
     SELECT coalesce(max(id), 0) + 1, ?1 FROM bridge WHERE id < ?2";

impl Sqlite {
    /// Opens a cache, or creates it where there is no file.
    ///
    /// # Errors
    /// Where the file is not a cache of ours, of a newer version, corrupted, in use, or cannot be opened; then nothing
    /// on the disk has been changed.
    pub fn open(path: &Path, synchronous: Synchronous) -> Result<Self, CacheError> {
        Self::open_on(&Real, path, synchronous)
    }

    fn open_on(disk: &impl Disk, path: &Path, synchronous: Synchronous) -> Result<Self, CacheError> {
        Self::with(path, open::open(disk, &create::resolved(path), synchronous)?)
    }

    fn with(path: &Path, (connection, locks): (Connection, Locks)) -> Result<Self, CacheError> {
        connection.set_prepared_statement_cache_capacity(32);
        let mut cache = Self {
            connection,
            path: path.to_owned(),
            usage: HashMap::new(),
            watch: Watch::new(path),
            shrink: Shrink::default(),
            _locks: locks,
        };
        cache.load_usage().map_err(|error| open::classify(path, error))?;
        Ok(cache)
    }

    /// Opens a cache; where it is corrupted or foreign, and the configuration says so, sets it aside and begins a fresh
    /// one. Also returns the name it was given then.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_or_set_aside(
        path: &Path,
        synchronous: Synchronous,
        on_corruption: OnCorruption,
    ) -> Result<(Self, Option<PathBuf>), CacheError> {
        Self::open_or_set_aside_on(&Real, path, synchronous, on_corruption)
    }

    fn open_or_set_aside_on(
        disk: &impl Disk,
        path: &Path,
        synchronous: Synchronous,
        on_corruption: OnCorruption,
    ) -> Result<(Self, Option<PathBuf>), CacheError> {
        match Self::open_on(disk, path, synchronous) {
            Err(CacheError::Corrupted { .. } | CacheError::Foreign { .. })
                if on_corruption == OnCorruption::SetAside => {}
            opened => return Ok((opened?, None)),
        }
        let at = create::resolved(path);
        let lock = open::lock(&at)?;
        let under_lock = || {
            let lock = lock.try_clone().map_err(|error| open::unusable(path, &error))?;
            Self::with(path, open::open_locked(disk, &at, synchronous, Some(lock))?)
        };
        // Somebody else may have been as far, and faster.
        match under_lock() {
            Err(CacheError::Corrupted { .. } | CacheError::Foreign { .. }) => {}
            opened => return Ok((opened?, None)),
        }
        let _itself = open::lock_itself(&at)?;
        let aside = aside::set_aside(disk, &at)?;
        Ok((under_lock()?, Some(aside)))
    }

    /// What an error means. SQLite takes a full disk for one only where a write says so, not a sync (of a disk that
    /// gives out its blocks late), the growth of its shared memory, or a quota.
    fn classify(&self, error: rusqlite::Error) -> CacheError {
        // SAFETY: the connection is open, and the call only reads.
        let errno = || unsafe { rusqlite::ffi::sqlite3_system_errno(self.connection.handle()) };
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::SystemIoFailure) => match errno() {
                libc::ENOSPC | libc::EDQUOT => CacheError::Full,
                errno => {
                    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
                    CacheError::Io { code, os: std::io::Error::from_raw_os_error(errno) }
                }
            },
            _ => open::classify(&self.path, error),
        }
    }

    fn load_usage(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare("SELECT id, messages, bytes, quarantined FROM bridge")?;
        let rows = statement.query_map([], |row| {
            let usage = Usage { messages: row.get(1)?, bytes: row.get(2)?, quarantined: row.get(3)? };
            Ok((BridgeId(row.get(0)?), usage))
        })?;
        self.usage = rows.collect::<rusqlite::Result<_>>()?;
        Ok(())
    }
}

impl Cache for Sqlite {
    fn bridge(&mut self, name: &str) -> Result<(BridgeId, Restored), CacheError> {
        self.connection.execute(NEW_BRIDGE, params![name, BridgeId::FIRST_SESSION.0])?;
        let (id, established) =
            self.connection.query_row("SELECT id, established FROM bridge WHERE name = ?1", [name], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?))
            })?;
        self.load_usage()?;
        let held = self.held(BridgeId(id))?;
        let received_ids = received_ids(&self.connection, &Origin::Remote(BridgeId(id)))?;
        Ok((BridgeId(id), Restored { established, held, received_ids }))
    }

    fn held(&mut self, queue: BridgeId) -> Result<Vec<Held>, CacheError> {
        let sql = format!(
            "SELECT {DELIVERY}, d.packet_id, d.released FROM delivery d JOIN message m USING (seq) \
             WHERE d.bridge = ?1 AND d.packet_id IS NOT NULL ORDER BY d.seq"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let held = statement.query_map([queue.0], |row| {
            let released: Option<i64> = row.get(13)?;
            let phase = released.map_or(HeldPhase::Sent, HeldPhase::Released);
            Ok(Held { delivery: delivery(row)?, packet_id: row.get(12)?, phase })
        })?;
        Ok(held.collect::<rusqlite::Result<_>>()?)
    }

    fn retained_topics(&mut self) -> Result<Vec<(Arc<str>, Entry)>, CacheError> {
        Ok(retained::topics(&self.connection)?)
    }

    fn retained(&mut self, topic: &str) -> Result<Option<(Seq, Arc<Message>, Time)>, CacheError> {
        Ok(retained::read(&self.connection, topic)?)
    }

    fn sessions(&mut self) -> Result<Vec<Arc<str>>, CacheError> {
        let mut statement = self.connection.prepare("SELECT client_id FROM session ORDER BY client_id")?;
        let sessions = statement.query_map([], |row| row.get(0))?;
        Ok(sessions.collect::<rusqlite::Result<_>>()?)
    }

    fn ended(&mut self) -> Result<Option<BridgeId>, CacheError> {
        // Names are ordered, so this is one step in their index.
        let sql = "SELECT id FROM bridge WHERE name >= 'ended:' AND name < 'ended;' AND id >= ?1 LIMIT 1";
        let first = BridgeId::FIRST_SESSION.0;
        Ok(self.connection.prepare_cached(sql)?.query_row([first], |row| Ok(BridgeId(row.get(0)?))).optional()?)
    }

    fn apply_each(&mut self, writes: &[&Write]) -> Result<Vec<Applied>, CacheError> {
        if !writes.iter().any(|write| write.changes_something()) {
            return Ok(vec![Applied::Done; writes.len()]);
        }
        self.watch.check(&self.connection)?;
        if !room::has_room(&self.path, self.watch.wal_size(), writes) {
            return Err(CacheError::Full);
        }
        let mut changes = Changes::new();
        let mut transact = || -> rusqlite::Result<Vec<Applied>> {
            let transaction = self.connection.unchecked_transaction()?;
            let applied = apply_all(&transaction, writes, &mut changes)?;
            count(&transaction, &changes)?;
            transaction.commit()?;
            Ok(applied)
        };
        let applied = transact().map_err(|error| self.classify(error))?;
        for (bridge, (messages, bytes, quarantined)) in changes {
            let usage = self.usage.entry(bridge).or_default();
            usage.messages = usage.messages.saturating_add_signed(messages);
            usage.bytes = usage.bytes.saturating_add_signed(bytes);
            usage.quarantined = usage.quarantined.saturating_add_signed(quarantined);
            if bridge.is_session() && *usage == Usage::default() {
                self.usage.remove(&bridge);
            }
        }
        Ok(applied)
    }

    fn page(&mut self, bridge: BridgeId, after: Seq, messages: usize, bytes: usize) -> Result<Page, CacheError> {
        let sql = format!(
            "SELECT {DELIVERY} FROM delivery d JOIN message m USING (seq) \
             WHERE d.bridge = ?1 AND d.seq > ?2 AND d.state = {} ORDER BY d.seq",
            state::QUEUED
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([bridge.0, after.0])?;
        let mut page = Page::default();
        let mut read = 0;
        while page.deliveries.len() < messages && read <= bytes {
            let Some(row) = rows.next()? else {
                page.complete = true;
                break;
            };
            let delivery = delivery(row)?;
            read += delivery.message.size();
            page.deliveries.push(delivery);
        }
        Ok(page)
    }

    fn waiting(&mut self, bridge: BridgeId, kind: Kind, after: Seq, limit: usize) -> Result<Vec<Waiting>, CacheError> {
        waiting::read(&self.connection, bridge, kind, after, limit).map_err(|error| open::classify(&self.path, error))
    }

    fn oldest(&mut self, bridge: BridgeId) -> Result<Option<Time>, CacheError> {
        waiting::oldest(&self.connection, bridge).map_err(|error| open::classify(&self.path, error))
    }

    fn shrink(&mut self) -> Result<bool, CacheError> {
        self.watch.check(&self.connection)?;
        self.shrink.step(&self.connection).map_err(|error| self.classify(error))
    }

    fn has_room(&self) -> bool {
        room::leaves_room(&self.path, self.watch.wal_size(), 0)
    }

    fn usage(&self, bridge: BridgeId) -> Usage {
        self.usage.get(&bridge).copied().unwrap_or_default()
    }

    fn session(&mut self, client_id: &str) -> Result<Option<Session>, CacheError> {
        let session = self
            .connection
            .prepare_cached("SELECT expiry, expires_at FROM session WHERE client_id = ?1")?
            .query_row([client_id], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))
            .optional()?;
        let Some((expiry, expires_at)) = session else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(
            "SELECT filter, qos, no_local, retain_as_published, retain_handling, identifier FROM subscription \
             WHERE client_id = ?1 ORDER BY filter",
        )?;
        let subscriptions = statement.query_map([client_id], |row| {
            Ok(Subscription {
                filter: row.get(0)?,
                qos: qos(row, 1)?,
                no_local: row.get(2)?,
                retain_as_published: row.get(3)?,
                retain_handling: row.get(4)?,
                identifier: row.get(5)?,
            })
        })?;
        let subscriptions = subscriptions.collect::<rusqlite::Result<_>>()?;
        let received_ids = received_ids(&self.connection, &Origin::Local(client_id.into()))?;
        let queue = self
            .connection
            .prepare_cached("SELECT id FROM bridge WHERE name = 'session:' || ?1")?
            .query_row([client_id], |row| Ok(BridgeId(row.get(0)?)))
            .optional()?;
        Ok(Some(Session { expiry, expires_at: expires_at.map(time), received_ids, subscriptions, queue }))
    }

    fn wills(&mut self) -> Result<Vec<KeptWill>, CacheError> {
        will::read(&self.connection).map_err(|error| open::classify(&self.path, error))
    }

    fn latest(&mut self) -> Result<(Seq, Time), CacheError> {
        // Those that waited for room stand behind younger ones; a look at all would make a start with many slow.
        let sql = "SELECT seq, max(received_at) OVER () FROM (SELECT seq, received_at FROM message ORDER BY seq DESC \
                   LIMIT 1024) ORDER BY seq DESC LIMIT 1";
        let latest = self.connection.query_row(sql, [], |row| Ok((Seq(row.get(0)?), time(row.get(1)?)))).optional()?;
        Ok(latest.unwrap_or_default())
    }

    fn close(&mut self) -> Result<(), CacheError> {
        self.connection.flush_prepared_statement_cache();
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

fn received_ids(connection: &Connection, origin: &Origin) -> rusqlite::Result<Vec<u16>> {
    let (bridge, client_id) = key(origin);
    let mut statement =
        connection.prepare_cached("SELECT packet_id FROM received_id WHERE bridge = ?1 AND client_id = ?2")?;
    statement.query_map(params![bridge, client_id], |row| row.get(0))?.collect()
}

/// Reads [`DELIVERY`].
fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let topic: Arc<str> = row.get(5)?;
    let properties = match row.get_ref(9)? {
        ValueRef::Blob(bytes) => bytes::Bytes::copy_from_slice(bytes),
        _ => bytes::Bytes::new(),
    };
    let message = Message {
        topic: topic.clone(),
        payload: bytes::Bytes::copy_from_slice(row.get_ref(10)?.as_blob()?),
        qos: qos(row, 6)?,
        retain: row.get(7)?,
        properties: Properties { message_expiry: row.get(8)?, other: properties },
    };
    let identifiers = row.get_ref(11)?.as_blob_or_null()?.map(|bytes| {
        let (identifiers, _) = bytes.as_chunks::<4>();
        identifiers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    });
    Ok(Delivery {
        seq: Seq(row.get(0)?),
        topic: row.get::<_, Option<Arc<str>>>(1)?.unwrap_or(topic),
        qos: qos(row, 2)?,
        retain: row.get(3)?,
        received_at: time(row.get(4)?),
        identifiers,
        kept: Kept::Row,
        message: Arc::new(message),
    })
}

fn qos(row: &Row<'_>, column: usize) -> rusqlite::Result<QoS> {
    let number: u8 = row.get(column)?;
    QoS::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number.into()))
}

fn millis(time: Time) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> Time {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
