//! The time axis: the same for every subject of a run, so that they can be laid beside each other.
use crate::scenario::ledger::Ledger;
use crate::scenario::plan::Plan;
use crate::scenario::report::model::FaultSpan;

use super::text::text;

/// The width of every drawing, in its own units.
pub(super) const WIDTH: f64 = 1000.0;
/// Columns of a chart at most.
const MOST_COLUMNS: usize = 500;
const MOST_TICKS: usize = 8;

/// From 0 to the last second in which anything was published, done or received.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// Its length.
    pub(super) seconds: usize,
    /// Seconds of one column of a chart.
    pub(super) wide: usize,
}

impl Axis {
    pub(super) fn of(plan: &Plan, ledgers: &[(String, Ledger)]) -> Self {
        let mut seconds = plan.end.as_secs_f64().ceil() as usize;
        for (_, ledger) in ledgers {
            let healed = ledger.facts().faults.iter().map(|done| done.fault.end.as_secs_f64().ceil() as usize).max();
            seconds = seconds.max(ledger.received_per_second().len()).max(healed.unwrap_or(0));
        }
        let seconds = seconds.max(1);
        Self { seconds, wide: seconds.div_ceil(MOST_COLUMNS) }
    }

    /// Where a moment stands in a drawing.
    pub(super) fn x(self, at_s: f64) -> f64 {
        (at_s / self.seconds as f64).clamp(0.0, 1.0) * WIDTH
    }

    /// Where a moment stands, in percent.
    pub(super) fn percent(self, at_s: f64) -> String {
        format!("{:.2}%", self.x(at_s) * 100.0 / WIDTH)
    }

    /// Counts per second as the mean of each column.
    pub(super) fn means(self, per_second: &[u32]) -> Vec<f64> {
        let columns = (0..self.seconds).step_by(self.wide);
        columns
            .map(|from| {
                let to = (from + self.wide).min(self.seconds);
                let sum: u64 = per_second.iter().take(to).skip(from).map(|count| u64::from(*count)).sum();
                sum as f64 / (to - from) as f64
            })
            .collect()
    }

    /// What stood at the end of each second, as the highest of each column; what came after the list is its last.
    pub(super) fn highest(self, per_second: &[u64]) -> Vec<f64> {
        let last = per_second.last().copied().unwrap_or(0);
        let at = |second: usize| per_second.get(second).copied().unwrap_or(last);
        let columns = (0..self.seconds).step_by(self.wide);
        columns.map(|from| (from..from + self.wide).map(at).max().unwrap_or(0) as f64).collect()
    }

    /// Round moments, in seconds.
    fn ticks(self) -> impl Iterator<Item = usize> {
        let round = (0..).flat_map(|zeros| [1, 2, 5].map(|first: usize| first * 10_usize.pow(zeros)));
        let minutes = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800].into_iter();
        let step = minutes.chain(round.skip_while(|step| *step <= 1800)).find(|step| self.seconds / step < MOST_TICKS);
        (0..=self.seconds).step_by(step.unwrap_or(self.seconds))
    }

    /// The numbers under the axis.
    pub(super) fn scale(self) -> String {
        let tick = |second: usize| {
            let left = self.percent(second as f64);
            // The last number must not stand out of the page.
            let class = if second * 20 > self.seconds * 19 { " class=\"last\"" } else { "" };
            format!("<span{class} style=\"left:{left}\">{second}&#8239;s</span>")
        };
        format!(
            "<div class=\"lane axis\" aria-hidden=\"true\"><div class=\"name\"></div><div class=\"plot\">{}</div></div>\n",
            self.ticks().map(tick).collect::<String>()
        )
    }

    /// The faults as shades behind a drawing of a height.
    pub(super) fn shades(self, faults: &[FaultSpan], height: u32) -> String {
        let shade = |fault: &FaultSpan| {
            let (from, to) = (self.x(fault.start_s), self.x(fault.end_s));
            let width = (to - from).max(1.0);
            format!(
                "<rect class=\"shade\" x=\"{from:.1}\" width=\"{width:.1}\" height=\"{height}\"/>\
                 <path class=\"edge\" d=\"M{from:.1} 0v{height}M{to:.1} 0v{height}\"/>"
            )
        };
        faults.iter().map(shade).collect()
    }

    /// The faults by name; those that hold at once stand in rows of their own.
    pub(super) fn faults(self, faults: &[FaultSpan]) -> String {
        let mut rows: Vec<f64> = Vec::new();
        let mut spans = String::new();
        for fault in faults {
            let free = rows.iter().position(|end| *end <= fault.start_s);
            let row = free.unwrap_or(rows.len());
            if free.is_none() {
                rows.push(0.0);
            }
            rows[row] = fault.end_s.max(fault.start_s + self.seconds as f64 / 100.0);
            let (left, width) = (self.percent(fault.start_s), self.percent(fault.end_s - fault.start_s));
            let said = text(&words(fault));
            spans.push_str(&format!(
                "<span class=\"fault\" style=\"left:{left};width:{width};top:{top}rem\" title=\"{said}\"><b>{}</b></span>",
                fault.kind.name(),
                top = row as f64 * 1.5
            ));
        }
        if faults.is_empty() {
            return String::new();
        }
        format!(
            "<div class=\"lane faults\"><div class=\"name\">faults</div><div class=\"plot\" style=\"height:{}rem\">{spans}</div></div>\n",
            rows.len() as f64 * 1.5
        )
    }
}

/// `cut of the link to the remote, 8.0 s to 28.0 s`.
pub(super) fn words(fault: &FaultSpan) -> String {
    use crate::scenario::plan::{Place, Side};
    let whom = match (fault.kind.place(), fault.on) {
        (Place::Link, Side::Remote) => "the link to the remote",
        (Place::Link, Side::Bridge) => "the link, at the bridge's end",
        (Place::Process, Side::Remote) => "the remote's process",
        (Place::Process, Side::Bridge) => "the bridge's process",
        (Place::Disk, Side::Remote) => "the remote's disk",
        (Place::Disk, Side::Bridge) => "the bridge's disk",
    };
    let waited = fault.waited_for.as_ref().map(|what| format!(", begun at {what}")).unwrap_or_default();
    let when = match fault.end_s > fault.start_s {
        true => format!("{:.1} s to {:.1} s", fault.start_s, fault.end_s),
        false => format!("at {:.1} s", fault.start_s),
    };
    format!("{} ({whom}), {when}{waited}", fault.kind.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_the_sum_and_the_highest() {
        let axis = Axis { seconds: 5, wide: 2 };
        assert_eq!(axis.means(&[1, 3, 4, 0, 7, 9]), [2.0, 2.0, 7.0]);
        assert_eq!(axis.highest(&[1, 3, 4]), [3.0, 4.0, 4.0]);
        assert_eq!(axis.means(&[]), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn there_are_few_ticks_whatever_the_length() {
        for seconds in [1, 7, 25, 40, 130, 3600, 100_000, 5_184_000] {
            let axis = Axis { seconds, wide: 1 };
            let ticks: Vec<usize> = axis.ticks().collect();
            assert!((2..=MOST_TICKS).contains(&ticks.len()), "{seconds} s: {ticks:?}");
        }
    }
}
