//! How the link looks from the bridge's end, and how it should look during the faults that are in force.
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;

use super::super::proxy::probe::{self, Seen};
use super::error::NetnsError;
use super::mounts::Mounts;
use super::names;
use super::sockets::Sockets;
use super::tools::Tool;
use super::topology::Topology;
use crate::scenario::plan::{Direction, Fault, FaultKind, Parameters};

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// What a new connection to the remote's address meets.
    pub(super) connection: Seen,
    /// Whether the remote's name leads to its address.
    pub(super) resolves: bool,
    /// The remote's sockets after that.
    pub(super) sockets: Sockets,
}

/// What should be seen; `None`: cannot be told from one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    connection: Option<Seen>,
    resolves: bool,
    /// Whether the remote has a SYN that was not answered, or must not have any connection.
    half_made: bool,
    none_established: bool,
}

impl Look {
    /// Looks.
    ///
    /// # Errors
    /// [`NetnsError`].
    pub(super) async fn take(topology: &Topology, mounts: &Mounts, port: u16) -> Result<Self, NetnsError> {
        let (remote, mounts) = (topology.addresses.remote_link(), mounts.clone());
        let at_bridge = move || Ok((connect(SocketAddr::from((remote, port)))?, resolve(&mounts)? == Some(remote)));
        let (connection, resolves) = topology.bridge.within(at_bridge).await?;
        let sockets = sockets(topology, port).await?;
        Ok(Self { connection, resolves, sockets })
    }
}

impl Expected {
    /// During these faults, with a remote or without.
    pub(super) fn during<'a>(faults: impl Iterator<Item = &'a Fault>, has_remote: bool) -> Self {
        let answer = if has_remote { Seen::Connected } else { Seen::Refused };
        let mut expected = Self { connection: Some(answer), resolves: true, half_made: false, none_established: false };
        let (mut silent, mut vague) = (false, false);
        for fault in faults {
            match fault.kind {
                FaultKind::Disconnect => (silent, expected.resolves) = (true, false),
                FaultKind::Cut => silent = true,
                FaultKind::Reset => (expected.connection, expected.none_established) = (Some(Seen::Refused), true),
                FaultKind::Refuse => expected.connection = Some(Seen::Refused),
                FaultKind::HalfOpen => {
                    // What comes through to the remote comes through without an answer.
                    let heard = fault.parameters != Parameters::HalfOpen { passes: Direction::ToBridge };
                    (expected.connection, expected.half_made) = (Some(Seen::TimedOut), heard && has_remote);
                }
                // The first SYN may be lost, or come late.
                FaultKind::Loss | FaultKind::Throttle | FaultKind::Delay => vague = true,
                _ => {}
            }
        }
        if vague {
            (expected.connection, expected.half_made) = (None, false);
        }
        if silent {
            // Nothing of what is done behind a silent link can be seen through it.
            (expected.connection, expected.half_made) = (Some(Seen::TimedOut), false);
        }
        expected
    }

    /// What is seen and should not be, in words.
    pub(super) fn differs(&self, look: &Look) -> Option<String> {
        let mut wrong = Vec::new();
        if let Some(connection) = self.connection
            && connection != look.connection
        {
            wrong.push(format!("a new connection was to meet {connection:?} and met {:?}", look.connection));
        }
        if self.resolves != look.resolves {
            let not = if look.resolves { "" } else { "not " };
            wrong.push(format!("the name {} could {not}be resolved", names::REMOTE));
        }
        if self.half_made && look.sockets.half_made == 0 {
            wrong.push("no SYN came through to the remote".to_owned());
        }
        if self.none_established && look.sockets.established > 0 {
            wrong.push(format!("{} connections to the remote are still established", look.sockets.established));
        }
        (!wrong.is_empty()).then(|| wrong.join(", and "))
    }
}

/// The remote's sockets on the link.
///
/// # Errors
/// [`NetnsError`].
pub(super) async fn sockets(topology: &Topology, port: u16) -> Result<Sockets, NetnsError> {
    let address = topology.addresses.remote_link();
    let read =
        move || Sockets::of(address, port).map_err(|source| NetnsError::system("/proc/thread-self/net/tcp", source));
    topology.remote.within(read).await
}

/// A new connection from the calling thread's namespace.
pub(super) fn connect(address: SocketAddr) -> Result<Seen, NetnsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| NetnsError::system("no runtime for a connection of our own", source))?;
    Ok(runtime.block_on(probe::connect(address)))
}

/// Where the remote's name leads, for a program with these mounts in the calling thread's namespace.
pub(super) fn resolve(mounts: &Mounts) -> Result<Option<Ipv4Addr>, NetnsError> {
    let (mut command, mounts) = (Tool::Getent.command()?, mounts.clone());
    command.args(["ahostsv4", names::REMOTE]);
    // SAFETY: only makes a system call, and the child has one thread.
    unsafe { command.pre_exec(move || mounts.enter()) };
    let output = command.output().map_err(|source| NetnsError::system("getent cannot be run", source))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().next().and_then(|address| address.parse().ok()))
}
