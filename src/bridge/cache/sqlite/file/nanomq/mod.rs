//! NanoMQ's cache, `mqtt_client.db`, read as if it were ours.
//!
//! Its bridges share the file; a row names one of them by `info_id`. `t_client_offline_msg` holds what waits, and its keys
//! are the sequences here. `t_client_msg` is for what has a Packet Identifier and a connection, so was sent: it is taken to
//! be older than what waits, and its keys are negative here. (0.24.6 creates it and left it empty in the fixture.) Nothing
//! is changed: NanoMQ may want to go on with it.
mod held;
mod row;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::export::End;
use super::record::{ExportedDelivery, ExportedMessage};
use super::route::NAMELESS;
use super::salvage::{is_damage, walk};
use super::stats::{BridgeStats, sizes};
use super::{Exported, Readable, Report, Row, Selection, State, Stats, Table, Unreadable, open, tally};
use crate::bridge::cache::CacheError;
use crate::bridge::cache::sqlite::time;
use crate::bridge::delivery::{BridgeId, Seq};
use crate::bridge::message::Message;
use crate::bridge::wire::ReasonCode;

const WAITING: &str = "t_client_offline_msg";
const UNACKNOWLEDGED: &str = "t_client_msg";
/// Lines that SQLite's check may say.
const LINES: i64 = 100;

/// A `mqtt_client.db` that is read.
pub(super) struct NanomqFile {
    connection: Connection,
    path: PathBuf,
    in_use: bool,
    /// Those of its tables that are there, in the order in which their messages came.
    tables: Vec<&'static str>,
}

/// A row as far as it can be read.
struct Found {
    info_id: i64,
    bridge: Option<String>,
    received_at: i64,
    message: Result<Message, row::RowError>,
}

impl NanomqFile {
    /// Opens one; `None`: it is another program's.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, CacheError> {
        open::check_header(path)?;
        let in_use = held::is_open_elsewhere(path);
        let classify = |error| open::classify(path, error);
        let connection = open::read_only(path, open::access(path, in_use)).map_err(classify)?;
        connection.set_prepared_statement_cache_capacity(32);
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let is_there = |table: &str| connection.query_row(sql, [table], |row| row.get::<_, bool>(0)).map_err(classify);
        if !is_there(WAITING)? || !is_there("t_client_info")? {
            return Ok(None);
        }
        let mut tables = vec![WAITING];
        if is_there(UNACKNOWLEDGED)? {
            tables.insert(0, UNACKNOWLEDGED);
        }
        let file = Self { connection, path: path.to_owned(), in_use, tables };
        for table in &file.tables {
            // A version that has other columns.
            file.connection.prepare(&one(table)).map_err(|error| CacheError::Foreign {
                path: path.to_owned(),
                what: format!("it looks like NanoMQ's, but {table} is not as NanoMQ 0.24.6 has it: {error}"),
            })?;
        }
        Ok(Some(file))
    }

    /// Hands over each row of a table, with the name of the reason where it cannot be read.
    fn rows(
        &self,
        table: &'static str,
        take: &mut dyn FnMut(i64, rusqlite::Result<Found>) -> bool,
    ) -> Result<Vec<super::Gap>, CacheError> {
        let sign = if table == UNACKNOWLEDGED { -1 } else { 1 };
        let seek = format!("SELECT id FROM {table} WHERE id >= ?1 ORDER BY id LIMIT 1");
        let walked = walk(
            |from| self.connection.prepare_cached(&seek)?.query_row([from], |row| row.get(0)).optional(),
            |id| {
                let found = match self.found(table, id) {
                    Ok(None) => return Ok(()),
                    Ok(Some(found)) => Ok(found),
                    Err(error) if is_damage(&error) => Err(error),
                    Err(error) => return Err(End::Sqlite(error)),
                };
                if take(sign * id, found) { Ok(()) } else { Err(End::Enough) }
            },
        );
        match walked {
            Ok(gaps) => Ok(gaps),
            Err(End::Enough) => Ok(Vec::new()),
            Err(End::Sqlite(error)) => Err(open::classify(&self.path, error)),
        }
    }

    fn found(&self, table: &str, id: i64) -> rusqlite::Result<Option<Found>> {
        let mut statement = self.connection.prepare_cached(&one(table))?;
        let found = statement.query_row([id], |row| {
            let data = row.get_ref(0)?.as_blob_or_null()?.unwrap_or_default();
            let message = row::message(data, row.get(1)?);
            Ok(Found { info_id: row.get(2)?, bridge: row.get(3)?, received_at: row.get(4)?, message })
        });
        found.optional()
    }

    /// Every message that can be read and that `take` wants, and the others by name.
    fn messages(&self, take: &mut dyn FnMut(&str, i64, &Found, &Message) -> bool) -> Result<Exported, CacheError> {
        let mut exported = Exported::default();
        let mut enough = false;
        for table in &self.tables {
            let gaps = self.rows(table, &mut |seq, found| {
                let unreadable = match &found {
                    Err(error) => error.to_string(),
                    Ok(found) => match &found.message {
                        Err(error) => error.to_string(),
                        Ok(message) => {
                            enough = !take(name(found), seq, found, message);
                            return !enough;
                        }
                    },
                };
                exported.unreadable.push(Unreadable { seq, why: unreadable });
                true
            })?;
            exported.gaps.extend(gaps);
            if enough {
                break;
            }
        }
        Ok(exported)
    }
}

impl Readable for NanomqFile {
    fn stats(&self) -> Result<Stats, CacheError> {
        let (topics, unreadable) = tally::topics(self)?;
        let mut bridges: Vec<BridgeStats> = Vec::new();
        for topic in &topics {
            let known = bridges.iter().position(|bridge| bridge.name == topic.bridge);
            let index = known.unwrap_or(bridges.len());
            if known.is_none() {
                bridges.push(BridgeStats { name: topic.bridge.clone(), ..BridgeStats::default() });
            }
            bridges[index].add(topic);
        }
        let messages = bridges.iter().map(|bridge| bridge.queued + bridge.in_flight).sum();
        let sizes = sizes(&self.connection, &self.path).map_err(|error| open::classify(&self.path, error))?;
        Ok(Stats {
            nanomq: true,
            in_use: self.in_use,
            version: 0,
            sizes,
            messages,
            sessions: 0,
            bridges,
            topics,
            unreadable,
        })
    }

    /// In order of arrival.
    fn list(&self, selection: &Selection, limit: usize, take: &mut dyn FnMut(Row) -> bool) -> Result<u64, CacheError> {
        let mut left = limit;
        if left == 0 {
            return Ok(0);
        }
        let exported = self.messages(&mut |bridge, seq, found, message| {
            let row = Row {
                id: BridgeId(found.info_id),
                bridge: bridge.to_owned(),
                seq: Seq(seq),
                topic: message.topic.to_string(),
                qos: message.qos,
                bytes: message.size() as u64,
                received_at: time(found.received_at),
                state: state(seq),
                reason: None::<ReasonCode>,
            };
            if !selection.holds(&row) {
                return true;
            }
            left -= 1;
            take(row) && left > 0
        })?;
        Ok(exported.unreadable.len() as u64)
    }

    fn message(&self, seq: i64) -> Result<Option<ExportedMessage>, CacheError> {
        let table = if seq < 0 { UNACKNOWLEDGED } else { WAITING };
        if !self.tables.contains(&table) {
            return Ok(None);
        }
        let found = self.found(table, seq.saturating_abs()).map_err(|error| open::classify(&self.path, error))?;
        let Some(found) = found else { return Ok(None) };
        match &found.message {
            Ok(message) => Ok(Some(exported(seq, &found, message))),
            Err(error) => Err(CacheError::Row { path: self.path.clone(), seq, what: error.to_string() }),
        }
    }

    fn each(&self, take: &mut dyn FnMut(ExportedMessage) -> bool) -> Result<Exported, CacheError> {
        let (mut messages, mut deliveries) = (0, 0);
        let mut told = self.messages(&mut |_, seq, found, message| {
            messages += 1;
            deliveries += u64::from(found.bridge.is_some());
            take(exported(seq, found, message))
        })?;
        (told.messages, told.deliveries, told.without_delivery) = (messages, deliveries, messages - deliveries);
        Ok(told)
    }

    fn verify(&self) -> Result<Report, CacheError> {
        let mut report = Report::default();
        report.check(&self.connection, &format!("PRAGMA integrity_check({LINES})"), &self.path)?;
        for table in &self.tables {
            let (mut readable, mut unreadable) = (0, 0);
            let mut problem = |seq: i64, what: &str| report.problems.push(format!("{table} {}: {what}", seq.abs()));
            let gaps = self.rows(table, &mut |seq, found| {
                match found.map(|found| (found.bridge.is_none(), found.info_id, found.message)) {
                    Ok((orphan, info_id, Ok(_))) => {
                        readable += 1;
                        if orphan {
                            problem(seq, &format!("of bridge {info_id}, which t_client_info does not name"));
                        }
                    }
                    Ok((_, _, Err(error))) => {
                        unreadable += 1;
                        problem(seq, &error.to_string());
                    }
                    Err(error) => {
                        unreadable += 1;
                        problem(seq, &error.to_string());
                    }
                }
                true
            })?;
            report.tables.push(Table { name: (*table).to_owned(), readable, unreadable, gaps });
        }
        Ok(report)
    }

    fn is_in_use(&self) -> bool {
        self.in_use
    }

    fn was_taken_meanwhile(&self) -> bool {
        // One that is not in use is read without its `-shm` file, so that this may ask again.
        !self.in_use && held::is_open_elsewhere(&self.path)
    }

    fn is_nanomq(&self) -> bool {
        true
    }
}

/// One row. Times are UTC, in whole seconds; one that cannot be read is taken for now, so that nothing expires by it.
fn one(table: &str) -> String {
    format!(
        "SELECT t.data, t.proto_ver, t.info_id, i.config_name, \
         1000 * CAST(coalesce(strftime('%s', t.ts), strftime('%s', 'now')) AS INTEGER) \
         FROM {table} t LEFT JOIN t_client_info i ON i.id = t.info_id WHERE t.id = ?1"
    )
}

fn name(found: &Found) -> &str {
    found.bridge.as_deref().unwrap_or(NAMELESS)
}

fn state(seq: i64) -> State {
    if seq < 0 { State::InFlight } else { State::Queued }
}

fn exported(seq: i64, found: &Found, message: &Message) -> ExportedMessage {
    let delivery = found.bridge.clone().map(|bridge| ExportedDelivery {
        bridge,
        topic: message.topic.to_string(),
        qos: u8::from(message.qos),
        retain: message.retain,
        state: state(seq),
        reason: None,
    });
    ExportedMessage {
        seq,
        topic: message.topic.to_string(),
        qos: u8::from(message.qos),
        retain: message.retain,
        received_at: found.received_at,
        message_expiry: message.properties.message_expiry,
        properties: message.properties.other.to_vec(),
        payload: message.payload.to_vec(),
        deliveries: delivery.into_iter().collect(),
    }
}
