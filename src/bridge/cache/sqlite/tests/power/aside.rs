//! The power is cut while a cache is set aside: its file and its WAL are found together and byte for byte, and the fresh
//! one holds what it has acknowledged and nothing of the old one.
use super::*;

const CUTS: u64 = 600;

/// A corrupted file with a WAL that holds something, durable; what a start made of it.
struct Story {
    ops: Vec<Op>,
    old: [Vec<u8>; 2],
}

fn corrupted() -> [Vec<u8>; 2] {
    let directory = Directory::new();
    let mut cache = directory.open();
    let bridge = fill(&mut cache, 200);
    cache.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    cache.apply(&[store(201, bridge, 10)]).unwrap();
    let copy = directory.killed();
    let mut main = std::fs::read(copy.path()).unwrap();
    main[20 * 4096..][..4096].fill(0xA5);
    [main, std::fs::read(open::beside(&copy.path(), "-wal")).unwrap()]
}

fn record_setting_aside() -> Story {
    let old = corrupted();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let recorder = Recorder::new();
    for (file, bytes) in ["cache.db", "cache.db-wal"].into_iter().zip(&old) {
        std::fs::write(folder.path().join(file), bytes).unwrap();
        let (file, bytes) = (file.to_owned(), bytes.clone());
        let write = Op::Write { file: file.clone(), at: 0, bytes };
        [Op::Create(file.clone()), write, Op::Sync(file)].into_iter().for_each(|op| recorder.push(op));
    }
    recorder.push(Op::SyncDirectory);
    let (mut cache, aside) =
        Sqlite::open_or_set_aside_on(&recorder, &path, Synchronous::Full, OnCorruption::SetAside).unwrap();
    assert!(aside.is_some());
    let (bridge, _) = cache.bridge("new").unwrap();
    for number in 1..=2 {
        cache.apply(&[store(number, bridge, 10)]).unwrap();
        recorder.push(Op::Applied(number as usize));
    }
    drop(cache);
    let ops = std::mem::take(&mut recorder.log.lock().unwrap().ops);
    Story { ops, old }
}

/// Cuts the power, starts again with the same configuration, and looks.
fn cut_aside(number: u64, story: &Story) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(number);
    let durable = 1 + story.ops.iter().position(|op| *op == Op::SyncDirectory).unwrap();
    let at = random.usize(durable..=story.ops.len());
    let mut remains = Remains::default();
    story.ops[..at].iter().for_each(|op| remains.perform(op));
    let applied = |op: &Op| if let Op::Applied(number) = op { Some(*number as u64) } else { None };
    let acknowledged = story.ops[..at].iter().rev().find_map(applied).unwrap_or_default();
    let folder = tempfile::tempdir_in(memory_disk()).unwrap();
    for (name, content) in remains.draw(&mut random) {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().join("cache.db");
    let found = |what: String| format!("cut {number} after {at} of {} changes: {what}", story.ops.len());
    let (cache, _) = Sqlite::open_or_set_aside(&path, Synchronous::Full, OnCorruption::SetAside)
        .map_err(|error| found(error.to_string()))?;
    if !(acknowledged..=acknowledged + 1).contains(&cache.messages()) {
        return Err(found(format!("{acknowledged} were acknowledged, {} are there", cache.messages())));
    }
    let check: String = cache.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    let aside = open::beside(&path, ".corrupted-1");
    let kept = [read(&aside), read(&open::beside(&aside, "-wal"))];
    match kept == story.old && check == "ok" && !open::beside(&path, ".corrupted-2").exists() {
        true => Ok(()),
        false => Err(found(format!(
            "{check}; {:?} and not {:?} bytes",
            kept.map(|file| file.len()),
            [story.old[0].len(), story.old[1].len()]
        ))),
    }
}

#[test]
fn what_is_set_aside_stays_together_wherever_the_power_is_cut() {
    let story = record_setting_aside();
    for number in 0..super::number("POWER_CUTS").unwrap_or(CUTS) {
        if let Err(what) = cut_aside(number, &story) {
            panic!("{what}");
        }
    }
}

#[test]
fn a_twin_that_sets_aside_without_syncing_the_directory_is_found_out() {
    let mut story = record_setting_aside();
    let durable = story.ops.iter().position(|op| *op == Op::SyncDirectory).unwrap();
    let mut number = 0;
    story.ops.retain(|op| {
        number += 1;
        number <= durable + 1 || *op != Op::SyncDirectory
    });
    let found = (0..CUTS).filter(|number| cut_aside(*number, &story).is_err()).count();
    assert!(found > 0);
}
