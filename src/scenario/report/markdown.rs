//! The report for an issue or a pull request: tables that GitHub renders.
use super::model::{Finding, Percentiles, Report, SubjectReport, Verdict};
use super::table::{duration, lost_range, recovery};
use crate::scenario::plan::Via;

/// The report in GitHub's Markdown.
pub fn render(report: &Report) -> String {
    let facts = [("environment", &report.environment), ("remote", &report.remote), ("seed", &report.seed.to_string())];
    let facts = facts.map(|(name, value)| format!("{name} {}", text(value))).join(", ");
    let mut parts =
        vec![format!("## {}: {}", text(&report.scenario), report.verdict.name()), text(&report.about), facts];
    if let Some(because) = &report.because {
        parts.push(format!("{}, because: {}", text(&report.environment), text(because)));
    }
    parts.push(list(report.approximated.iter().map(|what| format!("approximated: {}", text(what)))));
    let header = ["subject", "version", "verdict", ""].map(str::to_owned);
    let row = |subject: &SubjectReport| {
        let verdict = match subject.verdict {
            Verdict::Pass => subject.verdict.name().to_owned(),
            Verdict::Fail | Verdict::Inconclusive => format!("**{}**", subject.verdict.name()),
        };
        vec![text(&subject.name), text(&subject.version), verdict, text(&subject.summary)]
    };
    parts.push(table(&header, &report.subjects.iter().map(row).collect::<Vec<_>>()));
    for subject in &report.subjects {
        parts.extend(of_subject(subject));
    }
    joined(&parts)
}

fn of_subject(subject: &SubjectReport) -> Vec<String> {
    let mut parts = vec![format!("### {}", text(&subject.name))];
    parts.push(list(subject.unexpressed.iter().map(|what| format!("not said to it: {}", text(what)))));
    let header = ["topic", "QoS", "sent", "acknowledged", "received", "lost", "duplicated", "out of order"];
    let rare: Vec<_> = RARE.iter().filter(|(_, of)| of(&subject.totals) > 0).collect();
    let header: Vec<String> = header.into_iter().chain(rare.iter().map(|(name, _)| *name)).map(str::to_owned).collect();
    let numbers = |totals: &super::model::Totals| {
        let sent = match totals.sent == totals.intended {
            true => totals.sent.to_string(),
            false => format!("{}/{}", totals.sent, totals.intended),
        };
        let always = [totals.acknowledged, totals.received, totals.lost, totals.duplicated, totals.out_of_order];
        let numbers = always.into_iter().chain(rare.iter().map(|(_, of)| of(totals)));
        [sent].into_iter().chain(numbers.map(|number| number.to_string())).collect::<Vec<_>>()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for topic in &subject.topics {
        let remote = if topic.via == Via::Remote { " (from the remote)" } else { "" };
        let name = [format!("{}{remote}", code(&topic.topic)), topic.qos.to_string()];
        rows.push(name.into_iter().chain(numbers(&topic.totals)).collect());
    }
    if subject.topics.len() > 1 {
        rows.push(["**total**".to_owned(), String::new()].into_iter().chain(numbers(&subject.totals)).collect());
    }
    parts.push(table(&header, &rows));
    let ranges = subject.topics.iter().flat_map(|topic| topic.lost_ranges.iter().map(move |range| (topic, range)));
    parts.push(list(ranges.map(|(topic, range)| format!("lost {} {}", code(&topic.topic), text(&lost_range(range))))));
    let latency = &subject.latency_ms;
    let phases = [("before the fault", latency.before), ("during", latency.during), ("after the heal", latency.after)];
    let rows: Vec<Vec<String>> = phases
        .iter()
        .filter_map(|(name, percentiles)| percentiles.map(|percentiles| (name, percentiles)))
        .map(|(name, Percentiles { p50, p95, p99, max })| {
            [(*name).to_owned()].into_iter().chain([p50, p95, p99, max].map(duration)).collect()
        })
        .collect();
    if !rows.is_empty() {
        let header = ["latency, from the intended moment", "p50", "p95", "p99", "max"].map(str::to_owned);
        parts.push(table(&header, &rows));
    }
    parts.extend(recovery(subject).map(|recovery| text(&recovery)));
    let open = subject.checks.iter().filter(|check| check.verdict != Verdict::Pass);
    let open = open.map(|check| {
        let (name, verdict) = (text(&check.name), check.verdict.name());
        format!("{name}: {verdict}: expected {}, observed {}", text(&check.expected), text(&check.observed))
    });
    let doubts = subject.doubts.iter().map(|doubt| format!("doubt: {}", text(doubt)));
    parts.push(list(open.chain(doubts)));
    for Finding { rule, title, evidence, advice, reference } in &subject.findings {
        parts.push(format!("**{}** ({})", text(title), code(rule)));
        let last = [("", advice), ("see ", reference)].into_iter().filter(|(_, said)| !said.is_empty());
        let last = last.map(|(before, said)| format!("{before}{}", text(said)));
        parts.push(list(evidence.iter().map(|line| text(line)).chain(last)));
    }
    parts
}

type Rare = (&'static str, fn(&super::model::Totals) -> u64);

const RARE: [Rare; 5] = [
    ("refused", |totals| totals.refused),
    ("unacknowledged", |totals| totals.unacknowledged),
    ("recovered", |totals| totals.recovered),
    ("unexpected", |totals| totals.unexpected),
    ("late", |totals| totals.late),
];

fn list(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| format!("- {line}\n")).collect()
}

fn joined(parts: &[String]) -> String {
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

/// Characters that a number with its unit takes at most.
const NUMBER: usize = 12;

/// A table; the columns behind the first stand to the right where they hold nothing but numbers, with their units.
pub(super) fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let is_number = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
        let begins = |c: char| c.is_ascii_digit() || c == '-';
        column > 0 && cells.into_iter().all(|cell| cell.starts_with(begins) && cell.len() <= NUMBER)
    };
    let rule: Vec<String> =
        (0..header.len()).map(|column| if is_number(column) { "---:" } else { "---" }.to_owned()).collect();
    [line(header), line(&rule)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// Text that means nothing to Markdown, on one line, in a table too.
pub(super) fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '<' | '>' => safe.extend(['\\', c]),
            '&' => safe.push_str("&amp;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A word of the protocol or of a configuration, which may hold anything; a table's own sign is escaped even there.
pub(super) fn code(word: &str) -> String {
    let longest = word.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if word.starts_with('`') || word.ends_with('`') { " " } else { "" };
    let word: String = word.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{fence}{pad}{}{pad}{fence}", word.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_markdown() {
        assert_eq!(text("a|b *c* <img> & _d_\nx"), "a\\|b \\*c\\* \\<img\\> &amp; \\_d\\_ x");
        assert_eq!(code("plant/+/temperature"), "`plant/+/temperature`");
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`a`"), "`` `a` ``");
    }

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_header() {
        let rows = [vec!["a".to_owned(), "1".to_owned(), "x".to_owned()], vec![text("b|c"), String::new(), "y".into()]];
        let header = ["", "n", "t"].map(str::to_owned);
        assert_eq!(table(&header, &rows), "|  | n | t |\n| --- | ---: | --- |\n| a | 1 | x |\n| b\\|c |  | y |\n");
    }
}
