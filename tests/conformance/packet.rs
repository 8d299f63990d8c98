//! Packets as bytes, written from the specification and not from the code that is tested.
use crate::client::{Client, unique};

/// Properties of a received packet, in their order: identifier and the bytes of the value.
pub(crate) type Properties = Vec<(u8, Vec<u8>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    pub(crate) id: u16,
    pub(crate) properties: Properties,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The values of the properties with this identifier.
    pub(crate) fn property(&self, id: u8) -> Vec<&[u8]> {
        values(&self.properties, id)
    }
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    Connack {
        present: bool,
        code: u8,
        properties: Properties,
    },
    Publish(Message),
    /// PUBACK 4, PUBREC 5, PUBREL 6, PUBCOMP 7.
    Ack {
        kind: u8,
        id: u16,
        code: u8,
        properties: Properties,
    },
    Suback {
        id: u16,
        codes: Vec<u8>,
        properties: Properties,
    },
    Unsuback {
        id: u16,
        codes: Vec<u8>,
        properties: Properties,
    },
    Pingresp,
    Disconnect {
        code: u8,
        properties: Properties,
    },
    Auth {
        code: u8,
        properties: Properties,
    },
}

pub(crate) fn values(properties: &Properties, id: u8) -> Vec<&[u8]> {
    properties.iter().filter(|property| property.0 == id).map(|property| property.1.as_slice()).collect()
}

pub(crate) fn number(properties: &Properties, id: u8) -> Option<u32> {
    let found = values(properties, id);
    assert!(found.len() < 2, "property {id:#x} twice");
    found.first().map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// Takes bytes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        assert!(count <= self.0.len(), "{count} bytes wanted, there are {:x?}", self.0);
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn binary(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.take(length.into())
    }

    fn string(&mut self) -> String {
        let text = String::from_utf8(self.binary().to_vec()).unwrap();
        assert!(!text.contains('\0'), "U+0000 in {text:?}"); // [MQTT-1.5.4-2]
        text
    }

    fn varint(&mut self) -> usize {
        let (value, length) = varint_at(self.0).unwrap();
        assert_eq!(varint(value).len(), length, "a Variable Byte Integer of more bytes than needed"); // [MQTT-1.5.5-1]
        self.take(length);
        value
    }

    fn properties(&mut self, allowed: &[u8]) -> Properties {
        let length = self.varint();
        let mut inner = Reader(self.take(length));
        let mut found = Vec::new();
        while !inner.0.is_empty() {
            let id = inner.u8();
            assert!(allowed.contains(&id), "property {id:#x} is not allowed here");
            let value = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => inner.take(1).to_vec(),
                0x13 | 0x21 | 0x22 | 0x23 => inner.take(2).to_vec(),
                0x02 | 0x11 | 0x18 | 0x27 => inner.take(4).to_vec(),
                0x0B => (inner.varint() as u32).to_be_bytes().to_vec(),
                0x09 | 0x16 => inner.binary().to_vec(),
                0x26 => {
                    let (name, value) = (inner.string(), inner.string());
                    format!("{name}={value}").into_bytes()
                }
                _ => inner.string().into_bytes(),
            };
            let again = found.iter().any(|property: &(u8, Vec<u8>)| property.0 == id);
            assert!(!again || matches!(id, 0x0B | 0x26), "property {id:#x} twice");
            found.push((id, value));
        }
        found
    }
}

fn varint_at(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    assert!(bytes.len() < 4, "a Variable Byte Integer of more than four bytes");
    None
}

pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = value > 0x7F;
        bytes.push((value & 0x7F) as u8 | if more { 0x80 } else { 0 });
        value >>= 7;
        if !more {
            return bytes;
        }
    }
}

fn code(code: u8, allowed: &[u8]) -> u8 {
    assert!(allowed.contains(&code), "Reason Code {code:#x} does not exist there");
    code
}

const CONNACK_CODES: &[u8] = &[
    0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B,
    0x9C, 0x9D, 0x9F,
];
/// Those that a server sends.
const DISCONNECT_CODES: &[u8] = &[
    0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

/// The first packet and its length; `None`: it is not whole. Panics at what a server must not send.
pub(crate) fn parse(bytes: &[u8], version: u8) -> Option<(Packet, usize)> {
    let first = *bytes.first()?;
    let (remaining, width) = varint_at(&bytes[1..])?;
    let length = 1 + width + remaining;
    let body = bytes.get(1 + width..length)?;
    assert_eq!(varint(remaining).len(), width, "Remaining Length of more bytes than needed");
    Some((body_of(first, body, version), length))
}

fn body_of(first: u8, body: &[u8], version: u8) -> Packet {
    let (kind, flags, v5) = (first >> 4, first & 0x0F, version == 5);
    let expected = if kind == 6 { 2 } else { 0 };
    assert!(kind == 3 || flags == expected, "flags {flags:#x} of packet type {kind}"); // [MQTT-2.1.3-1]
    let mut reader = Reader(body);
    let packet = match kind {
        2 => {
            let present = reader.u8();
            assert!(present < 2, "reserved bits of CONNACK"); // [MQTT-3.2.2-1]
            let reason = reader.u8();
            let reason = if v5 { code(reason, CONNACK_CODES) } else { code(reason, &[0, 1, 2, 3, 4, 5]) };
            let allowed =
                [0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A];
            let properties = if v5 { reader.properties(&allowed) } else { Vec::new() };
            Packet::Connack { present: present == 1, code: reason, properties }
        }
        3 => {
            let (dup, qos, retain) = (flags & 8 != 0, flags >> 1 & 3, flags & 1 != 0);
            assert!(qos < 3, "QoS 3"); // [MQTT-3.3.1-4]
            assert!(qos > 0 || !dup, "DUP at QoS 0"); // [MQTT-3.3.1-2]
            let topic = reader.string();
            let id = if qos > 0 { reader.u16() } else { 0 };
            assert!(qos == 0 || id > 0, "Packet Identifier 0"); // [MQTT-2.2.1-4]
            let allowed = [0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];
            let properties = if v5 { reader.properties(&allowed) } else { Vec::new() };
            assert!(!topic.contains(['#', '+']), "a wildcard in {topic:?}"); // [MQTT-3.3.2-2]
            Packet::Publish(Message {
                dup,
                qos,
                retain,
                topic,
                id,
                properties,
                payload: reader.take(reader.0.len()).to_vec(),
            })
        }
        4..=7 => {
            let id = reader.u16();
            let more = v5 && !reader.0.is_empty();
            let reason = if more { reader.u8() } else { 0 };
            let reason = match kind {
                4 | 5 => code(reason, &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
                _ => code(reason, &[0, 0x92]),
            };
            let more = more && !reader.0.is_empty();
            let properties = if more { reader.properties(&[0x1F, 0x26]) } else { Vec::new() };
            Packet::Ack { kind, id, code: reason, properties }
        }
        9 | 11 => {
            let id = reader.u16();
            let properties = if v5 { reader.properties(&[0x1F, 0x26]) } else { Vec::new() };
            let allowed: &[u8] = match (kind, v5) {
                (9, true) => &[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
                (9, false) => &[0, 1, 2, 0x80],
                (_, true) => &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
                (_, false) => &[],
            };
            let codes = reader.take(reader.0.len()).iter().map(|reason| code(*reason, allowed)).collect();
            if kind == 9 {
                Packet::Suback { id, codes, properties }
            } else {
                Packet::Unsuback { id, codes, properties }
            }
        }
        13 => Packet::Pingresp,
        14 if v5 => {
            let reason = if reader.0.is_empty() { 0 } else { code(reader.u8(), DISCONNECT_CODES) };
            // Not 0x11: a server never says its Session Expiry Interval ([MQTT-3.14.2-2]).
            let properties = if reader.0.is_empty() { Vec::new() } else { reader.properties(&[0x1C, 0x1F, 0x26]) };
            Packet::Disconnect { code: reason, properties }
        }
        15 if v5 => {
            let reason = if reader.0.is_empty() { 0 } else { code(reader.u8(), &[0, 0x18]) };
            let properties =
                if reader.0.is_empty() { Vec::new() } else { reader.properties(&[0x15, 0x16, 0x1F, 0x26]) };
            Packet::Auth { code: reason, properties }
        }
        _ => panic!("packet type {kind} from a server of version {version}"),
    };
    assert!(reader.0.is_empty(), "{:x?} after packet type {kind}", reader.0);
    packet
}

/// A packet from its first byte and what follows the Remaining Length.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], varint(body.len()).as_slice(), body].concat()
}

/// A length of two bytes, then the bytes.
pub(crate) fn binary(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// Property Length and properties; nothing in 3.1.1.
fn prefixed(version: u8, properties: &[u8]) -> Vec<u8> {
    if version == 5 { [varint(properties.len()).as_slice(), properties].concat() } else { Vec::new() }
}

/// A property of an identifier and a value.
pub(crate) fn property(id: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[id], value.as_ref()].concat()
}

/// PUBACK 4, PUBREC 5, PUBREL 6, PUBCOMP 7 with success.
pub(crate) fn ack(kind: u8, id: u16) -> Vec<u8> {
    frame(kind << 4 | if kind == 6 { 2 } else { 0 }, &id.to_be_bytes())
}

/// The same with a Reason Code, in MQTT 5.
pub(crate) fn ack_with(kind: u8, id: u16, code: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    frame(kind << 4 | if kind == 6 { 2 } else { 0 }, &[high, low, code])
}

pub(crate) fn subscribe(version: u8, id: u16, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<u8> =
        filters.iter().flat_map(|(filter, options)| [binary(filter), vec![*options]].concat()).collect();
    frame(0x82, &[&id.to_be_bytes(), prefixed(version, properties).as_slice(), &filters].concat())
}

pub(crate) fn unsubscribe(version: u8, id: u16, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(binary).collect();
    frame(0xA2, &[&id.to_be_bytes(), prefixed(version, &[]).as_slice(), &filters].concat())
}

/// A PUBLISH in the making.
#[derive(Clone)]
pub(crate) struct Publish {
    pub(crate) topic: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    pub(crate) fn new(topic: &str, qos: u8, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        Self { topic: topic.into(), qos, retain: false, dup: false, id: 1, properties: Vec::new(), payload }
    }

    pub(crate) fn retained(topic: &str, qos: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { retain: true, ..Self::new(topic, qos, payload) }
    }

    pub(crate) fn id(self, id: u16) -> Self {
        Self { id, ..self }
    }

    pub(crate) fn dup(self) -> Self {
        Self { dup: true, ..self }
    }

    pub(crate) fn with(mut self, id: u8, value: impl AsRef<[u8]>) -> Self {
        self.properties.extend(property(id, value));
        self
    }

    pub(crate) fn bytes(&self, version: u8) -> Vec<u8> {
        let first = 0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let id = if self.qos > 0 { self.id.to_be_bytes().to_vec() } else { Vec::new() };
        frame(first, &[binary(&self.topic), id, prefixed(version, &self.properties), self.payload.clone()].concat())
    }
}

/// A Will in the making.
#[derive(Clone)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<u8>,
}

/// A CONNECT in the making.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) version: u8,
    pub(crate) client_id: Vec<u8>,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) will: Option<Will>,
    pub(crate) username: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
    /// Exclusive or with the Connect Flags: what is wrong with them.
    pub(crate) wrong: u8,
}

impl Connect {
    pub(crate) fn new(version: u8, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.into(),
            clean: true,
            keep_alive: 0,
            properties: Vec::new(),
            will: None,
            username: None,
            password: None,
            wrong: 0,
        }
    }

    /// Of a session that is kept, and resumed where it is there.
    pub(crate) fn kept(version: u8, client_id: &str) -> Self {
        let connect = Self { clean: false, ..Self::new(version, client_id) };
        if version == 5 { connect.with(0x11, 3600_u32.to_be_bytes()) } else { connect }
    }

    pub(crate) fn with(mut self, id: u8, value: impl AsRef<[u8]>) -> Self {
        self.properties.extend(property(id, value));
        self
    }

    pub(crate) fn will(self, topic: &str, qos: u8, retain: bool) -> Self {
        let will = Will { topic: topic.into(), payload: b"will".to_vec(), qos, retain, properties: Vec::new() };
        Self { will: Some(will), ..self }
    }

    pub(crate) fn clean(self, clean: bool) -> Self {
        Self { clean, ..self }
    }

    pub(crate) fn wrong(self, wrong: u8) -> Self {
        Self { wrong, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        let mut payload = binary(&self.client_id);
        if let Some(will) = &self.will {
            flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
            payload.extend(prefixed(self.version, &will.properties));
            payload.extend([binary(&will.topic), binary(&will.payload)].concat());
        }
        if let Some(username) = &self.username {
            flags |= 0x80;
            payload.extend(binary(username));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            payload.extend(binary(password));
        }
        let mut body = binary("MQTT");
        body.extend([self.version, flags ^ self.wrong]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(prefixed(self.version, &self.properties));
        frame(0x10, &[body, payload].concat())
    }

    /// Sends it on a connection of its own and reads nothing.
    pub(crate) fn sent(&self) -> Client {
        self.sent_to(crate::broker::shared())
    }

    pub(crate) fn sent_to(&self, address: std::net::SocketAddr) -> Client {
        let mut client = Client::open_at(address, self.version);
        client.send(self.bytes());
        client
    }

    /// It must be accepted; the client, Session Present and the properties.
    #[track_caller]
    pub(crate) fn accepted(&self) -> (Client, bool, Properties) {
        self.accepted_at(crate::broker::shared())
    }

    #[track_caller]
    pub(crate) fn accepted_at(&self, address: std::net::SocketAddr) -> (Client, bool, Properties) {
        let mut client = self.sent_to(address);
        match client.receive() {
            Packet::Connack { present, code: 0, properties } => (client, present, properties),
            other => panic!("{other:?} instead of CONNACK with success"),
        }
    }

    /// It must be refused, with this code in MQTT 5 and that in 3.1.1 (`None`: closed without a word).
    #[track_caller]
    pub(crate) fn refused(&self, v5: Option<u8>, v4: Option<u8>) {
        let mut client = self.sent();
        let wanted = if self.version == 5 { v5 } else { v4 };
        let said = client.ends();
        assert_eq!(said, wanted, "Reason Code in hexadecimal: {said:x?}, not {wanted:x?}");
    }
}

/// A client of both versions, for what they say alike.
pub(crate) fn both(test: impl Fn(u8)) {
    test(4);
    test(5);
}

/// A topic of its own.
pub(crate) fn topic() -> String {
    format!("t/{}", unique())
}
