//! The programs that are compared, as child processes, and what the kernel says of them.
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, every message committed with synchronous=FULL before its acknowledgement.
    Ours,
    /// Ours with `durability: deferred`.
    Deferred,
    /// mosquitto's own bridge: a queue in memory.
    Mosquitto,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "mqtt-bridge",
            Self::Deferred => "mqtt-bridge, deferred",
            Self::Mosquitto => "mosquitto's bridge",
        }
    }
}

/// A child process, killed when dropped.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn mosquitto(folder: &Path, name: &str, address: SocketAddr, rest: &str) -> Peer {
    let file = folder.join(format!("{name}.conf"));
    // Its queues without limits: what it drops is not what is measured.
    let text = format!(
        "listener {} {}\nallow_anonymous true\nuser root\nlog_type none\npersistence false\n\
         max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n{rest}",
        address.port(),
        address.ip()
    );
    std::fs::write(&file, text).unwrap();
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let child = Command::new(program).arg("-c").arg(&file).stderr(Stdio::null()).spawn().expect("mosquitto");
    let peer = Peer { child, address };
    peer.wait_for_port();
    peer
}

/// The remote broker.
pub(crate) fn remote(folder: &Path, address: SocketAddr) -> Peer {
    mosquitto(folder, "remote", address, "")
}

/// A bridge to the remote, which need not be there.
pub(crate) fn bridge(kind: Kind, folder: &Path, remote: SocketAddr) -> Peer {
    if kind == Kind::Mosquitto {
        let rest = format!(
            "connection bench\naddress {remote}\ntopic # out 2\nbridge_protocol_version mqttv311\ncleansession false\n\
             notifications false\ntry_private false\nrestart_timeout 1\n"
        );
        return mosquitto(folder, "bridge", free_port(), &rest);
    }
    let cache = folder.join("cache.db");
    for suffix in ["", "-wal", "-shm"] {
        // It is there only if a run before this has left it.
        let _ = std::fs::remove_file(format!("{}{suffix}", cache.display()));
    }
    let durability = if kind == Kind::Deferred { ", durability: deferred" } else { "" };
    let text = format!(
        "listeners: [{{ bind: 127.0.0.1:0 }}]\ncache: {{ path: {}, max_messages: 2000000{durability} }}\n\
         bridges:\n  - name: bench\n    server: mqtt://{remote}\n    client_id: bench\n    protocol: 4\n\
         \n    reconnect: {{ min: 100ms, max: 1s }}\n    forwards: [{{ local: \"#\" }}]\n",
        cache.display()
    );
    let file = folder.join("bridge.yaml");
    std::fs::write(&file, text).unwrap();
    ours(&file)
}

/// Ours with a configuration.
pub(crate) fn ours(file: &Path) -> Peer {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"))
        .args(["run", "--config"])
        .arg(file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("the bridge ended").unwrap();
        if let Some((_, address)) = line.split_once("listening on ") {
            break address.parse().unwrap();
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    Peer { child, address }
}

impl Peer {
    fn wait_for_port(&self) {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{} does not listen", self.address);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// User and system time so far (proc(5), `stat`; ticks of 10 ms).
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let after_name = &stat[stat.rfind(')').unwrap() + 2..];
        let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn number(&self, file: &str, key: &str) -> u64 {
        let text = self.proc(file);
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The most memory it has had, in MiB.
    pub(crate) fn peak_rss(&self) -> f64 {
        self.number("status", "VmHWM:") as f64 / 1024.0
    }

    /// Bytes it has caused to be written to the disk.
    pub(crate) fn written(&self) -> u64 {
        self.number("io", "write_bytes:")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
