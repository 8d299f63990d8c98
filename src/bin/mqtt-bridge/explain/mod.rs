//! `mqtt-bridge explain`: from a recorded run, from a log alone, or beforehand from a configuration.
mod log;
mod predict;
mod print;
mod run;

use std::path::PathBuf;

use clap::ValueEnum;

/// Why messages were lost, delayed or repeated: from a recorded run, from a log, or beforehand from a configuration
#[derive(clap::Args)]
#[command(
    override_usage = "mqtt-bridge explain RUN_DIR\n       mqtt-bridge explain --log FILE [--config FILE]\n       mqtt-bridge explain --config FILE (--scenario FILE | --qps RATE --outage TIME)"
)]
pub(crate) struct Arguments {
    /// What `replay --out` wrote
    #[arg(value_name = "RUN_DIR", conflicts_with_all = ["log", "config"], required_unless_present_any = ["log", "config"])]
    folder: Option<PathBuf>,
    /// A log of NanoMQ's, or of mosquitto's; `-` is standard input
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The nanomq.conf that was in force; to predict: a bridge.yaml, a nanomq.conf or a mosquitto.conf
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    question: predict::Question,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// As data
    Json,
    /// For an issue or a merge request
    Markdown,
}

pub(crate) use predict::in_short;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if let Some(config) = arguments.config.as_deref().filter(|_| arguments.log.is_none()) {
        if !arguments.question.is_asked() {
            anyhow::bail!(
                "--config alone says nothing: add --log FILE, or --scenario FILE, or --qps RATE and --outage TIME"
            );
        }
        return predict::run(config, &arguments.question, arguments.format);
    }
    match (&arguments.folder, &arguments.log) {
        (Some(folder), _) => run::run(folder, arguments.format),
        (None, Some(log)) => log::run(log, arguments.config.as_deref(), arguments.format),
        (None, None) => anyhow::bail!("give a run's folder, or a log with --log"),
    }
}
