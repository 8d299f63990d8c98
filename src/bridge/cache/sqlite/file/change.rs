//! What changes a cache that no bridge uses: import, purge, requeue.
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::sync::Arc;

use rusqlite::{Transaction, params};

use super::super::apply::{Changes, apply_all, count};
use super::super::{NEW_BRIDGE, Sqlite, time};
use super::record::{ExportedDelivery, ExportedMessage};
use super::route::NAMELESS;
use super::rows::{PAGE, page};
use super::{Exported, Readable, Selection, State};
use crate::bridge::cache::{Cache, CacheError};
use crate::bridge::delivery::{BridgeId, NewDelivery, Outcome, Progress, Seq, Store, Write};
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::topic;
use crate::bridge::wire::ReasonCode;

/// What was imported.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Messages.
    pub messages: u64,
    /// Their deliveries.
    pub deliveries: u64,
    /// Deliveries that were in flight and are queued now: the remote may get them a second time.
    pub requeued: u64,
    /// Deliveries to bridges that no route leads to.
    pub left_out: u64,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImportError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("reading the import: {0}")]
    Input(#[from] std::io::Error),
    #[error("line {line}: {what}; nothing was imported")]
    Invalid { line: usize, what: String },
    #[error("message {seq}: {what}; nothing was imported")]
    Message { seq: i64, what: String },
}

impl From<rusqlite::Error> for ImportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Cache(error.into())
    }
}

impl Sqlite {
    /// Stores every message of an export behind what is there, in its order: all of them, in one transaction, or none.
    /// What is imported twice is there twice. `fallback` names the bridge for messages whose deliveries could not be
    /// read when they were exported.
    ///
    /// # Errors
    /// Where a line is no exported message, or the cache fails.
    pub fn import(&mut self, lines: impl BufRead, fallback: Option<&str>) -> Result<Imported, ImportError> {
        let mut into = self.begin_import()?;
        for (index, line) in lines.lines().enumerate() {
            let line = line?;
            if !line.trim().is_empty() {
                let invalid = |what| ImportError::Invalid { line: index + 1, what };
                let message = serde_json::from_str(&line).map_err(|error| invalid(error.to_string()))?;
                into.add(message, fallback).map_err(|refused| refused.named(invalid))?;
            }
        }
        let imported = into.finish()?;
        self.load_usage()?;
        Ok(imported)
    }

    /// Stores every message of another file that can be read behind what is there, in its order: all of them, in one
    /// transaction, or none. `routes` says which bridge gets what waits for a bridge there.
    ///
    /// # Errors
    /// Where the other file cannot be read, or the cache fails.
    pub fn import_from(
        &mut self,
        source: &dyn Readable,
        routes: &BTreeMap<String, String>,
    ) -> Result<(Imported, Exported), ImportError> {
        let mut into = self.begin_import()?;
        let mut added = Ok(());
        let exported = source.each(&mut |mut message| {
            let seq = message.seq;
            let fallback = routes.get(NAMELESS).filter(|_| message.deliveries.is_empty());
            into.imported.left_out += u64::from(fallback.is_none() && message.deliveries.is_empty());
            message.deliveries.retain_mut(|delivery| match routes.get(&delivery.bridge) {
                Some(to) => {
                    delivery.bridge.clone_from(to);
                    true
                }
                None => {
                    into.imported.left_out += 1;
                    false
                }
            });
            if message.deliveries.is_empty() && fallback.is_none() {
                return true;
            }
            added = into
                .add(message, fallback.map(String::as_str))
                .map_err(|refused| refused.named(|what| ImportError::Message { seq, what }));
            added.is_ok()
        })?;
        added?;
        let imported = into.finish()?;
        self.load_usage()?;
        Ok((imported, exported))
    }

    fn begin_import(&mut self) -> Result<Import<'_>, CacheError> {
        let (Seq(latest), _) = self.latest()?;
        let transaction = self.connection.unchecked_transaction()?;
        let (bridges, changes, imported) = (HashMap::new(), Changes::new(), Imported::default());
        Ok(Import { transaction, next: latest + 1, bridges, changes, imported })
    }

    /// Removes what is selected; how many deliveries that were.
    ///
    /// # Errors
    /// Where the cache fails; what was removed by then stays removed.
    pub fn purge(&mut self, selection: &Selection) -> Result<u64, CacheError> {
        // Outcomes are counted by a running bridge; here nobody does.
        self.step(selection, Progress::Removed(Outcome::Delivered))
    }

    /// Queues what is selected and in quarantine again, at its place in the order of arrival; how many deliveries that
    /// were.
    ///
    /// # Errors
    /// Where the cache fails; what was queued by then stays queued.
    pub fn requeue(&mut self, selection: &Selection) -> Result<u64, CacheError> {
        let selection = Selection { state: Some(State::Quarantined), ..selection.clone() };
        self.step(&selection, Progress::Requeued)
    }

    fn step(&mut self, selection: &Selection, step: Progress) -> Result<u64, CacheError> {
        let (mut after, mut changed) = ((BridgeId(i64::MIN), Seq(i64::MIN)), 0);
        loop {
            let rows = page(&self.connection, selection, after, PAGE)?;
            let Some(last) = rows.last() else { return Ok(changed) };
            after = (last.id, last.seq);
            let rows = rows.iter().filter(|row| selection.holds(row));
            let writes = rows.map(|row| Write::Progress { bridge: row.id, seq: row.seq, step });
            let writes: Vec<_> = writes.collect();
            changed += writes.len() as u64;
            if !writes.is_empty() {
                self.apply(&writes)?;
            }
        }
    }
}

enum Refused {
    Invalid(String),
    Sqlite(rusqlite::Error),
}

impl Refused {
    fn named(self, invalid: impl FnOnce(String) -> ImportError) -> ImportError {
        match self {
            Self::Invalid(what) => invalid(what),
            Self::Sqlite(error) => error.into(),
        }
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

struct Import<'a> {
    transaction: Transaction<'a>,
    next: i64,
    bridges: HashMap<String, BridgeId>,
    changes: Changes,
    imported: Imported,
}

impl Import<'_> {
    fn add(&mut self, mut line: ExportedMessage, fallback: Option<&str>) -> Result<(), Refused> {
        if line.deliveries.is_empty() {
            let bridge = fallback.ok_or_else(|| {
                let what = "no delivery: where the message goes could not be read; --bridge NAME says where to";
                Refused::Invalid(what.to_owned())
            })?;
            line.deliveries.push(ExportedDelivery {
                bridge: bridge.to_owned(),
                topic: line.topic.clone(),
                qos: line.qos,
                retain: line.retain,
                state: State::Queued,
                reason: None,
            });
        }
        check_topic(&line.topic)?;
        let seq = Seq(self.next);
        self.next += 1;
        let (mut deliveries, mut steps) = (Vec::new(), Vec::new());
        for delivery in &line.deliveries {
            check_topic(&delivery.topic)?;
            let bridge = self.bridge(&delivery.bridge)?;
            if deliveries.iter().any(|other: &NewDelivery| other.bridge == bridge) {
                return Err(Refused::Invalid(format!("bridge {} twice", delivery.bridge)));
            }
            let (qos, retain) = (qos(delivery.qos)?, delivery.retain);
            deliveries.push(NewDelivery {
                bridge,
                topic: delivery.topic.as_str().into(),
                qos,
                retain,
                when_full: None,
                identifiers: None,
            });
            if delivery.state == State::Quarantined {
                let reason = delivery.reason.map_or(ReasonCode::UNSPECIFIED_ERROR, ReasonCode);
                steps.push(Write::Progress { bridge, seq, step: Progress::Quarantined(reason) });
            }
            self.imported.requeued += u64::from(delivery.state == State::InFlight);
        }
        self.imported.messages += 1;
        self.imported.deliveries += deliveries.len() as u64;
        let properties = Properties { message_expiry: line.message_expiry, other: line.properties.into() };
        let message = Message {
            topic: line.topic.into(),
            payload: line.payload.into(),
            qos: qos(line.qos)?,
            retain: line.retain,
            properties,
        };
        let (message, received_at) = (Arc::new(message), time(line.received_at));
        let store = Write::Store(Box::new(Store {
            seq,
            message,
            received_at,
            deliveries,
            received_id: None,
            publisher: None,
            retained: false,
        }));
        for write in std::iter::once(store).chain(steps) {
            apply_all(&self.transaction, &[&write], &mut self.changes)?;
        }
        Ok(())
    }

    fn bridge(&mut self, name: &str) -> rusqlite::Result<BridgeId> {
        if let Some(id) = self.bridges.get(name) {
            return Ok(*id);
        }
        self.transaction.execute(NEW_BRIDGE, params![name, BridgeId::FIRST_SESSION.0])?;
        let id = self.transaction.query_row("SELECT id FROM bridge WHERE name = ?1", [name], |row| row.get(0))?;
        self.bridges.insert(name.to_owned(), BridgeId(id));
        Ok(BridgeId(id))
    }

    fn finish(self) -> rusqlite::Result<Imported> {
        count(&self.transaction, &self.changes)?;
        self.transaction.commit()?;
        Ok(self.imported)
    }
}

fn qos(number: u8) -> Result<QoS, Refused> {
    QoS::try_from(number).map_err(Refused::Invalid)
}

fn check_topic(name: &str) -> Result<(), Refused> {
    topic::check_name(name).map_err(|error| Refused::Invalid(format!("topic {name:?}: {error}")))
}
