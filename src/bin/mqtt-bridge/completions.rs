//! `mqtt-bridge completions`: for packages, and for whoever has none.
use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

/// Print the completions of a shell
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "mqtt-bridge", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(0)
}
