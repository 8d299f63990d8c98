//! A real bridge as a child process, and a client that says exactly what a test wants said.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use mqtt_bridge::bridge::wire::{Connack, Connect, Decoder, Packet, Version, encode};

/// How long anything that is to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running bridge, killed when dropped.
pub struct Bridge {
    child: Child,
    log: Option<JoinHandle<String>>,
    pub address: SocketAddr,
}

impl Bridge {
    /// Starts one on a port that the kernel chooses, and waits until it says which. `rest` is its configuration but for
    /// the listener.
    pub fn start(folder: &Path, rest: &str) -> Self {
        Self::start_at("127.0.0.1:0", folder, rest)
    }

    /// The same at an address.
    pub fn start_at(address: &str, folder: &Path, rest: &str) -> Self {
        let file = folder.join("bridge.yaml");
        std::fs::write(&file, format!("listeners: [{{ bind: {address} }}]\n{rest}")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"))
            .args(["run", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut log = String::new();
        let address = loop {
            let Some(line) = lines.next() else {
                panic!("the bridge ended with {}: {log}", child.wait().unwrap());
            };
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.parse().unwrap();
            }
            log.push_str(&line);
        };
        let log = std::thread::spawn(move || log + &lines.collect::<Vec<_>>().join("\n"));
        Self { child, log: Some(log), address }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; its exit status and its log.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        let status = self.child.wait().unwrap();
        (status, self.log())
    }

    fn log(&mut self) -> String {
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client, packet by packet.
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    version: Version,
    input: Vec<u8>,
}

impl Client {
    /// Connects; also returns the CONNACK.
    pub fn connect(address: SocketAddr, connect: Connect) -> (Self, Connack) {
        let version = connect.version;
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream, decoder: Decoder::client(version, 1 << 20), version, input: Vec::new() };
        client.send(&Packet::Connect(Box::new(connect)));
        match client.receive() {
            Some(Packet::Connack(connack)) => (client, *connack),
            other => panic!("{other:?} instead of CONNACK"),
        }
    }

    pub fn send(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        self.send_bytes(&bytes);
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet; `None`: the connection was closed.
    pub fn receive(&mut self) -> Option<Packet> {
        loop {
            let mut input = self.input.as_slice();
            let packet = self.decoder.decode(&mut input).unwrap();
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            if packet.is_some() {
                return packet;
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(read) => self.input.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came within {PATIENCE:?}: {error}"),
            }
        }
    }
}

/// Whether a program is installed. On CI it must be.
pub fn has(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.any(|folder| folder.join(program).is_file());
    assert!(found || std::env::var_os("CI").is_none(), "{test}: {program} is missing on CI");
    if !found {
        // Not eprintln: that is shown only for a test that fails.
        let skipped = format!("SKIPPED {test}: {program} is not installed\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    found
}
