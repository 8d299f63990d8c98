//! A connection of our own to an MQTT server, up to its CONNACK.
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bridge::wire::{Connack, Connect, Decoder, Packet, ReasonCode, Version, WireError, encode};

/// How long a server may take to accept a connection and to answer CONNECT.
const PATIENCE: Duration = Duration::from_secs(5);
/// A server that sends a client of ours more at once has sent something else than acknowledgements.
const MAXIMUM_PACKET_SIZE: u32 = 1 << 20;

/// Why a connection did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The operating system said so.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// No answer.
    #[error("no answer to CONNECT within {} s", PATIENCE.as_secs())]
    Silent,
    /// The server does not speak MQTT as it should.
    #[error("the server violates the protocol: {0}")]
    Wire(#[from] WireError),
    /// CONNACK with a failure code.
    #[error("CONNECT was refused: {0}")]
    Refused(ReasonCode),
    /// DISCONNECT by the server.
    #[error("DISCONNECT by the server: {0}")]
    Disconnected(ReasonCode),
    /// End of the stream.
    #[error("closed by the server")]
    Closed,
    /// A packet that nobody asked for.
    #[error("the server sent {0}, which nobody asked for")]
    Unasked(&'static str),
}

/// A connection with its CONNACK.
pub(crate) struct Connection {
    /// The socket.
    pub(crate) stream: TcpStream,
    /// The packets that come.
    pub(crate) inbox: Inbox,
    /// What the server said of the session and of itself.
    pub(crate) connack: Connack,
}

/// Bytes that came, and the packets in them.
pub(crate) struct Inbox {
    decoder: Decoder,
    bytes: BytesMut,
}

impl Inbox {
    fn new(version: Version) -> Self {
        Self { decoder: Decoder::client(version, MAXIMUM_PACKET_SIZE), bytes: BytesMut::with_capacity(1 << 16) }
    }

    /// Waits for more bytes. Can be cancelled without loss.
    ///
    /// # Errors
    /// [`ClientError::Closed`] at the end of the stream.
    pub(crate) async fn fill(&mut self, stream: &mut (impl AsyncReadExt + Unpin)) -> Result<(), ClientError> {
        if stream.read_buf(&mut self.bytes).await? == 0 { Err(ClientError::Closed) } else { Ok(()) }
    }

    /// The next whole packet of what has come.
    ///
    /// # Errors
    /// [`ClientError::Wire`], and [`ClientError::Disconnected`] where it is DISCONNECT.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, ClientError> {
        let mut rest = &self.bytes[..];
        let packet = self.decoder.decode(&mut rest)?;
        let taken = self.bytes.len() - rest.len();
        bytes::Buf::advance(&mut self.bytes, taken);
        match packet {
            Some(Packet::Disconnect(disconnect)) => Err(ClientError::Disconnected(disconnect.reason)),
            packet => Ok(packet),
        }
    }
}

/// Connects and waits for CONNACK.
///
/// # Errors
/// [`ClientError`] where the connection does not come about.
pub(crate) async fn connect(address: SocketAddr, connect: Connect) -> Result<Connection, ClientError> {
    timeout(PATIENCE, handshake(address, connect)).await.unwrap_or(Err(ClientError::Silent))
}

async fn handshake(address: SocketAddr, connect: Connect) -> Result<Connection, ClientError> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut inbox, mut bytes) = (Inbox::new(connect.version), Vec::new());
    let version = connect.version;
    encode(&Packet::Connect(Box::new(connect)), version, &mut bytes);
    stream.write_all(&bytes).await?;
    loop {
        match inbox.next()? {
            Some(Packet::Connack(connack)) if connack.reason.is_failure() => {
                return Err(ClientError::Refused(connack.reason));
            }
            Some(Packet::Connack(connack)) => return Ok(Connection { stream, inbox, connack: *connack }),
            Some(other) => return Err(ClientError::Unasked(other.name())),
            None => inbox.fill(&mut stream).await?,
        }
    }
}
