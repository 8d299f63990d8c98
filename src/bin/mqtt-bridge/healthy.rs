//! `mqtt-bridge healthy`: what an image without a shell asks as its HEALTHCHECK.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// Exit with 0 when the bridge's /healthz says that it is well, with 1 when it does not
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// Where `metrics` is bound
    #[arg(default_value = "127.0.0.1:9464")]
    metrics: SocketAddr,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match ask(arguments.metrics) {
        Ok(status) if status.split(' ').nth(1) == Some("200") => Ok(0),
        Ok(status) => {
            println!("{status}");
            Ok(1)
        }
        Err(error) => {
            println!("http://{}/healthz: {error}", arguments.metrics);
            Ok(1)
        }
    }
}

/// The first line of its answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
