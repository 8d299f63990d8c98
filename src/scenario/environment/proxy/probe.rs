//! How the link looks to a new connection.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Door;

/// Far above what loopback needs, and below the first repetition of a SYN (1 s): a connection of a probe that times
/// out can not come about later.
const PATIENCE: Duration = Duration::from_millis(250);
/// A reset follows an accept at once.
const RESET_FOLLOWS: Duration = Duration::from_millis(50);

/// What a new connection met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Established, and it stays.
    Connected,
    /// Established, and reset.
    Reset,
    /// Connection refused.
    Refused,
    /// No answer.
    TimedOut,
    /// Something else.
    Failed(io::ErrorKind),
}

/// Connects, looks, and goes; sends nothing.
pub(crate) async fn connect(address: SocketAddr) -> Seen {
    let mut stream = match timeout(PATIENCE, TcpStream::connect(address)).await {
        Err(_) => return Seen::TimedOut,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Seen::Refused,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Seen::Reset,
        Ok(Err(error)) => return Seen::Failed(error.kind()),
        Ok(Ok(stream)) => stream,
    };
    match timeout(RESET_FOLLOWS, stream.read(&mut [0])).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Seen::Reset,
        Ok(Err(error)) => Seen::Failed(error.kind()),
        Ok(Ok(_)) | Err(_) => Seen::Connected,
    }
}

/// Whether what was seen is what a door should show. That [`Door::Hang`] never answers cannot be seen in a moment.
pub(super) fn fits(door: Door, seen: Seen) -> bool {
    matches!(
        (door, seen),
        (Door::Open | Door::Hang, Seen::Connected)
            | (Door::TimeOut, Seen::TimedOut)
            | (Door::Refuse, Seen::Refused)
            | (Door::Reset, Seen::Reset)
    )
}
