//! The near end of a bridge's one queue: the next deliveries, in memory; behind them the rest waits in the cache.
//!
//! The cache's writer puts in what it has just committed, in order, as long as there is room. From the first delivery
//! that finds none the ring is *spilled*: nothing more is put in until the rows behind it have been read back, page by
//! page, up to the last. So the order is that of arrival whether a message was cached for a second or for a week.
use std::collections::{BTreeSet, HashSet, VecDeque};

use crate::bridge::delivery::{Delivery, Kept, Seq};

/// The next deliveries of one bridge. Bounded by messages and by bytes (one message may exceed the bytes alone).
#[derive(Debug)]
pub struct Ring {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    /// Rows after `last` wait in the cache.
    spilled: bool,
    reading: bool,
    /// Something was committed and not put in since the page was asked for, so it may not be in that page.
    missed: bool,
    last: Seq,
    /// Rows that the forwarder has held since before the start.
    held: HashSet<Seq>,
    /// The same, as long as they are not below `taken`.
    restored: BTreeSet<Seq>,
    /// Whatever is not above this has left the ring: deliveries are taken in order.
    taken: Seq,
    link_up: bool,
}

/// What is at the near end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Near {
    /// This one is next.
    Delivery(Seq),
    /// Rows are still to be read.
    Unread,
    /// Nothing waits.
    Nothing,
}

impl Ring {
    /// A ring that knows nothing yet: all rows but those `held` by the forwarder are to be read.
    pub fn new(max_messages: usize, max_bytes: usize, held: impl IntoIterator<Item = Seq>) -> Self {
        let restored: BTreeSet<Seq> = held.into_iter().collect();
        Self {
            deliveries: VecDeque::new(),
            bytes: 0,
            max_messages,
            max_bytes,
            spilled: true,
            reading: false,
            missed: false,
            last: Seq::default(),
            held: restored.iter().copied().collect(),
            restored,
            taken: Seq::default(),
            link_up: false,
        }
    }

    /// Whether a QoS 0 message can be handed on without being stored.
    pub fn takes_volatile(&self) -> bool {
        self.link_up && self.has_room()
    }

    /// The forwarder says whether the remote can be reached.
    pub fn set_link_up(&mut self, up: bool) {
        self.link_up = up;
    }

    fn has_room(&self) -> bool {
        !self.spilled
            && self.deliveries.len() < self.max_messages
            && (self.bytes < self.max_bytes || self.deliveries.is_empty())
    }

    /// Puts in what has been committed, or is not yet, or never will be. A volatile one that finds no room comes back;
    /// any other will be read back, so one that is deferred must be committed then.
    pub fn push(&mut self, delivery: Delivery) -> Result<(), Delivery> {
        if self.has_room() {
            self.last = delivery.seq;
            self.append(delivery);
            return Ok(());
        }
        if delivery.kept == Kept::Volatile {
            return Err(delivery);
        }
        self.spilled = true;
        self.missed = true;
        Ok(())
    }

    /// Whether rows are to be read before anything more is put in.
    pub fn is_spilled(&self) -> bool {
        self.spilled
    }

    fn append(&mut self, delivery: Delivery) {
        self.bytes += delivery.message.size();
        self.deliveries.push_back(delivery);
    }

    /// What is at the near end.
    pub fn near(&self) -> Near {
        match self.deliveries.front() {
            Some(delivery) => Near::Delivery(delivery.seq),
            None if self.spilled => Near::Unread,
            None => Near::Nothing,
        }
    }

    /// Takes the next.
    pub fn take(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.message.size();
        self.taken = delivery.seq;
        while self.restored.first().is_some_and(|first| *first <= self.taken) {
            self.restored.pop_first();
        }
        Some(delivery)
    }

    /// No delivery up to this one is free to be given up.
    pub fn taken(&self) -> Seq {
        self.taken
    }

    /// Whether the forwarder has not taken this row, in this process or before it.
    pub fn is_free(&self, seq: Seq) -> bool {
        seq > self.taken && !self.restored.contains(&seq)
    }

    /// Takes a row away from the forwarder, which will never see it; false where the forwarder has it. What is claimed
    /// is not put back: what stood behind it may have been taken since.
    pub fn claim(&mut self, seq: Seq) -> bool {
        if !self.is_free(seq) {
            return false;
        }
        // One that is not here waits in the cache, and is read back only by whoever claims.
        if let Ok(position) = self.deliveries.binary_search_by_key(&seq, |delivery| delivery.seq)
            && let Some(delivery) = self.deliveries.remove(position)
        {
            self.bytes -= delivery.message.size();
        }
        true
    }

    /// Deliveries in the ring that never will be rows of the cache.
    pub fn volatile(&self) -> usize {
        self.deliveries.iter().filter(|delivery| delivery.kept == Kept::Volatile).count()
    }

    /// Asks for the next page when less than half is left: rows after the given one, at most so many messages and
    /// bytes. Asks once until [`refill`](Self::refill).
    pub fn wants_page(&mut self) -> Option<(Seq, usize, usize)> {
        let half = self.deliveries.len() * 2 <= self.max_messages && self.bytes * 2 <= self.max_bytes;
        if !self.spilled || self.reading || !half {
            return None;
        }
        self.reading = true;
        self.missed = false;
        // Rows held by the forwarder are read and left out, and must not make a page look short.
        let messages = self.max_messages - self.deliveries.len() + self.held.len();
        Some((self.last, messages, self.max_bytes.saturating_sub(self.bytes).max(1)))
    }

    /// Puts in a page of rows; `complete` where no row is behind it.
    pub fn refill(&mut self, page: Vec<Delivery>, complete: bool) {
        self.reading = false;
        for delivery in page {
            self.last = delivery.seq;
            if !self.held.remove(&delivery.seq) {
                self.append(delivery);
            }
        }
        if complete && !self.missed {
            self.spilled = false;
            // Those that were in flight while the pages were read may be queued again behind the last one read.
            self.last = self.held.drain().max().map_or(self.last, |held| held.max(self.last));
        }
    }

    /// The page could not be read; it is asked for again.
    pub fn page_failed(&mut self) {
        self.reading = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::{Message, QoS};
    use std::sync::Arc;

    fn delivery(seq: i64) -> Delivery {
        let message = Arc::new(Message::new("t", "x", QoS::AtLeastOnce));
        Delivery {
            seq: Seq(seq),
            topic: message.topic.clone(),
            qos: message.qos,
            retain: false,
            received_at: std::time::Duration::ZERO,
            identifiers: None,
            kept: Kept::Row,
            message,
        }
    }

    fn taken(ring: &mut Ring) -> Vec<i64> {
        std::iter::from_fn(|| ring.take()).map(|delivery| delivery.seq.0).collect()
    }

    #[test]
    fn what_finds_no_room_is_read_back_in_order_before_anything_newer() {
        let mut ring = Ring::new(2, 1000, []);
        ring.refill(vec![], true);
        for seq in 1..=4 {
            assert!(ring.push(delivery(seq)).is_ok());
        }
        assert!(ring.wants_page().is_none(), "still full");
        assert_eq!(taken(&mut ring), [1, 2]);
        assert_eq!(ring.near(), Near::Unread);
        let (after, messages, _) = ring.wants_page().unwrap();
        assert_eq!((after, messages), (Seq(2), 2));
        assert!(ring.wants_page().is_none(), "asked already");
        // Committed while the page is read: it will be read as well.
        ring.push(delivery(5)).unwrap();
        ring.refill(vec![delivery(3), delivery(4)], false);
        assert_eq!(taken(&mut ring), [3, 4]);
        ring.wants_page().unwrap();
        ring.refill(vec![delivery(5)], true);
        ring.push(delivery(6)).unwrap();
        assert_eq!(taken(&mut ring), [5, 6]);
        assert_eq!(ring.near(), Near::Nothing);
    }

    #[test]
    fn rows_that_the_forwarder_holds_since_before_the_start_are_left_out() {
        let mut ring = Ring::new(10, 1000, [Seq(2)]);
        assert_eq!(ring.near(), Near::Unread);
        ring.wants_page().unwrap();
        ring.refill(vec![delivery(1), delivery(2), delivery(3)], true);
        assert_eq!(taken(&mut ring), [1, 3]);
    }

    #[test]
    fn what_is_committed_while_the_last_page_is_read_is_not_forgotten() {
        let mut ring = Ring::new(2, 1000, []);
        ring.wants_page().unwrap();
        ring.push(delivery(1)).unwrap();
        ring.refill(vec![], true);
        assert_eq!(ring.near(), Near::Unread);
        ring.wants_page().unwrap();
        ring.refill(vec![delivery(1)], true);
        assert_eq!(taken(&mut ring), [1]);
    }

    #[test]
    fn what_the_forwarder_holds_is_left_out_of_later_pages_too() {
        let mut ring = Ring::new(1, 1000, [Seq(2)]);
        ring.wants_page().unwrap();
        // 2 is in flight, so no page holds it; it is queued again later, when the ring is full.
        ring.refill(vec![delivery(1)], true);
        ring.push(delivery(3)).unwrap();
        assert_eq!(taken(&mut ring), [1]);
        assert_eq!(ring.wants_page().unwrap().0, Seq(2));
    }

    #[test]
    fn a_volatile_message_is_taken_while_the_link_is_up_and_nothing_waits_behind() {
        let mut ring = Ring::new(2, 1000, []);
        ring.set_link_up(true);
        assert!(!ring.takes_volatile(), "rows may wait in the cache");
        ring.refill(vec![], true);
        assert!(ring.takes_volatile());
        for seq in 1..=3 {
            ring.push(delivery(seq)).unwrap();
        }
        assert!(!ring.takes_volatile());
        assert!(ring.push(Delivery { kept: Kept::Volatile, ..delivery(4) }).is_err());
    }

    #[test]
    fn a_deferred_message_that_finds_no_room_must_be_read_back_before_anything_newer() {
        let mut ring = Ring::new(1, 1000, []);
        ring.refill(vec![], true);
        let until = std::time::Duration::ZERO;
        let deferred = |seq| Delivery { kept: Kept::Deferred { until }, ..delivery(seq) };
        ring.push(deferred(1)).unwrap();
        assert!(!ring.is_spilled());
        ring.push(deferred(2)).unwrap();
        assert!(ring.is_spilled());
        assert_eq!(taken(&mut ring), [1]);
        ring.push(deferred(3)).unwrap();
        assert_eq!((ring.near(), ring.volatile()), (Near::Unread, 0));
    }

    #[test]
    fn what_is_claimed_is_never_taken_and_what_is_taken_never_claimed() {
        let mut ring = Ring::new(3, 1000, [Seq(3)]);
        ring.refill(vec![delivery(1), delivery(2), delivery(3), delivery(4)], false);
        assert!(ring.take().is_some());
        assert!(!ring.claim(Seq(1)), "the forwarder has it");
        assert!(!ring.claim(Seq(3)), "the forwarder has had it since before the start");
        assert!(ring.claim(Seq(2)), "near");
        assert!(ring.claim(Seq(9)), "still in the cache");
        assert_eq!((taken(&mut ring), ring.bytes), (vec![4], 0));
        assert!(!ring.claim(Seq(3)) && ring.restored.is_empty());
    }

    #[test]
    fn bytes_bound_it_too_but_never_to_nothing() {
        let mut ring = Ring::new(100, 1, []);
        ring.refill(vec![], true);
        ring.push(delivery(1)).unwrap();
        ring.push(delivery(2)).unwrap();
        assert_eq!(taken(&mut ring), [1]);
        assert_eq!(ring.near(), Near::Unread);
    }
}
