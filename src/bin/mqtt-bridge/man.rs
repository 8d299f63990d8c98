//! `mqtt-bridge man`: for packages.
use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

/// Write a man page of each subcommand into a folder
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// An existing folder
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let folder = &arguments.folder;
    clap_mangen::generate_to(crate::Arguments::command(), folder)
        .with_context(|| format!("writing man pages into {}", folder.display()))?;
    Ok(0)
}
