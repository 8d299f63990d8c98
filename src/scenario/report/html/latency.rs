//! How long messages took: the distribution by phase, and its percentiles.
use std::time::Duration;

use crate::scenario::ledger::Ledger;
use crate::scenario::plan::Plan;
use crate::scenario::report::model::{Percentiles, SubjectReport};
use crate::scenario::report::table::duration;
use crate::scenario::verdict;

use super::text::{shown_number, table};

/// Upper ends of the rows, in milliseconds.
const ENDS: [f64; 19] = [
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1e3,
    2e3,
    5e3,
    10e3,
    20e3,
    50e3,
    100e3,
    200e3,
    500e3,
    f64::INFINITY,
];

/// Both tables; nothing where nothing arrived.
pub(super) fn latency(plan: &Plan, ledger: &Ledger, subject: &SubjectReport, pointer: &str) -> String {
    let names = match subject.timeline.faults.is_empty() {
        true => ["all", "", ""],
        false => ["before the fault", "during", "after the heal"],
    };
    let latency = &subject.latency_ms;
    let phases = [("before", latency.before), ("during", latency.during), ("after", latency.after)];
    if phases.iter().all(|(_, percentiles)| percentiles.is_none()) {
        return "<p>Nothing arrived.</p>\n".to_owned();
    }
    let row = |(name, (key, percentiles)): (&str, (&str, Option<Percentiles>))| {
        let Percentiles { p50, p95, p99, max } = percentiles?;
        let cell = |(of, millis): (&str, f64)| {
            shown_number(&format!("{pointer}/latency_ms/{key}/{of}"), millis, &duration(millis))
        };
        let cells = [("p50", p50), ("p95", p95), ("p99", p99), ("max", max)].map(cell);
        Some([name.to_owned()].into_iter().chain(cells).collect())
    };
    let rows = names.into_iter().zip(phases).filter_map(row);
    let percentiles = table("latency, from the intended moment", &["phase", "p50", "p95", "p99", "max"], rows);
    format!("{percentiles}{}", distribution(&verdict::latencies(plan, ledger, &ledger.facts().faults()), names))
}

fn distribution(phases: &[Vec<Duration>; 3], names: [&str; 3]) -> String {
    let counts = phases.each_ref().map(|phase| counts(phase));
    let occupied = |row: &usize| counts.iter().any(|counts| counts[*row] > 0);
    let rows = || 0..ENDS.len();
    let (Some(first), Some(last)) = (rows().find(occupied), rows().rev().find(occupied)) else { return String::new() };
    let shown: Vec<usize> = (0..3).filter(|phase| !phases[*phase].is_empty()).collect();
    let row = |row: usize| {
        let bar = |phase: &usize| {
            let (count, all) = (counts[*phase][row], phases[*phase].len());
            // Of its phase: the phases differ in length.
            let share = count as f64 * 100.0 / all as f64;
            let bar = format!("<span class=\"bar\" style=\"width:{share:.2}%\"></span>");
            format!("{}{count}", if count > 0 { &bar } else { "" })
        };
        [range(row)].into_iter().chain(shown.iter().map(bar)).collect()
    };
    let header: Vec<&str> = ["latency"].into_iter().chain(shown.iter().map(|phase| names[*phase])).collect();
    let table = table("messages by latency", &header, (first..=last).map(row));
    format!("<div class=\"distribution\">{table}</div>\n")
}

fn counts(latencies: &[Duration]) -> [usize; ENDS.len()] {
    let mut counts = [0; ENDS.len()];
    for latency in latencies {
        let millis = latency.as_secs_f64() * 1000.0;
        if let Some(row) = ENDS.iter().position(|end| millis < *end) {
            counts[row] += 1;
        }
    }
    counts
}

fn range(row: usize) -> String {
    let said = |millis: f64| if millis < 1000.0 { format!("{millis} ms") } else { format!("{} s", millis / 1000.0) };
    match row {
        0 => format!("below {}", said(ENDS[0])),
        row if ENDS[row].is_infinite() => format!("from {}", said(ENDS[row - 1])),
        row => format!("{} to {}", said(ENDS[row - 1]), said(ENDS[row])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_one_row() {
        let latencies: Vec<Duration> =
            [0, 999, 1000, 1999, 500_000_000, u64::MAX / 1000].map(Duration::from_micros).into();
        let counts = counts(&latencies);
        assert_eq!((counts[0], counts[1], counts[18]), (2, 2, 2));
        assert_eq!(
            [range(0), range(1), range(9), range(18)],
            ["below 1 ms", "1 ms to 2 ms", "500 ms to 1 s", "from 500 s"]
        );
    }
}
