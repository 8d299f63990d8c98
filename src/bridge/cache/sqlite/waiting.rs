//! What may be given up, in order, without its payload.
use rusqlite::{Connection, OptionalExtension, params};

use super::{qos, time};
use crate::bridge::cache::sqlite::schema::state;
use crate::bridge::delivery::{BridgeId, Kind, Seq, Time, Waiting};

/// SQLite would take the primary key for QoS 0 too, and go through all that waits.
pub(super) fn sql(kind: Kind) -> String {
    let (index, qos) = match kind {
        Kind::AtMostOnce => ("INDEXED BY delivery_qos0", "AND d.qos = 0"),
        Kind::Acknowledged => ("", "AND d.qos > 0"),
        Kind::Any => ("", ""),
    };
    format!(
        "SELECT d.seq, coalesce(d.topic, m.topic), d.qos, d.bytes, m.received_at \
         FROM delivery d {index} CROSS JOIN message m USING (seq) \
         WHERE d.bridge = ?1 AND d.seq > ?2 AND d.state = {} {qos} ORDER BY d.seq LIMIT ?3",
        state::QUEUED
    )
}

pub(super) fn read(
    connection: &Connection,
    bridge: BridgeId,
    kind: Kind,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<Waiting>> {
    let mut statement = connection.prepare_cached(&sql(kind))?;
    let rows = statement.query_map(params![bridge.0, after.0, limit as i64], |row| {
        Ok(Waiting {
            seq: Seq(row.get(0)?),
            topic: row.get(1)?,
            qos: qos(row, 2)?,
            bytes: row.get(3)?,
            received_at: time(row.get(4)?),
        })
    })?;
    rows.collect()
}

/// Along the primary key, to the first row that is not in quarantine.
pub(super) fn oldest(connection: &Connection, bridge: BridgeId) -> rusqlite::Result<Option<Time>> {
    let sql = format!(
        "SELECT m.received_at FROM delivery d CROSS JOIN message m USING (seq) \
         WHERE d.bridge = ?1 AND d.state <> {} ORDER BY d.seq LIMIT 1",
        state::QUARANTINED
    );
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([bridge.0], |row| row.get(0)).optional()?.map(time))
}
