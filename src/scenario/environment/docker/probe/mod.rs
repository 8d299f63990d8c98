//! The helper on the link: a container of our own that stands where the subject stands, and says what it sees from
//! there. A fault is made by the engine; whether it holds is seen by the helper, at the cost of one connection.
mod established;
mod look;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub use self::established::established;
use super::super::disk;
use super::error::DockerError;

/// The helper answers within its own patience, and this.
const ANSWER: Duration = Duration::from_secs(3);
/// A disk in memory is filled in a moment.
const FILLED: Duration = Duration::from_secs(20);
const LOOKING: &str = "asking the helper on the link";

/// What the helper is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    /// To look at the network.
    Look(Question),
    /// To fill the disk that a folder is on.
    Fill(PathBuf),
    /// To take away what it was filled with.
    Empty(PathBuf),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Seen(Sight),
    Done,
    Failed(String),
}

/// What is to be looked at.
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
    /// It is established, and reset.
    Reset,
    /// Connection refused.
    Refused,
    /// No answer, or none but that there is no way.
    Nothing,
}

/// What a new connection to each of some addresses meets, in a word.
pub async fn connect(addresses: &[SocketAddrV4]) -> Vec<&'static str> {
    let question = Question { name: String::new(), addresses: addresses.to_vec(), patience_ms: 1000 };
    let met = look::look(&question).await.met;
    let word = |met| match met {
        Met::Connected => "connected",
        Met::Reset => "reset",
        Met::Refused => "refused",
        Met::Nothing => "nothing",
    };
    met.into_iter().map(word).collect()
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
    let done = |result: std::io::Result<()>| match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed(error.to_string()),
    };
    let answer = match serde_json::from_str(&line)? {
        Request::Look(question) => Answer::Seen(look::look(&question).await),
        Request::Fill(folder) => match disk::fill(&folder) {
            Ok(()) if !disk::is_full(&folder) => Answer::Failed("something could still be written".to_owned()),
            result => done(result),
        },
        Request::Empty(folder) => done(disk::clear(&folder)),
    };
    writer.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await
}

/// What a helper sees.
///
/// # Errors
/// [`DockerError::Probe`] where it does not answer.
pub(super) async fn look(helper: SocketAddr, question: Question) -> Result<Sight, DockerError> {
    let limit = ANSWER + Duration::from_millis(question.patience_ms);
    match ask(helper, &Request::Look(question), limit).await? {
        Answer::Seen(sight) => Ok(sight),
        other => Err(DockerError::Probe { what: LOOKING.to_owned(), why: format!("{other:?}") }),
    }
}

/// Has a helper fill the disk that a folder of its own is on, or take that away again.
///
/// # Errors
/// [`DockerError::Probe`].
pub(super) async fn set_full(helper: SocketAddr, folder: &str, full: bool) -> Result<(), DockerError> {
    let request = if full { Request::Fill(folder.into()) } else { Request::Empty(folder.into()) };
    match ask(helper, &request, FILLED).await? {
        Answer::Done => Ok(()),
        other => Err(DockerError::Probe { what: "filling the bridge's disk".to_owned(), why: format!("{other:?}") }),
    }
}

async fn ask(helper: SocketAddr, request: &Request, limit: Duration) -> Result<Answer, DockerError> {
    let asking = async {
        let (reader, mut writer) = TcpStream::connect(helper).await?.into_split();
        writer.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
        let line = BufReader::new(reader).lines().next_line().await?;
        Ok::<_, std::io::Error>(serde_json::from_str(&line.ok_or(std::io::ErrorKind::UnexpectedEof)?)?)
    };
    let answered = timeout(limit, asking).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    answered.map_err(|error| DockerError::Probe { what: LOOKING.to_owned(), why: error.to_string() })
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
        let mut sight = look(helper, question.clone()).await;
        while sight.is_err() {
            // It does not listen yet.
            tokio::task::yield_now().await;
            sight = look(helper, question.clone()).await;
        }
        let sight = sight.unwrap();
        assert_eq!(sight.met, [Met::Connected, Met::Refused]);
        assert_eq!(sight.resolved, [Ipv4Addr::LOCALHOST]);
        let unknown = Question { name: "nobody.invalid".into(), addresses: vec![], patience_ms: 200 };
        assert_eq!(look(helper, unknown).await.unwrap().resolved, Vec::<Ipv4Addr>::new());
        // A folder that is not there; what is really full is tried in a container.
        let error = set_full(helper, "/nonexistent", true).await.unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        serving.abort();
    }
}
