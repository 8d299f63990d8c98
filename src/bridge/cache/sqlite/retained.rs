//! Retained messages.
use std::sync::{Arc, Weak};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::{millis, qos, time};
use crate::bridge::core::retained::Entry;
use crate::bridge::delivery::{Seq, Store, Time};
use crate::bridge::message::{Message, Properties};

/// The topic of a message has this one, or none where it is empty ([MQTT-3.3.1-5], [MQTT-3.3.1-6]).
pub(super) fn write(connection: &Connection, store: &Store) -> rusqlite::Result<()> {
    let message = &store.message;
    if message.payload.is_empty() {
        connection.prepare_cached("DELETE FROM retained WHERE topic = ?1")?.execute([&*message.topic])?;
        return Ok(());
    }
    let (other, expiry) = (&message.properties.other, message.properties.message_expiry);
    let sql = "INSERT OR REPLACE INTO retained (topic, seq, received_at, qos, message_expiry, properties, payload, bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        &*message.topic,
        store.seq.0,
        millis(store.received_at),
        message.qos as u8,
        expiry,
        (!other.is_empty()).then_some(&other[..]),
        &message.payload[..],
        message.size() as i64,
    ])?;
    Ok(())
}

/// The topics that have one.
pub(super) fn topics(connection: &Connection) -> rusqlite::Result<Vec<(Arc<str>, Entry)>> {
    let mut statement = connection.prepare("SELECT topic, seq, bytes, received_at, message_expiry FROM retained")?;
    let topics = statement.query_map([], |row| {
        let (received_at, expiry): (i64, Option<u32>) = (row.get(3)?, row.get(4)?);
        let expires_at = expiry.map(|secs| time(received_at) + Time::from_secs(secs.into()));
        let (seq, bytes) = (Seq(row.get(1)?), row.get(2)?);
        Ok((row.get(0)?, Entry { seq, bytes, expires_at, alive: Weak::new() }))
    })?;
    topics.collect()
}

/// That of a topic.
pub(super) fn read(connection: &Connection, topic: &str) -> rusqlite::Result<Option<(Seq, Arc<Message>, Time)>> {
    let sql = "SELECT seq, received_at, topic, qos, message_expiry, properties, payload FROM retained WHERE topic = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = statement.query_row([topic], |row| {
        let other = match row.get_ref(5)? {
            ValueRef::Blob(bytes) => bytes::Bytes::copy_from_slice(bytes),
            _ => bytes::Bytes::new(),
        };
        let message = Message {
            topic: row.get(2)?,
            payload: bytes::Bytes::copy_from_slice(row.get_ref(6)?.as_blob()?),
            qos: qos(row, 3)?,
            retain: true,
            properties: Properties { message_expiry: row.get(4)?, other },
        };
        Ok((Seq(row.get(0)?), Arc::new(message), time(row.get(1)?)))
    });
    read.optional()
}
