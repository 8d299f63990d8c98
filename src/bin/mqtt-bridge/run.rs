//! `mqtt-bridge run`.
use std::io::IsTerminal;
use std::path::PathBuf;

use mqtt_bridge::bridge::config::nanomq::Kind;
use mqtt_bridge::bridge::config::{self, Loaded};
use mqtt_bridge::bridge::supervisor;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

/// Run the bridge until SIGTERM or Ctrl-C; SIGHUP reads the configuration again
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// bridge.yaml, or a nanomq.conf as it is
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let loaded = config::load(&arguments.config)?;
    let filter = EnvFilter::try_from_env("MQTT_BRIDGE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(colour);
    log.with_writer(std::io::stderr).init();
    if let Loaded::Nanomq(translation) = &loaded {
        let file = arguments.config.display();
        for note in translation.notes.iter().filter(|note| note.kind != Kind::Mapped) {
            tracing::warn!("{file}: {note}");
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
        supervisor::run(loaded.config().clone(), reloads, stop).await?;
        Ok(0)
    })
}
