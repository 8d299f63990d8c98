//! What the processes of a role say: all of it in a file, the first lines also in the history.
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::scenario::history::{Event, Role};
use crate::scenario::recorder::Recorder;

/// Lines of one process that go into the history; its log file has all of them up to [`LOG_BYTES`].
const LINES_IN_HISTORY: usize = 2_000;
const LOG_BYTES: u64 = 64 << 20;
/// Lines that an error message repeats.
const TAIL: usize = 3;
/// What a remote says that drops messages: mosquitto, EMQX.
const DROPS: [&str; 2] = ["being dropped", "mqueue_is_full"];

/// Where the lines of a role's processes go; one after the other, the same file.
#[derive(Clone)]
pub(super) struct Log {
    role: Role,
    path: PathBuf,
    recorder: Recorder,
    state: Arc<Mutex<LogState>>,
}

struct LogState {
    file: File,
    bytes: u64,
    lines: usize,
    tail: VecDeque<String>,
}

impl Log {
    /// A new file.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn create(role: Role, path: &Path, recorder: &Recorder) -> io::Result<Self> {
        let state = LogState { file: File::create(path)?, bytes: 0, lines: 0, tail: VecDeque::new() };
        let state = Arc::new(Mutex::new(state));
        Ok(Self { role, path: path.to_owned(), recorder: recorder.clone(), state })
    }

    /// Whose lines they are.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Records what happens to a process of this role now.
    pub(super) fn record(&self, event: Event) {
        self.recorder.record(event);
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its last few lines, oldest first.
    pub(super) fn tail(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).tail.iter().cloned().collect()
    }

    /// Takes in a line, stamped with the moment of its arrival.
    pub(super) fn line(&self, line: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tail.len() == TAIL {
            state.tail.pop_front();
        }
        state.tail.push_back(line.to_owned());
        let stamped = format!("{:12.6} {line}\n", self.recorder.elapsed().as_secs_f64());
        state.bytes += stamped.len() as u64;
        if state.bytes <= LOG_BYTES
            && let Err(error) = state.file.write_all(stamped.as_bytes())
        {
            tracing::warn!(path = %self.path.display(), %error, "a line of the log is lost");
        }
        // The remote's own queues are lifted; where it drops all the same, what is missing is not the subject's fault.
        if self.role == Role::Remote && DROPS.iter().any(|drop| line.contains(drop)) {
            self.recorder.record(Event::Doubt { why: format!("the remote drops messages: {line}") });
        }
        state.lines += 1;
        let line = match state.lines.cmp(&LINES_IN_HISTORY) {
            std::cmp::Ordering::Less => line.to_owned(),
            std::cmp::Ordering::Equal => "(further lines are only in its log file)".to_owned(),
            std::cmp::Ordering::Greater => return,
        };
        self.recorder.record(Event::Log { role: self.role, line });
    }
}
