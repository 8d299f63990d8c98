//! Free TCP ports on loopback.
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below 32768, where Linux takes the ports of outgoing connections from: a publisher that tries again and again to
/// reach a killed subject could otherwise be given the subject's own port, connect to itself, and keep the subject
/// from coming back.
const RANGE: std::ops::Range<u16> = 15_000..32_000;
const ATTEMPTS: usize = 200;

/// An address on loopback that nobody listens on; whoever needs it should take it soon.
///
/// # Errors
/// What the operating system said of the last of many tries.
pub(crate) fn free() -> io::Result<SocketAddr> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..ATTEMPTS {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE)));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}
