//! mosquitto as the remote, with the limits of its own queues lifted: what it dropped would look like our loss.
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use crate::common::process::{Process, loopback};

pub struct Mosquitto {
    pub process: Process,
    pub address: SocketAddr,
}

impl Mosquitto {
    /// `persistence`: what else its configuration says. Every start has a port of its own.
    pub fn start(folder: &Path, persistence: &str) -> Self {
        let address = TcpListener::bind((loopback(), 0)).unwrap().local_addr().unwrap();
        let file = folder.join("mosquitto.conf");
        let text = format!(
            "listener {} {}\nallow_anonymous true\nuser root\nlog_dest stderr\nsys_interval 0\nmax_queued_messages 0\n\
             max_queued_bytes 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n{persistence}\n",
            address.port(),
            address.ip()
        );
        std::fs::write(&file, text).unwrap();
        let process = Process::start(Command::new(program()).arg("-c").arg(&file));
        assert!(process.line(" running").is_some(), "mosquitto ended: {}", process.log());
        Self { process, address }
    }
}

fn program() -> &'static str {
    if Path::new("/usr/sbin/mosquitto").is_file() { "/usr/sbin/mosquitto" } else { "mosquitto" }
}
