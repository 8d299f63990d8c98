//! What happens to an established connection: bytes pass, wait, or both halves are reset.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

const CHUNK: usize = 64 * 1024;

/// What all established connections follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Whether bytes pass.
    pub(super) flows: bool,
    /// How often everything was reset; a connection ends when this moves.
    pub(super) resets: u64,
}

/// Passes everything between a client and the remote until both have finished or one is reset; the end of the
/// connection stalls as the bytes do.
pub(super) async fn relay(mut client: TcpStream, remote: SocketAddr, mut traffic: watch::Receiver<Traffic>) {
    let resets = traffic.borrow().resets;
    // Not given up for a reset: a connect that is dropped half-way would show the remote a FIN.
    let mut server = match TcpStream::connect(remote).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(%remote, %error, "the remote does not accept the connection");
            return reset(&client);
        }
    };
    // Nagle's delay would be the proxy's and not the network's.
    let nodelay = client.set_nodelay(true).and(server.set_nodelay(true));
    let finished = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            nodelay?;
            tokio::try_join!(
                pump(from_client, to_server, traffic.clone()),
                pump(from_server, to_client, traffic.clone())
            )
        };
        tokio::select! {
            biased;
            () = reset_since(resets, traffic.clone()) => false,
            result = both => result.is_ok(),
        }
    };
    if !finished {
        // Also where one side broke off: the other must learn of it as a break, but not through a stalled link. An
        // error means that the proxy is gone, which is a break as well.
        let _ = traffic.wait_for(|traffic| traffic.flows).await;
        reset(&client);
        reset(&server);
    }
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut traffic: watch::Receiver<Traffic>) -> io::Result<()> {
    let mut stalled = traffic.clone();
    let mut chunk = vec![0; CHUNK];
    loop {
        flowing(&mut traffic).await;
        let length = tokio::select! {
            biased;
            () = stall(&mut stalled) => continue,
            length = from.read(&mut chunk) => length?,
        };
        let mut rest = &chunk[..length];
        while !rest.is_empty() {
            flowing(&mut traffic).await;
            tokio::select! {
                biased;
                () = stall(&mut stalled) => {}
                written = to.write(rest) => rest = &rest[written?..],
            }
        }
        if length == 0 {
            flowing(&mut traffic).await;
            return to.shutdown().await;
        }
    }
}

async fn flowing(traffic: &mut watch::Receiver<Traffic>) {
    if traffic.wait_for(|traffic| traffic.flows).await.is_err() {
        std::future::pending::<()>().await; // The proxy is gone: `reset_since` ends the connection.
    }
}

async fn stall(traffic: &mut watch::Receiver<Traffic>) {
    if traffic.wait_for(|traffic| !traffic.flows).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns when everything was reset since `resets`, or the proxy is gone.
async fn reset_since(resets: u64, mut traffic: watch::Receiver<Traffic>) {
    // An error means that the proxy is gone, which is a reason to end as well.
    let _ = traffic.wait_for(|traffic| traffic.resets != resets).await;
}

/// Lets the socket end with RST instead of FIN when it is dropped.
pub(super) fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "a connection ends with FIN instead of RST");
    }
}
