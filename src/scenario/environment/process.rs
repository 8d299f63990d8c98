//! A child process: it is told what to do, its lines are kept, its end is recorded, and it does not outlive the runner.
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ending::Ending;
use super::log::Log;
use crate::scenario::history::Event;

const LINE_BYTES: u64 = 4 << 10;

/// A running or ended child process.
pub(super) struct Process {
    pid: u32,
    signals: mpsc::UnboundedSender<libc::c_int>,
    ended: Ending,
}

impl Process {
    /// Starts a program; its lines go to `log`, and start and end to the history.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn start(mut command: Command, log: &Log) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C in a terminal is for the runner, which stops its children itself.
        command.process_group(0);
        #[cfg(target_os = "linux")]
        // SAFETY: prctl and getppid are async-signal-safe and touch no memory.
        unsafe {
            let runner = std::process::id() as libc::pid_t;
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The runner may have died before the line above.
                if libc::getppid() == runner { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
            });
        }
        let mut child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        log.record(Event::ProcessStarted { role: log.role(), pid });
        let lines = (child.stdout.take(), child.stderr.take());
        let (signals, received) = mpsc::unbounded_channel();
        let (ending, ended) = Ending::awaited();
        let log = log.clone();
        tokio::spawn(async move {
            let following = tokio::spawn(follow(lines, log.clone()));
            let (status, wanted) = attend(child, received).await;
            log.record(Event::ProcessEnded { role: log.role(), status: status.clone(), wanted });
            // Its last lines are in the pipe still; a grandchild that keeps the pipe open must not hold us up.
            let _ = timeout(Duration::from_secs(1), following).await;
            ending.send_replace(Some(status));
        });
        Ok(Self { pid, signals, ended })
    }

    /// Its process id; another process may have it once it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it did.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended.seen()
    }

    /// Waits for its end.
    pub(super) async fn end(&self) -> String {
        self.ended.wait().await
    }

    /// SIGKILL, and waits for its end.
    pub(super) async fn kill(&self) -> String {
        self.signal(libc::SIGKILL);
        self.end().await
    }

    /// SIGTERM, and SIGKILL where it does not end within `patience`.
    pub(super) async fn terminate(&self, patience: Duration) -> Result<String, String> {
        self.signal(libc::SIGTERM);
        match timeout(patience, self.end()).await {
            Ok(status) => Ok(status),
            Err(_) => Err(self.kill().await),
        }
    }

    /// Sends a signal that need not end it.
    pub(super) fn signal(&self, signal: libc::c_int) {
        // An error means that it has ended already.
        let _ = self.signals.send(signal);
    }
}

/// Signals a child as told until it has ended; says how, and whether that was wanted.
async fn attend(mut child: Child, mut signals: mpsc::UnboundedReceiver<libc::c_int>) -> (String, bool) {
    let mut wanted = false;
    loop {
        tokio::select! {
            status = child.wait() => return (status.map_or_else(|error| error.to_string(), describe), wanted),
            signal = signals.recv() => {
                // Nobody holds the process any more: its world is gone.
                let signal = signal.unwrap_or(libc::SIGKILL);
                wanted |= matches!(signal, libc::SIGKILL | libc::SIGTERM);
                if let Some(pid) = child.id() {
                    // SAFETY: the child has not been waited for, so that the id is still its own.
                    unsafe { libc::kill(pid as libc::pid_t, signal) };
                }
                if signal == libc::SIGKILL {
                    return (child.wait().await.map_or_else(|error| error.to_string(), describe), wanted);
                }
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(libc::SIGKILL)) => "SIGKILL".into(),
        (_, Some(libc::SIGTERM)) => "SIGTERM".into(),
        (_, Some(libc::SIGSEGV)) => "SIGSEGV".into(),
        (_, Some(libc::SIGABRT)) => "SIGABRT".into(),
        (_, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

async fn follow(pipes: (Option<impl AsyncRead + Unpin>, Option<impl AsyncRead + Unpin>), log: Log) {
    let (stdout, stderr) = pipes;
    tokio::join!(follow_one(stdout, &log), follow_one(stderr, &log));
}

async fn follow_one(pipe: Option<impl AsyncRead + Unpin>, log: &Log) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    // A line without an end must not take all memory: it becomes several.
    while let Ok(1..) = (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await {
        log.line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}
