//! What precedes MQTT on a connection of a client, and what is said of those that do not get that far.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::bridge::transport::Stream;
use crate::bridge::transport::accept::Acceptor;

/// How long the handshakes of TLS and WebSocket may take together; as long as a CONNECT may.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The door of one listener.
#[derive(Clone)]
pub(super) struct Door {
    acceptor: Acceptor,
    address: SocketAddr,
    refused: Arc<AtomicU64>,
}

impl Door {
    pub(super) fn new(acceptor: Acceptor, address: SocketAddr) -> Self {
        Self { acceptor, address, refused: Arc::default() }
    }

    /// The handshakes; `None`: there is nothing to be said to this client.
    pub(super) async fn welcome(&self, stream: TcpStream, client: SocketAddr) -> Option<Stream> {
        // A small acknowledgement must not wait for the next.
        if let Err(error) = stream.set_nodelay(true) {
            debug!("TCP_NODELAY: {error}");
        }
        if self.acceptor.is_plain() {
            return Some(stream.into());
        }
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream, client)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(why)) => self.refused(&why),
            Err(_) => self.refused(&format!("{client} did not end its handshake within {HANDSHAKE_TIMEOUT:?}")),
        }
        None
    }

    /// What a client at a plain listener begins with where it takes it for another.
    pub(super) fn first(&self, bytes: &[u8]) {
        let client = match bytes {
            // A TLS handshake, and an HTTP request: neither can be a CONNECT.
            [0x16, 0x03, ..] => "a TLS client at a listener without it: give it `tls`, or the client no TLS options",
            [b'G', b'E', b'T', b' ', ..] => {
                "a WebSocket client at a listener without it: give it `websocket: true`, or the client mqtt://"
            }
            _ => return,
        };
        self.refused(client);
    }

    /// Whoever tries again and again does not fill the log.
    fn refused(&self, why: &str) {
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let address = self.address;
        match count {
            1 => warn!("listener {address}: {why}"),
            _ if count.is_power_of_two() => warn!("listener {address}: {why} (refused so far: {count})"),
            _ => debug!("listener {address}: {why}"),
        }
    }
}
