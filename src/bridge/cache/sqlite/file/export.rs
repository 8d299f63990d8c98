//! `cache export`: everything that can be read, one JSON object a line.
use std::fmt;
use std::io::Write;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::record::{ExportedDelivery, ExportedMessage};
use super::salvage::{Gap, is_damage, walk};
use super::{CacheFile, Readable, State};
use crate::bridge::cache::CacheError;

/// What was exported, and what could not be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Messages written.
    pub messages: u64,
    /// Their deliveries.
    pub deliveries: u64,
    /// Messages of which something besides the sequence could not be read; they are left out.
    pub unreadable: Vec<Unreadable>,
    /// Sequences of which nothing can be read.
    pub gaps: Vec<Gap>,
    /// Messages written without a delivery, since where they go could not be read.
    pub without_delivery: u64,
    /// Messages written without one of their deliveries, since it could not be read whether there is one.
    pub partly: Vec<i64>,
}

/// A message that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its sequence.
    pub seq: i64,
    /// What cannot be read.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.seq, self.why)
    }
}

impl Exported {
    /// Whether everything could be read.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty() && self.gaps.is_empty() && self.without_delivery == 0 && self.partly.is_empty()
    }
}

/// Why an export ended.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExportError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("writing the export: {0}")]
    Output(#[from] std::io::Error),
}

/// Writes every message that can be read, one JSON object a line.
///
/// # Errors
/// Where the output fails, or the file cannot be read for another reason than that it is damaged.
pub fn export(file: &dyn Readable, out: &mut impl Write) -> Result<Exported, ExportError> {
    let mut written = Ok(());
    let exported = file.each(&mut |message| {
        written = serde_json::to_writer(&mut *out, &message).map_err(std::io::Error::from);
        if written.is_ok() {
            written = out.write_all(b"\n");
        }
        written.is_ok()
    })?;
    written?;
    Ok(exported)
}

/// Why a walk ends early.
pub(super) enum End {
    Enough,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for End {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl CacheFile {
    pub(super) fn read_each(&self, take: &mut dyn FnMut(ExportedMessage) -> bool) -> Result<Exported, CacheError> {
        let mut exported = Exported::default();
        let seek = "SELECT seq FROM message WHERE seq >= ?1 ORDER BY seq LIMIT 1";
        let mut seek = self.connection.prepare(seek)?;
        let walked = walk(
            |from| seek.query_row([from], |row| row.get(0)).optional(),
            |seq| self.take_one(seq, take, &mut exported),
        );
        match walked {
            Ok(gaps) => exported.gaps = gaps,
            Err(End::Enough) => {}
            Err(End::Sqlite(error)) => return Err(error.into()),
        }
        Ok(exported)
    }

    fn take_one(
        &self,
        seq: i64,
        take: &mut dyn FnMut(ExportedMessage) -> bool,
        exported: &mut Exported,
    ) -> Result<(), End> {
        let message = match message(&self.connection, seq) {
            // A bridge that runs may have removed it meanwhile.
            Ok(None) => return Ok(()),
            Ok(Some((message, partly))) => {
                if partly && !message.deliveries.is_empty() {
                    exported.partly.push(seq);
                }
                message
            }
            Err(error) if is_damage(&error) => {
                exported.unreadable.push(Unreadable { seq, why: error.to_string() });
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if message.deliveries.is_empty() && self.in_use {
            return Ok(());
        }
        exported.messages += 1;
        exported.deliveries += message.deliveries.len() as u64;
        exported.without_delivery += u64::from(message.deliveries.is_empty());
        if take(message) { Ok(()) } else { Err(End::Enough) }
    }
}

/// One message and what can be read of its deliveries; true where that may not be all of them.
pub(super) fn message(connection: &Connection, seq: i64) -> rusqlite::Result<Option<(ExportedMessage, bool)>> {
    let sql = "SELECT topic, qos, retain, received_at, message_expiry, properties, payload FROM message WHERE seq = ?1";
    let message = connection.prepare_cached(sql)?.query_row([seq], |row| {
        let properties = match row.get_ref(5)? {
            ValueRef::Blob(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        Ok(ExportedMessage {
            seq,
            topic: row.get(0)?,
            qos: row.get(1)?,
            retain: row.get(2)?,
            received_at: row.get(3)?,
            message_expiry: row.get(4)?,
            properties,
            payload: row.get(6)?,
            deliveries: Vec::new(),
        })
    });
    let Some(mut message) = message.optional()? else { return Ok(None) };
    let mut partly = false;
    for (id, name) in bridges(connection)? {
        match delivery(connection, id, &name, &message) {
            Ok(delivery) => message.deliveries.extend(delivery),
            Err(error) if is_damage(&error) => partly = true,
            Err(error) => return Err(error),
        }
    }
    Ok(Some((message, partly)))
}

fn delivery(
    connection: &Connection,
    bridge: i64,
    name: &str,
    message: &ExportedMessage,
) -> rusqlite::Result<Option<ExportedDelivery>> {
    let sql = "SELECT topic, qos, retain, state, reason FROM delivery WHERE bridge = ?1 AND seq = ?2";
    let delivery = connection.prepare_cached(sql)?.query_row([bridge, message.seq], |row| {
        let state: i64 = row.get(3)?;
        Ok(ExportedDelivery {
            bridge: name.to_owned(),
            topic: row.get::<_, Option<String>>(0)?.unwrap_or_else(|| message.topic.clone()),
            qos: row.get(1)?,
            retain: row.get(2)?,
            state: State::of(state).ok_or(rusqlite::Error::IntegralValueOutOfRange(3, state))?,
            reason: row.get(4)?,
        })
    });
    delivery.optional()
}

/// The bridges by their keys, as far as they can be read.
pub(super) fn bridges(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut statement = connection.prepare_cached("SELECT id, name FROM bridge ORDER BY id")?;
    let bridges = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect();
    match bridges {
        Err(error) if is_damage(&error) => Ok(Vec::new()),
        bridges => bridges,
    }
}
