//! Power loss under the real code: what it does to the disk is recorded once, and then the power is cut at thousands of
//! points, with everything that a disk may be left with ([`remains`]). What is left must open, hold every acknowledged
//! write and no half of any other, and go on.
//!
//! `POWER_CUTS=200000 cargo test --release --lib power` tries more; `POWER_CUT=7` replays one.
mod aside;
mod failing;
mod load;
mod record;
mod remains;

use load::{Image, Load, image};
use record::{Op, Recorder};
use remains::{Files, Remains};

use super::*;

/// Cuts into one recording; the next ones are made into another.
const CUTS: u64 = 250;
const BATCHES: usize = 90;

/// What a cache did to its disk.
struct Recording {
    ops: Vec<Op>,
    /// What was to be found after each number of applied batches.
    images: Vec<Image>,
}

/// A load from creation through checkpoints, an orderly end and another start.
fn record(seed: u64, synchronous_off: bool) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let recorder = Recorder::new();
    let mut load = Load::new(seed);
    let mut images = vec![image(&mut load.reference)];
    let ends = fastrand::Rng::with_seed(seed).usize(1..BATCHES);
    let open = || {
        let mut cache = Sqlite::open_on(&recorder, &path, Synchronous::Full).unwrap();
        // So that one is nearly always under way.
        cache.connection.pragma_update(None, "wal_autocheckpoint", 12).unwrap();
        if synchronous_off {
            cache.connection.pragma_update(None, "synchronous", "off").unwrap();
        }
        image(&mut cache);
        cache
    };
    let mut cache = open();
    for number in 1..=BATCHES {
        cache.apply(&load.batch()).unwrap();
        recorder.push(Op::Applied(number));
        images.push(image(&mut load.reference));
        if number == ends {
            cache.close().unwrap();
            drop(cache);
            cache = open();
        }
    }
    assert_eq!(image(&mut cache), images[BATCHES]);
    drop(cache);
    let ops = std::mem::take(&mut recorder.log.lock().unwrap().ops);
    Recording { ops, images }
}

/// Opens what is left after a cut.
fn survives(
    files: &Files,
    acknowledged: usize,
    recording: &Recording,
    random: &mut fastrand::Rng,
) -> Result<(), String> {
    let folder = tempfile::tempdir_in(memory_disk()).unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    // Shared memory is no file to SQLite: after a cut it may be anything.
    if random.bool() {
        std::fs::write(folder.path().join("cache.db-shm"), vec![random.u8(..); 32_768]).unwrap();
    }
    let path = folder.path().join("cache.db");
    let mut cache = Sqlite::open(&path, Synchronous::Full).map_err(|error| format!("it does not open: {error}"))?;
    let found = image(&mut cache);
    let legal = &recording.images[acknowledged..recording.images.len().min(acknowledged + 2)];
    if !legal.contains(&found) {
        let kept = recording.images.iter().position(|image| *image == found);
        return Err(match kept {
            Some(kept) => format!("{acknowledged} batches were acknowledged, {kept} are there"),
            None => format!("{acknowledged} batches were acknowledged, and no state of the load is there:\n{found:?}"),
        });
    }
    let check: String = cache.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if check != "ok" {
        return Err(check);
    }
    for name in load::BRIDGES {
        let (bridge, _) = cache.bridge(name).unwrap();
        let (counted, scanned) = (cache.usage(bridge), cache.scan(bridge));
        if counted != scanned {
            return Err(format!("bridge {name}: counted {counted:?}, there are {scanned:?}"));
        }
        let next = cache.latest().unwrap().0.0 + 1;
        cache.apply(&[store(next, bridge, 100)]).map_err(|error| format!("it takes no more: {error}"))?;
    }
    Ok(())
}

/// Where a sync costs nothing: these files have been through their power cut.
fn memory_disk() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
}

/// One cut of a recording; on failure, what was found.
fn cut(number: u64, recording: &Recording) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(number);
    // Creation is short, and as worth a look as all the rest.
    let created = recording.ops.iter().position(|op| *op == Op::Applied(1)).unwrap_or(0);
    let at = if random.u8(..4) == 0 { random.usize(..=created) } else { random.usize(..=recording.ops.len()) };
    let mut remains = Remains::default();
    recording.ops[..at].iter().for_each(|op| remains.perform(op));
    let applied = |op: &Op| if let Op::Applied(number) = op { Some(*number) } else { None };
    let acknowledged = recording.ops[..at].iter().rev().find_map(applied).unwrap_or_default();
    let files = remains.draw(&mut random);
    survives(&files, acknowledged, recording, &mut random).map_err(|what| {
        let last = recording.ops[..at].last();
        format!("cut {number} after {at} of {} changes ({last:.80?}): {what}", recording.ops.len())
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_power_cut_costs_what_was_acknowledged() {
    let cuts = match number("POWER_CUT") {
        Some(cut) => cut..cut + 1,
        None => 0..number("POWER_CUTS").unwrap_or(1_500),
    };
    let mut recording = None;
    for number in cuts {
        if recording.is_none() || number % CUTS == 0 {
            recording = Some(record(number / CUTS, false));
        }
        let Some(recording) = &recording else { continue };
        if let Err(what) = cut(number, recording) {
            panic!("{what}\n  replay: POWER_CUT={number} cargo test --lib no_power_cut");
        }
    }
}

/// Of a few hundred cuts into such a recording some must be found to have lost.
fn is_found_out(recording: &Recording) {
    let found: Vec<String> = (0..CUTS).filter_map(|number| cut(number, recording).err()).collect();
    let lost = found.iter().filter(|what| what.contains("batches were acknowledged")).count();
    println!("{} of {CUTS} cuts found out, {lost} of them as lost writes", found.len());
    assert!(lost > 0, "{found:?}");
}

#[test]
fn a_twin_without_synchronous_is_found_out() {
    is_found_out(&record(1, true));
}

#[test]
fn a_twin_whose_disk_ignores_syncs_is_found_out() {
    let mut recording = record(2, false);
    recording.ops.retain(|op| !matches!(op, Op::Sync(_) | Op::SyncDirectory));
    is_found_out(&recording);
}

#[test]
fn a_twin_that_does_not_sync_the_directory_is_found_out() {
    let mut recording = record(3, false);
    let named = |op: &Op| matches!(op, Op::Rename { .. });
    let at = recording.ops.iter().position(named).expect("it is renamed");
    // SQLite's own syncs of the directory would make up for it.
    recording.ops.truncate(at + 1 + recording.ops[at + 1..].iter().position(|op| *op == Op::Applied(2)).unwrap());
    let mut number = 0;
    recording.ops.retain(|op| {
        number += 1;
        number <= at || *op != Op::SyncDirectory
    });
    let lost = (0..CUTS).filter_map(|number| cut(number, &recording).err()).filter(|what| what.contains("0 are there"));
    assert!(lost.count() > 0);
}
