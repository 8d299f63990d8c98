//! A client of raw bytes: it sends what it is told to, right or wrong, and takes no packet that the specification does
//! not allow a server to send.
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::packet::{Connect, Packet, parse, subscribe};
use crate::pending::patience;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// Received already, and to be handed out before anything else.
    first: std::collections::VecDeque<Packet>,
    pub(crate) version: u8,
    /// Of every packet so far, the longest, in bytes.
    pub(crate) longest: usize,
}

/// A name that no other test has.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("n{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Client {
    /// A TCP connection to the broker that the tests share, and nothing said.
    pub(crate) fn open(version: u8) -> Self {
        Self::open_at(crate::broker::shared(), version)
    }

    pub(crate) fn open_at(address: SocketAddr, version: u8) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        Self { stream, input: Vec::new(), first: Default::default(), version, longest: 0 }
    }

    /// Connects with a name of its own and without a session.
    pub(crate) fn new(version: u8) -> Self {
        Connect::new(version, &unique()).accepted().0
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Where the broker has closed already, that is what reading says.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Says that no more will come, as an end of the process would.
    pub(crate) fn cut(self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// The next packet; `None`: the connection has ended.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        if let Some(packet) = self.first.pop_front() {
            return Some(packet);
        }
        loop {
            if let Some((packet, length)) = parse(&self.input, self.version) {
                self.input.drain(..length);
                self.longest = self.longest.max(length);
                return Some(packet);
            }
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    assert!(self.input.is_empty(), "the connection ended within a packet: {:x?}", self.input);
                    return None;
                }
                Ok(read) => self.input.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing has come in time: {error}"),
            }
        }
    }

    /// These were received in between.
    pub(crate) fn hand_out_first(&mut self, packets: Vec<Packet>) {
        self.first.extend(packets);
    }

    pub(crate) fn receive(&mut self) -> Packet {
        self.next().unwrap_or_else(|| panic!("the connection was closed"))
    }

    /// The next packet must be this.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &Packet) {
        let packet = self.receive();
        assert_eq!(packet, *expected);
    }

    /// The next packet must be a PUBLISH.
    #[track_caller]
    pub(crate) fn message(&mut self) -> crate::packet::Message {
        match self.receive() {
            Packet::Publish(message) => message,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    /// The next packet must be an acknowledgement of this kind for this identifier; its Reason Code.
    #[track_caller]
    pub(crate) fn ack(&mut self, kind: u8, id: u16) -> u8 {
        match self.receive() {
            Packet::Ack { kind: found, id: its, code, .. } if (found, its) == (kind, id) => code,
            other => panic!("{other:?} instead of packet type {kind} with identifier {id}"),
        }
    }

    /// The connection must end; the Reason Code that was said before.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<u8> {
        let mut said = None;
        loop {
            match self.next() {
                None => return said,
                Some(Packet::Connack { code: 0, .. }) => panic!("accepted"),
                Some(Packet::Disconnect { code, .. } | Packet::Connack { code, .. }) if said.is_none() => {
                    said = Some(code);
                }
                Some(other) => panic!("{other:?} instead of the end"),
            }
        }
    }

    /// The same; in MQTT 5 with this Reason Code.
    #[track_caller]
    pub(crate) fn ends_with(&mut self, code: u8) {
        let said = self.ends();
        let wanted = (self.version == 5).then_some(code);
        assert_eq!(said, wanted, "Reason Code in hexadecimal: {said:x?}, not {wanted:x?}");
    }

    /// Subscribes with these options; the SUBACK's Reason Codes.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.send(subscribe(self.version, 0x5B5B, &[], filters));
        match self.receive() {
            Packet::Suback { id: 0x5B5B, codes, .. } => codes,
            other => panic!("{other:?} instead of SUBACK"),
        }
    }

    /// Publishes at QoS 1 and waits for the acknowledgement: a barrier, for whatever this client has sent before is
    /// handled then.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.publish_as(crate::packet::Publish::new(topic, 1, payload));
    }

    #[track_caller]
    pub(crate) fn publish_as(&mut self, publish: crate::packet::Publish) {
        let (qos, id) = (publish.qos, 0x7070);
        self.send(publish.id(id).bytes(self.version));
        match qos {
            0 => {}
            1 => assert!(self.ack(4, id) < 0x80),
            _ => {
                assert!(self.ack(5, id) < 0x80);
                self.send(crate::packet::ack(6, id));
                assert_eq!(self.ack(7, id), 0);
            }
        }
    }

    /// Nothing but what it has received already has come for it from this publisher.
    #[track_caller]
    pub(crate) fn quiet(&mut self, publisher: &mut Self) {
        let last = crate::packet::topic();
        assert_eq!(self.subscribe(&[(&last, 0)]), [0]);
        publisher.publish_as(crate::packet::Publish::new(&last, 0, "the last"));
        assert_eq!(self.message().topic, last);
    }

    /// Everything until the connection ends.
    pub(crate) fn raw(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// It violates the protocol before its CONNECT is accepted: the connection ends, in MQTT 5 with these codes at most.
    #[track_caller]
    pub(crate) fn not_accepted(&mut self, codes: &[u8]) {
        if let Some(code) = self.ends() {
            assert!(self.version == 5 && codes.contains(&code), "Reason Code {code:#x}");
        }
    }

    pub(crate) fn disconnect(mut self) {
        self.send([0xE0, 0]);
        assert_eq!(self.ends(), None);
    }

    /// PINGREQ is answered: the connection lives.
    #[track_caller]
    pub(crate) fn lives(&mut self) {
        self.send([0xC0, 0]);
        self.expect(&Packet::Pingresp);
    }
}
