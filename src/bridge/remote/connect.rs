//! A TCP connection to a remote.
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::bridge::config::Server;

/// How long a server that was not spoken to is to be silent.
const SILENCE: Duration = Duration::from_millis(500);

/// Resolves and connects, each within the limit; every address is tried.
pub(super) async fn connect(server: Server, limit: Duration, ack_timeout: Duration) -> Result<TcpStream, String> {
    let resolving = tokio::net::lookup_host((server.host.clone(), server.port));
    let addresses = match tokio::time::timeout(limit, resolving).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(format!("{}: {error}", server.host)),
        Err(_) => return Err(format!("{}: the name was not resolved within {limit:?}", server.host)),
    };
    let mut failure = format!("{}: the name has no address", server.host);
    for address in addresses {
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return prepare(stream, ack_timeout).map_err(|error| format!("{address}: {error}")),
            Ok(Err(error)) => failure = format!("{address}: {error}"),
            Err(_) => failure = format!("{address}: no connection within {limit:?}"),
        }
    }
    Err(failure)
}

/// Whether a server would take a connection: it opens one, and is not heard of, since it waits for CONNECT. Something in
/// front of a server that is away closes it at once.
pub(super) async fn probe(server: Server, limit: Duration, ack_timeout: Duration) -> Result<TcpStream, String> {
    let stream = connect(server, limit, ack_timeout).await?;
    match tokio::time::timeout(SILENCE, stream.readable()).await {
        Err(_) => Ok(stream),
        Ok(_) => Err("it closes the connection at once".to_owned()),
    }
}

fn prepare(stream: TcpStream, ack_timeout: Duration) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    // Ends a connection whose data the peer's kernel does not acknowledge, however quiet MQTT is.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(ack_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = ack_timeout;
    Ok(stream)
}

/// From how many bytes on the kernel says that there is something to be read; what has come already counts (socket(7)).
/// A kernel that cannot do it wakes us for each byte, which costs nothing but time.
pub(super) fn set_receive_low_water(stream: &TcpStream, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open as long as `stream` is, and the kernel reads one int.
    let failed = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if failed != 0 {
        tracing::debug!("SO_RCVLOWAT: {}", std::io::Error::last_os_error());
    }
}
