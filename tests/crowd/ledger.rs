//! What was sent, and what has come of it.
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

/// What became of all messages on one side.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
}

#[derive(Debug, Default, Clone)]
struct Track {
    seen: Vec<bool>,
    missing: u64,
    duplicated: u64,
    out_of_order: u64,
}

impl Track {
    fn received(&mut self, sequence: u64) {
        let at = sequence as usize;
        let seen = self.seen.get_mut(at).unwrap_or_else(|| panic!("{sequence} was never sent"));
        if std::mem::replace(seen, true) {
            self.duplicated += 1;
            return;
        }
        self.missing -= 1;
        self.out_of_order += u64::from(self.seen[at + 1..].contains(&true));
    }
}

#[derive(Debug)]
struct Book {
    sent: u64,
    acknowledged: u64,
    here: Vec<Track>,
    there: Vec<Track>,
    /// Microseconds.
    latencies: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    epoch: Instant,
    book: Mutex<Book>,
    progress: Notify,
}

fn account(tracks: &[Track]) -> Account {
    tracks.iter().fold(Account::default(), |account, track| Account {
        lost: account.lost + track.missing,
        duplicated: account.duplicated + track.duplicated,
        out_of_order: account.out_of_order + track.out_of_order,
    })
}

impl Ledger {
    pub(crate) fn new(pairs: usize) -> Self {
        let tracks = vec![Track::default(); pairs];
        let book = Book { sent: 0, acknowledged: 0, here: tracks.clone(), there: tracks, latencies: Vec::new() };
        Self { epoch: Instant::now(), book: Mutex::new(book), progress: Notify::new() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    pub(crate) fn pairs(&self) -> usize {
        self.book().here.len()
    }

    pub(crate) fn micros(&self, at: Instant) -> u64 {
        at.duration_since(self.epoch).as_micros() as u64
    }

    pub(crate) fn sent(&self, pair: usize) {
        let mut book = self.book();
        book.sent += 1;
        let Book { here, there, .. } = &mut *book;
        for track in [&mut here[pair], &mut there[pair]] {
            track.seen.push(false);
            track.missing += 1;
        }
    }

    pub(crate) fn acknowledged(&self) {
        self.book().acknowledged += 1;
        self.progress.notify_one();
    }

    pub(crate) fn received_here(&self, pair: usize, sequence: u64, latency: Option<u64>) {
        let mut book = self.book();
        book.here[pair].received(sequence);
        book.latencies.extend(latency);
        self.progress.notify_one();
    }

    pub(crate) fn received_there(&self, pair: usize, sequence: u64) {
        self.book().there[pair].received(sequence);
        self.progress.notify_one();
    }

    /// Waits until everything that was sent is acknowledged and has come on both sides.
    pub(crate) async fn complete(&self) {
        loop {
            let complete = {
                let book = self.book();
                let missing = account(&book.here).lost + account(&book.there).lost;
                missing == 0 && book.acknowledged == book.sent
            };
            if complete {
                return;
            }
            self.progress.notified().await;
        }
    }

    /// Sent, and acknowledged.
    pub(crate) fn published(&self) -> (u64, u64) {
        let book = self.book();
        (book.sent, book.acknowledged)
    }

    pub(crate) fn here(&self) -> Account {
        account(&self.book().here)
    }

    pub(crate) fn there(&self) -> Account {
        account(&self.book().there)
    }

    /// p50 and p99 in milliseconds.
    pub(crate) fn latency(&self) -> [f64; 2] {
        let mut sorted = self.book().latencies.clone();
        sorted.sort_unstable();
        [0.5, 0.99].map(|share| {
            let at = ((sorted.len().max(1) - 1) as f64 * share) as usize;
            sorted.get(at).map_or(f64::NAN, |micros| *micros as f64 / 1e3)
        })
    }
}
