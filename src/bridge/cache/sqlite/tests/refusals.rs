//! What is no cache of ours, or not a sound one, is refused, and not a byte of its directory is different afterwards.
use super::*;

/// Opens what must be refused.
fn refused(directory: &Directory) -> CacheError {
    let before = directory.content();
    let error = Sqlite::open(&directory.path(), Synchronous::Full).err().expect("it was opened");
    let after = directory.content();
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{error}");
    assert!(before == after, "a file was changed: {error}");
    error
}

/// A cache of so many messages, closed in order.
fn closed(messages: i64) -> Directory {
    let directory = Directory::new();
    let mut cache = directory.open();
    fill(&mut cache, messages);
    cache.close().unwrap();
    drop(cache);
    std::fs::remove_file(open::beside(&directory.path(), ".lock")).unwrap();
    directory
}

/// Changes the main file.
fn damaged(directory: Directory, damage: impl FnOnce(&mut Vec<u8>)) -> Directory {
    let mut bytes = std::fs::read(directory.path()).unwrap();
    damage(&mut bytes);
    std::fs::write(directory.path(), bytes).unwrap();
    directory
}

#[test]
fn a_file_that_is_no_database() {
    for content in [&b"bridges:\n  - name: emqx1\n"[..], &[0; 4096], b"SQLite format 4\0", b"x"] {
        let directory = Directory::new();
        std::fs::write(directory.path(), content).unwrap();
        let error = refused(&directory);
        assert!(matches!(error, CacheError::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_database_of_another_program_whether_its_wal_is_there_or_not() {
    for (pragmas, application_id) in [("", 0), ("PRAGMA journal_mode = wal;", 0), ("PRAGMA journal_mode = wal;", 77)] {
        let directory = Directory::new();
        let connection = Connection::open(directory.path()).unwrap();
        connection.execute_batch(&format!("{pragmas} PRAGMA application_id = {application_id};")).unwrap();
        connection.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);").unwrap();
        let copy = directory.killed();
        let error = refused(&copy);
        assert!(matches!(error, CacheError::Foreign { .. }), "{error}");
        drop(connection);
        let error = refused(&directory);
        assert!(matches!(error, CacheError::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_newer_version_whether_its_wal_is_there_or_not() {
    let directory = closed(3);
    let connection = Connection::open(directory.path()).unwrap();
    connection.execute_batch("PRAGMA user_version = 3; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    connection.execute_batch("CREATE TABLE future (x);").unwrap();
    let copy = directory.killed();
    assert_eq!(copy.names(), ["cache.db", "cache.db-wal"]);
    drop(connection);
    for directory in [directory, copy] {
        let error = refused(&directory);
        assert!(matches!(error, CacheError::Newer { found: 3, known: 2, .. }), "{error}");
    }
}

#[test]
fn a_truncated_file() {
    for keep in [1, 2, 5] {
        let directory = damaged(closed(100), |bytes| bytes.truncate(keep * 4096));
        let error = refused(&directory);
        assert!(matches!(error, CacheError::Corrupted { .. }), "{keep} pages: {error}");
    }
    let directory = damaged(closed(100), |bytes| bytes.truncate(60));
    let error = refused(&directory);
    assert!(matches!(error, CacheError::Corrupted { .. }), "less than a header: {error}");
    let directory = damaged(closed(100), |bytes| bytes.truncate(bytes.len() - 1));
    let error = refused(&directory);
    assert!(matches!(error, CacheError::Corrupted { .. }), "one byte: {error}");
}

#[test]
fn an_overwritten_page() {
    let pages = std::fs::read(closed(200).path()).unwrap().len() / 4096;
    let mut found = 0;
    for page in 1..pages {
        let directory = damaged(closed(200), |bytes| bytes[page * 4096..][..4096].fill(0xA5));
        let before = directory.content();
        match Sqlite::open(&directory.path(), Synchronous::Full) {
            Err(CacheError::Corrupted { .. }) => {
                found += 1;
                assert!(before == directory.content(), "page {page}: it was touched");
            }
            // Overflow pages hold payload alone, which no structure tells from noise.
            Ok(_) => {}
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(found * 10 > pages * 8, "{found} of {pages}");
}

#[test]
fn a_corrupted_page_beside_a_wal() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 200);
    cache.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    cache.apply(&[store(201, bridge, 10)]).unwrap();
    let copy = damaged(directory.killed(), |bytes| bytes[20 * 4096..][..4096].fill(0xA5));
    assert_eq!(copy.names(), ["cache.db", "cache.db-wal"]);
    let error = refused(&copy);
    assert!(matches!(error, CacheError::Corrupted { .. }), "{error}");
}

#[test]
fn a_directory_a_missing_parent_and_a_parent_that_is_a_file() {
    let directory = Directory::new();
    std::fs::create_dir(directory.path()).unwrap();
    assert!(matches!(refused(&directory), CacheError::Unusable { .. }));
    let other = Directory::new();
    std::fs::write(other.path(), b"").unwrap();
    for path in [other.0.path().join("missing/cache.db"), other.path().join("cache.db")] {
        let before = other.content();
        let error = Sqlite::open(&path, Synchronous::Full).err().unwrap();
        assert!(matches!(error, CacheError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("cache.db"), "{error}");
        assert!(before == other.content());
    }
}

#[test]
fn one_that_is_in_use_by_whatever_name() {
    let directory = Directory::new();
    let mut cache = directory.open();
    fill(&mut cache, 10);
    let error = refused(&directory);
    assert!(matches!(error, CacheError::Locked { .. }), "{error}");
    let link = directory.0.path().join("link.db");
    std::os::unix::fs::symlink(directory.path(), &link).unwrap();
    let error = Sqlite::open(&link, Synchronous::Full).err().expect("it was opened twice");
    assert!(matches!(error, CacheError::Locked { .. }), "{error}");
    // Whoever takes the lock beside it away, or comes by another name in another directory, is kept out all the same.
    std::fs::remove_file(open::beside(&directory.path(), ".lock")).unwrap();
    let elsewhere = Directory::new();
    std::fs::hard_link(directory.path(), elsewhere.path()).unwrap();
    for path in [directory.path(), elsewhere.path()] {
        let error = Sqlite::open(&path, Synchronous::Full).err().expect("it was opened twice");
        assert!(matches!(error, CacheError::Locked { .. }), "{error}");
    }
    assert!(file::open_any(&directory.path()).unwrap().is_in_use());
    cache.apply(&[store(11, BridgeId(1), 10)]).unwrap();
    drop(cache);
    assert_eq!(Sqlite::open(&link, Synchronous::Full).unwrap().messages(), 11);
}

#[test]
fn a_link_is_looked_at_and_set_aside_with_the_wal_of_what_it_means() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 200);
    cache.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    cache.apply(&[store(201, bridge, 10)]).unwrap();
    let copy = directory.killed();
    let elsewhere = Directory::new();
    std::os::unix::fs::symlink(copy.path(), elsewhere.path()).unwrap();
    assert_eq!(file::open_any(&elsewhere.path()).unwrap().stats().unwrap().messages, 201);
    let copy = damaged(copy, |bytes| bytes[20 * 4096..][..4096].fill(0xA5));
    let opened = Sqlite::open_or_set_aside(&elsewhere.path(), Synchronous::Full, OnCorruption::SetAside).unwrap();
    let aside = open::beside(&copy.path(), ".corrupted-1");
    assert_eq!(opened.1, Some(aside.clone()));
    assert!(std::fs::metadata(open::beside(&aside, "-wal")).unwrap().len() > 0);
    assert!(elsewhere.path().is_symlink() && copy.path().is_file(), "the fresh one is where the old one was");
}

#[test]
fn a_foreign_database_is_set_aside_with_its_journal() {
    let directory = Directory::new();
    std::fs::write(directory.path(), b"no database").unwrap();
    std::fs::write(open::beside(&directory.path(), "-journal"), b"hot").unwrap();
    // Of another, long ago, that had none.
    let earlier = open::beside(&directory.path(), ".corrupted-1");
    std::fs::write(&earlier, b"earlier").unwrap();
    let opened = Sqlite::open_or_set_aside(&directory.path(), Synchronous::Full, OnCorruption::SetAside).unwrap();
    let aside = opened.1.unwrap();
    assert_eq!(aside, open::beside(&directory.path(), ".corrupted-2"));
    assert_eq!(std::fs::read(open::beside(&aside, "-journal")).unwrap(), b"hot");
    assert!(!open::beside(&earlier, "-journal").exists());
}

#[test]
fn set_aside_renames_it_with_its_wal_and_begins_afresh() {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 200);
    cache.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    cache.apply(&[store(201, bridge, 10)]).unwrap();
    let copy = damaged(directory.killed(), |bytes| bytes[20 * 4096..][..4096].fill(0xA5));
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    let (main, wal) = (bytes(&copy.path()), bytes(&open::beside(&copy.path(), "-wal")));
    for number in 1..=2 {
        let opened = Sqlite::open_or_set_aside(&copy.path(), Synchronous::Full, OnCorruption::SetAside).unwrap();
        let (mut fresh, aside) = (opened.0, opened.1.expect("it was set aside"));
        assert_eq!(aside, open::beside(&copy.path(), &format!(".corrupted-{number}")));
        assert_eq!(fresh.messages(), 0);
        fill(&mut fresh, 1);
        if number == 1 {
            assert!(bytes(&aside) == main && bytes(&open::beside(&aside, "-wal")) == wal);
        }
        drop(fresh);
        let sound = Sqlite::open_or_set_aside(&copy.path(), Synchronous::Full, OnCorruption::SetAside).unwrap();
        assert_eq!((sound.1, sound.0.messages()), (None, 1), "a sound one stays");
        std::fs::write(copy.path(), b"no database").unwrap();
    }
}

#[test]
fn set_aside_is_asked_for_or_not_done_and_never_done_to_one_in_use() {
    let directory = Directory::new();
    std::fs::write(directory.path(), b"no database").unwrap();
    let before = directory.content();
    assert!(Sqlite::open_or_set_aside(&directory.path(), Synchronous::Full, OnCorruption::Refuse).is_err());
    assert!(before == directory.content());
    let directory = Directory::new();
    let mut cache = directory.open();
    fill(&mut cache, 200);
    cache.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let directory = damaged(directory, |bytes| bytes[20 * 4096..][..4096].fill(0xA5));
    let opened = Sqlite::open_or_set_aside(&directory.path(), Synchronous::Full, OnCorruption::SetAside);
    assert!(matches!(opened.err(), Some(CacheError::Locked { .. })));
}
