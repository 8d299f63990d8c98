//! How far a backlog has drained.

/// The backlog at a heal, and what of it has arrived since. Messages that are acknowledged after the heal have no part
/// in it, whenever they were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Acknowledged messages that had not arrived at the heal; 0: there was none at any heal yet.
    pub backlog: u64,
    /// Those of them that have arrived since.
    pub arrived: u64,
}

impl Drained {
    /// Whether so many percent of it have arrived; never without a backlog.
    pub fn reached(&self, percent: u8) -> bool {
        self.backlog > 0 && u128::from(self.arrived) * 100 >= u128::from(self.backlog) * u128::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_reached_and_never_that_of_nothing() {
        let of = |arrived| Drained { backlog: 7, arrived };
        assert_eq!(
            [of(1).reached(20), of(2).reached(20), of(6).reached(100), of(7).reached(100)],
            [false, true, false, true]
        );
        assert!(!Drained::default().reached(1));
    }
}
