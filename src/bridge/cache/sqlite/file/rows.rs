//! Deliveries, as `cache list` and `cache show` print them, and as `purge` and `requeue` choose them.
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::super::{qos, time};
use super::CacheFile;
use super::export::message;
use super::record::ExportedMessage;
use crate::bridge::cache::CacheError;
use crate::bridge::delivery::{BridgeId, Seq, Time};
use crate::bridge::message::QoS;
use crate::bridge::topic;
use crate::bridge::wire::ReasonCode;

/// Rows that one statement reads.
pub(super) const PAGE: usize = 500;

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits.
    Queued,
    /// QoS 2 under a Packet Identifier. (At QoS 1 that is known to the process alone.)
    InFlight,
    /// The remote refused it for good.
    Quarantined,
}

impl State {
    /// From `delivery.state`.
    pub(super) fn of(number: i64) -> Option<Self> {
        use super::schema::state;
        match number {
            state::QUEUED => Some(Self::Queued),
            state::SENT | state::RELEASED => Some(Self::InFlight),
            state::QUARANTINED => Some(Self::Quarantined),
            _ => None,
        }
    }

    /// The name that `--state` takes.
    pub fn label(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InFlight => "in-flight",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Which deliveries are meant: those for which all that is given holds.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this bridge.
    pub bridge: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Of this message.
    pub seq: Option<i64>,
    /// To a topic at the remote that this Topic Filter matches.
    pub topic: Option<String>,
    /// Of a message that arrived at this moment or later.
    pub since: Option<Time>,
    /// Of a message that arrived at this moment or earlier.
    pub until: Option<Time>,
}

impl Selection {
    /// Whether a delivery is meant.
    pub fn holds(&self, row: &Row) -> bool {
        self.bridge.as_ref().is_none_or(|bridge| *bridge == row.bridge)
            && self.state.is_none_or(|state| state == row.state)
            && self.seq.is_none_or(|seq| seq == row.seq.0)
            && self.topic.as_ref().is_none_or(|filter| topic::matches(filter, &row.topic))
            && self.since.is_none_or(|since| row.received_at >= since)
            && self.until.is_none_or(|until| row.received_at <= until)
    }
}

/// A delivery without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The bridge's key.
    pub id: BridgeId,
    /// The bridge's name.
    pub bridge: String,
    /// Order of arrival.
    pub seq: Seq,
    /// Topic Name at the remote.
    pub topic: String,
    /// Effective QoS.
    pub qos: QoS,
    /// Topic, properties and payload.
    pub bytes: u64,
    /// When it arrived.
    pub received_at: Time,
    /// How far it is.
    pub state: State,
    /// Why it is in quarantine.
    pub reason: Option<ReasonCode>,
}

/// At most so many rows behind one, by bridge and in order of arrival. Of the selection only what costs no scan is looked
/// at here, so that no statement is a long one.
pub(super) fn page(
    connection: &Connection,
    selection: &Selection,
    after: (BridgeId, Seq),
    limit: usize,
) -> rusqlite::Result<Vec<Row>> {
    // CROSS JOIN: along the primary key of the deliveries, so that a page costs a page.
    let mut statement = connection.prepare_cached(
        "SELECT d.bridge, b.name, d.seq, coalesce(d.topic, m.topic), d.qos, d.bytes, m.received_at, d.state, d.reason \
         FROM delivery d CROSS JOIN bridge b ON b.id = d.bridge CROSS JOIN message m ON m.seq = d.seq \
         WHERE (d.bridge, d.seq) > (?1, ?2) AND (?3 IS NULL OR b.name = ?3) AND (?4 IS NULL OR d.seq = ?4) \
         ORDER BY d.bridge, d.seq LIMIT ?5",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![after.0.0, after.1.0, selection.bridge, selection.seq, limit], |row| {
        let state: i64 = row.get(7)?;
        Ok(Row {
            id: BridgeId(row.get(0)?),
            bridge: row.get(1)?,
            seq: Seq(row.get(2)?),
            topic: row.get(3)?,
            qos: qos(row, 4)?,
            bytes: row.get(5)?,
            received_at: time(row.get(6)?),
            state: State::of(state).ok_or(rusqlite::Error::IntegralValueOutOfRange(7, state))?,
            reason: row.get::<_, Option<u8>>(8)?.map(ReasonCode),
        })
    })?;
    rows.collect()
}

impl CacheFile {
    pub(super) fn read_list(
        &self,
        selection: &Selection,
        limit: usize,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> Result<(), CacheError> {
        let (mut after, mut left) = ((BridgeId(i64::MIN), Seq(i64::MIN)), limit);
        while left > 0 {
            let rows = page(&self.connection, selection, after, PAGE).map_err(|error| self.classify(error))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = (last.id, last.seq);
            for row in rows.into_iter().filter(|row| selection.holds(row)).take(left) {
                left -= 1;
                if !take(row) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    pub(super) fn read_message(&self, seq: i64) -> Result<Option<ExportedMessage>, CacheError> {
        let read = || {
            let there = "SELECT 1 FROM message WHERE seq = ?1";
            let found = self.connection.query_row(there, [seq], |_| Ok(())).optional()?;
            let message = found.map(|()| message(&self.connection, seq)).transpose()?.flatten();
            Ok(message.map(|(message, _)| message))
        };
        read().map_err(|error| self.classify(error))
    }
}
