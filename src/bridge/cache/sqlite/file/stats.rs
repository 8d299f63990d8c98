//! `cache stats`: what waits, for whom, for how long, and what it takes on the disk.
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::super::{open::beside, schema::state, time};
use super::export::bridges;
use super::{CacheFile, tally};
use crate::bridge::cache::CacheError;
use crate::bridge::delivery::{BridgeId, Time};

/// Of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Whether it is NanoMQ's.
    pub nanomq: bool,
    /// Whether a bridge runs on it.
    pub in_use: bool,
    /// Of its schema; 0: NanoMQ's, which has none.
    pub version: i64,
    /// What it takes on the disk.
    pub sizes: Sizes,
    /// Messages; one that goes to several bridges is kept once.
    pub messages: u64,
    /// Local sessions that are kept.
    pub sessions: u64,
    /// By name.
    pub bridges: Vec<BridgeStats>,
    /// By bridge, those with the most deliveries first.
    pub topics: Vec<TopicStats>,
    /// Rows that could not be read and are not counted above.
    pub unreadable: u64,
}

/// Bytes and pages of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the file, without its WAL.
    pub file_bytes: u64,
    /// Bytes of its WAL.
    pub wal_bytes: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages of the database.
    pub pages: u64,
    /// Those of them that hold nothing.
    pub free_pages: u64,
}

/// Of a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeStats {
    /// Its name; of a local session: `session:` and its Client Identifier.
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

/// Of a topic at the remote of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStats {
    /// The bridge's name.
    pub bridge: String,
    /// Topic Name at the remote.
    pub topic: String,
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

impl BridgeStats {
    /// Counts a topic's deliveries too.
    pub(super) fn add(&mut self, topic: &TopicStats) {
        self.queued += topic.queued;
        self.in_flight += topic.in_flight;
        self.quarantined += topic.quarantined;
        self.bytes += topic.bytes;
        self.oldest = self.oldest.into_iter().chain(topic.oldest).min();
    }
}

/// What a database takes on the disk.
pub(super) fn sizes(connection: &Connection, path: &Path) -> rusqlite::Result<Sizes> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Ok(Sizes {
        file_bytes: size(path),
        wal_bytes: size(&beside(path, "-wal")),
        page_size: number("PRAGMA page_size")?,
        pages: number("PRAGMA page_count")?,
        free_pages: number("PRAGMA freelist_count")?,
    })
}

impl CacheFile {
    pub(super) fn read_stats(&self) -> Result<Stats, CacheError> {
        let (topics, unreadable) = tally::topics(self)?;
        let read = || {
            let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, u64>(0));
            let mut named = Vec::new();
            for (id, name) in bridges(&self.connection)? {
                let stats = self.bridge_stats(id, name)?;
                // Most sessions have nothing waiting.
                let is_idle = stats.queued + stats.in_flight + stats.quarantined == 0;
                if !(BridgeId(id).is_session() && is_idle) {
                    named.push(stats);
                }
            }
            Ok(Stats {
                nanomq: false,
                in_use: self.in_use,
                version: self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?,
                sizes: sizes(&self.connection, &self.path)?,
                messages: number("SELECT count(*) FROM message")?,
                sessions: number("SELECT count(*) FROM session")?,
                bridges: named,
                topics,
                unreadable,
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
