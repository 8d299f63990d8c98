//! What happens to an established connection: bytes pass, wait, or both halves are reset.
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::link::{Established, Link};
use super::shaper::Shaper;
use super::sieve::Counts;
use crate::scenario::plan::Direction;

const CHUNK: usize = 64 * 1024;

/// What all connections follow.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    /// What is done to them.
    pub(super) link: Arc<Link>,
    /// How often everything was reset; a connection ends when this moves.
    pub(super) resets: u64,
}

/// What it takes to relay a connection.
#[derive(Clone)]
pub(super) struct Way {
    /// Host and port of the remote.
    pub(super) remote: Arc<str>,
    pub(super) traffic: watch::Receiver<Traffic>,
    pub(super) counts: Counts,
    /// What chance is derived from, for this connection.
    pub(super) seed: u64,
}

/// Passes everything between a client and the remote until both have finished or one is reset; the end of the
/// connection stalls as the bytes do.
pub(super) async fn relay(mut client: TcpStream, way: Way) {
    let mut traffic = way.traffic.clone();
    let resets = traffic.borrow().resets;
    // Not given up for a reset: a connect that is dropped half-way would show the remote a FIN.
    let mut server = match TcpStream::connect(&*way.remote).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(remote = %way.remote, %error, "the remote does not accept the connection");
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
                pump(from_client, to_server, Direction::ToRemote, &way),
                pump(from_server, to_client, Direction::ToBridge, &way)
            )
        };
        tokio::select! {
            biased;
            () = reset_since(resets, way.traffic.clone()) => false,
            result = both => result.is_ok(),
        }
    };
    if !finished {
        // Also where one side broke off: the other must learn of it as a break, but not through a stalled link. An
        // error means that the proxy is gone, which is a break as well.
        let _ = traffic.wait_for(|traffic| passes_both_ways(&traffic.link)).await;
        reset(&client);
        reset(&server);
    }
}

fn passes_both_ways(link: &Link) -> bool {
    matches!(link.established, Established::Flow | Established::Reset)
}

/// One direction: waits, asks the [`Shaper`], and performs.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, direction: Direction, way: &Way) -> io::Result<()> {
    let origin = Instant::now();
    let mut traffic = way.traffic.clone();
    let mut shaper = Shaper::new(direction, way.counts.clone(), way.seed);
    let mut chunk = vec![0; CHUNK];
    let mut ended = false;
    loop {
        let link = traffic.borrow_and_update().link.clone();
        let passes = link.passes(direction);
        let may_read = passes && !ended && shaper.has_room(&link);
        let is_empty = shaper.is_empty();
        let (ready, wake): (&[u8], Option<Duration>) = match passes {
            true => {
                let length = shaper.ready(origin.elapsed(), &link).len();
                let wake = shaper.wake(&link);
                (shaper.front(length), wake)
            }
            false => (&[], None),
        };
        if passes && ended && is_empty {
            return to.shutdown().await;
        }
        tokio::select! {
            biased;
            changed = traffic.changed() => if changed.is_err() {
                // The proxy is gone: `reset_since` ends the connection.
                std::future::pending::<()>().await;
            },
            written = to.write(ready), if !ready.is_empty() => shaper.wrote(written?),
            length = from.read(&mut chunk), if may_read => match length? {
                0 => {
                    ended = true;
                    shaper.end();
                }
                length => shaper.take(&chunk[..length], origin.elapsed(), &link),
            },
            () = sleep_until((origin + wake.unwrap_or_default()).into()), if wake.is_some() && ready.is_empty() => {}
        }
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
