//! `mqtt-bridge`: the bridge, and the laboratory that proves it.
mod cache;
mod check;
#[cfg(feature = "lab")]
mod clean;
#[cfg(feature = "lab")]
mod compare;
mod completions;
mod exit;
#[cfg(feature = "lab")]
mod explain;
#[cfg(feature = "lab")]
mod fault_proxy;
mod healthy;
mod log;
mod man;
#[cfg(feature = "lab")]
mod probe;
mod reload;
#[cfg(feature = "lab")]
mod replay;
#[cfg(feature = "lab")]
mod report;
mod run;
#[cfg(feature = "lab")]
mod scenarios;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A bridge that loses nothing it has acknowledged, and the laboratory that proves it.
#[derive(Parser)]
#[command(version, long_version = version::LONG.as_str(), about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Cache(cache::Arguments),
    Healthy(healthy::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    #[cfg(feature = "lab")]
    Replay(replay::Arguments),
    #[cfg(feature = "lab")]
    Report(report::Arguments),
    #[cfg(feature = "lab")]
    Explain(explain::Arguments),
    #[cfg(feature = "lab")]
    Compare(compare::Arguments),
    #[cfg(feature = "lab")]
    Scenarios(scenarios::Arguments),
    #[cfg(feature = "lab")]
    Clean(clean::Arguments),
    #[cfg(feature = "lab")]
    Probe(probe::Arguments),
    #[cfg(feature = "lab")]
    #[command(hide = true)]
    FaultProxy(fault_proxy::Arguments),
}

fn main() -> ExitCode {
    exit::code(match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Cache(arguments) => cache::run(&arguments),
        Command::Healthy(arguments) => healthy::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Replay(arguments) => replay::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Report(arguments) => report::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Explain(arguments) => explain::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Compare(arguments) => compare::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Scenarios(_) => scenarios::run(),
        #[cfg(feature = "lab")]
        Command::Clean(arguments) => clean::run(&arguments),
        #[cfg(feature = "lab")]
        Command::Probe(arguments) => probe::run(&arguments),
        #[cfg(feature = "lab")]
        Command::FaultProxy(arguments) => fault_proxy::run(&arguments),
    })
}
