//! The fault proxy: the one way between the subject and the remote, on loopback, with faults made to order.
//!
//! A fault is made of what happens to established connections, of what a new one meets, and of what is done to what
//! passes ([`Link`]); `cut` is *stall* and *time out*, `pause` is *stall* and *hang*. No byte is ever discarded from a
//! connection that then goes on: what was written before and during a fault arrives in order after the heal, or the
//! connection is reset on both sides. The one exception is what `drop_packets` is for: whole acknowledgements.
//!
//! It can be a part of the runner ([`Proxy`]), or a process of its own ([`serve`], [`ProxyClient`]).
//!
//! What a proxy cannot show: its kernel acknowledges what the subject sends during a stall, so TCP_USER_TIMEOUT has
//! nothing to act upon behind it.
mod client;
mod control;
mod door;
mod link;
pub(super) mod probe;
mod relay;
mod shaper;
mod sieve;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use self::client::ProxyClient;
pub use self::control::serve;
use self::door::Doorway;

pub(crate) use self::link::{Door, Established, Link};
use self::probe::Seen;
use self::relay::{Traffic, Way};
use self::sieve::Counts;

/// Why the proxy could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The listener could not be opened.
    #[error("the fault proxy cannot listen on {address}: {source}; is another program on that port?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The proxy is a process of its own, and nothing came of the connection to it.
    #[error("the fault proxy at {address} does not answer: {source}")]
    Control {
        /// Where it is controlled.
        address: SocketAddr,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The proxy is a process of its own, and could not do what it was asked.
    #[error("the fault proxy at {address}: {why}")]
    Failed {
        /// Where it is controlled.
        address: SocketAddr,
        /// What it says.
        why: String,
    },
    /// A fault or a heal was made, and a connection of our own did not meet what it should.
    #[error("the link was to be {wanted:?} for new connections, and one of our own met {seen:?}")]
    DoesNotHold {
        /// What it should have met.
        wanted: Door,
        /// What it met.
        seen: Seen,
    },
}

/// A running proxy in front of the remote.
pub(crate) struct Proxy {
    /// Where a connection of our own reaches it.
    address: SocketAddr,
    doorway: Doorway,
    traffic: watch::Sender<Traffic>,
    counts: Counts,
}

impl Proxy {
    /// Listens on `address` and passes everything to `remote`, host and port, which is looked up for every connection.
    ///
    /// # Errors
    /// [`ProxyError::Listen`].
    pub(crate) fn open(address: SocketAddr, remote: &str) -> Result<Self, ProxyError> {
        let traffic = watch::Sender::new(Traffic { link: Arc::new(Link::OPEN), resets: 0 });
        let counts = Counts::default();
        let way = Way { remote: remote.into(), traffic: traffic.subscribe(), counts: counts.clone(), seed: 0 };
        let doorway = Doorway::open(address, way)?;
        Ok(Self { address: reachable(address), doorway, traffic, counts })
    }

    /// Brings the link into a state and returns when it is in it; again is the same as once, but for
    /// [`Established::Reset`], which resets what was established since.
    ///
    /// # Errors
    /// [`ProxyError::Listen`] where the listener had to be opened again and another program took its port.
    pub(crate) async fn set(&mut self, link: &Link) -> Result<(), ProxyError> {
        self.counts.keep(&link.impairments);
        // Established connections first where they stall, new ones first where they flow: or a client could see half
        // of a fault.
        if link.established != Established::Flow {
            self.regulate(link);
        }
        self.doorway.set(link.door).await?;
        self.regulate(link);
        Ok(())
    }

    fn regulate(&self, link: &Link) {
        self.traffic.send_modify(|traffic| {
            traffic.link = Arc::new(link.clone());
            traffic.resets += u64::from(link.established == Established::Reset);
        });
    }

    /// Asks with a connection of our own whether a new connection meets what it should.
    ///
    /// # Errors
    /// [`ProxyError::DoesNotHold`].
    pub(crate) async fn verify(&self, wanted: Door) -> Result<(), ProxyError> {
        let seen = probe::connect(self.address).await;
        if probe::fits(wanted, seen) { Ok(()) } else { Err(ProxyError::DoesNotHold { wanted, seen }) }
    }

    /// Follows how many connections were let through and are still there.
    pub(crate) fn connections(&self) -> watch::Receiver<usize> {
        self.doorway.passed()
    }

    /// Waits until a connection has been let through.
    pub(crate) async fn connected(&self) {
        // Cannot fail: the doorway holds the sender.
        let _ = self.connections().wait_for(|passed| *passed > 0).await;
    }
}

/// An address to connect to, for one that was given to listen on.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
