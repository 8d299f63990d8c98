//! One row of NanoMQ's `mqtt_client.db`: the serialised message in its `data`.
//!
//! Numbers are big-endian: the length of the fixed header (u32), the fixed header, the length of the rest of the packet
//! (u32), the rest, then what meant something to the process alone (the address of an aio, and room for a time): 16 bytes,
//! or 12 where pointers have 4.
use crate::bridge::message::Message;
use crate::bridge::wire::{Decoder, Packet, Version};

/// The longest packet that MQTT can carry, in bytes.
const MAXIMUM: u32 = 5 + 268_435_455;

/// Why a row holds no message that could be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    #[error("{bytes} bytes end within its {part}")]
    CutShort { bytes: usize, part: &'static str },
    #[error("{0} bytes behind the packet, where NanoMQ writes 16 (12 on 32 bits)")]
    Trailer(usize),
    #[error("its packet is {found} bytes and says that it is of another length")]
    Length { found: usize },
    #[error("its packet cannot be read: {0}")]
    Malformed(String),
    #[error("a {0}, which is no message")]
    NoMessage(&'static str),
    #[error("protocol version {0}, which is none of 3, 4 and 5")]
    Version(i64),
}

/// The message that a row holds. Its Packet Identifier and its DUP flag belong to a session that is gone.
pub(super) fn message(data: &[u8], proto_ver: i64) -> Result<Message, RowError> {
    let version = match proto_ver {
        3 | 4 => Version::V4,
        5 => Version::V5,
        other => return Err(RowError::Version(other)),
    };
    let cut_short = |part| RowError::CutShort { bytes: data.len(), part };
    let (header, rest) = counted(data).ok_or_else(|| cut_short("fixed header"))?;
    let (body, trailer) = counted(rest).ok_or_else(|| cut_short("packet"))?;
    if !matches!(trailer.len(), 12 | 16) {
        return Err(RowError::Trailer(trailer.len()));
    }
    let packet = [header, body].concat();
    let mut left = packet.as_slice();
    let decoded = Decoder::stored(version, MAXIMUM).decode(&mut left);
    match decoded.map_err(|error| RowError::Malformed(error.to_string()))? {
        Some(_) if !left.is_empty() => Err(RowError::Length { found: packet.len() }),
        None => Err(RowError::Length { found: packet.len() }),
        Some(Packet::Publish(publish)) => Ok(Message::clone(&publish.message)),
        Some(other) => Err(RowError::NoMessage(other.name())),
    }
}

/// The bytes behind a length, and what follows them.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::QoS;
    use crate::bridge::wire::encode;

    /// Row 61 of the fixture, as `sqlite3` prints it in hexadecimal.
    const ROW_61: &str = "00000002345200000052000E6C6F6164322F73656E736F722D32003D230300106170706C69636174696F6E2F6A736F6E2600047369\
                          74650007706C616E742D377B22736571223A312C2274656D7065726174757265223A32312E357D0000000000000000000000000000\
                          0000";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn row(message: Message, version: Version, packet_id: u16) -> Vec<u8> {
        use crate::bridge::wire::Publish;
        let mut packet = Vec::new();
        encode(&Packet::Publish(Publish::new(std::sync::Arc::new(message), packet_id)), version, &mut packet);
        let digits = packet[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let (header, body) = packet.split_at(1 + digits);
        [&(header.len() as u32).to_be_bytes(), header, &(body.len() as u32).to_be_bytes(), body, &[0; 16]].concat()
    }

    #[test]
    fn a_row_that_nanomq_wrote_is_read_byte_by_byte() {
        let message = message(&bytes(ROW_61), 5).unwrap();
        assert_eq!((&*message.topic, message.qos, message.retain), ("load2/sensor-2", QoS::ExactlyOnce, false));
        assert_eq!(message.payload, &br#"{"seq":1,"temperature":21.5}"#[..]);
        assert_eq!(message.properties.other, &b"\x03\x00\x10application/json\x26\x00\x04site\x00\x07plant-7"[..]);
    }

    #[test]
    fn rows_of_every_quality_of_service_size_and_version_are_read() {
        for version in [Version::V4, Version::V5] {
            for (qos, packet_id) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 65_535)] {
                for size in [0, 1, 127, 128, 20_000, 3_000_000] {
                    let mut wanted = Message::new("a/b", vec![7; size], qos);
                    wanted.retain = size == 1;
                    let number = if version == Version::V4 { 4 } else { 5 };
                    assert_eq!(message(&row(wanted.clone(), version, packet_id), number), Ok(wanted));
                }
            }
        }
        // A Topic Alias of a connection that is gone, beside a Content Type.
        let mut wanted = Message::new("a/b", "x", QoS::AtLeastOnce);
        wanted.properties.other = (&b"\x23\x00\x05\x03\x00\x01t"[..]).into();
        let aliased = row(wanted.clone(), Version::V5, 1);
        wanted.properties.other = (&b"\x03\x00\x01t"[..]).into();
        assert_eq!(message(&aliased, 5), Ok(wanted));
        // Of NanoMQ on 32 bits.
        let short = row(Message::new("t", "x", QoS::AtLeastOnce), Version::V5, 1);
        assert!(message(&short[..short.len() - 4], 5).is_ok());
    }

    #[test]
    fn what_is_damaged_says_how() {
        let whole = bytes(ROW_61);
        for length in 0..whole.len() {
            let cut = message(&whole[..length], 5);
            assert_eq!(cut.is_ok(), length == whole.len() - 4, "{length}: {cut:?}");
        }
        assert_eq!(message(&whole, 6), Err(RowError::Version(6)));
        // MQTT 3.1.1 has no properties: they would be taken for payload, and the row says which version it is of.
        assert!(message(&whole, 4).unwrap().payload.starts_with(b"#\x03"));
        let with = |index: usize, byte: u8| {
            let mut damaged = whole.clone();
            damaged[index] = byte;
            message(&damaged, 5).unwrap_err().to_string()
        };
        assert!(with(5, 0x51).contains("of another length"), "{}", with(5, 0x51));
        assert!(with(5, 0x53).contains("of another length"), "{}", with(5, 0x53));
        assert!(with(4, 0x36).contains("cannot be read"), "{}", with(4, 0x36));
        assert!(with(12, b'#').contains("cannot be read"), "{}", with(12, b'#'));
        assert!(with(29, 0x7F).contains("cannot be read"), "{}", with(29, 0x7F));
        let pubrel = [&2u32.to_be_bytes()[..], &[0x62, 2], &2u32.to_be_bytes(), &[0, 9], &[0; 16]].concat();
        let said = message(&pubrel, 4).unwrap_err();
        assert_eq!(said, RowError::NoMessage("PUBREL"));
    }
}
