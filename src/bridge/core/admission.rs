//! Whether a message is taken, and where its deliveries wait: limits and overflow.
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
    /// What happens beyond.
    pub when_full: WhenFull,
    /// Whether QoS 0 is cached while the link is down.
    pub cache_qos0: bool,
}

impl Limits {
    /// No limits, for a broker without a cache.
    pub const NONE: Self =
        Self { max_messages: u64::MAX, max_bytes: u64::MAX, when_full: WhenFull::Reject, cache_qos0: false };
}

/// Where a delivery waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the cache.
    Row,
    /// In memory: QoS 0 on a link that is up.
    Memory,
    /// Nowhere.
    Dropped(DropReason),
    /// Nowhere, and the publisher should keep it.
    Rejected,
}

/// Where one delivery waits, given what waits already and whether the ring takes what is not stored.
pub fn place(limits: &Limits, qos: QoS, size: u64, messages: u64, bytes: u64, ring_takes_volatile: bool) -> Place {
    if qos == QoS::AtMostOnce {
        if ring_takes_volatile {
            return Place::Memory;
        }
        if !limits.cache_qos0 {
            return Place::Dropped(DropReason::Qos0Offline);
        }
    }
    if messages < limits.max_messages && bytes.saturating_add(size) <= limits.max_bytes {
        return Place::Row;
    }
    match limits.when_full {
        // Nobody could be told.
        _ if qos == QoS::AtMostOnce => Place::Dropped(DropReason::Full),
        WhenFull::Reject => Place::Rejected,
        WhenFull::DropNewest | WhenFull::DropOldest | WhenFull::Block => Place::Dropped(DropReason::Full),
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

    const LIMITS: Limits = Limits { max_messages: 10, max_bytes: 100, when_full: WhenFull::Reject, cache_qos0: false };

    #[test]
    fn a_message_that_does_not_fit_is_rejected() {
        assert_eq!(place(&LIMITS, QoS::AtLeastOnce, 50, 9, 50, false), Place::Row);
        assert_eq!(place(&LIMITS, QoS::AtLeastOnce, 1, 10, 50, false), Place::Rejected);
        assert_eq!(place(&LIMITS, QoS::AtLeastOnce, 51, 9, 50, false), Place::Rejected);
        let dropping = Limits { when_full: WhenFull::DropNewest, ..LIMITS };
        assert_eq!(place(&dropping, QoS::AtLeastOnce, 1, 10, 50, false), Place::Dropped(DropReason::Full));
    }

    #[test]
    fn qos_0_waits_in_memory_while_the_link_is_up() {
        assert_eq!(place(&LIMITS, QoS::AtMostOnce, 1, 10, 50, true), Place::Memory);
        assert_eq!(place(&LIMITS, QoS::AtMostOnce, 1, 0, 0, false), Place::Dropped(DropReason::Qos0Offline));
        let caching = Limits { cache_qos0: true, ..LIMITS };
        assert_eq!(place(&caching, QoS::AtMostOnce, 1, 0, 0, false), Place::Row);
        assert_eq!(place(&caching, QoS::AtMostOnce, 1, 10, 0, false), Place::Dropped(DropReason::Full));
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
