//! What would be said over and over: the first at once, what follows together.
use std::collections::BTreeMap;
use std::time::Duration;

use crate::bridge::delivery::Time;

/// Between two lines of the same kind.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Said {
    at: Time,
    /// Since then.
    unsaid: u64,
}

/// Says when an event is worth a line in the log. Kinds are few and known when the program is written.
#[derive(Debug, Default)]
pub struct Repeats(BTreeMap<&'static str, Said>);

impl Repeats {
    /// It has happened; `Some`: it is worth a line, and so many have happened since the last.
    pub fn record(&mut self, kind: &'static str, now: Time) -> Option<u64> {
        let said = self.0.get_mut(kind);
        match said {
            Some(said) if now < said.at + PAUSE => {
                said.unsaid += 1;
                None
            }
            Some(said) => {
                said.at = now;
                Some(std::mem::take(&mut said.unsaid))
            }
            None => {
                self.0.insert(kind, Said { at: now, unsaid: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_line_in_ten_seconds() {
        let mut repeats = Repeats::default();
        let at = Duration::from_secs;
        assert_eq!(repeats.record("denied", at(100)), Some(0));
        for second in 101..110 {
            assert_eq!(repeats.record("denied", at(second)), None);
        }
        assert_eq!(repeats.record("refused", at(105)), Some(0), "another kind");
        assert_eq!(repeats.record("denied", at(110)), Some(9));
        assert_eq!(repeats.record("denied", at(111)), None);
    }
}
