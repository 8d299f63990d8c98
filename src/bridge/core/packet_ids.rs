//! Packet Identifiers that are in use on one session (MQTT 5, section 2.2.1).
use std::collections::HashSet;

/// Hands out each of 1 to 65535 that is free, in a circle, so that one that has just been freed is used last.
#[derive(Debug, Default)]
pub struct PacketIds {
    used: HashSet<u16>,
    last: u16,
}

impl PacketIds {
    /// Takes one; `None` where all are in use.
    pub fn take(&mut self) -> Option<u16> {
        if self.used.len() == usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if self.used.insert(self.last) {
                return Some(self.last);
            }
        }
    }

    /// Takes a certain one, which a restored exchange holds; false where it is in use already.
    pub fn reserve(&mut self, packet_id: u16) -> bool {
        self.last = self.last.max(packet_id);
        self.used.insert(packet_id)
    }

    /// Frees one.
    pub fn free(&mut self, packet_id: u16) {
        self.used.remove(&packet_id);
    }

    /// How many are in use.
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_handed_out_once_until_it_is_freed() {
        let mut ids = PacketIds::default();
        assert!(ids.reserve(2));
        assert!(!ids.reserve(2));
        let taken: Vec<u16> = std::iter::from_fn(|| ids.take()).collect();
        assert_eq!(taken.len(), 65_534);
        assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 65_534);
        assert!(!taken.contains(&0) && !taken.contains(&2));
        ids.free(7);
        assert_eq!(ids.take(), Some(7));
        assert_eq!(ids.take(), None);
    }
}
