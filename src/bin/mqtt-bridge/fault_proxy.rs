//! `mqtt-bridge fault-proxy`: the laboratory's proxy as a process of its own, for environments that put it elsewhere.
use std::net::SocketAddr;

use mqtt_bridge::scenario::environment::fault_proxy;

/// Stand between a bridge and its remote, with faults made to order
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the bridge connects to
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Host and port of the remote
    #[arg(long, value_name = "HOST:PORT")]
    remote: String,
    /// Where it is told what to do: JSON, one request a line
    #[arg(long, value_name = "ADDRESS")]
    control: SocketAddr,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            served = fault_proxy(arguments.listen, &arguments.remote, arguments.control) => served?,
            // In a container it is process 1, which a signal without a handler does not end.
            _ = terminate.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        Ok(0)
    })
}
