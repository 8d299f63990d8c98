//! The cache in a SQLite file: WAL mode, `synchronous=FULL`, one connection that writes.
mod open;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Applied, Cache, CacheError, Page, Usage};
use crate::bridge::config::{OnCorruption, Synchronous};
use crate::bridge::core::forwarder::Restored;
use crate::bridge::delivery::{
    BridgeId, Delivery, Held, HeldPhase, Origin, Progress, Seq, Session, Store, Time, Write,
};
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::wire::Subscription;
use schema::state;

/// A cache in a SQLite file, locked against other processes as long as it lives.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    usage: HashMap<BridgeId, Usage>,
    _lock: File,
}

/// Removes a message that no delivery wants any more. There are few bridges, and each look is one step in the primary
/// key; CROSS JOIN keeps SQLite from taking them the other way round, through all deliveries.
const REMOVE_UNWANTED: &str = "DELETE FROM message WHERE seq = ?1 AND NOT EXISTS \
     (SELECT 1 FROM bridge b CROSS JOIN delivery d ON d.bridge = b.id AND d.seq = ?1)";

/// A delivery with its message, as [`delivery`] reads it.
const DELIVERY: &str = "d.seq, d.topic, d.qos, d.retain, m.received_at, m.topic, m.qos, m.retain, m.message_expiry, \
     m.properties, m.payload";

impl Sqlite {
    /// Opens a cache, or creates it where there is no file.
    ///
    /// # Errors
    /// Where the file is not a cache of ours, of a newer version, corrupted, in use, or cannot be opened; then nothing
    /// on the disk has been changed.
    pub fn open(path: &Path, synchronous: Synchronous) -> Result<Self, CacheError> {
        let (connection, lock) = open::open(path, synchronous)?;
        connection.set_prepared_statement_cache_capacity(32);
        let mut cache = Self { connection, path: path.to_owned(), usage: HashMap::new(), _lock: lock };
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
        match Self::open(path, synchronous) {
            Err(CacheError::Corrupted { .. } | CacheError::Foreign { .. })
                if on_corruption == OnCorruption::SetAside =>
            {
                let aside = set_aside(path)?;
                Ok((Self::open(path, synchronous)?, Some(aside)))
            }
            opened => Ok((opened?, None)),
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

/// Renames the file and what belongs to it.
fn set_aside(path: &Path) -> Result<PathBuf, CacheError> {
    let unusable = |error: std::io::Error| CacheError::Unusable { path: path.to_owned(), what: error.to_string() };
    let free = |number: &u32| !open::beside(path, &format!(".corrupted-{number}")).exists();
    let number = (1..).find(free).unwrap_or_default();
    let aside = open::beside(path, &format!(".corrupted-{number}"));
    for suffix in ["-wal", "-shm"] {
        let from = open::beside(path, suffix);
        if from.exists() {
            std::fs::rename(from, open::beside(&aside, suffix)).map_err(unusable)?;
        }
    }
    std::fs::rename(path, &aside).map_err(unusable)?;
    Ok(aside)
}

/// Changes of [`Usage`] within one transaction; they become true with it.
type Changes = HashMap<BridgeId, (i64, i64, i64)>;

fn store(connection: &Connection, store: &Store, changes: &mut Changes) -> rusqlite::Result<Applied> {
    if let Some((origin, packet_id)) = &store.received_id {
        let (bridge, client_id) = key(origin);
        let inserted = connection
            .prepare_cached("INSERT OR IGNORE INTO received_id (bridge, client_id, packet_id) VALUES (?1, ?2, ?3)")?
            .execute(params![bridge, client_id, packet_id])?;
        if inserted == 0 {
            return Ok(Applied::Repeated);
        }
    }
    if store.deliveries.is_empty() {
        return Ok(Applied::Done);
    }
    let message = &store.message;
    let other = &message.properties.other;
    connection
        .prepare_cached(
            "INSERT INTO message (seq, received_at, topic, qos, retain, message_expiry, properties, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            store.seq.0,
            millis(store.received_at),
            &*message.topic,
            message.qos as u8,
            message.retain,
            message.properties.message_expiry,
            (!other.is_empty()).then_some(&other[..]),
            &message.payload[..],
        ])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO delivery (bridge, seq, topic, qos, retain, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let bytes = message.size() as i64;
    for delivery in &store.deliveries {
        let topic = (delivery.topic != message.topic).then_some(&*delivery.topic);
        insert.execute(params![delivery.bridge.0, store.seq.0, topic, delivery.qos as u8, delivery.retain, bytes])?;
        let change = changes.entry(delivery.bridge).or_default();
        *change = (change.0 + 1, change.1 + bytes, change.2);
    }
    Ok(Applied::Done)
}

fn progress(
    connection: &Connection,
    bridge: BridgeId,
    seq: Seq,
    step: Progress,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let of = [bridge.0, seq.0];
    match step {
        Progress::Sent { packet_id } => {
            let sql = "UPDATE delivery SET state = ?3, packet_id = ?4, released = NULL \
                 WHERE bridge = ?1 AND seq = ?2 AND state <> ?5";
            connection.prepare_cached(sql)?.execute(params![
                of[0],
                of[1],
                state::SENT,
                packet_id,
                state::QUARANTINED
            ])?;
        }
        Progress::Released { order } => {
            let sql = "UPDATE delivery SET state = ?3, released = ?4 WHERE bridge = ?1 AND seq = ?2 AND state = ?5";
            connection.prepare_cached(sql)?.execute(params![of[0], of[1], state::RELEASED, order, state::SENT])?;
        }
        Progress::Requeued => {
            // `reason` is there in quarantine alone, and tells below whether the row comes from there.
            let sql = "UPDATE delivery SET state = ?3, packet_id = NULL, released = NULL \
                 WHERE bridge = ?1 AND seq = ?2 AND state <> ?3 RETURNING bytes, reason IS NOT NULL";
            let requeued: Option<(i64, bool)> = connection
                .prepare_cached(sql)?
                .query_row(params![of[0], of[1], state::QUEUED], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if let Some((bytes, true)) = requeued {
                let sql = "UPDATE delivery SET reason = NULL WHERE bridge = ?1 AND seq = ?2";
                connection.prepare_cached(sql)?.execute(of)?;
                let change = changes.entry(bridge).or_default();
                *change = (change.0 + 1, change.1 + bytes, change.2 - 1);
            }
        }
        Progress::Quarantined(reason) => {
            let sql = "UPDATE delivery SET state = ?3, packet_id = NULL, released = NULL, reason = ?4 \
                 WHERE bridge = ?1 AND seq = ?2 AND state <> ?3 RETURNING bytes";
            let bytes: Option<i64> = connection
                .prepare_cached(sql)?
                .query_row(params![of[0], of[1], state::QUARANTINED, reason.0], |row| row.get(0))
                .optional()?;
            if let Some(bytes) = bytes {
                let change = changes.entry(bridge).or_default();
                *change = (change.0 - 1, change.1 - bytes, change.2 + 1);
            }
        }
        Progress::Removed(_) => {
            let sql = "DELETE FROM delivery WHERE bridge = ?1 AND seq = ?2 RETURNING bytes, state";
            let removed: Option<(i64, i64)> =
                connection.prepare_cached(sql)?.query_row(of, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let Some((bytes, state)) = removed else { return Ok(()) };
            let change = changes.entry(bridge).or_default();
            *change = if state == state::QUARANTINED {
                (change.0, change.1, change.2 - 1)
            } else {
                (change.0 - 1, change.1 - bytes, change.2)
            };
            connection.prepare_cached(REMOVE_UNWANTED)?.execute([seq.0])?;
        }
    }
    Ok(())
}

fn apply(connection: &Connection, write: &Write, changes: &mut Changes) -> rusqlite::Result<Applied> {
    match write {
        Write::Store(message) => return store(connection, message, changes),
        Write::Progress { bridge, seq, step } => progress(connection, *bridge, *seq, *step, changes)?,
        Write::Count { .. } => {}
        Write::Forget { origin, packet_id } => {
            let (bridge, client_id) = key(origin);
            connection
                .prepare_cached("DELETE FROM received_id WHERE bridge = ?1 AND client_id = ?2 AND packet_id = ?3")?
                .execute(params![bridge, client_id, packet_id])?;
        }
        Write::ForgetAll { origin } => forget_all(connection, origin)?,
        Write::Established { bridge, identity } => {
            connection
                .prepare_cached("UPDATE bridge SET established = ?2 WHERE id = ?1")?
                .execute(params![bridge.0, identity])?;
        }
        Write::KeepSession { client_id, expires_at, expiry } => {
            connection
                .prepare_cached(
                    "INSERT INTO session (client_id, expiry, expires_at) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (client_id) DO UPDATE SET expiry = ?2, expires_at = ?3",
                )?
                .execute(params![&**client_id, expiry, expires_at.map(millis)])?;
        }
        Write::EndSession { client_id } => {
            forget_all(connection, &Origin::Local(client_id.clone()))?;
            for sql in ["DELETE FROM subscription WHERE client_id = ?1", "DELETE FROM session WHERE client_id = ?1"] {
                connection.prepare_cached(sql)?.execute([&**client_id])?;
            }
        }
        Write::Subscribe { client_id, subscription } => {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO subscription \
                     SELECT client_id, ?2, ?3, ?4, ?5, ?6 FROM session WHERE client_id = ?1",
                )?
                .execute(params![
                    &**client_id,
                    subscription.filter,
                    subscription.qos as u8,
                    subscription.no_local,
                    subscription.retain_as_published,
                    subscription.retain_handling,
                ])?;
        }
        Write::Unsubscribe { client_id, filter } => {
            connection
                .prepare_cached("DELETE FROM subscription WHERE client_id = ?1 AND filter = ?2")?
                .execute(params![&**client_id, filter])?;
        }
    }
    Ok(Applied::Done)
}

fn forget_all(connection: &Connection, origin: &Origin) -> rusqlite::Result<()> {
    let (bridge, client_id) = key(origin);
    connection
        .prepare_cached("DELETE FROM received_id WHERE bridge = ?1 AND client_id = ?2")?
        .execute(params![bridge, client_id])?;
    Ok(())
}

impl Cache for Sqlite {
    fn bridge(&mut self, name: &str) -> Result<(BridgeId, Restored), CacheError> {
        self.connection.execute("INSERT OR IGNORE INTO bridge (name) VALUES (?1)", [name])?;
        let (id, established) =
            self.connection.query_row("SELECT id, established FROM bridge WHERE name = ?1", [name], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?))
            })?;
        self.load_usage()?;
        let sql = format!(
            "SELECT {DELIVERY}, d.packet_id, d.released FROM delivery d JOIN message m USING (seq) \
             WHERE d.bridge = ?1 AND d.packet_id IS NOT NULL ORDER BY d.seq"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let held = statement.query_map([id], |row| {
            let released: Option<i64> = row.get(12)?;
            let phase = released.map_or(HeldPhase::Sent, HeldPhase::Released);
            Ok(Held { delivery: delivery(row)?, packet_id: row.get(11)?, phase })
        })?;
        let held = held.collect::<rusqlite::Result<_>>()?;
        let received_ids = received_ids(&self.connection, &Origin::Remote(BridgeId(id)))?;
        Ok((BridgeId(id), Restored { established, held, received_ids }))
    }

    fn apply(&mut self, writes: &[Write]) -> Result<Vec<Applied>, CacheError> {
        if !writes.iter().any(Write::changes_something) {
            return Ok(vec![Applied::Done; writes.len()]);
        }
        let mut changes = Changes::new();
        let mut transact = || -> rusqlite::Result<Vec<Applied>> {
            let transaction = self.connection.unchecked_transaction()?;
            let applied =
                writes.iter().map(|write| apply(&transaction, write, &mut changes)).collect::<rusqlite::Result<_>>()?;
            let mut update = transaction.prepare_cached(
                "UPDATE bridge SET messages = messages + ?2, bytes = bytes + ?3, quarantined = quarantined + ?4 \
                 WHERE id = ?1",
            )?;
            for (bridge, (messages, bytes, quarantined)) in &changes {
                update.execute(params![bridge.0, messages, bytes, quarantined])?;
            }
            drop(update);
            transaction.commit()?;
            Ok(applied)
        };
        let applied = transact().map_err(|error| open::classify(&self.path, error))?;
        for (bridge, (messages, bytes, quarantined)) in changes {
            let usage = self.usage.entry(bridge).or_default();
            usage.messages = usage.messages.saturating_add_signed(messages);
            usage.bytes = usage.bytes.saturating_add_signed(bytes);
            usage.quarantined = usage.quarantined.saturating_add_signed(quarantined);
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
            "SELECT filter, qos, no_local, retain_as_published, retain_handling FROM subscription WHERE client_id = ?1",
        )?;
        let subscriptions = statement.query_map([client_id], |row| {
            Ok(Subscription {
                filter: row.get(0)?,
                qos: qos(row, 1)?,
                no_local: row.get(2)?,
                retain_as_published: row.get(3)?,
                retain_handling: row.get(4)?,
            })
        })?;
        let subscriptions = subscriptions.collect::<rusqlite::Result<_>>()?;
        let received_ids = received_ids(&self.connection, &Origin::Local(client_id.into()))?;
        Ok(Some(Session { expiry, expires_at: expires_at.map(time), received_ids, subscriptions }))
    }

    fn latest(&mut self) -> Result<(Seq, Time), CacheError> {
        let sql = "SELECT seq, received_at FROM message ORDER BY seq DESC LIMIT 1";
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

fn key(origin: &Origin) -> (i64, &str) {
    match origin {
        Origin::Local(client_id) => (0, client_id),
        Origin::Remote(bridge) => (bridge.0, ""),
    }
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
    Ok(Delivery {
        seq: Seq(row.get(0)?),
        topic: row.get::<_, Option<Arc<str>>>(1)?.unwrap_or(topic),
        qos: qos(row, 2)?,
        retain: row.get(3)?,
        received_at: time(row.get(4)?),
        stored: true,
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
