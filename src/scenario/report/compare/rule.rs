//! What counts as a difference between two runs: pure, and stated in [`RULE`], which every rendering ends with.
use serde::{Serialize, Serializer};

/// A time must differ by more than this factor,
const RATIO: f64 = 1.5;
/// and a latency by more than this many milliseconds,
const LATENCY_FLOOR_MS: f64 = 100.0;
/// or a recovery by more than this many.
const RECOVERY_FLOOR_MS: f64 = 1000.0;

/// The rule in words.
pub const RULE: &str = "Significant is: any change of lost, duplicated, out of order, unexpected or late, as a share of \
    what was to be published; a latency that differs by more than 1.5 times and 100 ms, where both lost the same \
    share; a recovery that differs by more than 1.5 times and 1 s, or that never comes; a change of the verdict. A regression is what is significant and worse, \
    but a verdict only if it becomes FAIL.";

/// What was measured, or why there is nothing to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// There was nothing to measure.
    Absent,
    /// It was waited for and never came.
    Never,
    /// Messages, or milliseconds.
    Number(f64),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Never => serializer.serialize_str("never"),
            Self::Number(number) => serializer.serialize_f64(*number),
        }
    }
}

/// How a measure is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Messages that should be none.
    Count,
    /// Messages of which fewer or more mean nothing by themselves: shown, and never significant.
    Shown,
    /// Milliseconds that a message took.
    Latency,
    /// Milliseconds from the heal.
    Recovery,
}

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// For the worse.
    Worse,
    /// For the better.
    Better,
}

/// Whether two measures differ significantly; each with the messages that its run was to publish.
pub(super) fn change(kind: Kind, (before, of): (Value, u64), (after, out_of): (Value, u64)) -> Option<Change> {
    use Value::{Never, Number};
    let worse = match (before, after) {
        (Number(before), Number(after)) if kind == Kind::Count => {
            // Shares without a division; of equal runs the counts themselves.
            let (before, after) = (before * out_of as f64, after * of as f64);
            (before != after).then_some(after > before)?
        }
        (Number(before), Number(after)) => {
            let floor = match kind {
                Kind::Latency => LATENCY_FLOOR_MS,
                Kind::Recovery => RECOVERY_FLOOR_MS,
                Kind::Count | Kind::Shown => return None,
            };
            let (low, high) = (before.min(after), before.max(after));
            (high - low > floor && high > low * RATIO).then_some(after > before)?
        }
        (Number(_), Never) => true,
        (Never, Number(_)) => false,
        _ => return None,
    };
    Some(if worse { Change::Worse } else { Change::Better })
}

#[cfg(test)]
mod tests {
    use super::Change::{Better, Worse};
    use super::Value::{Absent, Never, Number};
    use super::*;

    fn of(kind: Kind, before: Value, after: Value) -> Option<Change> {
        change(kind, (before, 100), (after, 100))
    }

    #[test]
    fn any_change_of_a_count_is_significant() {
        assert_eq!(of(Kind::Count, Number(0.0), Number(1.0)), Some(Worse));
        assert_eq!(of(Kind::Count, Number(7.0), Number(6.0)), Some(Better));
        assert_eq!(of(Kind::Count, Number(7.0), Number(7.0)), None);
        assert_eq!(of(Kind::Shown, Number(7.0), Number(700.0)), None);
        // The same share of a run that is twice as long.
        assert_eq!(change(Kind::Count, (Number(7.0), 100), (Number(14.0), 200)), None);
        assert_eq!(change(Kind::Count, (Number(7.0), 100), (Number(15.0), 200)), Some(Worse));
        assert_eq!(change(Kind::Count, (Number(7.0), 100), (Number(7.0), 200)), Some(Better));
    }

    #[test]
    fn a_time_must_differ_by_a_factor_and_by_a_floor() {
        assert_eq!(of(Kind::Latency, Number(1.0), Number(100.0)), None, "below the floor");
        assert_eq!(of(Kind::Latency, Number(1.0), Number(102.0)), Some(Worse));
        assert_eq!(of(Kind::Latency, Number(1000.0), Number(1500.0)), None, "no more than the factor");
        assert_eq!(of(Kind::Latency, Number(1501.0), Number(1000.0)), Some(Better));
        assert_eq!(of(Kind::Recovery, Number(100.0), Number(1100.0)), None);
        assert_eq!(of(Kind::Recovery, Number(100.0), Number(1101.0)), Some(Worse));
        assert_eq!(of(Kind::Recovery, Number(100.0), Never), Some(Worse));
        assert_eq!(of(Kind::Recovery, Never, Number(90_000.0)), Some(Better));
        assert_eq!(of(Kind::Recovery, Never, Never), None);
        assert_eq!(of(Kind::Recovery, Absent, Never), None);
    }
}
