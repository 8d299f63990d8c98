//! The fault proxy: the one way between the subject and the remote, on loopback, with faults made to order.
//!
//! A fault is made of what happens to established connections and of what a new one meets ([`Link`]); `cut` is *stall*
//! and *time out*, `pause` is *stall* and *hang*. No byte is ever discarded from a connection that then goes on: what
//! was written before and during a fault arrives in order after the heal, or the connection is reset on both sides.
//!
//! What a proxy cannot show: its kernel acknowledges what the subject sends during a stall, so TCP_USER_TIMEOUT has
//! nothing to act upon behind it.
mod door;
pub(super) mod probe;
mod relay;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use tokio::sync::watch;

use self::door::Doorway;
use crate::scenario::plan::FaultKind;

use self::probe::Seen;

/// What is done to established connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Established {
    /// Bytes pass.
    Flow,
    /// No byte and no FIN passes; both kernels go on acknowledging.
    Stall,
    /// Reset on both sides.
    Reset,
}

/// What a new connection meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// It is let through.
    Open,
    /// It is established, and nothing answers.
    Hang,
    /// Its SYN is not answered.
    TimeOut,
    /// Connection refused.
    Refuse,
    /// It is established and reset.
    Reset,
}

/// The state of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// What is done to established connections.
    pub(crate) established: Established,
    /// What a new connection meets.
    pub(crate) door: Door,
}

impl Link {
    /// Everything passes.
    pub(crate) const OPEN: Self = Self { established: Established::Flow, door: Door::Open };

    /// What a fault makes of the link; `None`: it is no fault of the link.
    pub(crate) fn under(fault: FaultKind) -> Option<Self> {
        let (established, door) = match fault {
            FaultKind::Cut => (Established::Stall, Door::TimeOut),
            FaultKind::Disconnect => (Established::Stall, Door::Refuse),
            FaultKind::Pause => (Established::Stall, Door::Hang),
            FaultKind::Refuse => (Established::Flow, Door::Refuse),
            FaultKind::Reset => (Established::Reset, Door::Reset),
            _ => return None,
        };
        Some(Self { established, door })
    }
}

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
    address: SocketAddr,
    doorway: Doorway,
    traffic: watch::Sender<relay::Traffic>,
}

impl Proxy {
    /// Listens on `address` and passes everything to `remote`.
    ///
    /// # Errors
    /// [`ProxyError::Listen`].
    pub(crate) fn open(address: SocketAddr, remote: SocketAddr) -> Result<Self, ProxyError> {
        let (traffic, watched) = watch::channel(relay::Traffic { flows: true, resets: 0 });
        let doorway = Doorway::open(address, remote, watched)?;
        Ok(Self { address, doorway, traffic })
    }

    /// Brings the link into a state and returns when it is in it; again is the same as once, but for
    /// [`Established::Reset`], which resets what was established since.
    ///
    /// # Errors
    /// [`ProxyError::Listen`] where the listener had to be opened again and another program took its port.
    pub(crate) async fn set(&mut self, link: Link) -> Result<(), ProxyError> {
        // Established connections first where they stall, new ones first where they flow: or a client could see half
        // of a fault.
        if link.established != Established::Flow {
            self.regulate(link.established);
        }
        self.doorway.set(link.door).await?;
        self.regulate(link.established);
        Ok(())
    }

    fn regulate(&self, established: Established) {
        self.traffic.send_modify(|traffic| {
            traffic.flows = established != Established::Stall;
            traffic.resets += u64::from(established == Established::Reset);
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

    /// Waits until a connection has been let through.
    pub(crate) async fn connected(&self) {
        // Cannot fail: the doorway holds the sender.
        let _ = self.doorway.passed().wait_for(|passed| *passed > 0).await;
    }
}
