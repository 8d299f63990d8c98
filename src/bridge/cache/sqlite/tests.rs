//! Opening, refusing and surviving. What the contract says is in the suite.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::bridge::delivery::{Kind, NewDelivery, Outcome, Progress, Store};

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
    store_for(&[bridge], seq, size)
}

fn store_for(bridges: &[BridgeId], seq: i64, size: usize) -> Write {
    let message = Arc::new(Message::new("t", vec![seq as u8; size], QoS::ExactlyOnce));
    let to = |&bridge| NewDelivery {
        bridge,
        topic: message.topic.clone(),
        qos: message.qos,
        retain: false,
        when_full: None,
        identifiers: None,
    };
    let (deliveries, received_at) = (bridges.iter().map(to).collect(), Duration::from_secs(1));
    Write::Store(Box::new(Store {
        seq: Seq(seq),
        message,
        received_at,
        deliveries,
        received_id: None,
        publisher: None,
        retained: false,
    }))
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
fn removing_messages_scans_nothing_and_prepares_nothing_anew() {
    use rusqlite::StatementStatus::{FullscanStep, RePrepare};
    let folder = tempfile::tempdir().unwrap();
    let mut cache = Sqlite::open(&folder.path().join("cache.db"), Synchronous::Full).unwrap();
    let bridges = ["a", "b"].map(|name| cache.bridge(name).unwrap().0);
    let stores: Vec<Write> = (1..=1000).map(|seq| store_for(&bridges[..1 + seq as usize % 2], seq, 10)).collect();
    cache.apply(&stores).unwrap();
    let remove = |seq| Write::Progress { bridge: bridges[0], seq, step: Progress::Removed(Outcome::Delivered) };
    for first in (1..=1000).step_by(10) {
        cache.apply(&(first..first + 7).map(Seq).map(remove).collect::<Vec<_>>()).unwrap();
    }
    for sql in removal::STATEMENTS {
        let statement = cache.connection.prepare_cached(sql).unwrap();
        assert_eq!(statement.get_status(RePrepare), 0, "{sql}");
        assert_eq!(statement.get_status(FullscanStep), 0, "{sql}");
    }
}

#[test]
fn a_file_of_version_1_is_given_what_it_lacks() {
    let directory = Directory::new();
    drop(directory.open());
    let connection = Connection::open(directory.path()).unwrap();
    let former = "DROP TABLE will; DROP TABLE retained; DROP INDEX delivery_session; \
                  ALTER TABLE subscription DROP COLUMN identifier; ALTER TABLE delivery DROP COLUMN identifiers; \
                  PRAGMA user_version = 1;";
    connection.execute_batch(former).unwrap();
    drop(connection);
    let mut cache = directory.open();
    assert_eq!(cache.wills().unwrap(), []);
    let version: i64 = cache.connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, schema::VERSION);
}

#[test]
fn what_is_evicted_is_found_in_as_many_steps_however_many_wait() {
    let directory = Directory::new();
    drop(directory.open());
    let connection = Connection::open(directory.path()).unwrap();
    // A file of an earlier build is given the index when it is opened.
    connection.execute_batch("DROP INDEX delivery_qos0").unwrap();
    drop(connection);
    let cache = directory.open();
    let plan = |kind| {
        let sql = format!("EXPLAIN QUERY PLAN {}", waiting::sql(kind));
        let mut statement = cache.connection.prepare(&sql).unwrap();
        let steps = statement.query_map(params![1, 1, 1], |row| row.get(3)).unwrap();
        steps.collect::<rusqlite::Result<Vec<String>>>().unwrap()
    };
    let message = "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)";
    let qos0 = "SEARCH d USING COVERING INDEX delivery_qos0 (bridge=? AND seq>?)";
    let steps = plan(Kind::AtMostOnce);
    assert!(steps[0].starts_with(&qos0.replace("COVERING ", "")) || steps[0].starts_with(qos0), "{steps:?}");
    assert_eq!(steps[1..], [message]);
    for kind in [Kind::Acknowledged, Kind::Any] {
        assert_eq!(plan(kind), ["SEARCH d USING PRIMARY KEY (bridge=? AND seq>?)", message]);
    }
}

/// Fills with so many messages of 200 bytes, as the writer does: in batches.
fn fill_and_drain(cache: &mut Sqlite, messages: i64) {
    let (bridge, _) = cache.bridge("one").unwrap();
    let batches: Vec<Vec<i64>> = (1..=messages).collect::<Vec<_>>().chunks(1000).map(<[i64]>::to_vec).collect();
    for batch in &batches {
        cache.apply(&batch.iter().map(|seq| store(*seq, bridge, 200)).collect::<Vec<_>>()).unwrap();
    }
    let step = Progress::Removed(crate::bridge::delivery::Outcome::Delivered);
    for batch in &batches {
        let removed: Vec<Write> = batch.iter().map(|seq| Write::Progress { bridge, seq: Seq(*seq), step }).collect();
        cache.apply(&removed).unwrap();
    }
}

#[test]
fn the_space_of_what_has_drained_returns_to_the_file_system_in_small_steps() {
    let directory = Directory::new();
    let mut cache = directory.open();
    fill_and_drain(&mut cache, 100_000);
    let size = || std::fs::metadata(directory.path()).unwrap().len();
    let full = size();
    assert!(full > 20 << 20, "{full}");
    let mut steps = Vec::new();
    loop {
        let begun = std::time::Instant::now();
        let more = cache.shrink().unwrap();
        steps.push(begun.elapsed());
        if !more {
            break;
        }
    }
    let kept = size();
    assert!(kept < 2 << 20, "{kept} of {full}");
    assert_eq!(std::fs::metadata(open::beside(&directory.path(), "-wal")).unwrap().len(), 0);
    steps.sort_unstable();
    let (last, median) = (steps.len() - 1, steps[steps.len() / 2]);
    eprintln!("{full} to {kept} bytes in {} steps, median {median:?}, longest {:?}", last + 1, steps[last]);
    assert!(last > 50, "one step would be a stall");
    // Generous: a disk that others use; the figures are above.
    assert!(median < Duration::from_millis(50), "{median:?}");
    assert!(!cache.shrink().unwrap(), "nothing is left to do");
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

#[test]
fn nothing_is_committed_to_a_wal_that_has_been_removed_and_what_it_held_is_kept() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 10);
    let wal = open::beside(&directory.path(), "-wal");
    std::fs::remove_file(&wal).unwrap();
    for _ in 0..2 {
        assert!(matches!(cache.apply(&[store(11, bridge, 10)]), Err(CacheError::Gone { path }) if path == wal));
    }
    let killed = directory.killed();
    assert_eq!(killed.open().messages(), 10);
    // Another one in its place is not it.
    std::fs::write(&wal, b"").unwrap();
    assert!(matches!(cache.apply(&[store(11, bridge, 10)]), Err(CacheError::Gone { .. })));
    cache.close().unwrap();
    drop(cache);
    assert_eq!(directory.open().messages(), 10);
}

#[test]
fn nothing_is_committed_to_a_wal_that_was_cut_short_by_anybody_else() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 10);
    cache.apply(&[store(11, bridge, 10)]).unwrap();
    // Another program's checkpoint is nothing to stop for.
    let other = Connection::open(directory.path()).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let wal = std::fs::File::options().write(true).open(open::beside(&directory.path(), "-wal")).unwrap();
    assert_eq!(wal.metadata().unwrap().len(), 0);
    for seq in 12..15 {
        cache.apply(&[store(seq, bridge, 10)]).unwrap();
    }
    wal.set_len(100).unwrap();
    assert!(matches!(cache.apply(&[store(15, bridge, 10)]), Err(CacheError::WalCut { .. })));
    drop((other, cache));
    let mut again = directory.open();
    assert_eq!(again.messages(), 11, "what was checkpointed");
    again.apply(&[store(15, bridge, 10)]).unwrap();
}

#[test]
fn a_reader_keeps_nothing_waiting_that_gives_space_back() {
    let directory = Directory::new();
    let mut cache = directory.open();
    fill_and_drain(&mut cache, 30_000);
    let reader = Connection::open(directory.path()).unwrap();
    let transaction = reader.unchecked_transaction().unwrap();
    let bridges: i64 = transaction.query_row("SELECT count(*) FROM bridge", [], |row| row.get(0)).unwrap();
    assert_eq!(bridges, 1);
    let begun = std::time::Instant::now();
    while cache.shrink().unwrap() {}
    // The busy timeout is 5 s.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(!cache.shrink().unwrap());
    drop(transaction);
    while cache.shrink().unwrap() {}
    assert!(std::fs::metadata(directory.path()).unwrap().len() < 2 << 20);
}
