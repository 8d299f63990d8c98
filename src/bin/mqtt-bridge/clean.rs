//! `mqtt-bridge clean`.
use mqtt_bridge::scenario::environment::docker::{Docker, DockerError, Swept};
#[cfg(target_os = "linux")]
use mqtt_bridge::scenario::environment::{local, netns};

/// Remove what a killed replay has left behind: disks that are still mounted, network namespaces, and all in Docker
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also what belongs to replays that are running, or ran on another machine
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    // Each environment cleans up for itself, whatever becomes of the others.
    #[cfg(target_os = "linux")]
    match local::clean() {
        Ok(disks) if disks.is_empty() => println!("local: nothing was left behind"),
        Ok(disks) => disks.iter().for_each(|disk| println!("local: unmounted {}", disk.display())),
        Err(error) => println!("local: {error}"),
    }
    #[cfg(target_os = "linux")]
    match netns::clean() {
        Ok(cleaned) => println!("{cleaned}"),
        // Without the programs that make namespaces there are none.
        Err(error) => println!("network namespaces: {error}"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(Docker::clean(arguments.all)) {
        Ok(swept) => show("docker", &swept),
        // Where there is no engine, nothing is left on it.
        Err(error @ DockerError::NoEngine { .. }) => println!("docker: {error}"),
        Err(error) => return Err(error.into()),
    }
    Ok(0)
}

fn show(environment: &str, swept: &Swept) {
    for removed in &swept.removed {
        println!("{environment}: removed {removed}");
    }
    for left in &swept.left {
        println!("{environment}: left {left}");
    }
    if swept == &Swept::default() {
        println!("{environment}: nothing was left behind");
    }
}
