//! The log on stderr, as the configuration and the command line want it.
use std::io::IsTerminal;

use anyhow::Context;
use mqtt_bridge::bridge::config::{Log, LogFormat};
use mqtt_bridge::bridge::log::{Limited, text_fields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

const LEVEL: &str = "MQTT_BRIDGE_LOG";

/// How a line of the log is written
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// From here on everything is logged; what is given back tells what was left out.
pub(crate) fn start(config: Log, format: Option<Format>) -> anyhow::Result<Limited> {
    let level = match std::env::var(LEVEL) {
        Ok(level) => level,
        Err(std::env::VarError::NotPresent) => config.level.label().to_owned(),
        Err(error) => return Err(error).context(LEVEL),
    };
    let filter = EnvFilter::try_new(&level).with_context(|| format!("{LEVEL}: `{level}`; `debug` would be right"))?;
    let format = format.unwrap_or(match config.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    });
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_target(false).with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(colour).fmt_fields(text_fields()).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let limited = Limited::default();
    tracing_subscriber::registry().with(filter).with(limited.clone()).with(lines).init();
    Ok(limited)
}
