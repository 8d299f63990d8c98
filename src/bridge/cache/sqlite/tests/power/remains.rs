//! What a disk may hold after the power was cut: everything synced; of the rest, each change independently all, nothing,
//! or part of it.
//!
//! No more than SQLite assumes (<https://www.sqlite.org/atomiccommit.html>, sections 2 and 3): bytes outside the range
//! of an unfinished write are as they were; within it each sector is new, old, or new up to or from a byte. A file that
//! has grown may hold anything where nothing was written. Directory entries reach the disk with a sync of the directory.
use std::collections::BTreeMap;

use super::record::Op;

const SECTOR: usize = 512;

/// The files of a directory.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Resize(usize),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Entry {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

/// A disk between two changes.
#[derive(Debug, Default)]
pub(super) struct Remains {
    inodes: Vec<Inode>,
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<Entry>,
}

impl Remains {
    pub(super) fn perform(&mut self, op: &Op) {
        match op {
            Op::Create(file) => {
                self.inodes.push(Inode::default());
                self.enter(Entry::Link(file.clone(), self.inodes.len() - 1));
            }
            Op::Delete(file) => self.enter(Entry::Unlink(file.clone())),
            Op::Rename { from, to } => self.enter(Entry::Rename(from.clone(), to.clone())),
            Op::SyncDirectory => {
                self.durable = self.now.clone();
                self.pending.clear();
            }
            Op::Write { file, at, bytes } => self.change(file, Change::Write { at: *at, bytes: bytes.clone() }),
            Op::Resize { file, size } => self.change(file, Change::Resize(*size)),
            Op::Sync(file) => {
                let inode = &mut self.inodes[self.now[file]];
                for change in std::mem::take(&mut inode.pending) {
                    make(&mut inode.durable, &change, 0);
                }
            }
            Op::Applied(_) => {}
        }
    }

    fn enter(&mut self, entry: Entry) {
        enter(&mut self.now, &entry);
        self.pending.push(entry);
    }

    fn change(&mut self, file: &str, change: Change) {
        self.inodes[self.now[file]].pending.push(change);
    }

    /// One of the ways in which it may be found.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Files {
        // Some cuts keep nearly everything, some nearly nothing.
        let keep = [0.0, 0.1, 0.5, 0.9, 1.0][random.usize(..5)];
        let torn = [0.0, 0.5][random.usize(..2)];
        let filler = if random.bool() { 0 } else { random.u8(..) };
        let mut names = self.durable.clone();
        for entry in &self.pending {
            if random.f64() < keep {
                enter(&mut names, entry);
            }
        }
        let mut files = Files::new();
        for (name, inode) in names {
            let inode = &self.inodes[inode];
            let mut content = inode.durable.clone();
            for change in &inode.pending {
                match change {
                    Change::Write { at, bytes } if random.f64() < torn => {
                        for part in tear(*at, bytes, random) {
                            make(&mut content, &part, filler);
                        }
                    }
                    change if random.f64() < keep => make(&mut content, change, filler),
                    _ => {}
                }
            }
            files.insert(name, content);
        }
        files
    }
}

fn enter(names: &mut BTreeMap<String, usize>, entry: &Entry) {
    match entry {
        Entry::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Entry::Unlink(name) => {
            names.remove(name);
        }
        // Where the entry that it renames never reached the disk there is nothing to rename.
        Entry::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

fn make(content: &mut Vec<u8>, change: &Change, filler: u8) {
    match change {
        Change::Write { at, bytes } => {
            if content.len() < at + bytes.len() {
                content.resize(at + bytes.len(), filler);
            }
            content[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Change::Resize(size) => content.resize(*size, filler),
    }
}

/// The parts of a write that reached the disk, sector by sector.
fn tear(at: usize, bytes: &[u8], random: &mut fastrand::Rng) -> Vec<Change> {
    let mut parts = Vec::new();
    let mut begin = at;
    while begin < at + bytes.len() {
        let end = ((begin / SECTOR + 1) * SECTOR).min(at + bytes.len());
        let middle = random.usize(begin..=end);
        let (from, to) = [(begin, begin), (begin, end), (begin, middle), (middle, end)]
            [random.choice([0, 0, 0, 1, 1, 1, 2, 3]).unwrap_or(0)];
        if from < to {
            parts.push(Change::Write { at: from, bytes: bytes[from - at..to - at].to_vec() });
        }
        begin = end;
    }
    parts
}
