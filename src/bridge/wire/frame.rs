//! Where one Control Packet ends and the next begins, without a look inside.
use super::{ReasonCode, WireError};

/// What the fixed header says (MQTT 5, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// MQTT Control Packet type, 0 to 15.
    pub kind: u8,
    /// Bytes of the whole packet, fixed header included.
    pub length: usize,
}

/// Bytes of a fixed header, at most.
const LONGEST_HEADER: usize = 5;

/// Reads the fixed header at the front of `bytes`; `None`: more bytes are needed.
///
/// # Errors
/// [`WireError`] where the Remaining Length is malformed: this is no MQTT.
pub fn frame(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    match variable_byte_integer(rest) {
        Some((remaining, digits)) => Ok(Some(Frame { kind: first >> 4, length: 1 + digits + remaining })),
        None if bytes.len() < LONGEST_HEADER => Ok(None),
        None => Err(WireError::new(ReasonCode::MALFORMED_PACKET, "Remaining Length")),
    }
}

/// A Variable Byte Integer at the front of `bytes` and its number of bytes (MQTT 5, section 1.5.5); `None` where it is
/// not whole, or longer than it may be.
pub(super) fn variable_byte_integer(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (position, byte) in bytes.iter().take(LONGEST_HEADER - 1).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((value, position + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Ack, Packet, Version, encode};
    use super::*;

    #[test]
    fn a_header_is_read_as_soon_as_it_is_whole() {
        let mut bytes = Vec::new();
        encode(&Packet::Puback(Ack::success(1)), Version::V4, &mut bytes);
        assert_eq!(frame(&bytes), Ok(Some(Frame { kind: 4, length: 4 })));
        assert_eq!([frame(&[]), frame(&bytes[..1]), frame(&[0x30, 0x80])], [Ok(None), Ok(None), Ok(None)]);
        assert_eq!(frame(&[0x30, 0x80, 0x80, 0x01]), Ok(Some(Frame { kind: 3, length: 16_388 })));
        assert!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80]).is_err());
    }

    proptest! {
        /// Of anything: more bytes never change what fewer have said, and five are always enough.
        #[test]
        fn whatever_comes_is_said_once(bytes in prop::collection::vec(any::<u8>(), 0..9)) {
            let said: Vec<_> = (0..=bytes.len()).map(|length| frame(&bytes[..length])).collect();
            let first = said.iter().position(|said| *said != Ok(None)).unwrap_or(said.len());
            prop_assert!(said[first..].iter().all(|later| *later == said[first]), "{:?}", said);
            prop_assert!(first == said.len() || first <= LONGEST_HEADER, "{:?}", said);
            prop_assert!(bytes.len() < LONGEST_HEADER || first < said.len(), "{:?}", said);
            if let Some(Ok(Some(found))) = said.last() {
                prop_assert!(found.length >= first && found.kind == bytes[0] >> 4, "{:?}", found);
            }
        }
    }
}
