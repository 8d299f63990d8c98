//! The other end of a proxy that is a process of its own.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::ProxyError;
use super::control::{Answer, Request};
use super::link::Link;

/// How long a proxy may take to answer its first request.
const READY: Duration = Duration::from_secs(15);
/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(20);
/// Far above what a change of the link takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a proxy ([`serve`](super::serve)).
#[derive(Debug)]
pub(crate) struct ProxyClient {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl ProxyClient {
    /// Connects to where it is controlled, as soon as it is there.
    ///
    /// # Errors
    /// [`ProxyError::Control`] where it is not there in time.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, ProxyError> {
        let mut last = io::ErrorKind::TimedOut.into();
        let connected = async {
            loop {
                match TcpStream::connect(address).await {
                    Ok(stream) => return stream,
                    Err(error) => last = error,
                }
                sleep(RETRY).await;
            }
        };
        match timeout(READY, connected).await {
            Ok(stream) => Ok(Self { address, stream: BufReader::new(stream) }),
            Err(_) => Err(ProxyError::Control { address, source: last }),
        }
    }

    /// Brings the link into a state; returns when it is in it. What does not look as it should comes back as the inner
    /// error: a doubt, in words.
    ///
    /// # Errors
    /// [`ProxyError::Control`], [`ProxyError::Failed`].
    pub(crate) async fn set(&mut self, link: &Link) -> Result<Result<(), String>, ProxyError> {
        let request = Request::Set { link: link.clone() };
        let answer =
            timeout(PATIENCE, self.ask(&request)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match answer.map_err(|source| ProxyError::Control { address: self.address, source })? {
            Answer::Holds => Ok(Ok(())),
            Answer::Doubt { why } => Ok(Err(why)),
            Answer::Failed { why } => Err(ProxyError::Failed { address: self.address, why }),
        }
    }

    /// Waits until a connection has been let through; for as long as that takes.
    ///
    /// # Errors
    /// [`ProxyError::Control`], [`ProxyError::Failed`].
    pub(crate) async fn connected(&mut self) -> Result<(), ProxyError> {
        let answer = self.ask(&Request::Connected).await;
        match answer.map_err(|source| ProxyError::Control { address: self.address, source })? {
            Answer::Holds => Ok(()),
            Answer::Doubt { why } | Answer::Failed { why } => Err(ProxyError::Failed { address: self.address, why }),
        }
    }

    async fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line).await?;
        let mut answer = String::new();
        match self.stream.read_line(&mut answer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(serde_json::from_str(&answer)?),
        }
    }
}
