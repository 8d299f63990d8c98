//! A connection to a remote, ready for MQTT.
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;

use super::accept::SUBPROTOCOL;
use super::frames::{Frames, limits};
use super::tls::ClientIdentity;
use super::{Carrier, Stream, explain};
use crate::bridge::config::Server;

/// How remotes of a bridge are connected to.
#[derive(Clone)]
pub struct Connector {
    /// Where one of them is reached over TLS.
    pub tls: Option<Arc<ClientIdentity>>,
    /// For each step: name resolution, TCP (for each address), TLS handshake, WebSocket handshake.
    pub limit: Duration,
    /// How long the peer's kernel may leave data unacknowledged.
    pub ack_timeout: Duration,
    /// The largest packet that is taken.
    pub max_packet_size: usize,
}

impl Connector {
    /// Resolves and connects; every address is tried. The first that TCP reaches is the one that must do.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn connect(&self, server: &Server) -> Result<Stream, String> {
        let stream = self.tcp(server).await?;
        if !server.scheme.is_tls() {
            if !server.scheme.is_websocket() {
                return Ok(stream.into());
            }
            let frames = self.upgrade(stream, server).await?;
            return Ok(Stream::over(Carrier::WebSocket(Box::new(frames)), None));
        }
        let stream = self.secure(stream, server).await?;
        let carrier = match server.scheme.is_websocket() {
            true => Carrier::SecureWebSocket(Box::new(self.upgrade(stream, server).await?)),
            false => Carrier::Tls(Box::new(stream)),
        };
        Ok(Stream::over(carrier, None))
    }

    async fn tcp(&self, server: &Server) -> Result<TcpStream, String> {
        let limit = self.limit;
        let resolving = tokio::net::lookup_host((server.host.clone(), server.port));
        let addresses = match tokio::time::timeout(limit, resolving).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(format!("{}: {error}", server.host)),
            Err(_) => return Err(format!("{}: the name was not resolved within {limit:?}", server.host)),
        };
        let mut failure = format!("{}: the name has no address", server.host);
        for address in addresses {
            match tokio::time::timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    return prepare(stream, self.ack_timeout).map_err(|error| format!("{address}: {error}"));
                }
                Ok(Err(error)) => failure = format!("{address}: {error}"),
                Err(_) => failure = format!("{address}: no connection within {limit:?}"),
            }
        }
        Err(failure)
    }

    async fn secure(&self, stream: TcpStream, server: &Server) -> Result<TlsStream<TcpStream>, String> {
        let address = server.address();
        let Some(identity) = &self.tls else {
            return Err(format!("{server}: there is no TLS configuration for it"));
        };
        let name = identity.source().server_name.clone().unwrap_or_else(|| server.host.clone());
        let name = ServerName::try_from(name).map_err(|error| format!("{server}: {error}"))?;
        let connecting = TlsConnector::from(identity.current()).connect(name, stream);
        match tokio::time::timeout(self.limit, connecting).await {
            Ok(Ok(stream)) => Ok(stream.into()),
            Ok(Err(error)) => Err(explain::handshake(&error, &address)),
            Err(_) => Err(format!(
                "{address}: no TLS handshake within {:?}: is it TLS that is spoken at this port?",
                self.limit
            )),
        }
    }

    async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        server: &Server,
    ) -> Result<Frames<S>, String> {
        let address = server.address();
        // The crate asks for `ws` where it opens no connection of its own as well.
        let uri = format!("ws://{address}{}", server.path).parse();
        let uri = uri.map_err(|error| format!("{server}: {error}"))?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
        let connecting =
            tokio_tungstenite::client_async_with_config(request, stream, Some(limits(self.max_packet_size)));
        match tokio::time::timeout(self.limit, connecting).await {
            Ok(Ok((socket, _))) => Ok(Frames::new(socket)),
            Ok(Err(error)) => Err(explain::upgrade(&error, &address)),
            Err(_) => Err(format!("{address}: no WebSocket handshake within {:?}", self.limit)),
        }
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
