//! One look around.
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Met, Question, Sight};

/// A reset follows an accept at once.
const RESET_FOLLOWS: Duration = Duration::from_millis(50);

/// Looks up and connects at the same time: the story waits meanwhile.
pub(super) async fn look(question: &Question) -> Sight {
    let patience = Duration::from_millis(question.patience_ms);
    let mut connects = JoinSet::new();
    for (index, address) in question.addresses.iter().copied().enumerate() {
        connects.spawn(async move { (index, connect(address, patience).await) });
    }
    let (resolved, met) = tokio::join!(resolve(&question.name, patience), connects.join_all());
    let mut met: Vec<(usize, Met)> = met;
    met.sort_by_key(|(index, _)| *index);
    Sight { resolved, met: met.into_iter().map(|(_, met)| met).collect() }
}

async fn resolve(name: &str, patience: Duration) -> Vec<Ipv4Addr> {
    if name.is_empty() {
        return Vec::new();
    }
    // A name that is gone is asked for upstream, and that may take long: not known in time is not known.
    let Ok(Ok(found)) = timeout(patience, tokio::net::lookup_host((name, 0))).await else { return Vec::new() };
    let found = found.filter_map(|address| match address.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    let mut found: Vec<Ipv4Addr> = found.collect();
    found.sort_unstable();
    found.dedup();
    found
}

async fn connect(address: SocketAddrV4, patience: Duration) -> Met {
    match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(mut stream)) => match timeout(RESET_FOLLOWS, stream.read(&mut [0])).await {
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Met::Reset,
            Ok(_) | Err(_) => Met::Connected,
        },
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Met::Refused,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Met::Reset,
        Ok(Err(_)) | Err(_) => Met::Nothing,
    }
}
