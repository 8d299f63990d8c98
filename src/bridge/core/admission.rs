//! Whether a message is taken, and where its deliveries wait: limits and overflow.
use std::time::Duration;

use super::eviction::Need;
use crate::bridge::config::WhenFull;
use crate::bridge::delivery::DropReason;
use crate::bridge::message::QoS;
use crate::bridge::wire::ReasonCode;

/// The limits of one bridge's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages.
    pub max_messages: u64,
    /// Bytes.
    pub max_bytes: u64,
    /// A message that has waited for as long leaves the cache.
    pub max_age: Option<Duration>,
    /// What happens beyond, where the forward does not say otherwise.
    pub when_full: WhenFull,
    /// Whether QoS 0 is cached while the link is down.
    pub cache_qos0: bool,
}

impl Limits {
    /// No limits, for a broker without a cache.
    pub const NONE: Self = Self {
        max_messages: u64::MAX,
        max_bytes: u64::MAX,
        max_age: None,
        when_full: WhenFull::Reject,
        cache_qos0: false,
    };

    /// What has to go so that a message of this size fits beside what waits; nothing where it fits.
    fn need(&self, size: u64, messages: u64, bytes: u64) -> Need {
        Need {
            messages: messages.saturating_add(1).saturating_sub(self.max_messages),
            bytes: bytes.saturating_add(size).saturating_sub(self.max_bytes),
        }
    }
}

/// Where a delivery waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the cache.
    Row,
    /// In the cache, once so much has been evicted; where that cannot be, see [`Place::without_eviction`].
    Evicting(Need),
    /// In memory: QoS 0 on a link that is up.
    Memory,
    /// Nowhere.
    Dropped(DropReason),
    /// Nowhere, and the publisher should keep it.
    Rejected,
    /// Nowhere yet: its publisher waits until there is room.
    Blocked,
}

impl Place {
    /// All that waits is in flight, or better than what comes: nobody could be told of a QoS 0 message.
    pub fn without_eviction(qos: QoS) -> Self {
        if qos == QoS::AtMostOnce { Self::Dropped(DropReason::Full) } else { Self::Rejected }
    }
}

/// What is known of a queue at the moment of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    /// Rows.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the ring takes what is not stored.
    pub takes_volatile: bool,
}

/// Where one delivery waits; `when_full` as its forward says.
pub fn place(limits: &Limits, when_full: Option<WhenFull>, qos: QoS, size: u64, queue: Queue) -> Place {
    if qos == QoS::AtMostOnce {
        if queue.takes_volatile {
            return Place::Memory;
        }
        if !limits.cache_qos0 {
            return Place::Dropped(DropReason::Qos0Offline);
        }
    }
    let need = limits.need(size, queue.messages, queue.bytes);
    if need == Need::default() {
        return Place::Row;
    }
    // What is larger than the whole queue would wait, or evict, for nothing.
    let fits_at_all = size <= limits.max_bytes;
    match when_full.unwrap_or(limits.when_full) {
        WhenFull::DropOldest if fits_at_all => Place::Evicting(need),
        WhenFull::DropNewest => Place::Dropped(DropReason::Full),
        WhenFull::Block if fits_at_all && qos != QoS::AtMostOnce => Place::Blocked,
        WhenFull::DropOldest | WhenFull::Block | WhenFull::Reject => Place::without_eviction(qos),
    }
}

/// Whether the message is taken as a whole: it is if any of its deliveries is, and then the others are drops.
///
/// # Errors
/// 0x97 where each of them is rejected.
pub fn decide(places: &mut [Place]) -> Result<(), ReasonCode> {
    if !places.is_empty() && places.iter().all(|place| *place == Place::Rejected) {
        return Err(ReasonCode::QUOTA_EXCEEDED);
    }
    for place in places.iter_mut().filter(|place| **place == Place::Rejected) {
        *place = Place::Dropped(DropReason::Full);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_messages: 10, max_bytes: 100, ..Limits::NONE };

    fn placed(limits: &Limits, qos: QoS, size: u64, messages: u64, bytes: u64, takes_volatile: bool) -> Place {
        place(limits, None, qos, size, Queue { messages, bytes, takes_volatile })
    }

    #[test]
    fn a_message_that_does_not_fit_is_rejected() {
        assert_eq!(placed(&LIMITS, QoS::AtLeastOnce, 50, 9, 50, false), Place::Row);
        assert_eq!(placed(&LIMITS, QoS::AtLeastOnce, 1, 10, 50, false), Place::Rejected);
        assert_eq!(placed(&LIMITS, QoS::AtLeastOnce, 51, 9, 50, false), Place::Rejected);
        let dropping = Limits { when_full: WhenFull::DropNewest, ..LIMITS };
        assert_eq!(placed(&dropping, QoS::AtLeastOnce, 1, 10, 50, false), Place::Dropped(DropReason::Full));
    }

    #[test]
    fn the_oldest_make_room_for_exactly_what_does_not_fit() {
        let evicting = Limits { when_full: WhenFull::DropOldest, ..LIMITS };
        let need = |messages, bytes| Place::Evicting(Need { messages, bytes });
        assert_eq!(placed(&evicting, QoS::AtLeastOnce, 50, 10, 50, false), need(1, 0));
        assert_eq!(placed(&evicting, QoS::AtLeastOnce, 51, 10, 90, false), need(1, 41));
        assert_eq!(placed(&evicting, QoS::AtLeastOnce, 51, 3, 90, false), need(0, 41));
        assert_eq!(placed(&evicting, QoS::AtLeastOnce, 101, 3, 90, false), Place::Rejected, "it would never fit");
    }

    #[test]
    fn a_publisher_waits_for_room_unless_it_could_not_be_told_or_would_wait_for_ever() {
        let blocking = Limits { when_full: WhenFull::Block, cache_qos0: true, ..LIMITS };
        assert_eq!(placed(&blocking, QoS::AtLeastOnce, 50, 9, 50, false), Place::Row);
        assert_eq!(placed(&blocking, QoS::ExactlyOnce, 50, 10, 50, false), Place::Blocked);
        assert_eq!(placed(&blocking, QoS::AtMostOnce, 50, 10, 50, false), Place::Dropped(DropReason::Full));
        assert_eq!(placed(&blocking, QoS::ExactlyOnce, 101, 0, 0, false), Place::Rejected);
    }

    #[test]
    fn a_forward_may_say_otherwise() {
        let full = Queue { messages: 10, bytes: 0, takes_volatile: false };
        let placed = |when_full| place(&LIMITS, when_full, QoS::AtLeastOnce, 1, full);
        assert_eq!(placed(None), Place::Rejected);
        assert_eq!(placed(Some(WhenFull::Block)), Place::Blocked);
        assert_eq!(placed(Some(WhenFull::DropNewest)), Place::Dropped(DropReason::Full));
    }

    #[test]
    fn qos_0_waits_in_memory_while_the_link_is_up() {
        assert_eq!(placed(&LIMITS, QoS::AtMostOnce, 1, 10, 50, true), Place::Memory);
        assert_eq!(placed(&LIMITS, QoS::AtMostOnce, 1, 0, 0, false), Place::Dropped(DropReason::Qos0Offline));
        let caching = Limits { cache_qos0: true, ..LIMITS };
        assert_eq!(placed(&caching, QoS::AtMostOnce, 1, 0, 0, false), Place::Row);
        assert_eq!(placed(&caching, QoS::AtMostOnce, 1, 10, 0, false), Place::Dropped(DropReason::Full));
    }

    #[test]
    fn one_bridge_that_takes_it_is_enough() {
        let mut places = [Place::Rejected, Place::Row];
        assert_eq!(decide(&mut places), Ok(()));
        assert_eq!(places, [Place::Dropped(DropReason::Full), Place::Row]);
        assert_eq!(decide(&mut [Place::Rejected, Place::Rejected]), Err(ReasonCode::QUOTA_EXCEEDED));
        assert_eq!(decide(&mut []), Ok(()));
    }
}
