//! What a new connection meets: the listening socket and who accepts from it.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::relay::{self, Way};
use super::{Door, ProxyError};

const BACKLOG: i32 = 1024;
/// A connection on loopback is established within microseconds or not at all.
const LOOPBACK_CONNECT: Duration = Duration::from_millis(100);

/// The proxy's listener in one of its states.
pub(super) struct Doorway {
    address: SocketAddr,
    way: Way,
    listener: Option<Arc<TcpListener>>,
    acceptor: Option<JoinHandle<()>>,
    /// Our own connection that fills the accept queue during [`Door::TimeOut`].
    plug: Option<TcpStream>,
    /// How many connections were let through and are still there.
    passed: watch::Sender<usize>,
}

impl Doorway {
    pub(super) fn open(address: SocketAddr, way: Way) -> Result<Self, ProxyError> {
        let listener = Some(Arc::new(listen(address)?));
        let mut doorway = Self { address, way, listener, acceptor: None, plug: None, passed: watch::Sender::new(0) };
        doorway.accept(Door::Open);
        Ok(doorway)
    }

    /// Follows how many connections were let through and are still there.
    pub(super) fn passed(&self) -> watch::Receiver<usize> {
        self.passed.subscribe()
    }

    pub(super) async fn set(&mut self, door: Door) -> Result<(), ProxyError> {
        self.stop_accepting().await;
        if door == Door::Refuse {
            self.take_in_waiting();
            self.plug = None;
            self.listener = None;
            return Ok(());
        }
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => Arc::new(listen(self.address)?),
        };
        let backlog = if door == Door::TimeOut { 0 } else { BACKLOG };
        // On a listening socket this only changes the length of its accept queue.
        SockRef::from(&*listener)
            .listen(backlog)
            .map_err(|source| ProxyError::Listen { address: self.address, source })?;
        self.listener = Some(listener);
        match door {
            Door::Open | Door::Reset => self.accept(door),
            Door::TimeOut if self.plug.is_none() => {
                // A backlog of 0 still takes one connection; where one waits already, ours is not needed.
                if let Ok(Ok(plug)) =
                    tokio::time::timeout(LOOPBACK_CONNECT, TcpStream::connect(super::reachable(self.address))).await
                {
                    self.plug = Some(plug);
                }
            }
            Door::TimeOut | Door::Hang | Door::Refuse => {}
        }
        Ok(())
    }

    async fn stop_accepting(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.abort();
            // Aborted between two connections: `accept` loses none.
            let _ = acceptor.await;
        }
    }

    /// Connections that their clients take for established become established, or closing the listener would reset
    /// them.
    fn take_in_waiting(&self) {
        let Some(listener) = &self.listener else { return };
        let plug = self.plug.as_ref().and_then(|plug| plug.local_addr().ok());
        let waker = std::task::Waker::noop();
        while let std::task::Poll::Ready(Ok((client, peer))) =
            listener.poll_accept(&mut std::task::Context::from_waker(waker))
        {
            if Some(peer) != plug {
                tokio::spawn(pass(client, self.way.clone(), self.passed.clone()));
            }
        }
    }

    fn accept(&mut self, door: Door) {
        let Some(listener) = self.listener.clone() else { return };
        let plug = self.plug.take().and_then(|plug| plug.local_addr().ok());
        let (mut way, passed) = (self.way.clone(), self.passed.clone());
        self.acceptor = Some(tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((_, peer)) if Some(peer) == plug => {}
                    Ok((client, _)) if door == Door::Reset => relay::reset(&client),
                    Ok((client, _)) => {
                        way.seed += 1;
                        tokio::spawn(pass(client, way.clone(), passed.clone()));
                    }
                    // Out of file descriptors, most likely; the next connection may fare better.
                    Err(error) => {
                        tracing::warn!(%error, "the fault proxy cannot accept a connection");
                        tokio::time::sleep(LOOPBACK_CONNECT).await;
                    }
                }
            }
        }));
    }
}

impl Drop for Doorway {
    fn drop(&mut self) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.abort();
        }
    }
}

async fn pass(client: TcpStream, way: Way, passed: watch::Sender<usize>) {
    passed.send_modify(|passed| *passed += 1);
    relay::relay(client, way).await;
    passed.send_modify(|passed| *passed -= 1);
}

fn listen(address: SocketAddr) -> Result<TcpListener, ProxyError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of an earlier listener on this port may still be there.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| ProxyError::Listen { address, source })
}
