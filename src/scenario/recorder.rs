//! The recorder: one clock and one history for everything that happens in a run.
//!
//! Whoever sees something calls [`Recorder::record`]; one thread writes the history to disk as it comes and folds it
//! into the ledger meanwhile. Memory is bounded: where the disk is slower than the events for long, who records waits.
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::history::{Event, Record};
use super::ledger::{Drained, Ledger, Progress};

/// Events that may wait for the disk: some seconds at the highest loads.
const WAITING: usize = 1 << 16;
/// What a killed runner may lose of its history.
const FLUSH: Duration = Duration::from_millis(200);
/// Records taken in at once, while nobody can ask how the run stands.
const BATCH: usize = 256;

/// Why the history could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// It could not be written.
    #[error("{}: the history cannot be written: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The thread that writes is gone.
    #[error("{}: the thread that writes the history has panicked, which is a mistake of this program", .path.display())]
    Panicked {
        /// The file.
        path: PathBuf,
    },
}

enum Entry {
    Record(Box<Record>),
    End,
}

/// A handle for whoever sees something happen; cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    entries: SyncSender<Entry>,
    origin: watch::Sender<Option<Instant>>,
    state: Arc<Mutex<State>>,
    drained: watch::Receiver<Option<Drained>>,
}

struct State {
    ledger: Ledger,
    last_traffic: Instant,
}

impl State {
    fn fold(&mut self, record: &Record) {
        if is_traffic(&record.event) {
            self.last_traffic = Instant::now();
        }
        self.ledger.fold(record);
    }
}

/// The other end: who takes the finished ledger.
pub(crate) struct Recording {
    recorder: Recorder,
    writer: JoinHandle<io::Result<()>>,
    path: PathBuf,
}

/// How a run stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// The figures so far.
    pub(crate) progress: Progress,
    /// How long nothing was sent, answered or received.
    pub(crate) quiet: Duration,
}

impl Recording {
    /// Begins a history in a new file.
    ///
    /// # Errors
    /// [`RecorderError::Write`].
    pub(crate) fn start(path: &Path, ledger: Ledger) -> Result<Self, RecorderError> {
        let failed = |source| RecorderError::Write { path: path.to_owned(), source };
        let file = BufWriter::with_capacity(1 << 16, File::create(path).map_err(failed)?);
        let (entries, waiting) = sync_channel(WAITING);
        let (told, drained) = watch::channel(ledger.drained());
        let state = Arc::new(Mutex::new(State { ledger, last_traffic: Instant::now() }));
        let recorder = Recorder { entries, origin: watch::Sender::new(None), state: state.clone(), drained };
        let thread = std::thread::Builder::new().name("history".into());
        let writer = thread.spawn(move || write(&waiting, file, &state, &told)).map_err(failed)?;
        Ok(Self { recorder, writer, path: path.to_owned() })
    }

    /// A handle to record with.
    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Ends the history and gives its ledger; what is recorded from now on is dropped.
    ///
    /// # Errors
    /// [`RecorderError`] where some of the history did not reach the disk.
    pub(crate) fn finish(self) -> Result<Ledger, RecorderError> {
        // An error means that the writer has ended, and `join` says how.
        let _ = self.recorder.entries.send(Entry::End);
        let Self { recorder, writer, path } = self;
        let written = writer.join().map_err(|_| RecorderError::Panicked { path: path.clone() })?;
        written.map_err(|source| RecorderError::Write { path, source })?;
        let state = recorder.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(state.ledger.clone())
    }
}

impl Recorder {
    /// Starts the timeline at `origin`; before, every event has `t` 0. Only the first call counts.
    pub(crate) fn begin(&self, origin: Instant) {
        self.origin.send_if_modified(|begun| begun.is_none() && begun.replace(origin).is_none());
    }

    /// Waits for the start of the timeline and says when it was.
    pub(crate) async fn begun(&self) -> Instant {
        let mut origin = self.origin.subscribe();
        loop {
            if let Some(origin) = *origin.borrow_and_update() {
                return origin;
            }
            // Cannot fail: this handle itself holds the sender.
            let _ = origin.changed().await;
        }
    }

    /// The start of the timeline, once it has begun.
    pub(crate) fn origin(&self) -> Option<Instant> {
        *self.origin.borrow()
    }

    /// Time since the start of the timeline; zero before.
    pub(crate) fn elapsed(&self) -> Duration {
        self.origin().map(|origin| origin.elapsed()).unwrap_or_default()
    }

    /// Records what happens now.
    pub(crate) fn record(&self, event: Event) {
        self.take_in(Record::at(self.elapsed(), event));
    }

    /// Records what has a moment of its own, as in virtual time.
    pub(crate) fn take_in(&self, record: Record) {
        // An error means that the history is finished: what comes later is not part of it.
        let _ = self.entries.send(Entry::Record(Box::new(record)));
    }

    /// Records why the run may be worth little.
    pub(crate) fn doubt(&self, why: impl Into<String>) {
        self.record(Event::Doubt { why: why.into() });
    }

    /// Follows how far the backlog has drained, for those plans where a fault waits for it.
    pub(crate) fn drained(&self) -> watch::Receiver<Option<Drained>> {
        self.drained.clone()
    }

    /// How the run stands.
    pub(crate) fn standing(&self) -> Standing {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Standing { progress: state.ledger.progress(), quiet: state.last_traffic.elapsed() }
    }
}

/// Writes until the end, and goes on folding where the disk fails: the verdict needs the ledger more than the file.
fn write(
    entries: &Receiver<Entry>,
    mut file: BufWriter<File>,
    state: &Mutex<State>,
    told: &watch::Sender<Option<Drained>>,
) -> io::Result<()> {
    let mut result = Ok(());
    let mut flushed = Instant::now();
    loop {
        let mut next = match entries.recv_timeout(FLUSH) {
            Ok(entry) => Some(entry),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Entry::End),
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        for left in (0..BATCH).rev() {
            match next {
                Some(Entry::Record(record)) => {
                    state.fold(&record);
                    result = result.and_then(|()| append(&mut file, &record));
                }
                Some(Entry::End) => return result.and_then(|()| file.flush()),
                None => break,
            }
            next = if left > 0 { entries.try_recv().ok() } else { None };
        }
        let drained = state.ledger.drained();
        drop(state);
        told.send_if_modified(|before| std::mem::replace(before, drained) != drained);
        if flushed.elapsed() >= FLUSH {
            result = result.and_then(|()| file.flush());
            flushed = Instant::now();
        }
    }
}

fn append(file: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *file, record)?;
    file.write_all(b"\n")
}

fn is_traffic(event: &Event) -> bool {
    matches!(
        event,
        Event::Sent { .. }
            | Event::Acknowledged { .. }
            | Event::Refused { .. }
            | Event::Received { .. }
            | Event::Unexpected { .. }
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::plan::Plan;
    use super::super::story::plan;
    use super::*;

    /// A recording in a folder of its own, for tests.
    pub(crate) fn recording(plan: &Plan) -> (Recording, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Recording::start(&folder.path().join("history.jsonl"), Ledger::new(plan)).unwrap(), folder)
    }

    const ONE: &str = "load:\n  - { topic: a, qps: 10000 }\ntimeline:\n  - { at: 0s, do: publish, for: 100s }\n";

    #[test]
    fn what_is_recorded_is_on_disk_and_in_the_ledger() {
        let (recording, folder) = recording(&plan(ONE));
        let recorder = recording.recorder();
        recorder.record(Event::Sent { load: 0, seq: 0, again: false });
        recorder.begin(Instant::now() - Duration::from_secs(1));
        recorder.begin(Instant::now());
        let threads: Vec<_> = (1..5)
            .map(|part| {
                let recorder = recorder.clone();
                std::thread::spawn(move || {
                    for seq in part * 50_000..(part + 1) * 50_000 {
                        recorder.record(Event::Sent { load: 0, seq, again: false });
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let ledger = recording.finish().unwrap();
        assert_eq!(ledger.progress().sent, 200_001);
        recorder.record(Event::Interrupted);
        let text = std::fs::read_to_string(folder.path().join("history.jsonl")).unwrap();
        let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 200_001);
        assert_eq!(records[0].t, 0);
        assert!(records[1..].iter().all(|record| record.t >= 1_000_000));
    }

    #[test]
    fn a_full_disk_is_reported() {
        let plan = plan(ONE);
        let recording = Recording::start(Path::new("/dev/full"), Ledger::new(&plan)).unwrap();
        recording.recorder().record(Event::Interrupted);
        assert!(matches!(recording.finish(), Err(RecorderError::Write { .. })));
    }
}
