//! What each write changes, within one transaction.
use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::insert::Inserts;
use super::removal::{discard, removals, remove};
use super::schema::state;
use super::{millis, retained, will};
use crate::bridge::cache::Applied;
use crate::bridge::delivery::{BridgeId, Origin, Progress, Seq, Store, Write};

/// Changes of [`Usage`] within one transaction; they become true with it.
pub(super) type Changes = HashMap<BridgeId, (i64, i64, i64)>;

/// Brings the counters of each bridge up to what has been changed.
pub(super) fn count(connection: &Connection, changes: &Changes) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE bridge SET messages = messages + ?2, bytes = bytes + ?3, quarantined = quarantined + ?4 WHERE id = ?1",
    )?;
    for (bridge, (messages, bytes, quarantined)) in changes {
        update.execute(params![bridge.0, messages, bytes, quarantined])?;
    }
    Ok(())
}

/// Takes a message in, unless it is a repetition; its rows come with the next [`Inserts::flush`].
fn store<'a>(
    connection: &Connection,
    store: &'a Store,
    changes: &mut Changes,
    inserts: &mut Inserts<'a>,
) -> rusqlite::Result<Applied> {
    if let Some((origin, packet_id)) = &store.received_id {
        let (bridge, client_id) = key(origin);
        let inserted = connection
            .prepare_cached("INSERT OR IGNORE INTO received_id (bridge, client_id, packet_id) VALUES (?1, ?2, ?3)")?
            .execute(params![bridge, client_id, packet_id])?;
        if inserted == 0 {
            return Ok(Applied::Repeated);
        }
    }
    if store.retained {
        retained::write(connection, store)?;
    }
    let bytes = store.message.size() as i64;
    for delivery in &store.deliveries {
        let change = changes.entry(delivery.bridge).or_default();
        *change = (change.0 + 1, change.1 + bytes, change.2);
    }
    inserts.add(connection, store)?;
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
        Progress::Removed(_) => remove(connection, bridge, seq..=seq, changes)?,
    }
    Ok(())
}

/// Applies writes in their order. Removals that stand in a row, as the remote acknowledges them, are one range.
pub(super) fn apply_all(
    connection: &Connection,
    writes: &[&Write],
    changes: &mut Changes,
) -> rusqlite::Result<Vec<Applied>> {
    let mut applied = Vec::with_capacity(writes.len());
    let mut inserts = Inserts::default();
    while let Some(write) = writes.get(applied.len()) {
        if let Write::Store(message) = write {
            applied.push(store(connection, message, changes, &mut inserts)?);
            continue;
        }
        inserts.flush(connection)?;
        if let Some((bridge, seqs)) = removals(&writes[applied.len()..]) {
            let done = seqs.end().0 - seqs.start().0 + 1;
            remove(connection, bridge, seqs, changes)?;
            applied.extend((0..done).map(|_| Applied::Done));
        } else {
            apply(connection, write, changes)?;
            applied.push(Applied::Done);
        }
    }
    inserts.flush(connection)?;
    Ok(applied)
}

fn apply(connection: &Connection, write: &Write, changes: &mut Changes) -> rusqlite::Result<()> {
    match write {
        // These stand together and are taken in together.
        Write::Store(_) => {}
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
            let sql = "INSERT OR IGNORE INTO bridge (id, name) \
                 SELECT max(coalesce(max(id) + 1, 0), ?1), 'session:' || ?2 FROM bridge";
            connection.prepare_cached(sql)?.execute(params![BridgeId::FIRST_SESSION.0, &**client_id])?;
        }
        Write::EndSession { client_id } => {
            forget_all(connection, &Origin::Local(client_id.clone()))?;
            for sql in [
                "DELETE FROM subscription WHERE client_id = ?1",
                "DELETE FROM session WHERE client_id = ?1",
                "DELETE FROM bridge WHERE name = 'session:' || ?1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE bridge = id)",
                "UPDATE bridge SET name = 'ended:' || id WHERE name = 'session:' || ?1",
            ] {
                connection.prepare_cached(sql)?.execute([&**client_id])?;
            }
        }
        Write::Discard { queue } => discard(connection, *queue, changes)?,
        Write::Subscribe { client_id, subscription } => {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO subscription \
                     SELECT client_id, ?2, ?3, ?4, ?5, ?6, ?7 FROM session WHERE client_id = ?1",
                )?
                .execute(params![
                    &**client_id,
                    subscription.filter,
                    subscription.qos as u8,
                    subscription.no_local,
                    subscription.retain_as_published,
                    subscription.retain_handling,
                    subscription.identifier,
                ])?;
        }
        Write::Unsubscribe { client_id, filter } => {
            connection
                .prepare_cached("DELETE FROM subscription WHERE client_id = ?1 AND filter = ?2")?
                .execute(params![&**client_id, filter])?;
        }
        Write::KeepWill { client_id, will, due_at } => will::keep(connection, client_id, will, *due_at)?,
        Write::EndWill { client_id, due_at } => will::end(connection, client_id, *due_at)?,
    }
    Ok(())
}

fn forget_all(connection: &Connection, origin: &Origin) -> rusqlite::Result<()> {
    let (bridge, client_id) = key(origin);
    connection
        .prepare_cached("DELETE FROM received_id WHERE bridge = ?1 AND client_id = ?2")?
        .execute(params![bridge, client_id])?;
    Ok(())
}

/// Bridge 0 is the local leg.
pub(super) fn key(origin: &Origin) -> (i64, &str) {
    match origin {
        Origin::Local(client_id) => (0, client_id),
        Origin::Remote(bridge) => (bridge.0, ""),
    }
}
