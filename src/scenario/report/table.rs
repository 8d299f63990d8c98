//! The report in a terminal: readable at 80 columns, without colour, and on a light background.
mod findings;
mod messages;
#[cfg(test)]
mod tests;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::model::{LostRange, Percentiles, Report, SubjectReport, Verdict};
use super::timeline;

/// Lost ranges that are shown; all of them are in `report.json`.
const RANGES: usize = 12;
const INDENT: &str = "  ";

/// The report as text of at most `width` columns, with ANSI colours or without.
pub fn render(report: &Report, width: usize, colour: bool) -> String {
    let paint = Paint { width: width.max(40), colour };
    let mut lines = paint.head(report);
    for subject in &report.subjects {
        lines.push(String::new());
        lines.extend(paint.subject(subject));
    }
    lines.push(String::new());
    let longest = report.subjects.iter().map(|subject| subject.name.chars().count()).max().unwrap_or(0);
    for subject in &report.subjects {
        lines.extend(paint.verdict(subject, longest));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How wide, and whether with colours.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub(super) width: usize,
    pub(super) colour: bool,
}

impl Paint {
    fn head(self, report: &Report) -> Vec<String> {
        let facts = [
            format!("environment {}", report.environment),
            format!("remote {}", report.remote),
            format!("seed {}", report.seed),
        ];
        let mut lines = wrap(&format!("{}  {}", report.scenario, facts.join(", ")), self.width, "");
        if let Some(first) = lines.first_mut() {
            *first = first.replacen(&report.scenario, &self.bold(&report.scenario), 1);
        }
        lines.extend(wrap(&report.about, self.width, ""));
        if let Some(because) = &report.because {
            lines.extend(wrap(&format!("{}, because: {because}", report.environment), self.width, INDENT));
        }
        for approximated in &report.approximated {
            lines.extend(wrap(&format!("approximated: {approximated}"), self.width, INDENT));
        }
        lines
    }

    fn subject(self, subject: &SubjectReport) -> Vec<String> {
        let version = subject.version_alone();
        let rule = "─".repeat(self.width.saturating_sub(subject.name.chars().count() + version.chars().count() + 2));
        let mut lines = vec![format!("{} {version} {rule}", self.bold(&subject.name))];
        for unexpressed in &subject.unexpressed {
            lines.extend(wrap(&format!("not said to it: {unexpressed}"), self.width, INDENT));
        }
        lines.extend(self.messages(subject));
        lines.extend(self.lost(subject));
        let recovery = recovery(subject).map(|recovery| wrap(&recovery, self.width, INDENT));
        let timeline = timeline::lines(&subject.timeline, self.width);
        for part in
            [self.latency(subject), recovery.unwrap_or_default(), timeline, self.open(subject), self.findings(subject)]
        {
            if !part.is_empty() {
                lines.push(String::new());
                lines.extend(part);
            }
        }
        lines
    }

    fn lost(self, subject: &SubjectReport) -> Vec<String> {
        let ranges = subject.topics.iter().flat_map(|topic| topic.lost_ranges.iter().map(move |range| (topic, range)));
        let count = ranges.clone().count();
        if count == 0 {
            return Vec::new();
        }
        let mut lines = vec![String::new(), self.red("lost")];
        for (topic, range) in ranges.take(RANGES) {
            lines.extend(wrap(&format!("{INDENT}{} {}", topic.topic, lost_range(range)), self.width, "      "));
        }
        if count > RANGES {
            lines.push(format!("{INDENT}and {} more ranges, in report.json", count - RANGES));
        }
        lines
    }

    /// What the verdict's line leaves out: a failure's doubts, and the checks that a doubt leaves open.
    fn open(self, subject: &SubjectReport) -> Vec<String> {
        let doubts = subject.doubts.iter().filter(|_| subject.verdict == Verdict::Fail);
        let doubts = doubts.map(|doubt| format!("doubt: {doubt}"));
        let open = subject.checks.iter().filter(|check| check.verdict == Verdict::Inconclusive);
        let open = open.map(|check| format!("open: {}: {}", check.name, check.observed));
        doubts.chain(open).flat_map(|line| wrap(&line, self.width, INDENT)).collect()
    }

    fn latency(self, subject: &SubjectReport) -> Vec<String> {
        let latency = &subject.latency_ms;
        let faults = !subject.timeline.faults.is_empty();
        let phases = [
            (if faults { "before the fault" } else { "all" }, latency.before),
            ("during", latency.during),
            ("after the heal", latency.after),
        ];
        if phases.iter().all(|(_, percentiles)| percentiles.is_none()) {
            return Vec::new();
        }
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let mut table = self.table();
        let header = ["p50", "p95", "p99", "max"].map(|header| right(header.to_owned()));
        table.set_header([Cell::new("latency, from the intended moment")].into_iter().chain(header));
        for (name, percentiles) in phases {
            let Some(Percentiles { p50, p95, p99, max }) = percentiles else { continue };
            let cells = [p50, p95, p99, max].map(|millis| right(duration(millis)));
            table.add_row([Cell::new(name)].into_iter().chain(cells));
        }
        unpadded(&mut table)
    }

    fn verdict(self, subject: &SubjectReport, longest: usize) -> Vec<String> {
        let verdict = subject.verdict.name();
        let name = format!("{:longest$}", subject.name);
        let indent = " ".repeat(name.chars().count().min(20) + 2);
        let mut lines = wrap(&format!("{name}  {verdict}  {}", subject.summary), self.width, &indent);
        if let Some(first) = lines.first_mut() {
            let painted = match subject.verdict {
                Verdict::Pass => self.green(verdict),
                Verdict::Fail => self.red(verdict),
                Verdict::Inconclusive => self.magenta(verdict),
            };
            *first = first.replacen(&format!("  {verdict}"), &format!("  {painted}"), 1);
        }
        lines
    }

    pub(super) fn table(self) -> Table {
        let mut table = Table::new();
        table.load_preset("     ─             ").set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        if self.colour {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        table
    }

    fn bold(self, text: &str) -> String {
        self.ansi("1", text)
    }
    pub(super) fn red(self, text: &str) -> String {
        self.ansi("1;31", text)
    }
    pub(super) fn green(self, text: &str) -> String {
        self.ansi("1;32", text)
    }
    fn magenta(self, text: &str) -> String {
        self.ansi("1;35", text)
    }

    fn ansi(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The lines of a table that begins in the first column.
pub(super) fn unpadded(table: &mut Table) -> Vec<String> {
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table.lines().collect()
}

/// `52..416 (365), published 10.4 s to 83.2 s, during disconnect`.
pub(super) fn lost_range(range: &LostRange) -> String {
    let [from, to] = range.published_s;
    let what = match range.count {
        1 => format!("{}, published at {from:.1} s", range.first),
        count => format!("{}..{} ({count}), published {from:.1} s to {to:.1} s", range.first, range.last),
    };
    match range.during.is_empty() {
        true => format!("{what}, while no fault was in force"),
        false => format!("{what}, during {}", range.during.join(" and ")),
    }
}

pub(super) fn recovery(subject: &SubjectReport) -> Option<String> {
    let recovery = subject.recovery_ms;
    let first = duration(recovery.first_delivery?);
    Some(match recovery.drained {
        Some(_) if recovery.backlog == 0 => format!("recovery: first delivery {first} after the heal, no backlog"),
        Some(drained) => {
            let (backlog, drained) = (recovery.backlog, duration(drained));
            format!("recovery: first delivery {first} and backlog of {backlog} drained {drained} after the heal")
        }
        None => {
            let backlog = recovery.backlog;
            format!(
                "recovery: first delivery {first} after the heal; of the backlog {backlog} arrived, the others never"
            )
        }
    })
}

/// Milliseconds as a person reads them.
pub(super) fn duration(millis: f64) -> String {
    match millis {
        m if m < 10.0 => format!("{m:.1} ms"),
        m if m < 1000.0 => format!("{m:.0} ms"),
        m => format!("{:.1} s", m / 1000.0),
    }
}

/// Breaks at spaces, but not within `QoS 2`; what follows the first line is indented. Leading spaces are kept.
pub(super) fn wrap(text: &str, width: usize, indent: &str) -> Vec<String> {
    let text = text.replace("QoS ", "QoS\u{a0}");
    let mut lines: Vec<String> = Vec::new();
    let mut line = text[..text.len() - text.trim_start().len()].to_owned();
    let mut empty = true;
    for word in text.trim_start().split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    if !line.trim().is_empty() {
        lines.push(line);
    }
    lines.into_iter().map(|line| line.replace('\u{a0}', " ")).collect()
}
