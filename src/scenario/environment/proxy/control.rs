//! The proxy as a process of its own, and how it is told what to do: JSON, one request a line, one answer a line, in
//! turn. A connection that ends leaves the link as it is.
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::link::Link;
use super::{Proxy, ProxyError};

/// What a proxy can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Request {
    /// Bring the link into this state; the answer comes when it is in it, and a connection of the proxy's own has met
    /// what it should.
    Set {
        /// The state.
        link: Link,
    },
    /// Answer when a connection has been let through.
    Connected,
}

/// What a proxy answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    /// It is as it was asked for.
    Holds,
    /// It was made, and does not look as it should: a doubt.
    Doubt {
        /// What is different.
        why: String,
    },
    /// It could not be made.
    Failed {
        /// Why not.
        why: String,
    },
}

/// Listens on `listen`, passes everything to `remote`, host and port, and does what it is told on `control`; until it is
/// dropped.
///
/// # Errors
/// [`ProxyError::Listen`] where it cannot listen on one of them.
pub async fn serve(listen: SocketAddr, remote: &str, control: SocketAddr) -> Result<(), ProxyError> {
    let failed = |source| ProxyError::Listen { address: control, source };
    let orders = TcpListener::bind(control).await.map_err(failed)?;
    let proxy = Arc::new(Mutex::new(Proxy::open(listen, remote)?));
    loop {
        let (stream, peer) = orders.accept().await.map_err(failed)?;
        let proxy = proxy.clone();
        tokio::spawn(async move {
            if let Err(error) = attend(stream, &proxy).await {
                tracing::debug!(%peer, %error, "the control connection broke");
            }
        });
    }
}

async fn attend(mut stream: TcpStream, proxy: &Mutex<Proxy>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => perform(request, proxy).await,
            Err(error) => Answer::Failed { why: format!("not understood: {error}") },
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        writer.write_all(&line).await?;
    }
    Ok(())
}

async fn perform(request: Request, proxy: &Mutex<Proxy>) -> Answer {
    match request {
        Request::Set { link } => {
            let mut proxy = proxy.lock().await;
            if let Err(error) = proxy.set(&link).await {
                return Answer::Failed { why: error.to_string() };
            }
            match proxy.verify(link.door).await {
                Ok(()) => Answer::Holds,
                Err(error) => Answer::Doubt { why: error.to_string() },
            }
        }
        Request::Connected => {
            // Not while the lock is held: the link must be free to change meanwhile.
            let mut connections = proxy.lock().await.connections();
            match connections.wait_for(|connections| *connections > 0).await {
                Ok(_) => Answer::Holds,
                Err(_) => Answer::Failed { why: "the proxy is gone".to_owned() },
            }
        }
    }
}
