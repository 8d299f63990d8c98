//! Bytes from a peer, in both directions and versions, whole and in pieces:
//! * nothing panics, and no time or memory is taken that the input does not pay for;
//! * it does not matter in how many pieces they come;
//! * what was decoded is encoded again into something that decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_bridge::bridge::wire::{Connect, Decoder, Packet, Version, encode};

const MAXIMUM: u32 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((&how, bytes)) = data.split_first() else { return };
    let version = if how & 1 == 0 { Version::V4 } else { Version::V5 };
    let server = how & 2 != 0;
    let fresh = || {
        if !server {
            return Decoder::client(version, MAXIMUM).with_topic_alias_maximum(2);
        }
        let mut decoder = Decoder::server(MAXIMUM).with_topic_alias_maximum(2);
        if how & 4 == 0 {
            let mut connect = Vec::new();
            encode(&Packet::Connect(Box::new(Connect::new(version, "c"))), version, &mut connect);
            decoder.decode(&mut connect.as_slice()).expect("our own CONNECT");
        }
        decoder
    };
    let whole = decode_all(&mut fresh(), &mut [bytes].into_iter());
    let at = usize::from(how >> 3).min(bytes.len());
    let (front, back) = bytes.split_at(at);
    let pieces = [front].into_iter().chain(back.chunks(usize::from(how >> 4) + 1));
    assert_eq!(whole, decode_all(&mut fresh(), &mut pieces.into_iter()), "in pieces");
    for packet in whole.0 {
        round_trip(packet, version, server);
    }
});

/// The packets, and whether the connection would be closed.
fn decode_all<'a>(decoder: &mut Decoder, pieces: &mut dyn Iterator<Item = &'a [u8]>) -> (Vec<Packet>, Option<u8>) {
    let mut packets = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            match decoder.decode(&mut piece) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => assert!(piece.is_empty(), "not all was taken, and no packet came of it"),
                Err(error) => return (packets, Some(error.reason.0)),
            }
        }
    }
    (packets, None)
}

fn round_trip(packet: Packet, version: Version, server: bool) {
    let mut bytes = Vec::new();
    encode(&packet, version, &mut bytes);
    let mut decoder = if matches!(packet, Packet::Connect(_)) {
        Decoder::server(2 * MAXIMUM)
    } else if server {
        let mut decoder = Decoder::server(2 * MAXIMUM);
        let mut connect = Vec::new();
        encode(&Packet::Connect(Box::new(Connect::new(version, "c"))), version, &mut connect);
        decoder.decode(&mut connect.as_slice()).expect("our own CONNECT");
        decoder
    } else {
        Decoder::client(version, 2 * MAXIMUM)
    };
    let again = decoder.decode(&mut bytes.as_slice()).expect("what we encode is valid").expect("a whole packet");
    assert_eq!(again, packet, "{bytes:02x?}");
}
