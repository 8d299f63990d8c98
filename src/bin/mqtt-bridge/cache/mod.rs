//! `mqtt-bridge cache`.
mod change;
mod look;
mod print;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use mqtt_bridge::bridge::cache::sqlite::file::{Selection, State};

/// Look into a cache file, save what is in it, repair it
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What waits for each bridge, and what it takes on the disk; also while the bridge runs
    Stats {
        #[command(flatten)]
        file: FileArgument,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
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
    /// One message with its payload; also while the bridge runs
    Show {
        #[command(flatten)]
        file: FileArgument,
        /// Its sequence, as `list` says it
        seq: i64,
    },
    /// Every message that can be read as JSON Lines, of a damaged file too; also while the bridge runs
    Export {
        #[command(flatten)]
        file: FileArgument,
        /// Where to, instead of stdout; must not be there yet
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Store an export, read from stdin, behind what is there: all of it or nothing. Twice imported is there twice
    Import {
        #[command(flatten)]
        file: FileArgument,
        /// The bridge for messages of which the export could not read where they go
        #[arg(long, value_name = "NAME")]
        bridge: Option<String>,
    },
    /// Remove deliveries; without --yes only say which
    Purge {
        #[command(flatten)]
        file: FileArgument,
        #[command(flatten)]
        which: Which,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Queue what is in quarantine again
    Requeue {
        #[command(flatten)]
        file: FileArgument,
        /// Of this bridge
        #[arg(long, value_name = "NAME")]
        bridge: Option<String>,
        /// Of this message
        #[arg(long, value_name = "SEQ")]
        seq: Option<i64>,
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

#[derive(Args)]
struct Which {
    /// Of this bridge
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// In this state
    #[arg(long, value_enum)]
    state: Option<StateName>,
    /// Of this message
    #[arg(long, value_name = "SEQ")]
    seq: Option<i64>,
}

impl Which {
    fn selection(&self) -> Selection {
        let state = self.state.map(|state| match state {
            StateName::Queued => State::Queued,
            StateName::InFlight => State::InFlight,
            StateName::Quarantined => State::Quarantined,
        });
        Selection { bridge: self.bridge.clone(), state, seq: self.seq }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum StateName {
    /// It waits
    Queued,
    /// QoS 2 under a Packet Identifier
    InFlight,
    /// The remote refused it for good
    Quarantined,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let done = match &arguments.command {
        Command::Stats { file, format } => look::stats(&file.path, *format),
        Command::List { file, which, limit, format } => look::list(&file.path, &which.selection(), *limit, *format),
        Command::Show { file, seq } => look::show(&file.path, *seq),
        Command::Export { file, out } => look::export(&file.path, out.as_deref()),
        Command::Verify { file } => look::verify(&file.path),
        Command::Import { file, bridge } => change::import(&file.path, bridge.as_deref()),
        Command::Purge { file, which, yes } => change::purge(&file.path, &which.selection(), *yes),
        Command::Requeue { file, bridge, seq } => {
            change::requeue(&file.path, &Selection { bridge: bridge.clone(), state: None, seq: *seq })
        }
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
