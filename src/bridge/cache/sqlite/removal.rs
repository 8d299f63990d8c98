//! Removing deliveries, and the messages that no delivery wants any more.
use std::collections::HashSet;
use std::ops::RangeInclusive;

use rusqlite::{Connection, params};

use super::apply::Changes;
use super::schema::state;
use crate::bridge::delivery::{BridgeId, Progress, Seq, Write};

const COUNT: &str = "SELECT count(*), count(*) FILTER (WHERE state = ?4), ifnull(sum(bytes) FILTER (WHERE state <> ?4), 0) \
     FROM delivery WHERE bridge = ?1 AND seq BETWEEN ?2 AND ?3";
const DELIVERIES: &str = "DELETE FROM delivery WHERE bridge = ?1 AND seq BETWEEN ?2 AND ?3";
const MESSAGES: &str = "DELETE FROM message WHERE seq BETWEEN ?1 AND ?2";
/// Of sessions: through an index of their own.
const WANTED_BY_SESSIONS: &str = "SELECT seq FROM delivery INDEXED BY delivery_session \
     WHERE bridge >= 4294967296 AND seq BETWEEN ?1 AND ?2";
const WANTED: &str = "SELECT seq FROM delivery WHERE bridge = ?1 AND seq BETWEEN ?2 AND ?3";
/// Plain ranges of the primary keys: with a subquery about the same parameter SQLite prepared the statement anew for
/// every execution, which took a third of the time of a message.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 5] = [COUNT, DELIVERIES, MESSAGES, WANTED, WANTED_BY_SESSIONS];

/// The removals of one bridge, of one sequence after the other, that these writes begin with.
pub(super) fn removals(writes: &[&Write]) -> Option<(BridgeId, RangeInclusive<Seq>)> {
    let removal = |write: &&Write| match write {
        Write::Progress { bridge, seq, step: Progress::Removed(_) } => Some((*bridge, *seq)),
        _ => None,
    };
    let (bridge, first) = writes.first().and_then(removal)?;
    let in_a_row = (first.0..).zip(writes).take_while(|(seq, write)| removal(write) == Some((bridge, Seq(*seq))));
    Some((bridge, first..=in_a_row.last().map_or(first, |(seq, _)| Seq(seq))))
}

/// Removes a bridge's deliveries of these sequences, and the messages among them that no other bridge wants.
pub(super) fn remove(
    connection: &Connection,
    bridge: BridgeId,
    seqs: RangeInclusive<Seq>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let (first, last) = (seqs.start().0, seqs.end().0);
    let of = params![bridge.0, first, last, state::QUARANTINED];
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (rows, quarantined, bytes): (i64, i64, i64) = connection.prepare_cached(COUNT)?.query_row(of, row)?;
    if rows == 0 {
        return Ok(());
    }
    let change = changes.entry(bridge).or_default();
    *change = (change.0 - (rows - quarantined), change.1 - bytes, change.2 - quarantined);
    connection.prepare_cached(DELIVERIES)?.execute([bridge.0, first, last])?;
    let mut unwanted = connection.prepare_cached(MESSAGES)?;
    let wanted = wanted(connection, first, last)?;
    if wanted.is_empty() {
        unwanted.execute([first, last])?;
    } else {
        for seq in (first..=last).filter(|seq| !wanted.contains(seq)) {
            unwanted.execute([seq, seq])?;
        }
    }
    Ok(())
}

/// Which messages of a range have deliveries. There are few bridges, and each is one step in the primary key; all
/// sessions are one in theirs.
fn wanted(connection: &Connection, first: i64, last: i64) -> rusqlite::Result<HashSet<i64>> {
    let mut bridges = connection.prepare_cached("SELECT id FROM bridge WHERE id < 4294967296")?;
    let mut seqs = connection.prepare_cached(WANTED)?;
    let mut wanted = HashSet::new();
    let bridges = bridges.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    for bridge in bridges {
        for seq in seqs.query_map([bridge, first, last], |row| row.get(0))? {
            wanted.insert(seq?);
        }
    }
    let mut sessions = connection.prepare_cached(WANTED_BY_SESSIONS)?;
    for seq in sessions.query_map([first, last], |row| row.get(0))? {
        wanted.insert(seq?);
    }
    Ok(wanted)
}

/// Deliveries that one step discards.
const DISCARDED: usize = 256;

/// Discards the oldest of what waits for a session that has ended, and with the last of it the queue.
pub(super) fn discard(connection: &Connection, queue: BridgeId, changes: &mut Changes) -> rusqlite::Result<()> {
    let sql = "SELECT seq FROM delivery WHERE bridge = ?1 ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let seqs = statement.query_map(params![queue.0, DISCARDED as i64], |row| row.get(0))?;
    let seqs = seqs.collect::<rusqlite::Result<Vec<i64>>>()?;
    for run in seqs.chunk_by(|one, next| *next == one + 1) {
        if let [first, .., last] | [first @ last] = run {
            remove(connection, queue, Seq(*first)..=Seq(*last), changes)?;
        }
    }
    if seqs.len() < DISCARDED {
        connection.prepare_cached("DELETE FROM bridge WHERE id = ?1 AND name LIKE 'ended:%'")?.execute([queue.0])?;
    }
    Ok(())
}
