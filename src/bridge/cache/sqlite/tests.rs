use super::*;

impl Sqlite {
    /// What [`Cache::usage`] must equal.
    pub(in super::super) fn scan(&self, bridge: BridgeId) -> Usage {
        let sql = "SELECT count(*) FILTER (WHERE state <> 3), coalesce(sum(bytes) FILTER (WHERE state <> 3), 0), \
             count(*) FILTER (WHERE state = 3) FROM delivery WHERE bridge = ?1";
        let usage = self.connection.query_row(sql, [bridge.0], |row| {
            Ok(Usage { messages: row.get(0)?, bytes: row.get(1)?, quarantined: row.get(2)? })
        });
        usage.unwrap()
    }

    pub(in super::super) fn messages(&self) -> u64 {
        self.connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap()
    }
}
