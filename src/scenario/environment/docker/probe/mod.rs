//! The helper on the link: a container of our own that stands where the subject stands, and says what it sees from
//! there. A fault is made by the engine; whether it holds is seen by the helper, at the cost of one connection.
mod established;
mod look;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub use self::established::established;
use super::error::DockerError;

/// The helper answers within its own patience, and this.
const ANSWER: Duration = Duration::from_secs(3);

/// What the helper is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    /// A name to look up.
    pub(super) name: String,
    /// Addresses to connect to.
    pub(super) addresses: Vec<SocketAddrV4>,
    /// How long each may take, in milliseconds.
    pub(super) patience_ms: u64,
}

/// What it sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sight {
    /// What the name is resolved to, without what is not an IPv4 address; empty where it is not known in time.
    pub(super) resolved: Vec<Ipv4Addr>,
    /// What each connection met.
    pub(super) met: Vec<Met>,
}

/// What a new connection meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Met {
    /// It is established.
    Connected,
    /// Connection refused.
    Refused,
    /// No answer, or none but that there is no way.
    Nothing,
}

/// Serves until the process is ended: a question a connection, a line of JSON each way.
///
/// # Errors
/// Where it cannot listen.
pub async fn serve(listen: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = answer(stream).await {
                eprintln!("a question was not answered: {error}");
            }
        });
    }
}

async fn answer(stream: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let Some(line) = BufReader::new(reader).lines().next_line().await? else { return Ok(()) };
    let question: Question = serde_json::from_str(&line)?;
    let sight = look::look(&question).await;
    writer.write_all(format!("{}\n", serde_json::to_string(&sight)?).as_bytes()).await
}

/// Asks a helper.
///
/// # Errors
/// [`DockerError::Probe`] where it does not answer.
pub(super) async fn ask(helper: SocketAddr, question: &Question) -> Result<Sight, DockerError> {
    let asking = async {
        let (reader, mut writer) = TcpStream::connect(helper).await?.into_split();
        writer.write_all(format!("{}\n", serde_json::to_string(question)?).as_bytes()).await?;
        let line = BufReader::new(reader).lines().next_line().await?;
        Ok::<_, std::io::Error>(serde_json::from_str(&line.ok_or(std::io::ErrorKind::UnexpectedEof)?)?)
    };
    let limit = ANSWER + Duration::from_millis(question.patience_ms);
    let answered = timeout(limit, asking).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let what = "asking the helper on the link what it sees".to_owned();
    answered.map_err(|error| DockerError::Probe { what, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_helper_says_what_it_sees() {
        let free = || crate::scenario::environment::ports::free().unwrap();
        let (helper, nobody) = (free(), free());
        let serving = tokio::spawn(serve(helper));
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let v4 = |address: SocketAddr| match address {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(_) => unreachable!(),
        };
        let addresses = vec![v4(there.local_addr().unwrap()), v4(nobody)];
        let question = Question { name: "localhost".into(), addresses, patience_ms: 1000 };
        let mut sight = ask(helper, &question).await;
        while sight.is_err() {
            // It does not listen yet.
            tokio::task::yield_now().await;
            sight = ask(helper, &question).await;
        }
        let sight = sight.unwrap();
        assert_eq!(sight.met, [Met::Connected, Met::Refused]);
        assert_eq!(sight.resolved, [Ipv4Addr::LOCALHOST]);
        let unknown = Question { name: "nobody.invalid".into(), addresses: vec![], patience_ms: 200 };
        assert_eq!(ask(helper, &unknown).await.unwrap().resolved, Vec::<Ipv4Addr>::new());
        serving.abort();
    }
}
