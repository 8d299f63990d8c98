//! Which deliveries make room (`when_full: drop_oldest`): the oldest of QoS 0 first, then the oldest of all, and never
//! one that the forwarder has taken.
//!
//! What is chosen is claimed from the ring in the same breath, so the forwarder cannot take it between the decision and
//! the commit. A choice stands: where the message that it was made for cannot be stored after all (its disk fails for
//! too long), what was chosen has been evicted nevertheless, because what stood behind it may be on its way by then.
use std::collections::VecDeque;

use super::ring::Ring;
use crate::bridge::delivery::{Kind, Seq, Waiting};
use crate::bridge::message::QoS;

/// Rows that are read ahead at a time.
pub const READ_AHEAD: usize = 64;

/// How much has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Messages, at least.
    pub messages: u64,
    /// Bytes, at least.
    pub bytes: u64,
}

impl Need {
    fn less(self, bytes: u64) -> Self {
        Self { messages: self.messages.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// Deliveries that are to be committed together with what is being decided: they are the youngest.
#[derive(Debug, Default)]
pub struct Unborn {
    at_most_once: VecDeque<Waiting>,
    acknowledged: VecDeque<Waiting>,
}

impl Unborn {
    /// Another one, younger than all before.
    pub fn push(&mut self, waiting: Waiting) {
        self.of(waiting.qos).push_back(waiting);
    }

    fn of(&mut self, qos: QoS) -> &mut VecDeque<Waiting> {
        if qos == QoS::AtMostOnce { &mut self.at_most_once } else { &mut self.acknowledged }
    }
}

/// What was chosen, and whether it is a row already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub waiting: Waiting,
    /// It is a row of the cache; otherwise it never will be seen by anybody.
    pub is_row: bool,
}

/// Rows in order of arrival, read ahead; each is looked at once.
#[derive(Debug)]
struct Rows {
    kind: Kind,
    /// Read so far.
    cursor: Seq,
    read: VecDeque<Waiting>,
}

impl Rows {
    fn new(kind: Kind) -> Self {
        Self { kind, cursor: Seq::default(), read: VecDeque::new() }
    }

    fn next<E>(
        &mut self,
        ring: &Ring,
        read: &mut impl FnMut(Kind, Seq, usize) -> Result<Vec<Waiting>, E>,
    ) -> Result<Option<Waiting>, E> {
        loop {
            while let Some(waiting) = self.read.pop_front() {
                if ring.is_free(waiting.seq) {
                    return Ok(Some(waiting));
                }
            }
            let page = read(self.kind, self.cursor.max(ring.taken()), READ_AHEAD)?;
            let Some(last) = page.last() else { return Ok(None) };
            self.cursor = last.seq;
            self.read.extend(page);
        }
    }
}

/// Chooses for one bridge.
#[derive(Debug)]
pub struct Evictor {
    at_most_once: Rows,
    acknowledged: Rows,
}

impl Default for Evictor {
    fn default() -> Self {
        Self { at_most_once: Rows::new(Kind::AtMostOnce), acknowledged: Rows::new(Kind::Acknowledged) }
    }
}

impl Evictor {
    /// Chooses and claims as much as is needed for a message of this QoS; one of QoS 0 displaces nothing better.
    /// `None`: there is not as much, and nothing was claimed. `read` reads queued rows of the cache after a sequence.
    ///
    /// # Errors
    /// Those of `read`; then nothing was claimed.
    pub fn choose<E>(
        &mut self,
        mut need: Need,
        newcomer: QoS,
        ring: &mut Ring,
        unborn: &mut Unborn,
        mut read: impl FnMut(Kind, Seq, usize) -> Result<Vec<Waiting>, E>,
    ) -> Result<Option<Vec<Chosen>>, E> {
        let mut chosen = Vec::new();
        while need != Need::default() {
            match self.next(newcomer, ring, unborn, &mut read) {
                Ok(Some(next)) => {
                    need = need.less(next.waiting.bytes);
                    chosen.push(next);
                }
                enough_or_failed => {
                    self.put_back(chosen, unborn);
                    return enough_or_failed.map(|_| None);
                }
            }
        }
        for chosen in chosen.iter().filter(|chosen| chosen.is_row) {
            ring.claim(chosen.waiting.seq);
        }
        Ok(Some(chosen))
    }

    /// Rows up to this one have left the cache by another way.
    pub fn forget_through(&mut self, seq: Seq) {
        for rows in [&mut self.at_most_once, &mut self.acknowledged] {
            while rows.read.front().is_some_and(|waiting| waiting.seq <= seq) {
                rows.read.pop_front();
            }
        }
    }

    fn next<E>(
        &mut self,
        newcomer: QoS,
        ring: &Ring,
        unborn: &mut Unborn,
        read: &mut impl FnMut(Kind, Seq, usize) -> Result<Vec<Waiting>, E>,
    ) -> Result<Option<Chosen>, E> {
        let row = |waiting| Chosen { waiting, is_row: true };
        let unborn_one = |waiting| Chosen { waiting, is_row: false };
        if let Some(waiting) = self.at_most_once.next(ring, read)? {
            return Ok(Some(row(waiting)));
        }
        if let Some(waiting) = unborn.at_most_once.pop_front() {
            return Ok(Some(unborn_one(waiting)));
        }
        if newcomer == QoS::AtMostOnce {
            return Ok(None);
        }
        if let Some(waiting) = self.acknowledged.next(ring, read)? {
            return Ok(Some(row(waiting)));
        }
        Ok(unborn.acknowledged.pop_front().map(unborn_one))
    }

    fn put_back(&mut self, chosen: Vec<Chosen>, unborn: &mut Unborn) {
        for Chosen { waiting, is_row } in chosen.into_iter().rev() {
            let from = match (is_row, waiting.qos) {
                (false, qos) => unborn.of(qos),
                (true, QoS::AtMostOnce) => &mut self.at_most_once.read,
                (true, _) => &mut self.acknowledged.read,
            };
            from.push_front(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::time::Duration;

    fn waiting(seq: i64, qos: QoS) -> Waiting {
        Waiting { seq: Seq(seq), topic: "t".into(), qos, bytes: 10, received_at: Duration::ZERO }
    }

    /// Rows by sequence: those of a multiple of 10 are QoS 0. Counts what is read of them.
    struct World {
        rows: Vec<Waiting>,
        read: usize,
        ring: Ring,
        unborn: Unborn,
        evictor: Evictor,
    }

    impl World {
        fn new(rows: impl IntoIterator<Item = i64>, held: &[i64]) -> Self {
            let qos = |seq: i64| if seq % 10 == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            let rows = rows.into_iter().map(|seq| waiting(seq, qos(seq))).collect();
            let ring = Ring::new(10, 1000, held.iter().map(|seq| Seq(*seq)));
            Self { rows, read: 0, ring, unborn: Unborn::default(), evictor: Evictor::default() }
        }

        fn evict(&mut self, messages: u64, bytes: u64, newcomer: QoS) -> Option<Vec<i64>> {
            let Self { rows, read, ring, unborn, evictor } = self;
            let page = |kind: Kind, after: Seq, limit: usize| {
                let found = rows.iter().filter(|row| row.seq > after && kind.holds(row.qos)).take(limit);
                let found: Vec<Waiting> = found.cloned().collect();
                *read += found.len();
                Ok::<_, Infallible>(found)
            };
            let need = Need { messages, bytes };
            let chosen = evictor.choose(need, newcomer, ring, unborn, page).unwrap()?;
            let seqs: Vec<i64> = chosen.iter().map(|chosen| chosen.waiting.seq.0).collect();
            self.rows.retain(|row| !seqs.contains(&row.seq.0));
            Some(seqs)
        }
    }

    #[test]
    fn qos_0_goes_first_and_then_the_oldest() {
        let mut world = World::new([1, 2, 10, 11, 20, 21], &[]);
        world.unborn.push(waiting(22, QoS::AtLeastOnce));
        world.unborn.push(waiting(30, QoS::AtMostOnce));
        assert_eq!(world.evict(1, 0, QoS::AtLeastOnce), Some(vec![10]));
        assert_eq!(world.evict(1, 15, QoS::AtLeastOnce), Some(vec![20, 30]));
        assert_eq!(world.evict(1, 0, QoS::AtMostOnce), None, "a newcomer of QoS 0 displaces nothing better");
        assert_eq!(world.evict(3, 0, QoS::AtLeastOnce), Some(vec![1, 2, 11]));
        assert_eq!(world.evict(3, 0, QoS::AtLeastOnce), None, "not as much, so nothing at all");
        assert_eq!(world.evict(0, 11, QoS::ExactlyOnce), Some(vec![21, 22]), "down to those that are no rows yet");
        assert_eq!(world.evict(1, 0, QoS::AtLeastOnce), None);
    }

    #[test]
    fn what_the_forwarder_has_taken_is_never_chosen() {
        let mut world = World::new(1..=6, &[4]);
        let message = std::sync::Arc::new(crate::bridge::message::Message::new("t", "x", QoS::AtLeastOnce));
        let page = [1, 2, 3, 4, 5].map(|seq| crate::bridge::delivery::Delivery {
            seq: Seq(seq),
            topic: message.topic.clone(),
            qos: message.qos,
            retain: false,
            received_at: Duration::ZERO,
            identifiers: None,
            kept: crate::bridge::delivery::Kept::Row,
            message: message.clone(),
        });
        world.ring.refill(page.into(), false);
        world.ring.take().unwrap();
        assert_eq!(world.evict(1, 0, QoS::AtLeastOnce), Some(vec![2]), "1 is taken");
        // 3 has been read ahead, and is taken before it is chosen.
        assert_eq!(world.ring.take().unwrap().seq, Seq(3));
        assert_eq!(world.evict(2, 0, QoS::AtLeastOnce), Some(vec![5, 6]), "4 is held since before the start");
        assert!(world.ring.take().is_none(), "5 was in the ring");
    }

    #[test]
    fn each_row_is_read_once_however_many_wait() {
        let mut world = World::new(1..=10_000, &[]);
        for _ in 0..10_000 {
            world.evict(1, 0, QoS::AtLeastOnce).unwrap();
        }
        assert_eq!(world.read, 10_000);
    }
}
