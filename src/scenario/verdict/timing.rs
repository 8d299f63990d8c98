//! How long messages took, and how a subject went on after the last heal.
use std::time::Duration;

use hdrhistogram::Histogram;

use super::tally::{Fate, effective_qos, fate};
use crate::scenario::ledger::Ledger;
use crate::scenario::plan::{Fault, Plan};
use crate::scenario::report::model::{Latency, Percentiles, Recovery};
use crate::scenario::schedule::Phase;

/// By phase, from the intended moment, so that a subject that makes its publishers wait cannot hide it.
pub(in crate::scenario) fn latencies(plan: &Plan, ledger: &Ledger, faults: &[Fault]) -> [Vec<Duration>; 3] {
    let mut phases: [Vec<Duration>; 3] = Default::default();
    for (index, load) in plan.loads.iter().enumerate() {
        for (seq, row) in ledger.rows(index).filter(|(_, row)| row.sent().is_some()) {
            if let (Some(received), Some(intended)) = (row.received(), load.intended(seq)) {
                phases[Phase::of(intended, faults) as usize].push(received.saturating_sub(intended));
            }
        }
    }
    phases
}

pub(super) fn latency(plan: &Plan, ledger: &Ledger, faults: &[Fault]) -> Latency {
    let [before, during, after] = latencies(plan, ledger, faults).map(|latencies| percentiles(&latencies));
    Latency { before, during, after }
}

/// A day; what takes longer is shown as the longest.
const LONGEST_MICROS: u64 = 86_400_000_000;

/// `None` where there is nothing.
pub(super) fn percentiles(durations: &[Duration]) -> Option<Percentiles> {
    let mut histogram = Histogram::<u64>::new_with_max(LONGEST_MICROS, 3).ok()?;
    histogram.auto(true);
    for duration in durations {
        histogram.saturating_record(duration.as_micros() as u64);
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    // A bucket's upper end would be longer than the longest.
    let max = durations.iter().max()?.as_micros() as f64 / 1000.0;
    Some(Percentiles { p50: at(0.5).min(max), p95: at(0.95).min(max), p99: at(0.99).min(max), max })
}

/// What there is to say about the time after the last heal.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backlog {
    /// For the report.
    pub(super) recovery: Recovery,
    /// Promised messages intended before the heal.
    pub(super) promised: u64,
    /// Those of them that never arrived.
    pub(super) missing: u64,
}

pub(super) fn backlog(plan: &Plan, ledger: &Ledger) -> Option<Backlog> {
    let heal = ledger.facts().heal()?;
    let mut backlog = Backlog::default();
    let mut first: Option<Duration> = None;
    let mut last = Duration::ZERO;
    for (index, load) in plan.loads.iter().enumerate() {
        for (seq, row) in ledger.rows(index) {
            let received = row.received().filter(|_| row.sent().is_some());
            if let Some(received) = received.filter(|received| *received >= heal) {
                first = Some(first.map_or(received, |first| first.min(received)));
            }
            if effective_qos(load) == 0 || load.intended(seq).is_none_or(|intended| intended >= heal) {
                continue;
            }
            match (received, fate(&row, effective_qos(load))) {
                (Some(received), _) => {
                    backlog.promised += 1;
                    backlog.recovery.backlog += u64::from(received >= heal);
                    last = last.max(received);
                }
                (None, Fate::Lost) => {
                    backlog.promised += 1;
                    backlog.missing += 1;
                }
                _ => {}
            }
        }
    }
    let since_heal = |moment: Duration| moment.saturating_sub(heal).as_micros() as f64 / 1000.0;
    backlog.recovery.first_delivery = first.map(since_heal);
    backlog.recovery.drained = (backlog.promised > 0 && backlog.missing == 0).then(|| since_heal(last));
    Some(backlog)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_durations() {
        let durations: Vec<Duration> = (1..=1000).map(Duration::from_millis).collect();
        let of = percentiles(&durations).unwrap();
        let near = |value: f64, expected: f64| (value - expected).abs() <= expected / 500.0;
        assert!(near(of.p50, 500.0) && near(of.p95, 950.0) && near(of.p99, 990.0), "{of:?}");
        assert_eq!(of.max, 1000.0);
        assert_eq!(percentiles(&[]), None);
        let one = percentiles(&[Duration::from_micros(123_457)]).unwrap();
        assert_eq!((one.p50, one.max), (123.457, 123.457));
    }
}
