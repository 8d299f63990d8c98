//! Free pages return to the file system, a few at a time.
//!
//! A page that is given back is one less in the WAL's idea of the file. The file itself is cut at the next checkpoint,
//! whoever makes it, and a file system takes its time to cut a hundred megabytes: that was a stall of its own. So after
//! a few megabytes a step of its own makes a checkpoint.
use std::time::Duration;

use rusqlite::Connection;

use super::open::BUSY;

/// Free pages that are kept: what comes next takes them without growing the file.
const KEPT: i64 = 256;
/// Pages a step: each is copied from the end of the file into a hole, and all are one commit.
const STEP: i64 = 64;
/// Pages by which a checkpoint may cut the file.
const CUT: i64 = 512;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Shrink {
    /// Pages that were given back since the last checkpoint of its own.
    uncut: i64,
}

impl Shrink {
    /// One step; whether there is another.
    pub(super) fn step(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        if self.uncut >= CUT {
            return self.cut(connection, "PASSIVE");
        }
        let free: i64 = connection.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
        if free <= KEPT {
            if self.uncut > 0 {
                self.cut(connection, "TRUNCATE")?;
            }
            return Ok(false);
        }
        let pages = STEP.min(free - KEPT);
        // It gives a row for each page, and frees a page for each row that is asked for.
        let mut vacuum = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        self.uncut += pages;
        Ok(true)
    }

    /// A checkpoint; false where somebody who reads an older state keeps it from cutting the file. To give back more
    /// until then would only make the cut longer.
    fn cut(&mut self, connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
        let all = |row: &rusqlite::Row<'_>| {
            let [busy, in_wal, checkpointed]: [i64; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok(busy == 0 && in_wal == checkpointed)
        };
        // Publishers wait meanwhile, so this waits for nobody.
        connection.busy_timeout(Duration::ZERO)?;
        let all = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], all);
        connection.busy_timeout(BUSY)?;
        let all = all?;
        if all {
            self.uncut = 0;
        }
        Ok(all)
    }
}
