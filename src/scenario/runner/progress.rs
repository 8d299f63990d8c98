//! What people see while a run goes on: on a terminal one line that moves, otherwise a line at each change of phase.
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::super::recorder::Recorder;
use crate::bridge::units::format_duration;
use tokio::sync::watch;

const REFRESH: Duration = Duration::from_millis(200);

/// What a run does at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Doing {
    phase: String,
    link: &'static str,
    /// When the phase ends at the latest, on the timeline.
    until: Option<Duration>,
}

/// The progress of one subject's run; gone from the terminal when dropped.
pub(super) struct Progress {
    subject: String,
    doing: watch::Sender<Doing>,
    terminal: Option<(ProgressBar, JoinHandle<()>)>,
}

impl Progress {
    pub(super) fn start(subject: &str, recorder: Recorder) -> Self {
        let doing = watch::Sender::new(Doing::default());
        let terminal = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(subject.to_owned());
            (bar.clone(), tokio::spawn(show(bar, doing.subscribe(), recorder)))
        });
        Self { subject: subject.to_owned(), doing, terminal }
    }

    pub(super) fn phase(&self, phase: &str, until: Option<Duration>) {
        if self.terminal.is_none() {
            eprintln!("{}: {phase}", self.subject);
        }
        self.doing.send_modify(|doing| (doing.phase, doing.until) = (phase.to_owned(), until));
    }

    pub(super) fn link(&self, link: &'static str) {
        self.doing.send_modify(|doing| doing.link = link);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((bar, task)) = &self.terminal {
            task.abort();
            bar.finish_and_clear();
        }
    }
}

async fn show(bar: ProgressBar, doing: watch::Receiver<Doing>, recorder: Recorder) {
    let mut ticks = interval(REFRESH);
    loop {
        ticks.tick().await;
        let Doing { phase, link, until } = doing.borrow().clone();
        let progress = recorder.standing().progress;
        let left = until.map(|until| until.saturating_sub(recorder.elapsed()).as_secs());
        let left = left.map(|left| format!(", {} left", format_duration(Duration::from_secs(left))));
        // At 80 columns everything must be seen: a number that is cut off is a wrong number.
        bar.set_message(format!(
            "{phase}{} · link {link} · sent {}, acked {}, received {}",
            left.unwrap_or_default(),
            progress.sent,
            progress.acknowledged,
            progress.received
        ));
        bar.tick();
    }
}
