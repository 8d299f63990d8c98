//! Wills, from CONNECT until they are void or published.
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::{millis, qos, time};
use crate::bridge::delivery::{KeptWill, Time};
use crate::bridge::message::{Message, Properties};
use crate::bridge::wire::Will;

/// Part of version 2 of the schema; a client has one Will at most. due_at: NULL while the client is connected.
pub(super) const SCHEMA: &str = "
CREATE TABLE will (
    client_id TEXT PRIMARY KEY,
    due_at INTEGER,
    delay INTEGER NOT NULL,
    topic TEXT NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    message_expiry INTEGER,
    properties BLOB,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

pub(super) fn keep(
    connection: &Connection,
    client_id: &str,
    will: &Will,
    due_at: Option<Time>,
) -> rusqlite::Result<()> {
    let message = &will.message;
    let other = Some(&message.properties.other[..]).filter(|bytes| !bytes.is_empty());
    connection.prepare_cached("INSERT OR REPLACE INTO will VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(
        params![
            client_id,
            due_at.map(millis),
            will.delay,
            &*message.topic,
            message.qos as u8,
            message.retain,
            message.properties.message_expiry,
            other,
            &message.payload[..],
        ],
    )?;
    Ok(())
}

pub(super) fn end(connection: &Connection, client_id: &str, due_at: Option<Time>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM will WHERE client_id = ?1 AND due_at IS ?2")?
        .execute(params![client_id, due_at.map(millis)])?;
    Ok(())
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<KeptWill>> {
    let mut statement = connection.prepare(
        "SELECT client_id, due_at, delay, topic, qos, retain, message_expiry, properties, payload FROM will",
    )?;
    let wills = statement.query_map([], |row| {
        let other = match row.get_ref(7)? {
            ValueRef::Blob(bytes) => bytes::Bytes::copy_from_slice(bytes),
            _ => bytes::Bytes::new(),
        };
        let message = Message {
            topic: row.get(3)?,
            payload: bytes::Bytes::copy_from_slice(row.get_ref(8)?.as_blob()?),
            qos: qos(row, 4)?,
            retain: row.get(5)?,
            properties: Properties { message_expiry: row.get(6)?, other },
        };
        Ok(KeptWill {
            client_id: row.get(0)?,
            due_at: row.get::<_, Option<i64>>(1)?.map(time),
            will: Will { delay: row.get(2)?, message: Arc::new(message) },
        })
    })?;
    wills.collect()
}
