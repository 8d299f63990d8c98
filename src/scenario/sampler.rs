//! The subject's own counters, fetched once a second.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::counters::Sample;
use super::history::Event;
use super::recorder::Recorder;

const EVERY: Duration = Duration::from_secs(1);
const MOST_BYTES: u64 = 1 << 20;

/// Samples until it is dropped. A subject that is down, or busy for longer than a second, leaves a gap.
pub(crate) async fn run(address: SocketAddr, recorder: Recorder) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sample(address, &recorder).await;
    }
}

/// Takes one sample.
pub(crate) async fn sample(address: SocketAddr, recorder: &Recorder) {
    match timeout(EVERY, fetch(address)).await {
        Ok(Ok(text)) => recorder.record(Event::Counters { values: parse(&text) }),
        Ok(Err(error)) => tracing::debug!(%error, "no counters"),
        Err(_) => tracing::debug!("no counters within a second"),
    }
}

async fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: one answer, not in chunks, and then the end.
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(std::io::Error::other(status)) }
}

/// The Prometheus text format: name with labels, a space, value.
fn parse(text: &str) -> Sample {
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format_is_read() {
        let text = "# TYPE a counter\na_total{bridge=\"x y\",reason=\"full\"} 12\nb 0.5\nnonsense\n# EOF\n";
        let expected = [("a_total{bridge=\"x y\",reason=\"full\"}".to_owned(), 12.0), ("b".to_owned(), 0.5)];
        assert_eq!(parse(text), expected.into());
    }
}
