//! The identity of a message: a fixed binary header at the start of its payload, by which a receiver knows exactly
//! which message arrived and whether it arrived as it was sent.
//!
//! ```text
//! offset  0  magic    "MQLB"
//!         4  version  u16        all numbers big endian, as in MQTT
//!         6  load     u16        index of the load in the plan
//!         8  run      u64        tells this run from an earlier one on the same broker
//!        16  seq      u64        position within the load, from 0
//!        24  sent_us  u64        when it was first sent, microseconds since the start of the timeline
//!        32  header   u32        CRC-32 of bytes 0 to 31
//!        36  whole    u32        CRC-32 of bytes 0 to 35 and of the rest of the payload
//!        40  filler              derived from seq
//! ```
//! Two checksums, so that of an altered payload it can still be said, and relied upon, which message it was.

/// The size of the header: no payload can be smaller.
pub const PAYLOAD_HEADER_BYTES: usize = 40;

const MAGIC: [u8; 4] = *b"MQLB";
const VERSION: u16 = 1;
const HEADER_CHECKSUM: usize = 32;
const WHOLE_CHECKSUM: usize = 36;

/// Which message a payload belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The run that published it.
    pub run: u64,
    /// Index of the load in the plan.
    pub load: u16,
    /// Position within the load, from 0.
    pub seq: u64,
    /// When it was first sent, microseconds since the start of the timeline.
    pub sent_us: u64,
}

/// Why a payload is not what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not carry a readable header: nothing of ours, or altered beyond recognition.
    #[error("the payload has no readable header: {0}")]
    Foreign(&'static str),
    /// The header is whole and the rest is not.
    #[error("the payload was altered or cut short on its way")]
    Altered(Identity),
}

/// A payload of `size` bytes that carries an identity; of [`PAYLOAD_HEADER_BYTES`] where `size` is smaller.
/// The same arguments always make the same bytes.
pub fn encode(run: u64, load: u16, seq: u64, sent_us: u64, size: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(size.max(PAYLOAD_HEADER_BYTES));
    payload.extend_from_slice(&MAGIC);
    payload.extend_from_slice(&VERSION.to_be_bytes());
    payload.extend_from_slice(&load.to_be_bytes());
    payload.extend_from_slice(&run.to_be_bytes());
    payload.extend_from_slice(&seq.to_be_bytes());
    payload.extend_from_slice(&sent_us.to_be_bytes());
    payload.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
    let filler = (PAYLOAD_HEADER_BYTES..size).map(|offset| (seq as u8).wrapping_add(offset as u8));
    let filler: Vec<u8> = filler.collect();
    payload.extend_from_slice(&whole_checksum(&payload, &filler).to_be_bytes());
    payload.extend_from_slice(&filler);
    payload
}

/// Reads the identity back.
///
/// # Errors
/// [`Damage`] where the payload is not exactly what [`encode`] made.
pub fn decode(payload: &[u8]) -> Result<Identity, Damage> {
    let Some((header, rest)) = payload.split_at_checked(PAYLOAD_HEADER_BYTES) else {
        return Err(Damage::Foreign("it is shorter than one"));
    };
    if header[..4] != MAGIC {
        return Err(Damage::Foreign("it does not begin with MQLB"));
    }
    if number(header, HEADER_CHECKSUM, 4) != u64::from(crc32fast::hash(&header[..HEADER_CHECKSUM])) {
        return Err(Damage::Foreign("the checksum of the header does not fit"));
    }
    if number(header, 4, 2) != u64::from(VERSION) {
        return Err(Damage::Foreign("it is of another version"));
    }
    let identity = Identity {
        load: number(header, 6, 2) as u16,
        run: number(header, 8, 8),
        seq: number(header, 16, 8),
        sent_us: number(header, 24, 8),
    };
    let whole = u64::from(whole_checksum(&header[..WHOLE_CHECKSUM], rest));
    if number(header, WHOLE_CHECKSUM, 4) == whole { Ok(identity) } else { Err(Damage::Altered(identity)) }
}

fn whole_checksum(header: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(rest);
    hasher.finalize()
}

fn number(bytes: &[u8], offset: usize, length: usize) -> u64 {
    bytes[offset..offset + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes(run: u64, load: u16, seq: u64, sent_us: u64, size in 40usize..400) {
            let payload = encode(run, load, seq, sent_us, size);
            prop_assert_eq!(payload.len(), size);
            prop_assert_eq!(decode(&payload), Ok(Identity { run, load, seq, sent_us }));
        }

        #[test]
        fn a_flipped_bit_is_noticed_and_no_other_message_accused(seq: u64, bit in 0usize..64 * 8) {
            let mut payload = encode(7, 3, seq, 9, 64);
            payload[bit / 8] ^= 1 << (bit % 8);
            match decode(&payload) {
                Err(Damage::Altered(identity)) => {
                    prop_assert!(bit / 8 >= WHOLE_CHECKSUM);
                    prop_assert_eq!((identity.load, identity.seq), (3, seq));
                }
                Err(Damage::Foreign(_)) => prop_assert!(bit / 8 < WHOLE_CHECKSUM),
                Ok(_) => prop_assert!(false, "bit {} was flipped and nobody noticed", bit),
            }
        }
    }

    #[test]
    fn a_payload_cut_short_or_made_longer_is_altered() {
        let payload = encode(1, 2, 3, 4, 64);
        let longer = [payload.as_slice(), b"x"].concat();
        for altered in [&payload[..63], &payload[..40], &longer] {
            assert!(matches!(decode(altered), Err(Damage::Altered(identity)) if identity.seq == 3));
        }
        assert!(matches!(decode(&payload[..39]), Err(Damage::Foreign(_))));
        assert!(matches!(decode(&[b'x'; 64]), Err(Damage::Foreign(_))));
    }
}
