//! MQTT in the binary frames of a WebSocket (MQTT 5, section 6): a packet may span frames, a frame may hold several.
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::invalid;

/// The largest frame that is sent.
const FRAME: usize = 64 * 1024;
/// What is read of a socket at a time.
const READ: usize = 16 * 1024;

/// Limits of a connection whose peer may send packets of this size: a message of a WebSocket is held in memory until
/// it is whole.
pub(super) fn limits(max_packet_size: usize) -> WebSocketConfig {
    // Some clients put several packets into one message.
    let largest = max_packet_size.saturating_add(FRAME);
    WebSocketConfig::default()
        .read_buffer_size(READ)
        // Sent at once; what the socket does not take is kept until the next flush, before which nothing is added.
        .write_buffer_size(0)
        .max_write_buffer_size(4 * FRAME)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest))
}

/// A WebSocket as a stream of bytes.
pub(super) struct Frames<S> {
    socket: WebSocketStream<S>,
    /// Of the last binary frame.
    rest: Bytes,
    /// The closing frame has been given to the socket.
    closing: bool,
}

impl<S> Frames<S> {
    pub(super) fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, rest: Bytes::new(), closing: false }
    }
}

fn io(error: WsError) -> Error {
    match error {
        WsError::Io(error) => error,
        WsError::ConnectionClosed | WsError::AlreadyClosed => ErrorKind::BrokenPipe.into(),
        // Cut off without a closing frame: packets of MQTT say where they end.
        WsError::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            ErrorKind::UnexpectedEof.into()
        }
        other => invalid(format!("WebSocket: {other}")),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(invalid("WebSocket: a text frame, MQTT is in binary ones [MQTT-6.0.0-1]")));
                }
                // A pong is sent by the socket itself with the next read.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                // The answer to it is sent by the shutdown that follows.
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io(error))),
            }
        }
        let length = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(context)).map_err(io)?;
        let taken = &bytes[..bytes.len().min(FRAME)];
        socket.start_send(Message::Binary(Bytes::copy_from_slice(taken))).map_err(io)?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.closing {
            // It ends with an error where the peer has closed first; then the connection below is to be closed all the same.
            let _ = ready!(Pin::new(&mut self.socket).poll_close(context));
            self.closing = true;
        }
        Pin::new(self.socket.get_mut()).poll_shutdown(context)
    }
}
