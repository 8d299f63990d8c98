//! Free pages return to the file system, a few at a time.
use rusqlite::Connection;

/// Free pages that are kept: what comes next takes them without growing the file.
const KEPT: i64 = 256;
/// Pages a step: each is copied from the end of the file into a hole, and all are one commit.
const STEP: i64 = 64;

/// One step; whether there is another. The file itself is cut at the checkpoint that the last step makes.
pub(super) fn step(connection: &Connection, shrinking: &mut bool) -> rusqlite::Result<bool> {
    let free: i64 = connection.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
    if free > KEPT {
        *shrinking = true;
        // It gives a row for each page, and frees a page for each row that is asked for.
        let mut vacuum = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({})", STEP.min(free - KEPT)))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        return Ok(true);
    }
    if std::mem::take(shrinking) {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(false)
}
