//! Opening, refusing and surviving. What the contract says is in the suite.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::REMOVE_UNWANTED;
use super::*;
use crate::bridge::delivery::{NewDelivery, Progress, Store};

mod power;
mod refusals;

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

    /// Messages that are kept, whoever they go to.
    pub(in super::super) fn messages(&self) -> u64 {
        self.connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap()
    }
}

/// A directory that is looked at byte by byte.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cache.db")
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.path(), Synchronous::Full).unwrap()
    }

    /// Every file with its bytes.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    fn names(&self) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.content().into_keys().map(name).collect()
    }

    /// A copy of what a killed process would leave, made while the cache is open.
    fn killed(&self) -> Self {
        let copy = Self::new();
        for (path, bytes) in self.content() {
            let name = path.file_name().unwrap().to_str().unwrap();
            // Shared memory and the lock die with a machine that loses power; a kill alone leaves them.
            if !name.ends_with("-shm") && !name.ends_with(".lock") {
                std::fs::write(copy.0.path().join(name), bytes).unwrap();
            }
        }
        copy
    }
}

fn store(seq: i64, bridge: BridgeId, size: usize) -> Write {
    let message = Arc::new(Message::new("t", vec![seq as u8; size], QoS::ExactlyOnce));
    let to = NewDelivery { bridge, topic: message.topic.clone(), qos: message.qos, retain: false };
    let received_at = Duration::from_secs(1);
    Write::Store(Box::new(Store { seq: Seq(seq), message, received_at, deliveries: vec![to], received_id: None }))
}

/// Fills a cache with so many messages of 500 bytes.
fn fill(cache: &mut Sqlite, messages: i64) -> BridgeId {
    let (bridge, _) = cache.bridge("one").unwrap();
    let writes: Vec<Write> = (1..=messages).map(|seq| store(seq, bridge, 500)).collect();
    cache.apply(&writes).unwrap();
    bridge
}

#[test]
fn a_fresh_cache_is_one_file_a_lock_and_what_sqlite_needs_and_nobody_else_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let mut cache = directory.open();
    fill(&mut cache, 1);
    assert_eq!(directory.names(), ["cache.db", "cache.db-shm", "cache.db-wal", "cache.db.lock"]);
    for path in directory.content().keys() {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
    cache.close().unwrap();
    drop(cache);
    assert_eq!(directory.names(), ["cache.db", "cache.db.lock"]);
}

#[test]
fn the_pragmas_are_what_the_guarantees_rest_on() {
    let directory = Directory::new();
    for (synchronous, expected) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
        let cache = Sqlite::open(&directory.path(), synchronous).unwrap();
        let number =
            |pragma: &str| cache.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
        let journal: String = cache.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!((number("synchronous"), number("auto_vacuum"), journal.as_str()), (expected, 2, "wal"));
        assert_eq!((number("application_id"), number("user_version")), (schema::APPLICATION_ID, schema::VERSION));
    }
}

#[test]
fn a_refused_write_takes_its_whole_transaction_with_it() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 2);
    let before = cache.usage(bridge);
    let sent = |seq| Write::Progress { bridge, seq: Seq(seq), step: Progress::Sent { packet_id: 1 } };
    assert!(cache.apply(&[store(3, bridge, 1), store(2, bridge, 1)]).is_err(), "the sequence is taken");
    assert!(cache.apply(&[store(3, bridge, 1), sent(1), sent(2)]).is_err(), "the Packet Identifier is taken");
    assert_eq!((cache.usage(bridge), cache.scan(bridge), cache.messages()), (before, before, 2));
    cache.apply(&[store(3, bridge, 1), sent(1)]).unwrap();
    assert_eq!(cache.messages(), 3);
}

#[test]
fn every_applied_write_survives_a_kill_and_the_wal_of_a_killed_one_is_read() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 1);
    for seq in 2..200 {
        let sent = Write::Progress { bridge, seq: Seq(seq - 1), step: Progress::Sent { packet_id: seq as u16 } };
        cache.apply(&[store(seq, bridge, 100), sent]).unwrap();
        if seq % 40 == 0 {
            let copy = directory.killed();
            let mut revived = copy.open();
            assert_eq!((revived.messages(), revived.scan(bridge).messages), (seq as u64, seq as u64));
            assert_eq!(revived.usage(bridge), revived.scan(bridge));
            let held = revived.bridge("one").unwrap().1.held;
            let expected: Vec<_> = (1..seq).map(|seq| (seq, seq as u16 + 1)).collect();
            assert_eq!(held.iter().map(|held| (held.delivery.seq.0, held.packet_id)).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn a_torn_end_of_the_wal_costs_what_was_not_committed_and_no_more() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 1);
    let wal = |directory: &Directory| std::fs::read(open::beside(&directory.path(), "-wal")).unwrap();
    let applied = wal(&directory).len();
    cache.apply(&[store(2, bridge, 9000)]).unwrap();
    let copy = directory.killed();
    let whole = wal(&copy);
    assert!(whole.len() > applied + 4096, "the commit spans pages");
    std::fs::write(open::beside(&copy.path(), "-wal"), &whole[..whole.len() - 100]).unwrap();
    let revived = copy.open();
    assert_eq!((revived.messages(), revived.usage(bridge).messages), (1, 1));
}

#[test]
fn what_begins_empty_becomes_a_cache() {
    let directory = Directory::new();
    std::fs::write(directory.path(), b"").unwrap();
    let bridge = fill(&mut directory.open(), 1);
    assert_eq!(directory.open().usage(bridge).messages, 1);
}

#[test]
fn a_creation_that_was_cut_short_is_taken_up_at_any_point() {
    // Pages written by the pragmas, and no table yet.
    let directory = Directory::new();
    let connection = Connection::open(directory.path()).unwrap();
    connection.execute_batch("PRAGMA auto_vacuum = 2; PRAGMA journal_mode = wal;").unwrap();
    drop(connection);
    assert!(!std::fs::read(directory.path()).unwrap().is_empty());
    fill(&mut directory.open(), 1);
    // The schema committed, and still in the WAL alone.
    let directory = Directory::new();
    let connection = Connection::open(directory.path()).unwrap();
    connection.execute_batch("PRAGMA auto_vacuum = 2; PRAGMA journal_mode = wal;").unwrap();
    schema::create_in_wal(&connection).unwrap();
    let copy = directory.killed();
    assert_eq!(copy.names(), ["cache.db", "cache.db-wal"]);
    fill(&mut copy.open(), 1);
}

#[test]
fn removing_a_message_takes_the_same_steps_however_many_wait() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Sqlite::open(&folder.path().join("cache.db"), Synchronous::Full).unwrap();
    let sql = format!("EXPLAIN QUERY PLAN {REMOVE_UNWANTED}");
    let mut statement = cache.connection.prepare(&sql).unwrap();
    let steps: Vec<String> =
        statement.query_map([1], |row| row.get(3)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    assert!(steps.iter().any(|step| step.starts_with("SEARCH d USING PRIMARY KEY (bridge=? AND seq=?)")), "{steps:?}");
}

#[test]
fn nothing_is_committed_to_a_file_that_has_been_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let mut cache = Sqlite::open(&path, Synchronous::Full).unwrap();
    let (bridge, _) = cache.bridge("b").unwrap();
    let identity = "mqtt://h:1 c".to_owned();
    let write = [Write::Established { bridge, identity }];
    cache.apply(&write).unwrap();
    let aside = folder.path().join("aside.db");
    std::fs::rename(&path, &aside).unwrap();
    assert!(matches!(cache.apply(&write), Err(CacheError::Gone { .. })));
    std::fs::rename(&aside, &path).unwrap();
    cache.apply(&write).unwrap();
}
