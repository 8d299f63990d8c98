//! `mqtt-bridge run`.
use std::path::PathBuf;
use std::time::Duration;

use mqtt_bridge::bridge::config::nanomq::Kind;
use mqtt_bridge::bridge::config::{self, Loaded};
use mqtt_bridge::bridge::log::UNLIMITED;
use mqtt_bridge::bridge::supervisor;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::log;

/// Between looks at what the log has left out.
const TELLING: Duration = Duration::from_secs(1);

/// Run the bridge until SIGTERM or Ctrl-C; SIGHUP reads the configuration again
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// bridge.yaml, or a nanomq.conf as it is
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How the log on stderr is written; otherwise as `log.format` in the configuration says
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<log::Format>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let loaded = config::load(&arguments.config)?;
    let limited = log::start(loaded.config().log, arguments.log_format)?;
    if let Loaded::Nanomq(translation) = &loaded {
        let file = arguments.config.display();
        for note in translation.notes.iter().filter(|note| note.kind != Kind::Mapped) {
            tracing::warn!(target: UNLIMITED, event = "configuration", "{file}: {note}");
        }
    }
    // One thread carries all sockets, one more the cache: no hand-over between cores for a message.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let (to_supervisor, reloads) = mpsc::channel(1);
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(super::reload::on_hangup(hangup, arguments.config.clone(), to_supervisor));
        let telling = limited.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TELLING);
            loop {
                ticks.tick().await;
                telling.tell();
            }
        });
        let ended = supervisor::run(loaded.config().clone(), reloads, stop).await;
        limited.tell_all();
        ended?;
        Ok(0)
    })
}
