//! From a TCP connection of a client to one that carries MQTT.
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};

use super::frames::{Frames, limits};
use super::tls::ServerIdentity;
use super::{Carrier, PeerIdentity, Stream, explain};
use crate::bridge::config;

/// What MQTT is called among the protocols of a WebSocket ([MQTT-6.0.0-3]).
pub(super) const SUBPROTOCOL: &str = "mqtt";

/// What a listener does with a connection before MQTT is spoken.
#[derive(Clone)]
pub struct Acceptor {
    tls: Option<Arc<ServerIdentity>>,
    path: Option<String>,
    max_packet_size: usize,
}

impl Acceptor {
    /// For a listener; `tls` where its configuration asks for it.
    pub fn new(listener: &config::Listener, tls: Option<Arc<ServerIdentity>>) -> Self {
        let path = listener.websocket.as_ref().map(|websocket| websocket.path.clone());
        Self { tls, path, max_packet_size: listener.max_packet_size as usize }
    }

    /// Whether there is nothing to be done.
    pub fn is_plain(&self) -> bool {
        self.tls.is_none() && self.path.is_none()
    }

    /// The handshakes. It waits for the client as long as it is allowed to.
    ///
    /// # Errors
    /// What the client did wrong, in words.
    pub async fn accept(&self, stream: TcpStream, client: SocketAddr) -> Result<Stream, String> {
        let Some(identity) = &self.tls else {
            let Some(path) = &self.path else { return Ok(stream.into()) };
            let frames = self.upgrade(stream, path, client).await?;
            return Ok(Stream::over(Carrier::WebSocket(Box::new(frames)), None));
        };
        let client_name = client.to_string();
        let accepted = TlsAcceptor::from(identity.current()).accept(stream).await;
        let stream = accepted.map_err(|error| explain::handshake(&error, &client_name))?;
        let peer = stream.get_ref().1.peer_certificates().and_then(PeerIdentity::of);
        let stream = TlsStream::from(stream);
        let carrier = match &self.path {
            Some(path) => Carrier::SecureWebSocket(Box::new(self.upgrade(stream, path, client).await?)),
            None => Carrier::Tls(Box::new(stream)),
        };
        Ok(Stream::over(carrier, peer))
    }

    async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        path: &str,
        client: SocketAddr,
    ) -> Result<Frames<S>, String> {
        let socket = tokio_tungstenite::accept_hdr_async_with_config(
            stream,
            Answer { path },
            Some(limits(self.max_packet_size)),
        );
        socket.await.map(Frames::new).map_err(|error| match &error {
            WsError::Http(response) => {
                let why = response.body().as_ref().map(|body| String::from_utf8_lossy(body));
                format!("{client} was answered {}: {}", response.status(), why.unwrap_or_default().trim_end())
            }
            _ => explain::upgrade(&error, &client.to_string()),
        })
    }
}

/// The answer to the request for a WebSocket.
struct Answer<'a> {
    path: &'a str,
}

impl Callback for Answer<'_> {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let path = self.path;
        let refuse = |status: StatusCode, what: String| {
            let mut refusal = ErrorResponse::new(Some(what));
            *refusal.status_mut() = status;
            refusal
        };
        if request.uri().path() != path {
            return Err(refuse(StatusCode::NOT_FOUND, format!("MQTT is at {path}\n")));
        }
        let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let mut names =
            offers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',').map(str::trim));
        if !names.any(|name| name == SUBPROTOCOL) {
            let what = "Sec-WebSocket-Protocol: mqtt is required [MQTT-6.0.0-3]\n";
            return Err(refuse(StatusCode::BAD_REQUEST, what.to_owned()));
        }
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    }
}
