//! Inserting messages and deliveries, several rows a statement: half of what a row costs is the statement's beginning and
//! end.
use std::sync::LazyLock;

use rusqlite::{Connection, Statement, params};

use super::millis;
use crate::bridge::delivery::{NewDelivery, Store};

/// Rows that are inserted by one statement.
const ROWS: usize = 16;

/// The statement for one row, and the one for [`ROWS`].
struct Insert {
    one: String,
    many: String,
}

fn insert(table: &str, columns: &str) -> Insert {
    let row = format!("({})", vec!["?"; columns.split(',').count()].join(", "));
    let sql = |rows: usize| format!("INSERT INTO {table} ({columns}) VALUES {}", vec![row.as_str(); rows].join(", "));
    Insert { one: sql(1), many: sql(ROWS) }
}

static MESSAGE: LazyLock<Insert> =
    LazyLock::new(|| insert("message", "seq, received_at, topic, qos, retain, message_expiry, properties, payload"));
static DELIVERY: LazyLock<Insert> = LazyLock::new(|| insert("delivery", "bridge, seq, topic, qos, retain, bytes"));

/// What has been stored and is not inserted yet.
#[derive(Default)]
pub(super) struct Inserts<'a> {
    messages: Vec<&'a Store>,
    deliveries: Vec<(&'a Store, &'a NewDelivery)>,
}

impl<'a> Inserts<'a> {
    /// Adds a message with its deliveries; one that goes nowhere is no row.
    pub(super) fn add(&mut self, connection: &Connection, store: &'a Store) -> rusqlite::Result<()> {
        if store.deliveries.is_empty() {
            return Ok(());
        }
        self.messages.push(store);
        self.deliveries.extend(store.deliveries.iter().map(|delivery| (store, delivery)));
        if self.messages.len() >= ROWS { self.flush(connection) } else { Ok(()) }
    }

    /// Inserts them.
    pub(super) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        rows(connection, &MESSAGE, &self.messages, bind_message)?;
        rows(connection, &DELIVERY, &self.deliveries, bind_delivery)?;
        for (store, delivery) in &self.deliveries {
            if let Some(identifiers) = &delivery.identifiers {
                let bytes: Vec<u8> = identifiers.iter().flat_map(|identifier| identifier.to_le_bytes()).collect();
                let sql = "UPDATE delivery SET identifiers = ?3 WHERE bridge = ?1 AND seq = ?2";
                connection.prepare_cached(sql)?.execute(params![delivery.bridge.0, store.seq.0, bytes])?;
            }
        }
        self.messages.clear();
        self.deliveries.clear();
        Ok(())
    }
}

/// Binds a row's columns from a parameter on; says which parameter is the next.
type Bind<R> = fn(&mut Statement<'_>, usize, &R) -> rusqlite::Result<usize>;

fn rows<R>(connection: &Connection, insert: &Insert, rows: &[R], bind: Bind<R>) -> rusqlite::Result<()> {
    for chunk in rows.chunks(ROWS) {
        let (sql, size) = if chunk.len() == ROWS { (&insert.many, ROWS) } else { (&insert.one, 1) };
        let mut statement = connection.prepare_cached(sql)?;
        for rows in chunk.chunks(size) {
            let mut parameter = 1;
            for row in rows {
                parameter = bind(&mut statement, parameter, row)?;
            }
            statement.raw_execute()?;
        }
    }
    Ok(())
}

fn bind_message(statement: &mut Statement<'_>, at: usize, store: &&Store) -> rusqlite::Result<usize> {
    let message = &store.message;
    let other = &message.properties.other;
    statement.raw_bind_parameter(at, store.seq.0)?;
    statement.raw_bind_parameter(at + 1, millis(store.received_at))?;
    statement.raw_bind_parameter(at + 2, &*message.topic)?;
    statement.raw_bind_parameter(at + 3, message.qos as u8)?;
    statement.raw_bind_parameter(at + 4, message.retain)?;
    statement.raw_bind_parameter(at + 5, message.properties.message_expiry)?;
    statement.raw_bind_parameter(at + 6, (!other.is_empty()).then_some(&other[..]))?;
    statement.raw_bind_parameter(at + 7, &message.payload[..])?;
    Ok(at + 8)
}

fn bind_delivery(
    statement: &mut Statement<'_>,
    at: usize,
    (store, delivery): &(&Store, &NewDelivery),
) -> rusqlite::Result<usize> {
    let message = &store.message;
    statement.raw_bind_parameter(at, delivery.bridge.0)?;
    statement.raw_bind_parameter(at + 1, store.seq.0)?;
    statement.raw_bind_parameter(at + 2, (delivery.topic != message.topic).then_some(&*delivery.topic))?;
    statement.raw_bind_parameter(at + 3, delivery.qos as u8)?;
    statement.raw_bind_parameter(at + 4, delivery.retain)?;
    statement.raw_bind_parameter(at + 5, message.size() as i64)?;
    Ok(at + 6)
}
