//! A plain TCP connection that says only from some bytes on that there is something to be read.
use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// From how many bytes on the kernel says that there is something to be read; what has come already counts (socket(7)).
/// A kernel that cannot do it wakes us for each byte, which costs nothing but time.
pub(super) fn set(stream: &TcpStream, bytes: usize) {
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
