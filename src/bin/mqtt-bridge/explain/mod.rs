//! `mqtt-bridge explain`: from a recorded run, or from a log alone.
mod run;

use std::path::PathBuf;

use clap::ValueEnum;

/// Why messages were lost, duplicated or reordered: from a recorded run, or from a log of NanoMQ or mosquitto
#[derive(clap::Args)]
#[command(override_usage = "mqtt-bridge explain RUN_DIR\n       mqtt-bridge explain --log FILE [--config FILE]")]
pub(crate) struct Arguments {
    /// What `replay --out` wrote
    #[arg(value_name = "RUN_DIR", conflicts_with_all = ["log", "config"], required_unless_present_any = ["log", "config"])]
    folder: Option<PathBuf>,
    /// A log of NanoMQ's, or of mosquitto's; `-` is standard input
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The nanomq.conf that was in force
    #[arg(long, value_name = "FILE", requires = "log")]
    config: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// The findings as data
    Json,
    /// For an issue or a merge request
    Markdown,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match (&arguments.folder, &arguments.log) {
        (Some(folder), _) => run::run(folder, arguments.format),
        (None, _) => anyhow::bail!("explain --log is not there yet"),
    }
}
