//! When the bytes of one direction of one connection go on; pure, with the time as an argument.
//!
//! Whatever the impairments, bytes stay in order and none is lost but whole acknowledgements; what is held back alone
//! are acknowledgements, and these go on between two packets.
use std::collections::VecDeque;
use std::time::Duration;

use super::link::{Effect, Impairment, Link};
use super::sieve::{Counts, Piece, Sieve};
use crate::scenario::plan::Direction;

/// What may wait here; more stays with its sender, as behind a full router.
const MOST_BYTES: usize = 1 << 20;
/// The same where little passes in a second: a queue that takes minutes to drain would be another fault.
const MOST_BYTES_THROTTLED: usize = 8 << 10;
/// What TCP sends at once over Ethernet, the unit of loss.
const SEGMENT: usize = 1460;
/// TCP's first retransmission of a segment (Linux), doubled each time.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// A segment that is lost more often than this in a row is not lost once more.
const MOST_LOSSES: u32 = 7;

/// Bytes on their way.
#[derive(Debug)]
pub(super) struct Shaper {
    sieve: Sieve,
    rng: fastrand::Rng,
    /// What comes later, in order, with its moment and whether it ends a packet.
    late: VecDeque<(Duration, Vec<u8>, bool)>,
    late_bytes: usize,
    /// Packets that are held back, in order of their moments.
    held: VecDeque<(Duration, Vec<u8>)>,
    /// What may go on now, from `written` on.
    ready: Vec<u8>,
    written: usize,
    /// What is ready ends within a packet.
    within: bool,
    /// No byte comes before this.
    not_before: Duration,
    /// Bytes that may pass, and when they were counted last.
    allowance: Option<(f64, Duration)>,
}

impl Shaper {
    pub(super) fn new(direction: Direction, counts: Counts, seed: u64) -> Self {
        Self {
            sieve: Sieve::new(direction, counts),
            rng: fastrand::Rng::with_seed(seed),
            late: VecDeque::new(),
            late_bytes: 0,
            held: VecDeque::new(),
            ready: Vec::new(),
            written: 0,
            within: false,
            not_before: Duration::ZERO,
            allowance: None,
        }
    }

    /// Takes in what has come at `now`.
    pub(super) fn take(&mut self, bytes: &[u8], now: Duration, link: &Link) {
        for piece in self.sieve.feed(bytes, &link.impairments) {
            match piece {
                Piece::Pass { bytes, whole } => self.pass(bytes, whole, now, &link.impairments),
                Piece::Hold { packet, by, jitter } => {
                    let moment = now + by + self.drawn(jitter);
                    let place = self.held.partition_point(|(other, _)| *other <= moment);
                    self.held.insert(place, (moment, packet));
                }
            }
        }
    }

    /// The stream has ended; what is held back has nowhere to go any more.
    pub(super) fn end(&mut self) {
        self.held.clear();
        let rest = self.sieve.end();
        if !rest.is_empty() {
            self.late_bytes += rest.len();
            self.late.push_back((self.not_before, rest, false));
        }
    }

    fn pass(&mut self, bytes: Vec<u8>, whole: bool, now: Duration, impairments: &[Impairment]) {
        let loss = impairments.iter().find_map(|impairment| match impairment.effect {
            Effect::Loss(percent) => Some(percent / 100.0),
            _ => None,
        });
        let segments = match loss {
            Some(_) => bytes.chunks(SEGMENT).map(<[u8]>::to_vec).collect(),
            None => vec![bytes],
        };
        let last = segments.len().saturating_sub(1);
        for (index, segment) in segments.into_iter().enumerate() {
            let mut moment = now;
            for impairment in impairments {
                if let Effect::Delay { by, jitter } = impairment.effect {
                    moment += by + self.drawn(jitter);
                }
            }
            if let Some(share) = loss {
                moment += self.retransmitted(share);
            }
            self.not_before = self.not_before.max(moment);
            self.late_bytes += segment.len();
            self.late.push_back((self.not_before, segment, whole && index == last));
        }
    }

    fn drawn(&mut self, jitter: Duration) -> Duration {
        Duration::from_micros(self.rng.u64(0..=jitter.as_micros() as u64))
    }

    /// How much later a segment comes that is lost with this probability, as often as that happens.
    fn retransmitted(&mut self, share: f64) -> Duration {
        let losses = (0..MOST_LOSSES).take_while(|_| self.rng.f64() < share).count() as u32;
        RETRANSMISSION * ((1 << losses) - 1)
    }

    /// Whether it takes in more.
    pub(super) fn has_room(&self, link: &Link) -> bool {
        let most = if rate(link).is_some() { MOST_BYTES_THROTTLED } else { MOST_BYTES };
        self.late_bytes + self.ready.len() - self.written < most
    }

    /// Whether everything has gone on.
    pub(super) fn is_empty(&self) -> bool {
        self.late.is_empty() && self.written == self.ready.len()
    }

    /// What may go on at `now`.
    pub(super) fn ready(&mut self, now: Duration, link: &Link) -> &[u8] {
        loop {
            if !self.within
                && let Some((_, packet)) = self.held.pop_front_if(|(moment, _)| *moment <= now)
            {
                self.ready.extend(packet);
            } else if let Some((_, bytes, whole)) = self.late.pop_front_if(|(moment, ..)| *moment <= now) {
                self.late_bytes -= bytes.len();
                self.ready.extend(bytes);
                self.within = !whole;
            } else {
                break;
            }
        }
        let waiting = self.ready.len() - self.written;
        let allowed = match rate(link) {
            None => {
                self.allowance = None;
                waiting
            }
            Some(rate) => {
                let (bytes, since) = self.allowance.unwrap_or((0.0, now));
                let bytes = (bytes + (now.saturating_sub(since)).as_secs_f64() * rate).min(burst(rate));
                self.allowance = Some((bytes, now));
                // Not byte by byte: a packet in a hundred parts would be slower than the rate.
                if bytes + 0.5 < burst(rate).min(waiting as f64) { 0 } else { waiting.min(bytes.round() as usize) }
            }
        };
        self.front(allowed)
    }

    /// The first `length` bytes of what is [ready](Self::ready).
    pub(super) fn front(&self, length: usize) -> &[u8] {
        &self.ready[self.written..self.written + length]
    }

    /// When there may be more to go on, if nothing else comes.
    pub(super) fn wake(&self, link: &Link) -> Option<Duration> {
        let late = self.late.front().map(|(moment, ..)| *moment);
        let held = self.held.front().filter(|_| !self.within).map(|(moment, _)| *moment);
        let waiting = (self.ready.len() - self.written) as f64;
        let allowed = rate(link).zip(self.allowance).filter(|_| waiting > 0.0).map(|(rate, (bytes, since))| {
            since + Duration::from_secs_f64(((burst(rate).min(waiting) - bytes).max(0.0) / rate).min(3600.0))
        });
        [late, held, allowed].into_iter().flatten().min()
    }

    /// So much of what was ready has gone on.
    pub(super) fn wrote(&mut self, length: usize) {
        self.written += length;
        if let Some((bytes, _)) = &mut self.allowance {
            *bytes -= length as f64;
        }
        if self.written == self.ready.len() {
            self.ready.clear();
            self.written = 0;
        }
    }
}

/// The lowest rate of those that hold, in bytes a second.
fn rate(link: &Link) -> Option<f64> {
    let rates = link.impairments.iter().filter_map(|impairment| match impairment.effect {
        Effect::Throttle(rate) => Some(rate as f64),
        _ => None,
    });
    rates.reduce(f64::min)
}

/// What may pass at once: a tenth of a second's worth, and at least a byte.
fn burst(rate: f64) -> f64 {
    (rate / 10.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::plan::{Acknowledgement, Acknowledgements};

    const PUBACK: [u8; 4] = [0x40, 2, 0, 1];
    const PINGRESP: [u8; 2] = [0xD0, 0];

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn link(effects: &[Effect]) -> Link {
        let impairment = |(number, effect): (usize, &Effect)| Impairment { number, effect: effect.clone() };
        Link { impairments: effects.iter().enumerate().map(impairment).collect(), ..Link::OPEN }
    }

    fn shaper() -> Shaper {
        Shaper::new(Direction::ToBridge, Counts::default(), 1)
    }

    /// Everything that is ready, as if it were written at once.
    fn out(shaper: &mut Shaper, now: Duration, link: &Link) -> Vec<u8> {
        let bytes = shaper.ready(now, link).to_vec();
        shaper.wrote(bytes.len());
        bytes
    }

    #[test]
    fn nothing_waits_on_a_link_without_impairments() {
        let mut shaper = shaper();
        shaper.take(&PUBACK, millis(5), &Link::OPEN);
        assert_eq!(out(&mut shaper, millis(5), &Link::OPEN), PUBACK);
        assert!(shaper.is_empty() && shaper.wake(&Link::OPEN).is_none());
    }

    #[test]
    fn a_delay_keeps_the_order_also_where_it_ends() {
        let (mut shaper, delayed) = (shaper(), link(&[Effect::Delay { by: millis(100), jitter: millis(50) }]));
        shaper.take(&PUBACK, millis(0), &delayed);
        assert_eq!(out(&mut shaper, millis(99), &delayed), [0; 0]);
        let wake = shaper.wake(&delayed).unwrap();
        assert!((millis(100)..=millis(150)).contains(&wake), "{wake:?}");
        shaper.take(&PINGRESP, millis(99), &Link::OPEN);
        assert_eq!(out(&mut shaper, millis(99), &Link::OPEN), [0; 0]);
        assert_eq!(out(&mut shaper, wake, &Link::OPEN), [&PUBACK[..], &PINGRESP].concat());
    }

    #[test]
    fn a_held_acknowledgement_goes_on_between_two_packets() {
        let only = Acknowledgements { packets: vec![Acknowledgement::Puback], every: 1 };
        let holding = link(&[Effect::Hold { only, by: millis(100), jitter: Duration::ZERO }]);
        let mut shaper = shaper();
        shaper.take(&PUBACK, millis(0), &holding);
        shaper.take(&PINGRESP, millis(1), &holding);
        assert_eq!(out(&mut shaper, millis(1), &holding), PINGRESP);
        assert_eq!(shaper.wake(&holding), Some(millis(100)));
        // A packet is on its way that has not come to its end.
        shaper.take(&[0x30, 4, 0, 1], millis(99), &holding);
        assert_eq!(out(&mut shaper, millis(99), &holding), [0x30, 4, 0, 1]);
        assert_eq!(out(&mut shaper, millis(200), &holding), [0; 0]);
        assert_eq!(shaper.wake(&holding), None);
        shaper.take(&[b't', 0], millis(201), &holding);
        assert_eq!(out(&mut shaper, millis(201), &holding), [&[b't', 0][..], &PUBACK].concat());
    }

    #[test]
    fn a_throttle_passes_its_rate_and_all_of_it() {
        let (mut shaper, slow) = (shaper(), link(&[Effect::Throttle(1000)]));
        shaper.take(&[0x30; 2000], millis(0), &slow);
        let (mut now, mut passed) = (millis(0), 0);
        while !shaper.is_empty() {
            passed += out(&mut shaper, now, &slow).len();
            now = shaper.wake(&slow).unwrap_or(now).max(now);
        }
        assert_eq!(passed, 2000);
        assert!((millis(1900)..=millis(2100)).contains(&now), "{now:?}");
        assert!(shaper.has_room(&slow));
        shaper.take(&[0x30; 10_000], now, &slow);
        assert!(!shaper.has_room(&slow) && shaper.has_room(&Link::OPEN));
    }

    #[test]
    fn a_loss_costs_time_and_no_byte() {
        let (mut shaper, lossy) = (shaper(), link(&[Effect::Loss(30.0)]));
        let bytes: Vec<u8> = (0..20 * SEGMENT).map(|index| (index % 251) as u8).collect();
        shaper.take(&bytes, millis(0), &lossy);
        let mut passed = out(&mut shaper, millis(0), &lossy);
        assert!(passed.len() < bytes.len(), "the seed loses something");
        while let Some(wake) = shaper.wake(&lossy) {
            passed.extend(out(&mut shaper, wake, &lossy));
        }
        assert_eq!(passed, bytes);
    }

    #[test]
    fn the_end_lets_go_what_was_begun_and_forgets_what_was_held() {
        let only = Acknowledgements { packets: vec![Acknowledgement::Puback], every: 1 };
        let holding = link(&[Effect::Hold { only, by: millis(100), jitter: Duration::ZERO }]);
        let mut shaper = shaper();
        shaper.take(&PUBACK, millis(0), &holding);
        shaper.take(&[0x30], millis(0), &holding);
        shaper.end();
        assert_eq!(out(&mut shaper, millis(0), &holding), [0x30]);
        assert!(shaper.is_empty() && shaper.wake(&holding).is_none());
    }
}
