//! The link between the bridge and its remote, which goes down and comes back.
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

const UP: Duration = Duration::from_secs(4);
const DOWN: Duration = Duration::from_secs(3);

/// Carries bytes for this time, but for the times that it is down: every other time it ends what is established and what
/// comes, between them it is silent. Goes on afterwards, up; how often it was down.
pub(crate) async fn flapping(listener: TcpListener, remote: SocketAddr, time: Duration) -> u64 {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let until = Instant::now() + time;
    let mut flaps = 0;
    while Instant::now() + UP + DOWN < until {
        let carried = carry(&listener, remote, Instant::now() + UP).await;
        flaps += 1;
        let back = Instant::now() + DOWN;
        if flaps % 2 == 0 {
            // Nobody reads, and nobody says so.
            sleep_until(back).await;
            drop(carried);
        } else {
            drop(carried);
            while let Ok(accepted) = timeout_at(back, listener.accept()).await {
                drop(accepted);
            }
        }
    }
    tokio::spawn(async move { while carry(&listener, remote, Instant::now() + UP).await.is_some() {} });
    flaps
}

/// Accepts and carries until then. What is given back is carried on no more, and closed when dropped.
async fn carry(listener: &tokio::net::TcpListener, remote: SocketAddr, until: Instant) -> Option<Vec<TcpStream>> {
    let (to, mut from) = tokio::sync::mpsc::unbounded_channel();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut links = JoinSet::new();
    while let Ok(accepted) = timeout_at(until, listener.accept()).await {
        let (to, mut stopped) = (to.clone(), stopped.clone());
        links.spawn(async move {
            let (mut near, _) = accepted.unwrap();
            let Ok(mut far) = TcpStream::connect(remote).await else { return };
            tokio::select! {
                // Either side has ended: so does the other.
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                // The receiver lives as long as this: it decides when they are closed.
                _ = stopped.changed() => drop(to.send([near, far])),
            }
        });
    }
    stop.send_replace(true);
    while links.join_next().await.is_some() {}
    drop(to);
    let mut streams = Vec::new();
    while let Some(pair) = from.recv().await {
        streams.extend(pair);
    }
    Some(streams)
}
