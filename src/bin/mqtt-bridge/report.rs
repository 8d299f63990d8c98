//! `mqtt-bridge report`.
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use mqtt_bridge::scenario::report::model::Report;
use mqtt_bridge::scenario::report::{json, junit, markdown, run_folder, table};
use mqtt_bridge::scenario::verdict;

/// Columns where nobody says how wide the screen is: a log file, a pipe.
const WIDTH: usize = 80;

/// Judge a recorded run again and print it
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What `replay --out` wrote
    #[arg(value_name = "RUN_DIR")]
    folder: PathBuf,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// report.json
    Json,
    /// For an issue
    Markdown,
    /// For a CI server: JUnit's XML
    Junit,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let (plan, ledgers) = run_folder::read(&arguments.folder)?;
    let report = verdict::report(&plan, &ledgers);
    // A run that lies on a disk that is only read can be judged all the same.
    if let Err(error) = run_folder::write(&arguments.folder, &plan, &ledgers, &report) {
        eprintln!("warning: {error}");
    }
    print(&report, arguments.format)?;
    Ok(report.exit_code())
}

/// Prints a report on stdout.
pub(crate) fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    put(&match format {
        Format::Json => json::render(report)? + "\n",
        Format::Markdown => markdown::render(report),
        Format::Junit => junit::render(report),
        Format::Table => {
            let (width, colour) = screen();
            table::render(report, width, colour)
        }
    })
}

/// Writes a result. Whoever reads it may have seen enough, and what was found stays what it is.
pub(crate) fn put(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// How many columns stdout has, and whether it shows colours. COLUMNS, NO_COLOR and TERM=dumb are respected.
pub(crate) fn screen() -> (usize, bool) {
    let terminal = std::io::stdout().is_terminal();
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    let found = || comfy_table::Table::new().width().filter(|_| terminal).map(usize::from);
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    (asked.or_else(found).unwrap_or(WIDTH), terminal && !is_set("NO_COLOR") && !dumb)
}
