//! Setting a cache aside that cannot be used, whole, whenever the power ends.
//!
//! Two files cannot be renamed at once, and each half is worth little: the file without its WAL may look sound and hold
//! an older state, and what a fresh file finds beside itself as its WAL would be applied to it. So the file goes first,
//! and what belongs to it follows; that something is to follow is said beforehand, by an empty file in its place.
use std::io;
use std::path::{Path, PathBuf};

use super::create::{Disk, folder};
use super::open::{beside, unusable};
use crate::bridge::cache::CacheError;

/// What belongs to a database and holds content of it; shared memory does not.
const PARTS: [&str; 2] = ["-wal", "-journal"];

/// Renames a file and what belongs to it; its new name. Nobody else may use it.
pub(super) fn set_aside(disk: &impl Disk, path: &Path) -> Result<PathBuf, CacheError> {
    let aside = (1..).map(|number| numbered(path, number)).find(|aside| !aside.exists()).unwrap_or_default();
    moved(disk, path, &aside).map_err(|error| unusable(path, &error))?;
    Ok(aside)
}

fn moved(disk: &impl Disk, path: &Path, aside: &Path) -> io::Result<()> {
    for part in PARTS {
        let owed = beside(aside, part);
        if holds_something(&beside(path, part)) {
            disk.create(&owed)?;
        } else if owed.exists() {
            disk.remove(&owed)?;
        }
    }
    disk.sync_directory(folder(path))?;
    disk.rename(path, aside)?;
    disk.sync_directory(folder(path))?;
    follow(disk, path, aside)
}

/// What belongs to a file that was set aside follows it.
fn follow(disk: &impl Disk, path: &Path, aside: &Path) -> io::Result<()> {
    let mut followed = false;
    for part in PARTS {
        let (from, owed) = (beside(path, part), beside(aside, part));
        let is_owed = std::fs::metadata(&owed).is_ok_and(|owed| owed.len() == 0);
        if is_owed && holds_something(&from) {
            disk.rename(&from, &owed)?;
            followed = true;
        }
    }
    if followed { disk.sync_directory(folder(path)) } else { Ok(()) }
}

/// Ends what a power cut has cut short, before a fresh file is created at this path.
pub(super) fn complete(disk: &impl Disk, path: &Path) -> Result<(), CacheError> {
    let last = (1..).map(|number| numbered(path, number)).take_while(|aside| aside.exists()).last();
    last.map_or(Ok(()), |aside| follow(disk, path, &aside)).map_err(|error| unusable(path, &error))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    beside(path, &format!(".corrupted-{number}"))
}

fn holds_something(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}
