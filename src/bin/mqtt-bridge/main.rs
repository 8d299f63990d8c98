//! `mqtt-bridge`: the bridge, and the laboratory that proves it.
mod check;
mod exit;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A bridge that loses nothing it has acknowledged, and the laboratory that proves it.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
    };
    exit::code(result)
}
