//! What arrived in each second as a line of blocks, with the faults under it.
use std::collections::BTreeMap;

use crate::scenario::plan::FaultKind;
use crate::scenario::report::model::{FaultSpan, Timeline};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines of a timeline, no chart among them wider than `width`; none where nothing arrived and nothing was done.
pub(super) fn lines(timeline: &Timeline, width: usize) -> Vec<String> {
    let last_fault = timeline.faults.iter().map(|fault| fault.end_s.ceil() as usize).max().unwrap_or(0);
    let seconds = timeline.received_per_second.len().max(last_fault);
    if seconds == 0 || width < 20 {
        return Vec::new();
    }
    // Wider than three columns a second, a short run would look like a bar chart.
    let scale = Scale { seconds, columns: width.min(seconds.saturating_mul(3)) };
    let rates = scale.rates(&timeline.received_per_second);
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let peak = timeline.received_per_second.iter().max().copied().unwrap_or(0);
    let mut lines = vec![format!("received per second, highest {peak}")];
    lines.push(rates.iter().map(|rate| block(*rate, highest)).collect());
    let mut kinds: BTreeMap<FaultKind, Vec<&FaultSpan>> = BTreeMap::new();
    for fault in &timeline.faults {
        kinds.entry(fault.kind).or_default().push(fault);
    }
    for (kind, faults) in kinds {
        lines.extend(apart(faults).into_iter().map(|faults| marks(kind, &faults, scale, width)));
    }
    let end = format!("{seconds} s");
    lines.push(format!("0 s{end:>width$}", width = scale.columns.saturating_sub(3).max(end.len() + 1)));
    let waited = timeline.faults.iter().filter_map(|fault| Some((fault, fault.waited_for.as_ref()?)));
    lines.extend(waited.map(|(fault, what)| format!("{} at {:.1} s, at {what}", fault.kind.name(), fault.start_s)));
    lines
}

/// So many seconds in so many columns.
#[derive(Clone, Copy)]
struct Scale {
    seconds: usize,
    columns: usize,
}

impl Scale {
    /// The mean rate in each column.
    fn rates(self, received: &[u32]) -> Vec<f64> {
        let wide = self.seconds as f64 / self.columns as f64;
        let rate = |column: usize| {
            let (from, to) = (column as f64 * wide, (column + 1) as f64 * wide);
            let touched = from.floor() as usize..(to.ceil() as usize).min(received.len());
            let part = |second: usize| (to.min(second as f64 + 1.0) - from.max(second as f64)).max(0.0);
            touched.map(|second| f64::from(received[second]) * part(second)).sum::<f64>() / wide
        };
        (0..self.columns).map(rate).collect()
    }

    /// Where a moment stands, in columns.
    fn column(self, second: f64) -> f64 {
        second * self.columns as f64 / self.seconds as f64
    }
}

/// Blank for nothing at all: silence must be seen, and so must a single message beside a thousand.
fn block(rate: f64, highest: f64) -> char {
    if rate <= 1e-9 {
        return ' ';
    }
    BLOCKS[((rate / highest * BLOCKS.len() as f64).ceil() as usize).clamp(1, BLOCKS.len()) - 1]
}

/// Faults that hold at the same time stand in rows of their own.
fn apart(faults: Vec<&FaultSpan>) -> Vec<Vec<&FaultSpan>> {
    let mut rows: Vec<Vec<&FaultSpan>> = Vec::new();
    for fault in faults {
        match rows
            .iter_mut()
            .find(|row| row.iter().all(|other| other.end_s <= fault.start_s || fault.end_s <= other.start_s))
        {
            Some(row) => row.push(fault),
            None => rows.push(vec![fault]),
        }
    }
    rows
}

/// One kind of fault: `├── cut ──┤` where there is room for it, and `▲` for what is short.
fn marks(kind: FaultKind, faults: &[&FaultSpan], scale: Scale, width: usize) -> String {
    let (name, length) = (kind.name(), scale.columns);
    let mut row = vec![' '; length];
    let mut named = false;
    for fault in faults {
        // Only the columns that it fills, so that it ends where the blocks begin again.
        let from = scale.column(fault.start_s).ceil() as usize;
        let to = (scale.column(fault.end_s).floor() as usize).saturating_sub(1).min(length - 1);
        if to < from + 2 {
            row[(scale.column(fault.start_s) as usize).min(length - 1)] = '▲';
            continue;
        }
        row[from..=to].fill('─');
        (row[from], row[to]) = ('├', '┤');
        let label = format!(" {name} ");
        if label.len() + 4 <= to + 1 - from {
            let start = from + (to + 1 - from - label.len()) / 2;
            label.chars().zip(start..).for_each(|(letter, column)| row[column] = letter);
            named = true;
        }
    }
    let mut row: String = row.into_iter().collect();
    row.truncate(row.trim_end().len());
    if !named {
        // Behind the last mark where there is room, else before the first one.
        let used = row.chars().count();
        let blank = row.chars().take_while(|column| *column == ' ').count();
        if used + 1 + name.len() <= width {
            row.push_str(&format!(" {name}"));
        } else if blank > name.len() {
            row.replace_range(blank - name.len() - 1..blank - 1, name);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::plan::Side;

    fn span(kind: FaultKind, start_s: f64, end_s: f64) -> FaultSpan {
        FaultSpan { kind, on: Side::Remote, start_s, end_s, waited_for: None }
    }

    fn cut(seconds: usize) -> Timeline {
        let rate = |second| match second {
            s if s < seconds / 5 => 9,
            s if s < seconds / 2 => 0,
            s if s == seconds / 2 => 99,
            _ => 9,
        };
        let (start, end) = ((seconds / 5) as f64, (seconds / 2) as f64);
        Timeline {
            received_per_second: (0..seconds).map(rate).collect(),
            faults: vec![span(FaultKind::Cut, start, end), span(FaultKind::Kill, start + 1.0, start + 2.0)],
        }
    }

    #[test]
    fn it_shows_silence_under_the_fault_and_the_burst_behind_it() {
        insta::assert_snapshot!(lines(&cut(20), 78).join("\n"), @r#"
received per second, highest 99
▁▁▁▁▁▁▁▁▁▁▁▁                  ███▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
            ├───── cut ──────┤
               ├─┤ kill
0 s                                                     20 s
"#);
    }

    #[test]
    fn what_overlaps_stands_in_rows_of_its_own_and_what_waited_says_for_what() {
        let mut timeline = cut(20);
        timeline.faults = vec![span(FaultKind::Delay, 1.0, 9.0), span(FaultKind::Delay, 4.0, 7.0)];
        timeline.faults[1].waited_for = Some("20% of the backlog drained".into());
        insta::assert_snapshot!(lines(&timeline, 78)[2..].join("\n"), @r#"
   ├─────── delay ────────┤
            ├───────┤ delay
0 s                                                     20 s
delay at 4.0 s, at 20% of the backlog drained
"#);
    }

    #[test]
    fn it_fits_every_width() {
        for seconds in [1, 5, 20, 77, 78, 79, 190, 4000] {
            for width in [20, 58, 78, 118] {
                for line in lines(&cut(seconds), width) {
                    // The title may be longer than a very narrow terminal, the chart may not.
                    let chart = !line.starts_with("received");
                    assert!(!chart || line.chars().count() <= width, "{seconds} s at {width}: {line}");
                }
            }
        }
        assert!(lines(&Timeline::default(), 78).is_empty());
    }
}
