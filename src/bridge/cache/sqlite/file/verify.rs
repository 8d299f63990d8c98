//! `cache verify`: whether the file is sound, and what of it can be read if it is not.
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::CacheFile;
use super::export::bridges;
use super::open::classify;
use super::salvage::{Gap, is_damage, walk};
use crate::bridge::cache::CacheError;

/// Lines that SQLite's check may say.
const LINES: i64 = 100;

/// What holds of every sound cache; each statement returns what breaks it.
const INVARIANTS: [&str; 7] = [
    "SELECT 'message ' || seq || ' goes nowhere' FROM message m \
     WHERE NOT EXISTS (SELECT 1 FROM bridge b CROSS JOIN delivery d ON d.bridge = b.id AND d.seq = m.seq)",
    "SELECT 'delivery of message ' || seq || ' to bridge ' || bridge || ' has no message' FROM delivery \
     WHERE seq NOT IN (SELECT seq FROM message)",
    "SELECT 'delivery of message ' || seq || ' to a bridge that is not there, ' || bridge FROM delivery \
     WHERE bridge NOT IN (SELECT id FROM bridge)",
    "SELECT 'bridge ' || name || ': counted ' || messages || ' messages of ' || bytes || ' bytes and ' || quarantined \
     || ' in quarantine, there are ' || m || ' of ' || s || ' bytes and ' || q FROM (SELECT *, \
     (SELECT count(*) FROM delivery WHERE bridge = b.id AND state <> 3) AS m, \
     (SELECT coalesce(sum(bytes), 0) FROM delivery WHERE bridge = b.id AND state <> 3) AS s, \
     (SELECT count(*) FROM delivery WHERE bridge = b.id AND state = 3) AS q \
     FROM bridge b) WHERE (messages, bytes, quarantined) <> (m, s, q)",
    "SELECT 'bridge ' || bridge || ': Packet Identifier ' || packet_id || ' of ' || count(*) || ' messages' \
     FROM delivery NOT INDEXED WHERE packet_id IS NOT NULL GROUP BY bridge, packet_id HAVING count(*) > 1",
    "SELECT 'delivery of message ' || seq || ' to bridge ' || bridge || ': state ' || state || ' does not fit the rest' \
     FROM delivery WHERE state NOT BETWEEN 0 AND 3 OR (packet_id IS NOT NULL) <> (state IN (1, 2)) \
     OR (released IS NOT NULL) <> (state = 2) OR (reason IS NOT NULL) <> (state = 3)",
    "SELECT 'subscription of ' || client_id || ', which has no session' FROM subscription \
     WHERE client_id NOT IN (SELECT client_id FROM session)",
];

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong; empty: the cache is sound.
    pub problems: Vec<String>,
    /// What can be read.
    pub tables: Vec<Table>,
}

/// What can be read of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, or for deliveries the bridge's.
    pub name: String,
    /// Rows that can be read.
    pub readable: u64,
    /// Rows of which only the key can.
    pub unreadable: u64,
    /// Sequences that cannot be read at all.
    pub gaps: Vec<Gap>,
}

impl Report {
    /// Adds the lines that a statement returns, but for SQLite's `ok`.
    pub(super) fn check(&mut self, connection: &Connection, sql: &str, path: &Path) -> Result<(), CacheError> {
        let problems = &mut self.problems;
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                problems.push(row.get(0)?);
            }
            Ok(())
        };
        match read() {
            Err(error) if is_damage(&error) => {
                // A check that could not be finished is a finding, and one line of it is enough.
                let line = error.to_string();
                if !problems.contains(&line) {
                    problems.push(line);
                }
            }
            Err(error) => return Err(classify(path, error)),
            Ok(()) => {}
        }
        problems.retain(|line| line != "ok");
        Ok(())
    }
}

impl CacheFile {
    /// With all that SQLite and the bridge know of it.
    pub(super) fn check_all(&self) -> Result<Report, CacheError> {
        let mut report = Report::default();
        report.check(&self.connection, &format!("PRAGMA integrity_check({LINES})"), &self.path)?;
        for sql in INVARIANTS {
            report.check(&self.connection, &format!("{sql} LIMIT {LINES}"), &self.path)?;
        }
        report.tables = self.tables().map_err(|error| self.classify(error))?;
        let complete = |table: &Table| table.unreadable == 0 && table.gaps.is_empty();
        if report.problems.is_empty() && !report.tables.iter().all(complete) {
            report.problems.push("not everything can be read".to_owned());
        }
        Ok(report)
    }

    fn tables(&self) -> rusqlite::Result<Vec<Table>> {
        let message = "SELECT seq FROM message WHERE seq >= ?1 ORDER BY seq LIMIT 1";
        let whole = "SELECT * FROM message WHERE seq = ?1";
        let mut tables = vec![self.table("message".to_owned(), message, whole, None)?];
        for (id, name) in bridges(&self.connection)? {
            let delivery = "SELECT seq FROM delivery WHERE bridge = ?2 AND seq >= ?1 ORDER BY seq LIMIT 1";
            let whole = "SELECT * FROM delivery WHERE bridge = ?2 AND seq = ?1";
            tables.push(self.table(format!("delivery to {name}"), delivery, whole, Some(id))?);
        }
        Ok(tables)
    }

    fn table(&self, name: String, seek: &str, whole: &str, bridge: Option<i64>) -> rusqlite::Result<Table> {
        let mut table = Table { name, readable: 0, unreadable: 0, gaps: Vec::new() };
        let (mut seek, mut whole) = (self.connection.prepare(seek)?, self.connection.prepare(whole)?);
        table.gaps = walk(
            |from| match bridge {
                Some(bridge) => seek.query_row(params![from, bridge], |row| row.get(0)).optional(),
                None => seek.query_row([from], |row| row.get(0)).optional(),
            },
            |seq| {
                let columns = whole.column_count();
                let touch = |row: &rusqlite::Row<'_>| (0..columns).try_for_each(|column| row.get_ref(column).map(drop));
                let read = match bridge {
                    Some(bridge) => whole.query_row(params![seq, bridge], touch).optional(),
                    None => whole.query_row([seq], touch).optional(),
                };
                match read {
                    // Removed meanwhile by a bridge that runs.
                    Ok(None) => {}
                    Ok(Some(())) => table.readable += 1,
                    Err(error) if is_damage(&error) => table.unreadable += 1,
                    Err(error) => return Err(error),
                }
                Ok(())
            },
        )?;
        Ok(table)
    }
}
