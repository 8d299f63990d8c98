//! `cache stats`: what waits, for whom, for how long, and what it takes on the disk.
use std::path::Path;

use rusqlite::OptionalExtension;

use super::super::{open::beside, schema::state, time};
use super::CacheFile;
use super::export::bridges;
use crate::bridge::cache::CacheError;
use crate::bridge::delivery::Time;

/// Of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Whether a bridge runs on it.
    pub in_use: bool,
    /// Of its schema.
    pub version: i64,
    /// Bytes of the file, without its WAL.
    pub file_bytes: u64,
    /// Bytes of its WAL.
    pub wal_bytes: u64,
    /// Bytes of pages in the file that hold nothing.
    pub free_bytes: u64,
    /// Messages; one that goes to several bridges is kept once.
    pub messages: u64,
    /// Local sessions that are kept.
    pub sessions: u64,
    /// By name.
    pub bridges: Vec<BridgeStats>,
}

/// Of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeStats {
    /// Its name.
    pub name: String,
    /// Deliveries that wait.
    pub queued: u64,
    /// QoS 2 deliveries under a Packet Identifier.
    pub in_flight: u64,
    /// Deliveries that the remote refused for good.
    pub quarantined: u64,
    /// Bytes of what waits and is in flight.
    pub bytes: u64,
    /// When the oldest that waits or is in flight arrived.
    pub oldest: Option<Time>,
}

impl CacheFile {
    /// Counts.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn stats(&self) -> Result<Stats, CacheError> {
        let read = || {
            let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, u64>(0));
            let mut named = Vec::new();
            for (id, name) in bridges(&self.connection)? {
                named.push(self.bridge_stats(id, name)?);
            }
            let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            Ok(Stats {
                in_use: self.in_use,
                version: self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?,
                file_bytes: size(&self.path),
                wal_bytes: size(&beside(&self.path, "-wal")),
                free_bytes: number("PRAGMA freelist_count")? * number("PRAGMA page_size")?,
                messages: number("SELECT count(*) FROM message")?,
                sessions: number("SELECT count(*) FROM session")?,
                bridges: named,
            })
        };
        read().map_err(|error| self.classify(error))
    }

    fn bridge_stats(&self, id: i64, name: String) -> rusqlite::Result<BridgeStats> {
        // The counters that are kept, so that a bridge with a million messages is not held up by a scan.
        let sql = "SELECT b.messages, b.bytes, b.quarantined, (SELECT count(*) FROM delivery d \
             WHERE d.bridge = b.id AND d.packet_id IS NOT NULL) FROM bridge b WHERE b.id = ?1";
        let (waiting, bytes, quarantined, in_flight): (u64, u64, u64, u64) = self
            .connection
            .prepare_cached(sql)?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let sql = format!(
            "SELECT m.received_at FROM delivery d CROSS JOIN message m USING (seq) \
             WHERE d.bridge = ?1 AND d.state <> {} ORDER BY d.seq LIMIT 1",
            state::QUARANTINED
        );
        let oldest: Option<i64> = self.connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()?;
        let queued = waiting.saturating_sub(in_flight);
        Ok(BridgeStats { name, queued, in_flight, quarantined, bytes, oldest: oldest.map(time) })
    }
}
