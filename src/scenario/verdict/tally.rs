//! Every message in its class, and lost ones in ranges.
use std::time::Duration;

use crate::scenario::ledger::{Ledger, Row};
use crate::scenario::plan::{Fault, Load};
use crate::scenario::report::model::{LostRange, Totals};
use crate::scenario::schedule;

/// The QoS that counts: the lower one of publish and forward. A plan has one for both.
pub(in crate::scenario) fn effective_qos(load: &Load) -> u8 {
    load.qos
}

/// Where a message ended. What was sent is in exactly one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scenario) enum Fate {
    /// Never written to a socket, and never seen.
    NotSent,
    /// Never written to a socket, and seen.
    NeverSentButReceived,
    /// Arrived in time.
    Delivered,
    /// Arrived after the settle limit.
    Late,
    /// Arrived, but never as it was sent.
    Altered,
    /// Promised, and did not arrive.
    Lost,
    /// Answered with a failure code, and did not arrive.
    Refused,
    /// Not answered, and did not arrive.
    Unacknowledged,
}

pub(in crate::scenario) fn fate(row: &Row, qos: u8) -> Fate {
    match (row.sent().is_some(), row.copies() > 0) {
        (false, false) => Fate::NotSent,
        (false, true) => Fate::NeverSentButReceived,
        (true, true) if row.late() => Fate::Late,
        (true, true) => Fate::Delivered,
        (true, false) if row.altered() => Fate::Altered,
        (true, false) if qos == 0 || row.acknowledged() => Fate::Lost,
        (true, false) if row.refused() => Fate::Refused,
        (true, false) => Fate::Unacknowledged,
    }
}

/// One load's messages by class.
pub(super) fn totals(load: &Load, index: usize, ledger: &Ledger) -> Totals {
    let qos = effective_qos(load);
    let mut totals = Totals { unexpected: ledger.unexpected_on(index), ..Totals::default() };
    for (_, row) in ledger.rows(index) {
        totals.intended += 1;
        let fate = fate(&row, qos);
        match fate {
            Fate::NotSent => continue,
            Fate::NeverSentButReceived => {
                totals.unexpected += 1;
                continue;
            }
            Fate::Delivered => totals.delivered += 1,
            Fate::Late => totals.late += 1,
            Fate::Lost => totals.lost += 1,
            Fate::Unacknowledged => totals.unacknowledged += 1,
            Fate::Altered | Fate::Refused => {}
        }
        let arrived = row.copies() > 0;
        totals.sent += 1;
        totals.acknowledged += u64::from(row.acknowledged());
        totals.refused += u64::from(row.refused());
        totals.refused_and_received += u64::from(row.refused() && arrived);
        totals.received += u64::from(row.copies());
        totals.recovered += u64::from(arrived && qos > 0 && !row.acknowledged());
        totals.duplicated += u64::from(row.copies() > 1);
        totals.out_of_order += u64::from(row.out_of_order());
    }
    totals
}

/// The lost messages of a load, those with neighbouring sequences together.
pub(super) fn lost_ranges(load: &Load, index: usize, ledger: &Ledger, faults: &[Fault]) -> Vec<LostRange> {
    let mut ranges: Vec<LostRange> = Vec::new();
    let lost = ledger.rows(index).filter(|(_, row)| fate(row, effective_qos(load)) == Fate::Lost);
    for (seq, _) in lost {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == seq => {
                range.last = seq;
                range.count += 1;
            }
            _ => {
                ranges.push(LostRange { first: seq, last: seq, count: 1, published_s: [0.0; 2], during: Vec::new() });
            }
        }
    }
    for range in &mut ranges {
        let moment = |seq| load.intended(seq).unwrap_or(Duration::ZERO);
        let (from, to) = (moment(range.first), moment(range.last));
        range.published_s = [from, to].map(|moment| (moment.as_secs_f64() * 1000.0).round() / 1000.0);
        range.during = schedule::in_force(faults, from, to);
    }
    ranges
}
