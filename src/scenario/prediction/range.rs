//! The spread of a figure over many seeds.
use std::fmt;

use serde::Serialize;

/// Of a hundred figures so many lie in the likely part.
const LIKELY_PERCENT: usize = 90;

/// From the lowest to the highest of a set, and where most of it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The lowest of all.
    pub min: u64,
    /// The highest of all.
    pub max: u64,
    /// Half are at most this.
    pub median: u64,
    /// The shortest range that holds nine of ten: its lowest and its highest.
    pub likely: [u64; 2],
}

impl Range {
    /// The spread of some figures; `None` of none.
    pub fn of(figures: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut figures: Vec<u64> = figures.into_iter().collect();
        figures.sort_unstable();
        let most = (figures.len() * LIKELY_PERCENT).div_ceil(100).max(1);
        let windows = figures.windows(most).filter_map(|window| Some([*window.first()?, *window.last()?]));
        Some(Self {
            min: *figures.first()?,
            max: *figures.last()?,
            median: *figures.get((figures.len() - 1) / 2)?,
            likely: windows.min_by_key(|[low, high]| high - low)?,
        })
    }

    /// Whether a measured figure is one of those that were predicted.
    pub fn holds(&self, measured: u64) -> bool {
        (self.min..=self.max).contains(&measured)
    }

    /// Whether it is one of the likely ones.
    pub fn expects(&self, measured: u64) -> bool {
        let [low, high] = self.likely;
        (low..=high).contains(&measured)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.likely;
        match self.min == self.max {
            true => write!(f, "{}", self.min),
            false if (low, high) == (self.min, self.max) => write!(f, "{low} to {high}"),
            false => write!(f, "{low} to {high} (of all {} to {})", self.min, self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likely_part_is_the_shortest_that_holds_nine_of_ten() {
        let skewed = (0..90).map(|figure| figure / 9).chain(100..110);
        let expected = Range { min: 0, max: 109, median: 5, likely: [0, 9] };
        assert_eq!(Range::of(skewed), Some(expected));
        assert_eq!(expected.to_string(), "0 to 9 (of all 0 to 109)");
        assert!(expected.holds(50) && !expected.expects(50));
        assert_eq!(Range::of([7]).map(|range| range.to_string()), Some("7".to_owned()));
        assert_eq!(Range::of([]), None);
    }
}
