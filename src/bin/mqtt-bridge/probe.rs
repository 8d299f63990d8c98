//! `mqtt-bridge probe`: what the laboratory's helpers run in their containers; not for people.
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use clap::Subcommand;
use mqtt_bridge::scenario::environment::docker::probe;

/// Look at a network from inside (for the laboratory itself)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Answer questions, a line of JSON a connection, until it is stopped
    Serve {
        /// Where to listen
        listen: SocketAddr,
    },
    /// Say of each address what a new connection to it meets
    Connect {
        /// The addresses
        addresses: Vec<SocketAddrV4>,
    },
    /// Exit with 0 when this network namespace has a connection to an address, with 1 when it has none in time
    Established {
        /// The address
        address: SocketAddrV4,
        /// How long to wait
        seconds: u64,
    },
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match &arguments.what {
        What::Serve { listen } => {
            runtime.block_on(probe::serve(*listen))?;
            Ok(0)
        }
        What::Connect { addresses } => {
            for (address, met) in addresses.iter().zip(runtime.block_on(probe::connect(addresses))) {
                println!("{address} {met}");
            }
            Ok(0)
        }
        What::Established { address, seconds } => {
            let seen = runtime.block_on(probe::established(*address, Duration::from_secs(*seconds)));
            Ok(u8::from(!seen))
        }
    }
}
