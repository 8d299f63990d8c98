//! What arrived in each second as a line of blocks, with the faults under it.
use std::collections::BTreeMap;

use crate::scenario::plan::FaultKind;
use crate::scenario::report::model::{FaultSpan, Timeline};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines of a timeline, none longer than `width`; none where nothing arrived and nothing was done.
pub(super) fn lines(timeline: &Timeline, width: usize) -> Vec<String> {
    let last_fault = timeline.faults.iter().map(|fault| fault.end_s.ceil() as usize).max().unwrap_or(0);
    let seconds = timeline.received_per_second.len().max(last_fault);
    if seconds == 0 || width < 20 {
        return Vec::new();
    }
    let scale = Scale::fitting(seconds, width);
    let rates = scale.rates(&timeline.received_per_second, seconds);
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let mut lines = vec![scale.title(highest)];
    lines.push(rates.iter().flat_map(|rate| std::iter::repeat_n(block(*rate, highest), scale.columns)).collect());
    let mut kinds: BTreeMap<FaultKind, Vec<&FaultSpan>> = BTreeMap::new();
    for fault in &timeline.faults {
        kinds.entry(fault.kind).or_default().push(fault);
    }
    let length = rates.len() * scale.columns;
    for (kind, faults) in kinds {
        lines.push(marks(kind, &faults, scale, length, width));
    }
    lines.push(axis(scale, length));
    lines
}

/// Either several columns for a second, or several seconds in a column.
#[derive(Clone, Copy)]
struct Scale {
    columns: usize,
    seconds: usize,
}

impl Scale {
    fn fitting(seconds: usize, width: usize) -> Self {
        if seconds <= width {
            // Wider than this, a short run would look like a bar chart.
            return Self { columns: (width / seconds).min(3), seconds: 1 };
        }
        Self { columns: 1, seconds: seconds.div_ceil(width) }
    }

    fn rates(self, received: &[u32], seconds: usize) -> Vec<f64> {
        let second = |second: usize| f64::from(received.get(second).copied().unwrap_or(0));
        let bins = (0..seconds).step_by(self.seconds);
        bins.map(|from| (from..from + self.seconds).map(second).sum::<f64>() / self.seconds as f64).collect()
    }

    fn title(self, highest: f64) -> String {
        let averaged = if self.seconds > 1 { format!(", each column {} s", self.seconds) } else { String::new() };
        format!("received per second, highest {highest:.0}{averaged}")
    }

    fn column(self, second: f64) -> usize {
        (second / self.seconds as f64 * self.columns as f64).floor() as usize
    }
}

/// Blank for nothing at all: silence must be seen, and so must a single message beside a thousand.
fn block(rate: f64, highest: f64) -> char {
    if rate <= 0.0 {
        return ' ';
    }
    BLOCKS[((rate / highest * BLOCKS.len() as f64).ceil() as usize).clamp(1, BLOCKS.len()) - 1]
}

/// One kind of fault: `├── cut ──┤` where there is room for it, and `▲` for what is short.
fn marks(kind: FaultKind, faults: &[&FaultSpan], scale: Scale, length: usize, width: usize) -> String {
    let name = kind.name();
    let mut row = vec![' '; length];
    let mut named = false;
    for fault in faults {
        let from = scale.column(fault.start_s).min(length - 1);
        let to = scale.column(fault.end_s).saturating_sub(1).clamp(from, length - 1);
        if to < from + 2 {
            row[from] = '▲';
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

fn axis(scale: Scale, length: usize) -> String {
    let end = format!("{} s", length / scale.columns * scale.seconds);
    format!("0 s{end:>width$}", width = length.saturating_sub(3).max(end.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::plan::Side;

    fn span(kind: FaultKind, start_s: f64, end_s: f64) -> FaultSpan {
        FaultSpan { kind, on: Side::Remote, start_s, end_s }
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
