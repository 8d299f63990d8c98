//! A real bridge as a child process, and a client that says exactly what a test wants said.
#![allow(dead_code, unreachable_pub, unused_imports)] // Each test file uses its part.

#[cfg(target_os = "linux")]
pub mod mounts;
pub mod process;
pub mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mqtt_bridge::bridge::wire::{Connack, Connect, Decoder, Packet, Version, encode};

pub use process::Bridge;

/// How long anything that is to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

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

    /// The next packet, which may take longer than anything else.
    pub fn receive_within(&mut self, patience: Duration) -> Option<Packet> {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let packet = self.receive();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        packet
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
