//! A disk that fails now and then, at every call in turn: what was not acknowledged is not there, and the same batch
//! goes in once the disk works again.
use std::ffi::c_int;

use rusqlite::ffi;

use super::*;

const CODES: [c_int; 4] =
    [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_FULL, ffi::SQLITE_READONLY_DBMOVED];

#[test]
fn a_failed_write_or_sync_leaves_what_was_there_and_the_same_batch_goes_in_later() {
    let folder = tempfile::tempdir_in(memory_disk()).unwrap();
    let path = folder.path().join("cache.db");
    let recorder = Recorder::new();
    let mut cache = Sqlite::open_on(&recorder, &path, Synchronous::Full).unwrap();
    cache.connection.pragma_update(None, "wal_autocheckpoint", 12).unwrap();
    let mut load = Load::new(4);
    image(&mut cache);
    let mut before = image(&mut load.reference);
    let mut failed = [0; CODES.len()];
    for number in 0..160 {
        let batch = load.batch();
        let wanted = image(&mut load.reference);
        // One call after another fails, until a batch has no more calls than that.
        for (kind, code) in CODES.into_iter().enumerate() {
            recorder.log.lock().unwrap().fail = Some((number % 20, code));
            let applied = cache.apply(&batch);
            recorder.log.lock().unwrap().fail = None;
            match applied {
                Ok(_) => break,
                Err(CacheError::Full) => assert_eq!(code, ffi::SQLITE_FULL),
                Err(error) => assert!(matches!(error, CacheError::Io { .. } | CacheError::Unusable { .. }), "{error}"),
            }
            assert!(image(&mut cache) == before, "batch {number}: something of a failed batch is there");
            failed[kind] += 1;
        }
        if image(&mut cache) != wanted {
            cache.apply(&batch).unwrap();
        }
        assert!(image(&mut cache) == wanted, "batch {number}");
        before = wanted;
    }
    assert!(failed.iter().all(|times| *times > 20), "{failed:?}");
    drop(cache);
    assert!(image(&mut Sqlite::open(&path, Synchronous::Full).unwrap()) == before);
}

#[test]
fn a_creation_that_fails_at_any_call_leaves_nothing_that_the_next_one_minds() {
    let mut failed = 0;
    for number in 0..60 {
        let folder = tempfile::tempdir_in(memory_disk()).unwrap();
        let path = folder.path().join("cache.db");
        let recorder = Recorder::new();
        recorder.log.lock().unwrap().fail = Some((number, ffi::SQLITE_FULL));
        if Sqlite::open_on(&recorder, &path, Synchronous::Full).is_err() {
            failed += 1;
            let names = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(names().count() == 0 || path.exists(), "call {number}: {:?}", names().collect::<Vec<_>>());
            assert!(!open::beside(&path, ".new").exists(), "call {number}");
        }
        // What SQLite can do without, such as the end of its WAL, may fail unnoticed.
        let mut cache = Sqlite::open(&path, Synchronous::Full).unwrap();
        fill(&mut cache, 3);
    }
    assert!((10..60).contains(&failed), "{failed}");
}

#[test]
fn what_failed_at_its_sync_may_come_back_after_a_kill_until_something_is_written_over_it() {
    let directory = Directory::new();
    let recorder = Recorder::new();
    let mut cache = Sqlite::open_on(&recorder, &directory.path(), Synchronous::Full).unwrap();
    let bridge = super::fill(&mut cache, 10);
    let mut in_doubt = 0;
    for call in 0..20 {
        recorder.log.lock().unwrap().fail = Some((call, ffi::SQLITE_IOERR_FSYNC));
        if cache.apply(&[store(11, bridge, 10)]).is_ok() {
            break;
        }
        recorder.log.lock().unwrap().fail = None;
        if directory.killed().open().messages() == 11 {
            in_doubt += 1;
            let session = |expires_at| Write::KeepSession { client_id: "s".into(), expires_at, expiry: 0 };
            cache.apply(&[session(Some(Duration::from_millis(call as u64)))]).unwrap();
        }
        assert_eq!(directory.killed().open().messages(), 10);
    }
    assert!(in_doubt > 0);
}
