//! One message's row: everything the verdict needs to know of it, in 24 bytes.
use std::time::Duration;

/// What became of one message. Moments are microseconds since the start of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    sent_at: u64,
    received_at: u64,
    copies: u16,
    marks: u8,
}

const NEVER: u64 = u64::MAX;
const ACKNOWLEDGED: u8 = 1;
const REFUSED: u8 = 2;
const ALTERED: u8 = 4;
const OUT_OF_ORDER: u8 = 8;
const LATE: u8 = 16;
const BACKLOG: u8 = 32;

impl Default for Row {
    fn default() -> Self {
        Self { sent_at: NEVER, received_at: NEVER, copies: 0, marks: 0 }
    }
}

impl Row {
    /// When it was first written to the publisher's socket.
    pub fn sent(&self) -> Option<Duration> {
        (self.sent_at != NEVER).then(|| Duration::from_micros(self.sent_at))
    }

    /// When its first whole copy arrived.
    pub fn received(&self) -> Option<Duration> {
        (self.received_at != NEVER).then(|| Duration::from_micros(self.received_at))
    }

    /// Whole copies that arrived; counted up to 65535.
    pub fn copies(&self) -> u16 {
        self.copies
    }

    /// It was acknowledged to its publisher.
    pub fn acknowledged(&self) -> bool {
        self.marks & ACKNOWLEDGED != 0
    }

    /// It was answered with a failure code, and never acknowledged.
    pub fn refused(&self) -> bool {
        self.marks & REFUSED != 0 && !self.acknowledged()
    }

    /// Something arrived that carries its header and another payload.
    pub fn altered(&self) -> bool {
        self.marks & ALTERED != 0
    }

    /// Its first copy arrived below the highest sequence already received of its load.
    pub fn out_of_order(&self) -> bool {
        self.marks & OUT_OF_ORDER != 0
    }

    /// Its first copy arrived after the settle limit.
    pub fn late(&self) -> bool {
        self.marks & LATE != 0
    }

    /// Acknowledged, and nothing of it has arrived.
    pub(super) fn outstanding(&self) -> bool {
        self.acknowledged() && self.copies == 0 && !self.altered()
    }

    /// It was outstanding at the last heal that left anything outstanding.
    pub(super) fn in_backlog(&self) -> bool {
        self.marks & BACKLOG != 0
    }

    pub(super) fn mark_backlog(&mut self, is: bool) {
        self.marks = if is { self.marks | BACKLOG } else { self.marks & !BACKLOG };
    }

    /// Returns whether it was the first time.
    pub(super) fn mark_sent(&mut self, t: u64) -> bool {
        let first = self.sent_at == NEVER;
        // The earliest, for a retransmission may be written to the history before the original.
        self.sent_at = self.sent_at.min(t);
        first
    }

    /// Returns whether it was the first copy.
    pub(super) fn mark_received(&mut self, t: u64, out_of_order: bool, late: bool) -> bool {
        let first = self.copies == 0;
        self.copies = self.copies.saturating_add(1);
        if first {
            self.received_at = t;
            self.marks |= if out_of_order { OUT_OF_ORDER } else { 0 } | if late { LATE } else { 0 };
        }
        first
    }

    pub(super) fn mark_acknowledged(&mut self) -> bool {
        self.mark(ACKNOWLEDGED)
    }

    pub(super) fn mark_refused(&mut self) -> bool {
        self.mark(REFUSED)
    }

    pub(super) fn mark_altered(&mut self) -> bool {
        self.mark(ALTERED)
    }

    fn mark(&mut self, mark: u8) -> bool {
        let first = self.marks & mark == 0;
        self.marks |= mark;
        first
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_row_stays_within_its_bytes() {
        assert_eq!(size_of::<super::Row>(), 24);
    }
}
