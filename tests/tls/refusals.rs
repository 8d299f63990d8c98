//! What goes wrong is said in one line: who, what, what to do.
use std::io::{Read, Write};
use std::net::TcpStream;

use mqtt_bridge::bridge::wire::{Connect, Packet, Version, encode};

use crate::NAME;
use crate::authority::Authority;
use crate::common::PATIENCE;
use crate::world::{Broker, edge};

#[test]
fn a_remote_that_cannot_be_trusted_or_does_not_trust_us_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "foreign"));
    let good = ours.issue(&[NAME]).keys();
    let asks = format!("{good}, client_ca: {}", ours.file().display());
    let trusts = format!("ca: {}, server_name: {NAME}", ours.file().display());
    let stranger = format!("{trusts}, {}", foreign.issue(&["edge"]).keys());
    let expired = format!("{trusts}, {}", ours.issue_valid(&["edge"], (2020, 2021)).keys());
    // The remote's TLS, ours, and what is said.
    let cases = [
        (
            ours.issue_valid(&[NAME], (2020, 2021)).keys(),
            trusts.clone(),
            "certificate of {} expired 2021-01-01: renew it",
        ),
        (
            ours.issue_valid(&[NAME], (2090, 2091)).keys(),
            trusts.clone(),
            "certificate of {} is not valid before 2090-01-01: is the clock of this machine right?",
        ),
        (foreign.issue(&[NAME]).keys(), trusts.clone(), "certificate of {} comes from a CA that is not trusted here"),
        (
            good.clone(),
            format!("ca: {}, server_name: other.test", ours.file().display()),
            "certificate of {} is for broker.test, and not for other.test",
        ),
        (asks.clone(), trusts.clone(), "{} refuses: it requires a client certificate: tls.certificate and tls.key"),
        (asks.clone(), stranger, "{} refuses: it does not know the CA of our certificate"),
        (asks, expired, "{} refuses: our certificate has expired, it says"),
        (
            format!("{good}, alpn: [mqtt]"),
            format!("{trusts}, alpn: [h2]"),
            "{} refuses: it speaks none of the application protocols in tls.alpn",
        ),
    ];
    for (remote, near, said) in cases {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path(), "remote", &format!(", tls: {{ {remote} }}"), "");
        let said = said.replace("{}", &broker.address.to_string());
        let keys = format!(", tls: {{ {near} }}");
        let edge = edge(folder.path(), &format!("mqtts://{}", broker.address), &keys);
        let line = edge.process.line("bridge b: no link to ").unwrap();
        assert!(line.contains(&said), "{said}\n{line}");
        assert_eq!(edge.metric("connections_total"), 0, "{said}");
    }
}

#[test]
fn what_is_spoken_at_the_wrong_port_is_said_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let listener = format!(", tls: {{ {} }}", authority.issue(&[NAME]).keys());
    let broker = Broker::start(folder.path(), "remote", &listener, "");
    let tls = format!(", tls: {{ ca: {}, server_name: {NAME} }}", authority.file().display());
    let cases = [
        (
            format!("mqtts://{}", broker.plain),
            tls.as_str(),
            "TLS",
            "a TLS client at a listener without it: give it `tls`",
        ),
        (
            format!("mqtt://{}", broker.address),
            "",
            "speaks TLS at this port: mqtts://",
            "sends is no TLS: it speaks plainly here",
        ),
        (format!("ws://{}", broker.plain), "", "WebSocket handshake", "a WebSocket client at a listener without it"),
    ];
    for (server, keys, near, far) in cases {
        let folder = tempfile::tempdir().unwrap();
        let edge = edge(folder.path(), &server, keys);
        let line = edge.process.line("bridge b: no link to ").unwrap();
        assert!(line.contains(near), "{near}\n{line}");
        assert!(broker.process.line(far).unwrap().contains("WARN"), "{far}");
    }
    let websocket = Broker::start(folder.path(), "websocket", ", websocket: { path: /elsewhere }", "");
    let near = tempfile::tempdir().unwrap();
    let edge = edge(near.path(), &format!("ws://{}", websocket.address), "");
    let line = edge.process.line("bridge b: no link to ").unwrap();
    assert!(line.contains("answers 404 Not Found instead of a WebSocket: is the path the right one?"), "{line}");
    assert!(websocket.process.line("was answered 404 Not Found: MQTT is at /elsewhere").is_some());
}

/// A WebSocket, byte by byte.
struct Raw(TcpStream);

impl Raw {
    /// Asks for it; its answer's head.
    fn ask(broker: &Broker, path: &str, headers: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(broker.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: \
             13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        (Self(stream), String::from_utf8(head).unwrap())
    }

    /// A frame of its own, masked with zeros (RFC 6455, section 5.2).
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).unwrap();
    }

    /// The next frame: opcode and payload; `None`: the connection was closed.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; head[1].into()];
        self.0.read_exact(&mut payload).unwrap();
        Some((head[0] & 0x0F, payload))
    }
}

fn connect() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&Packet::Connect(Box::new(Connect::new(Version::V5, "raw"))), Version::V5, &mut bytes);
    bytes
}

#[test]
fn a_websocket_holds_mqtt_in_binary_frames_and_nothing_else() {
    const OFFERS: &str = "Sec-WebSocket-Protocol: chat, mqtt\r\n";
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "broker", ", websocket: true, max_packet_size: 1KiB", "");
    let (_, refused) = Raw::ask(&broker, "/mqtt", "");
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(broker.process.line("Sec-WebSocket-Protocol: mqtt is required [MQTT-6.0.0-3]").is_some());

    let (mut raw, head) = Raw::ask(&broker, "/mqtt", OFFERS);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-protocol: mqtt\r\n"), "{head}");
    // A byte a frame, and a ping in between.
    let bytes = connect();
    for (place, byte) in bytes.iter().enumerate() {
        raw.frame(BINARY, &[*byte]);
        if place == 3 {
            raw.frame(PING, b"there?");
            assert_eq!(raw.next(), Some((PONG, b"there?".to_vec())));
        }
    }
    let (opcode, connack) = raw.next().unwrap();
    assert_eq!((opcode, connack[0]), (BINARY, 0x20));
    // Two packets in one frame.
    raw.frame(BINARY, &[0xC0, 0, 0xC0, 0]);
    let mut answers = Vec::new();
    while answers.len() < 4 {
        answers.extend(raw.next().unwrap().1);
    }
    assert_eq!(answers, [0xD0, 0, 0xD0, 0]);
    raw.frame(TEXT, &[0xC0, 0]);
    let rest: Vec<u8> = std::iter::from_fn(|| raw.next()).map(|(opcode, _)| opcode).collect();
    assert!(rest.iter().all(|opcode| *opcode == CLOSE), "a text frame was taken: {rest:?}");

    let (mut large, _) = Raw::ask(&broker, "/mqtt", OFFERS);
    large.frame(BINARY, &connect());
    assert_eq!(large.next().unwrap().0, BINARY);
    // It says that a gigabyte will follow.
    large.0.write_all(&[0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let rest: Vec<u8> = std::iter::from_fn(|| large.next()).map(|(opcode, _)| opcode).collect();
    assert!(rest.iter().all(|opcode| *opcode == CLOSE), "{rest:?}");
}
