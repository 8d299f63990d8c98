//! `mqtt-bridge report`.
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::ValueEnum;
use mqtt_bridge::scenario::report::model::Report;
use mqtt_bridge::scenario::report::{json, run_folder, table};
use mqtt_bridge::scenario::verdict;

/// Columns where the width of the terminal is not known.
const WIDTH: usize = 100;

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
    match format {
        Format::Json => println!("{}", json::render(report)?),
        Format::Table => {
            let terminal = std::io::stdout().is_terminal();
            let width = comfy_table::Table::new().width().filter(|_| terminal).map_or(WIDTH, usize::from);
            let colour = terminal && std::env::var_os("NO_COLOR").is_none();
            println!("{}", table::render(report, width, colour));
        }
    }
    Ok(())
}
