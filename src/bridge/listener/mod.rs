//! The local leg: accepts TCP connections and carries bytes between each and its
//! [`Client`](super::core::client::Client).
mod connection;
mod welcome;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::cache::writer::Request;
use super::clock::Clock;
use super::config;
use super::core::routes::SharedRoutes;
use super::hub::Hub;
use super::transport::accept::Acceptor;
use super::wills::Wills;
use super::wire::ReasonCode;
use connection::Connection;
use welcome::Door;

/// Read from a socket at a time, at most and at least.
pub(super) const READ_BYTES: usize = 64 * 1024;
const LEAST_READ: usize = READ_BYTES / 4;
/// How long a client may refuse to take a byte before its connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same, once the connection is to be closed.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after accept fails for want of descriptors or memory.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of the local leg works with.
#[derive(Clone)]
pub struct LocalLeg {
    /// To the cache's writer.
    pub requests: mpsc::Sender<Request>,
    /// Local sessions.
    pub hub: Hub,
    /// Where messages go.
    pub routes: SharedRoutes,
    /// The clock.
    pub clock: Clock,
    /// Wills that wait.
    pub wills: Wills,
    /// Told when the bridge shuts down.
    pub shutdown: watch::Receiver<bool>,
}

/// Waits until the bridge shuts down, or whoever would say so is gone.
pub(super) async fn told(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the same.
    let _ = shutdown.wait_for(|down| *down).await;
}

/// Room for a read that is worth its system call: what was taken from the front is given back only when asked for.
pub(super) fn make_room(input: &mut BytesMut) {
    if input.capacity() - input.len() < LEAST_READ {
        input.reserve(READ_BYTES);
    }
}

async fn admit(
    stream: TcpStream,
    client: SocketAddr,
    door: Door,
    config: watch::Receiver<config::Listener>,
    mut leg: LocalLeg,
) {
    let welcomed = tokio::select! {
        welcomed = door.welcome(stream, client) => welcomed,
        () = told(&mut leg.shutdown) => None,
    };
    if let Some(stream) = welcomed {
        let connection = Connection::new(leg, &config.borrow(), door);
        connection.run(stream).await;
    }
}

/// Accepts until shutdown; each connection under the configuration of its moment. Ends when every connection has.
pub async fn serve(
    listener: TcpListener,
    config: watch::Receiver<config::Listener>,
    acceptor: Acceptor,
    leg: LocalLeg,
) {
    let door = Door::new(acceptor, listener.local_addr().unwrap_or(config.borrow().bind));
    let mut connections = tokio::task::JoinSet::new();
    let mut shutdown = leg.shutdown.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    debug!("{address} connected");
                    connections.spawn(admit(stream, address, door.clone(), config.clone(), leg.clone()));
                }
                Err(error) => {
                    warn!("accepting a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = told(&mut shutdown) => break,
        }
    }
    drop(listener);
    leg.hub.close(ReasonCode::SERVER_SHUTTING_DOWN);
    while connections.join_next().await.is_some() {}
}
