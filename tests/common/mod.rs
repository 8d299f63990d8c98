//! A real bridge as a child process, and a client that says exactly what a test wants said.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mqtt_bridge::bridge::wire::{Connack, Connect, Decoder, Packet, Version, encode};

/// How long anything that is to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A free port on loopback: taken by nobody just now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A running bridge, killed when dropped.
pub struct Bridge {
    child: Child,
    pub address: SocketAddr,
}

impl Bridge {
    /// Starts one and waits until it accepts. `rest` is its configuration but for the listener.
    pub fn start(folder: &Path, rest: &str) -> Self {
        let address = free_address();
        let file = folder.join(format!("bridge-{}.yaml", address.port()));
        std::fs::write(&file, format!("listeners: [{{ bind: {address} }}]\n{rest}")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"))
            .args(["run", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut bridge = Self { child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = bridge.child.try_wait().unwrap() {
                panic!("the bridge ended with {status}: {}", bridge.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the bridge does not accept");
            std::thread::yield_now();
        }
        bridge
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
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
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
        eprintln!("SKIPPED {test}: {program} is not installed");
    }
    found
}
