//! What carries MQTT: TCP, TLS, WebSocket, or WebSocket over TLS. Above it nobody needs to know which.
pub mod accept;
pub mod connect;
mod explain;
mod frames;
mod peer;
pub mod tls;

use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

pub use explain::explain;
use frames::Frames;
pub use peer::PeerIdentity;

/// One connection. What is written to anything but plain TCP may wait in a buffer of bounded size until it is flushed.
pub struct Stream {
    carrier: Carrier,
    unflushed: bool,
    peer: Option<PeerIdentity>,
}

enum Carrier {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<Frames<TcpStream>>),
    SecureWebSocket(Box<Frames<TlsStream<TcpStream>>>),
}

/// What a connection is ready for.
#[derive(Debug)]
pub enum Ready {
    /// Bytes that were read; 0: the peer has closed.
    Read(Result<usize>),
    /// Whether more can be written.
    Writable(Result<()>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::over(Carrier::Tcp(stream), None)
    }
}

/// The same call for each carrier.
macro_rules! carrier {
    ($self:expr, $stream:ident => $call:expr) => {
        match &mut $self.carrier {
            Carrier::Tcp($stream) => $call,
            Carrier::Tls($stream) => $call,
            Carrier::WebSocket($stream) => $call,
            Carrier::SecureWebSocket($stream) => $call,
        }
    };
}

impl Stream {
    fn over(carrier: Carrier, peer: Option<PeerIdentity>) -> Self {
        Self { carrier, unflushed: false, peer }
    }

    /// Who the peer is according to its certificate, which was verified.
    pub fn peer_identity(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()
    }

    /// Whether the peer's bytes arrive as they are.
    pub fn is_plain(&self) -> bool {
        matches!(self.carrier, Carrier::Tcp(_))
    }

    /// The TCP connection, where there is nothing between it and MQTT.
    pub fn plain(&self) -> Option<&TcpStream> {
        match &self.carrier {
            Carrier::Tcp(stream) => Some(stream),
            _ => None,
        }
    }

    /// Whether something that was written is still to be flushed.
    pub fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Nothing more is flushed: the connection is given up.
    pub fn abandon(&mut self) {
        self.unflushed = false;
    }

    /// Writes what can be written at once; `WouldBlock`: nothing.
    ///
    /// # Errors
    /// Where the connection is broken.
    pub fn write_now(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Result<usize> {
        if let Carrier::Tcp(stream) = &self.carrier {
            return stream.try_write(bytes);
        }
        match Pin::new(&mut *self).poll_write(context, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Waits until something was read, or, where this is `wanted`, until more can be written.
    pub async fn ready(&mut self, input: &mut BytesMut, wanted: bool) -> Ready {
        std::future::poll_fn(|context| self.poll_either(context, input, wanted)).await
    }

    fn poll_either(&mut self, context: &mut Context<'_>, input: &mut BytesMut, wanted: bool) -> Poll<Ready> {
        if let Poll::Ready(read) = pin!(self.read_buf(input)).poll(context) {
            return Poll::Ready(Ready::Read(read));
        }
        if !wanted && !self.unflushed {
            return Poll::Pending;
        }
        match &self.carrier {
            Carrier::Tcp(stream) => stream.poll_write_ready(context),
            // With its buffer empty it takes at least a byte.
            _ => Pin::new(self).poll_flush(context),
        }
        .map(Ready::Writable)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let read = carrier!(self, stream => Pin::new(stream).poll_read(context, into));
        match read {
            // TLS was not closed in order. An MQTT packet says where it ends, so that nothing can be taken for whole.
            Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = ready!(carrier!(self, stream => Pin::new(stream).poll_write(context, bytes)))?;
        self.unflushed = !self.is_plain();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(carrier!(self, stream => Pin::new(stream).poll_flush(context)))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        carrier!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, what.into())
}
