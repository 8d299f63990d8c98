//! `mqtt-bridge compare`.
use std::path::PathBuf;

use clap::ValueEnum;
use mqtt_bridge::scenario::report::compare::{self, Comparison};
use mqtt_bridge::scenario::report::run_folder;
use mqtt_bridge::scenario::verdict;

use crate::report::{put, screen};

/// Runs side by side, the differences that matter first: of subjects, versions, environments
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What `replay --out` wrote. The others are compared with the first; one of several subjects may stand alone
    #[arg(value_name = "RUN_DIR", required = true)]
    folders: Vec<PathBuf>,
    /// How the comparison is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Exit code 1 if something is significantly worse than in the first run, 3 if a run proves nothing
    #[arg(long)]
    fail_on_regression: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For an issue
    Markdown,
    /// A page in one file
    Html,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut runs = Vec::new();
    for folder in &arguments.folders {
        let (plan, ledgers) = run_folder::read(folder)?;
        runs.push((folder.display().to_string(), verdict::report(&plan, &ledgers)));
    }
    let comparison = compare::compare(&runs);
    anyhow::ensure!(
        comparison.columns.len() > 1,
        "compare: {} holds one subject; name another run, or one of several subjects",
        arguments.folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    print(&comparison, arguments.format)?;
    Ok(if arguments.fail_on_regression { comparison.exit_code() } else { 0 })
}

fn print(comparison: &Comparison, format: Format) -> anyhow::Result<()> {
    put(&match format {
        Format::Table => {
            let (width, colour) = screen();
            compare::terminal::render(comparison, width, colour)
        }
        Format::Json => serde_json::to_string_pretty(comparison)? + "\n",
        Format::Html => compare::html::render(comparison),
        Format::Markdown => compare::markdown::render(comparison),
    })
}
