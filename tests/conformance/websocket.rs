//! MQTT over WebSocket: section 6.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::broker::configuration;
use crate::check;
use crate::common::process::{Process, loopback};
use crate::packet::{Connect, Packet, Publish, both, parse, subscribe};
use crate::pending::patience;

/// A broker whose clients speak WebSocket.
fn broker(folder: &std::path::Path) -> (Process, SocketAddr) {
    let file = folder.join("bridge.yaml");
    let listener = format!("listeners: [{{ bind: \"{}:0\", websocket: true }}]\n", loopback());
    std::fs::write(&file, listener + &configuration(folder)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
    let process = Process::start(command.args(["run", "--config"]).arg(&file));
    let line = process.line("listening on ").unwrap_or_else(|| panic!("{}", process.log()));
    let address = line.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok()).unwrap();
    (process, address)
}

struct Socket {
    stream: TcpStream,
    /// Application data that came and is not a whole packet yet.
    input: Vec<u8>,
}

const BINARY: u8 = 2;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

impl Socket {
    /// Upgrades; also the header of the answer.
    fn open(address: SocketAddr, subprotocol: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        write!(
            stream,
            "GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        )
        .unwrap();
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap() == 0 {
                break;
            }
            header.push(byte[0]);
        }
        (Self { stream, input: Vec::new() }, String::from_utf8(header).unwrap().to_ascii_lowercase())
    }

    fn send(&mut self, kind: u8, bytes: &[u8]) {
        // A mask of zeros, which leaves the bytes as they are.
        let mut frame = vec![0x80 | kind, 0x80 | 126];
        frame.extend((bytes.len() as u16).to_be_bytes());
        if bytes.len() < 126 {
            frame = vec![0x80 | kind, 0x80 | bytes.len() as u8];
        }
        frame.extend([0; 4]);
        frame.extend(bytes);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next frame; `None`: the connection has ended.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing has come in time"),
            Err(_) => return None,
        }
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let mut length = usize::from(head[1]);
        if length == 126 {
            let mut long = [0; 2];
            self.stream.read_exact(&mut long).unwrap();
            length = u16::from_be_bytes(long).into();
        }
        assert!(length < 127 || head[1] == 126, "no packet here is that long");
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        Some((head[0] & 0x0F, bytes))
    }

    /// The next packet, in binary frames alone.
    fn receive(&mut self, version: u8) -> Packet {
        loop {
            if let Some((packet, length)) = parse(&self.input, version) {
                self.input.drain(..length);
                return packet;
            }
            let (kind, bytes) = self.frame().unwrap_or_else(|| panic!("closed"));
            assert_eq!(kind, BINARY, "{bytes:x?}");
            self.input.extend(bytes);
        }
    }
}

#[test]
fn mqtt_is_spoken_in_binary_frames() {
    check(|| {
        let folder = tempfile::tempdir().unwrap();
        let (_broker, address) = broker(folder.path());
        both(|version| {
            let (mut socket, header) = Socket::open(address, "mqtt");
            assert!(header.starts_with("http/1.1 101") && header.contains("sec-websocket-protocol: mqtt"), "{header}");
            socket.send(BINARY, &Connect::new(version, "c").bytes());
            assert!(matches!(socket.receive(version), Packet::Connack { code: 0, .. }));
            socket.send(BINARY, &subscribe(version, 1, &[], &[("t", 0)]));
            assert!(matches!(socket.receive(version), Packet::Suback { .. }));
            socket.send(BINARY, &Publish::new("t", 0, [b'x'; 300]).bytes(version));
            assert!(matches!(socket.receive(version), Packet::Publish(message) if message.payload == [b'x'; 300]));
        });
    });
}

#[test]
fn frames_and_packets_need_not_agree() {
    check(|| {
        let folder = tempfile::tempdir().unwrap();
        let (_broker, address) = broker(folder.path());
        both(|version| {
            let (mut socket, _) = Socket::open(address, "mqtt");
            // Two packets and the beginning of the third, then its rest byte by byte.
            let publish = Publish::new("t", 1, "x").bytes(version);
            let bytes = [Connect::new(version, "c").bytes(), vec![0xC0, 0], publish].concat();
            let cut = bytes.len() - 4;
            socket.send(BINARY, &bytes[..cut]);
            for byte in &bytes[cut..] {
                socket.send(BINARY, &[*byte]);
            }
            assert!(matches!(socket.receive(version), Packet::Connack { code: 0, .. }));
            assert_eq!(socket.receive(version), Packet::Pingresp);
            assert!(matches!(socket.receive(version), Packet::Ack { kind: 4, id: 1, .. }));
        });
    });
}

#[test]
fn a_text_frame_ends_the_connection() {
    check(|| {
        let folder = tempfile::tempdir().unwrap();
        let (_broker, address) = broker(folder.path());
        let (mut socket, _) = Socket::open(address, "mqtt");
        socket.send(BINARY, &Connect::new(5, "c").bytes());
        assert!(matches!(socket.receive(5), Packet::Connack { code: 0, .. }));
        socket.send(TEXT, &[0xC0 & 0x7F, 0]);
        while let Some((kind, bytes)) = socket.frame() {
            // A DISCONNECT or a Close may come before the end, an answer to PINGREQ may not.
            assert!(kind == CLOSE || bytes.first() == Some(&0xE0), "{kind} {bytes:x?}");
        }
    });
}

#[test]
fn the_subprotocol_that_is_answered_is_mqtt() {
    check(|| {
        let folder = tempfile::tempdir().unwrap();
        let (_broker, address) = broker(folder.path());
        let (_socket, header) = Socket::open(address, "other, mqtt");
        assert!(header.contains("sec-websocket-protocol: mqtt\r\n"), "{header}");
        let (_socket, header) = Socket::open(address, "other");
        assert!(!header.contains("sec-websocket-protocol: other"), "{header}");
    });
}
