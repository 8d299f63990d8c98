//! The spread of a figure over many seeds.
use std::fmt;

/// From the lowest to the highest of a set, and what most of it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The lowest of all.
    pub min: u64,
    /// 5 of 100 are at most this.
    pub p5: u64,
    /// Half are at most this.
    pub median: u64,
    /// 95 of 100 are at most this.
    pub p95: u64,
    /// The highest of all.
    pub max: u64,
}

impl Range {
    /// The spread of some figures; `None` of none.
    pub fn of(figures: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut figures: Vec<u64> = figures.into_iter().collect();
        figures.sort_unstable();
        let percentile = |percent: usize| figures.get((figures.len().saturating_sub(1) * percent + 50) / 100).copied();
        let at = |percent| percentile(percent);
        Some(Self { min: at(0)?, p5: at(5)?, median: at(50)?, p95: at(95)?, max: at(100)? })
    }

    /// Whether a measured figure is one of those that were predicted.
    pub fn holds(&self, measured: u64) -> bool {
        (self.min..=self.max).contains(&measured)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            return write!(f, "{}", self.min);
        }
        write!(f, "{} ({} to {}; at least {}, at most {})", self.median, self.p5, self.p95, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_of_the_set() {
        let range = Range::of((0..=100).rev());
        assert_eq!(range, Some(Range { min: 0, p5: 5, median: 50, p95: 95, max: 100 }));
        assert_eq!(Range::of([7]).map(|range| range.to_string()), Some("7".to_owned()));
        assert_eq!(Range::of([]), None);
    }
}
