//! `mqtt-bridge cache`.
mod change;
mod import;
mod look;
mod print;
mod show;
mod which;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

pub(crate) use import::InUse;
use which::Which;

/// Damage was found.
const DAMAGED: u8 = 1;

/// Look into a cache file, ours or NanoMQ's mqtt_client.db; save what is in it, repair it, bring it over
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What waits for each bridge and topic, and what it takes on the disk; also while the bridge runs
    Stats {
        #[command(flatten)]
        file: FileArgument,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// How many topics at most, those with the most messages first; 0: all
        #[arg(long, value_name = "N", default_value_t = 20)]
        topics: usize,
    },
    /// Deliveries by bridge and in order of arrival; also while the bridge runs
    List {
        #[command(flatten)]
        file: FileArgument,
        #[command(flatten)]
        which: Which,
        /// How many at most; 0: all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// How it is printed; json is one object a line
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// One message with its properties and its payload; also while the bridge runs
    Show {
        #[command(flatten)]
        file: FileArgument,
        /// Its ID, as `list` says it
        #[arg(value_name = "ID", allow_negative_numbers = true)]
        seq: i64,
        /// How the payload is printed
        #[arg(long, value_enum, default_value_t)]
        payload: PayloadFormat,
        /// How it is printed; json is one object, with the payload in base64
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Every message that can be read as JSON Lines, of a damaged file too; also while the bridge runs
    Export {
        #[command(flatten)]
        file: FileArgument,
        /// Where to, instead of stdout; must not be there yet
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Store what an export, NanoMQ's mqtt_client.db or another cache holds, behind what is there: an export whole or not at all, of
    /// a file whatever can be read, and it names what cannot (exit code 1).
    /// Twice imported is there twice
    Import {
        #[command(flatten)]
        file: FileArgument,
        /// What is imported; without it an export is read from stdin
        #[arg(value_name = "SOURCE")]
        source: Option<PathBuf>,
        /// Where it goes. Of a NanoMQ file or a cache: FROM=TO, or NAME for what waits for that bridge or for the only one
        /// there is; what is not named is left out; may be repeated. Of an export: the bridge for messages that do not say
        #[arg(long = "bridge", value_name = "NAME")]
        bridges: Vec<String>,
    },
    /// Remove deliveries, after asking; without a terminal and without --yes only say which
    Purge {
        #[command(flatten)]
        file: FileArgument,
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Queue what is in quarantine again
    Requeue {
        #[command(flatten)]
        file: FileArgument,
        #[command(flatten)]
        which: Which,
    },
    /// Check the whole file, and say what can be read if it is damaged (exit code 1)
    Verify {
        #[command(flatten)]
        file: FileArgument,
    },
}

#[derive(Args)]
struct FileArgument {
    /// The cache file
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum PayloadFormat {
    /// JSON where it is JSON, text where it is text, otherwise hex
    #[default]
    Auto,
    /// As text, whatever it is; what a terminal would obey is escaped
    Text,
    /// As indented JSON; an error where it is none
    Json,
    /// Its bytes
    Hex,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let done = match &arguments.command {
        Command::Stats { file, format, topics } => look::stats(&file.path, *format, *topics),
        Command::List { file, which, limit, format } => look::list(&file.path, &which.selection()?, *limit, *format),
        Command::Show { file, seq, payload, format } => show::show(&file.path, *seq, *payload, *format),
        Command::Export { file, out } => look::export(&file.path, out.as_deref()),
        Command::Verify { file } => look::verify(&file.path),
        Command::Import { file, source, bridges } => import::import(&file.path, source.as_deref(), bridges),
        Command::Purge { file, which, yes } => change::purge(&file.path, &which.selection()?, *yes),
        Command::Requeue { file, which } => change::requeue(&file.path, &which.selection()?),
    };
    match done {
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(0),
        done => done,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
