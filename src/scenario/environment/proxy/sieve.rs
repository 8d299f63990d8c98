//! One direction of one connection, packet by packet: chosen acknowledgements are taken out whole, all else passes as
//! it comes; pure.
//!
//! It follows the stream from its first byte, whether or not there is anything to take out yet, so that it always knows
//! where a packet begins. A stream that is no MQTT passes as it is.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::link::{Effect, Impairment};
use crate::bridge::wire;
use crate::scenario::plan::{Acknowledgement, Acknowledgements, Direction};

/// How many packets each impairment has seen, over all connections: a bridge that connects anew must not begin to count
/// anew, or it might meet the same fate with the same packet for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(Arc<Mutex<HashMap<usize, u32>>>);

impl Counts {
    /// Forgets the impairments that are gone.
    pub(super) fn keep(&self, impairments: &[Impairment]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|number, _| impairments.iter().any(|impairment| impairment.number == *number));
    }

    /// Counts one more; whether it is one of those that are meant.
    fn is_meant(&self, number: usize, every: u32) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(number).or_default();
        *count = (*count + 1) % every.max(1);
        *count == 0
    }
}

/// What comes out of a sieve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes that go on.
    Pass {
        /// They.
        bytes: Vec<u8>,
        /// They end where a packet ends.
        whole: bool,
    },
    /// A packet that goes on later, between any two others.
    Hold {
        /// It.
        packet: Vec<u8>,
        /// So much later,
        by: Duration,
        /// and up to so much more.
        jitter: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Swallow,
    Hold(Duration, Duration),
}

/// A sieve in its place.
#[derive(Debug)]
pub(super) struct Sieve {
    direction: Direction,
    counts: Counts,
    /// A fixed header that is not whole yet.
    header: Vec<u8>,
    /// Bytes to the end of the packet.
    left: usize,
    fate: Fate,
    /// What there is of a packet that is to be held.
    packet: Vec<u8>,
    is_mqtt: bool,
}

impl Sieve {
    pub(super) fn new(direction: Direction, counts: Counts) -> Self {
        let (header, packet) = (Vec::new(), Vec::new());
        Self { direction, counts, header, left: 0, fate: Fate::Pass, packet, is_mqtt: true }
    }

    /// What becomes of the next bytes.
    pub(super) fn feed(&mut self, mut input: &[u8], impairments: &[Impairment]) -> Vec<Piece> {
        let (mut pieces, mut passing) = (Vec::new(), Vec::with_capacity(input.len()));
        while !input.is_empty() && self.is_mqtt {
            if self.left == 0 {
                self.header.push(input[0]);
                input = &input[1..];
                self.begin(impairments, &mut passing);
            } else {
                let (now, later) = input.split_at(self.left.min(input.len()));
                self.left -= now.len();
                input = later;
                match self.fate {
                    Fate::Pass => passing.extend_from_slice(now),
                    Fate::Swallow => {}
                    Fate::Hold(..) => self.packet.extend_from_slice(now),
                }
            }
            if let Fate::Hold(by, jitter) = self.fate
                && self.left == 0
                && !self.packet.is_empty()
            {
                if !passing.is_empty() {
                    pieces.push(Piece::Pass { bytes: std::mem::take(&mut passing), whole: true });
                }
                pieces.push(Piece::Hold { packet: std::mem::take(&mut self.packet), by, jitter });
            }
        }
        passing.extend_from_slice(input);
        if !passing.is_empty() {
            let within = self.left > 0 && self.fate == Fate::Pass;
            pieces.push(Piece::Pass { bytes: passing, whole: self.is_mqtt && !within });
        }
        pieces
    }

    /// A packet begins, once its header is whole.
    fn begin(&mut self, impairments: &[Impairment], passing: &mut Vec<u8>) {
        match wire::frame(&self.header) {
            Ok(None) => {}
            Ok(Some(frame)) => {
                self.left = frame.length - self.header.len();
                self.fate = self.decide(frame.kind, impairments);
                match self.fate {
                    Fate::Pass => passing.append(&mut self.header),
                    Fate::Swallow => self.header.clear(),
                    Fate::Hold(..) => self.packet.append(&mut self.header),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "not MQTT: it passes as it is");
                self.is_mqtt = false;
                passing.append(&mut self.header);
            }
        }
    }

    fn decide(&self, kind: u8, impairments: &[Impairment]) -> Fate {
        let means = |only: &Acknowledgements| only.packets.iter().any(|packet| of(*packet) == (kind, self.direction));
        let mut fate = Fate::Pass;
        for Impairment { number, effect } in impairments {
            let (only, meant) = match effect {
                Effect::Swallow(only) => (only, Fate::Swallow),
                Effect::Hold { only, by, jitter } => (only, Fate::Hold(*by, *jitter)),
                Effect::Delay { .. } | Effect::Throttle(_) | Effect::Loss(_) => continue,
            };
            // Counted by each, whatever another does with it; what is swallowed cannot be held.
            if means(only) && self.counts.is_meant(*number, only.every) && fate != Fate::Swallow {
                fate = meant;
            }
        }
        fate
    }

    /// The stream has ended: what was begun goes on as it is.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mut begun = std::mem::take(&mut self.packet);
        begun.append(&mut self.header);
        begun
    }
}

/// Packet type and direction of an acknowledgement of what the subject brings to the remote.
fn of(packet: Acknowledgement) -> (u8, Direction) {
    match packet {
        Acknowledgement::Puback => (4, Direction::ToBridge),
        Acknowledgement::Pubrec => (5, Direction::ToBridge),
        Acknowledgement::Pubrel => (6, Direction::ToRemote),
        Acknowledgement::Pubcomp => (7, Direction::ToBridge),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::bridge::message::{Message, QoS};
    use crate::bridge::wire::{Ack, Packet, Publish, Version, encode};

    fn bytes(packet: &Packet) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(packet, Version::V5, &mut bytes);
        bytes
    }

    fn publish(payload: usize) -> Vec<u8> {
        let message = Message::new("t", vec![7; payload], QoS::AtLeastOnce);
        bytes(&Packet::Publish(Publish::new(Arc::new(message), 1)))
    }

    fn puback(packet_id: u16) -> Vec<u8> {
        bytes(&Packet::Puback(Ack::success(packet_id)))
    }

    fn swallow(packets: &[Acknowledgement], every: u32) -> Vec<Impairment> {
        let only = Acknowledgements { packets: packets.to_vec(), every };
        vec![Impairment { number: 0, effect: Effect::Swallow(only) }]
    }

    fn passed(pieces: Vec<Piece>) -> Vec<u8> {
        let pass = |piece| match piece {
            Piece::Pass { bytes, .. } => bytes,
            Piece::Hold { .. } => Vec::new(),
        };
        pieces.into_iter().flat_map(pass).collect()
    }

    #[test]
    fn every_so_manieth_of_the_chosen_packets_is_taken_out_whole_over_all_connections() {
        let (rules, counts) = (swallow(&[Acknowledgement::Puback], 3), Counts::default());
        let mut first = Sieve::new(Direction::ToBridge, counts.clone());
        let stream = [puback(1), bytes(&Packet::Pingresp), puback(2), publish(9), puback(3), puback(4)].concat();
        let expected = [puback(1), bytes(&Packet::Pingresp), puback(2), publish(9), puback(4)].concat();
        assert_eq!(passed(first.feed(&stream, &rules)), expected);
        let mut second = Sieve::new(Direction::ToBridge, counts);
        assert_eq!(
            passed(second.feed(&[puback(5), puback(6), puback(7)].concat(), &rules)),
            [puback(5), puback(7)].concat()
        );
        let mut other = Sieve::new(Direction::ToRemote, Counts::default());
        assert_eq!(passed(other.feed(&puback(1), &swallow(&[Acknowledgement::Puback], 1))), puback(1));
    }

    #[test]
    fn a_held_packet_comes_out_by_itself() {
        let only = Acknowledgements { packets: vec![Acknowledgement::Pubrec], every: 1 };
        let (by, jitter) = (Duration::from_secs(1), Duration::ZERO);
        let rules = [Impairment { number: 0, effect: Effect::Hold { only, by, jitter } }];
        let mut sieve = Sieve::new(Direction::ToBridge, Counts::default());
        let pubrec = bytes(&Packet::Pubrec(Ack::success(300)));
        let expected = [
            Piece::Pass { bytes: puback(1), whole: true },
            Piece::Hold { packet: pubrec.clone(), by, jitter },
            Piece::Pass { bytes: publish(3)[..4].to_vec(), whole: false },
        ];
        assert_eq!(sieve.feed(&[puback(1), pubrec, publish(3)[..4].to_vec()].concat(), &rules), expected);
    }

    #[test]
    fn what_is_no_mqtt_passes_as_it_is() {
        let mut sieve = Sieve::new(Direction::ToBridge, Counts::default());
        let rules = swallow(&[Acknowledgement::Puback], 1);
        let strange = [0x40, 0xFF, 0xFF, 0xFF, 0xFF, 0x40, 0x02, 0, 1];
        let mut all = passed(sieve.feed(&strange[..3], &rules));
        all.extend(passed(sieve.feed(&strange[3..], &rules)));
        all.extend(sieve.end());
        assert_eq!(all, strange);
    }

    /// All that comes out, what is held among it.
    fn all(pieces: Vec<Piece>) -> Vec<u8> {
        let bytes = |piece| match piece {
            Piece::Pass { bytes, .. } => bytes,
            Piece::Hold { packet, .. } => packet,
        };
        pieces.into_iter().flat_map(bytes).collect()
    }

    /// What comes out of a stream that arrives in pieces of these lengths, and ends.
    fn sifted(stream: &[u8], cuts: &[usize], rules: &[Impairment]) -> Vec<u8> {
        let mut sieve = Sieve::new(Direction::ToBridge, Counts::default());
        let (mut rest, mut out) = (stream, Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            out.extend(all(sieve.feed(now, rules)));
            rest = later;
        }
        out.extend(sieve.end());
        out
    }

    proptest! {
        /// Of any bytes, MQTT or not, none is lost but what is to be swallowed, however they come.
        #[test]
        fn no_byte_is_lost(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x40), Just(0x50), Just(2), Just(0)], 0..300),
            cuts in prop::collection::vec(1usize..9, 1..40),
            every in 1u32..4,
        ) {
            let only = Acknowledgements { packets: vec![Acknowledgement::Puback, Acknowledgement::Pubrec], every };
            let hold = Effect::Hold { only, by: Duration::from_secs(1), jitter: Duration::ZERO };
            let held = [Impairment { number: 0, effect: hold }];
            prop_assert_eq!(&sifted(&bytes, &cuts, &[]), &bytes);
            prop_assert_eq!(&sifted(&bytes, &cuts, &held), &bytes);
            let rules = swallow(&[Acknowledgement::Puback, Acknowledgement::Pubrec], every);
            prop_assert_eq!(sifted(&bytes, &cuts, &rules), sifted(&bytes, &[bytes.len().max(1)], &rules));
        }

        /// However the stream is cut into pieces, the same packets are taken out.
        #[test]
        fn pieces_make_no_difference(
            packets in prop::collection::vec(0usize..4, 0..30),
            cuts in prop::collection::vec(1usize..9, 1..40),
            every in 1u32..4,
        ) {
            let packet = |which| match which {
                0 => puback(1),
                1 => bytes(&Packet::Pubrec(Ack::success(2))),
                2 => publish(200),
                _ => bytes(&Packet::Pingresp),
            };
            let stream: Vec<u8> = packets.iter().flat_map(|which| packet(*which)).collect();
            let rules = swallow(&[Acknowledgement::Puback, Acknowledgement::Pubrec], every);
            prop_assert_eq!(sifted(&stream, &cuts, &rules), sifted(&stream, &[stream.len().max(1)], &rules));
        }
    }
}
