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
    let mut remaining = 0;
    for (position, byte) in rest.iter().take(LONGEST_HEADER - 1).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(Some(Frame { kind: first >> 4, length: 2 + position + remaining }));
        }
    }
    match bytes.len() < LONGEST_HEADER {
        true => Ok(None),
        false => Err(WireError::new(ReasonCode::MALFORMED_PACKET, "Remaining Length")),
    }
}

#[cfg(test)]
mod tests {
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
}
