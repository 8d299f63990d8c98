//! A comparison in a terminal: readable at 80 columns, without colour, and in a log file.
use comfy_table::{Cell, CellAlignment};

use super::{Change, Comparison, Difference, cell};
use crate::scenario::report::table::{Paint, unpadded, wrap};

const INDENT: &str = "      ";

/// A comparison as text of at most `width` columns, with ANSI colours or without.
pub fn render(comparison: &Comparison, width: usize, colour: bool) -> String {
    let paint = Paint { width: width.max(40), colour };
    let mut lines = Vec::new();
    for setup in &comparison.setup {
        lines.extend(wrap(&format!("differing {setup}"), paint.width, "  "));
    }
    if !comparison.setup.is_empty() {
        lines.push(String::new());
    }
    for difference in &comparison.differences {
        let (word, text) = (word(difference), line(comparison, difference));
        let mut wrapped = wrap(&format!("{word:<6} {text}"), paint.width, INDENT);
        if let Some(first) = wrapped.first_mut() {
            let painted = match difference.change {
                Change::Worse => paint.red(word),
                Change::Better => paint.green(word),
            };
            *first = first.replacen(word, &painted, 1);
        }
        lines.extend(wrapped);
    }
    if comparison.differences.is_empty() {
        lines.push("no significant difference".to_owned());
    }
    lines.push(String::new());
    lines.extend(rows(paint, comparison));
    lines.push(String::new());
    for column in &comparison.columns {
        let text = format!("{}  {}  {}", column.label, column.verdict.name(), column.summary);
        lines.extend(wrap(&text, paint.width, INDENT));
    }
    lines.push(String::new());
    lines.extend(wrap(comparison.rule, paint.width, ""));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn word(difference: &Difference) -> &'static str {
    match difference.change {
        Change::Worse => "WORSE",
        Change::Better => "better",
    }
}

/// `lost: 658 in nanomq, 0 in mqtt-bridge (test1 +365, test2 +74)`.
pub(super) fn line(comparison: &Comparison, difference: &Difference) -> String {
    let Difference { measure, before, after, topics, .. } = difference;
    let label = |column: usize| &comparison.columns[column].label;
    let topics = if topics.is_empty() { String::new() } else { format!(" ({topics})") };
    format!("{measure}: {after} in {}, {before} in {}{topics}", label(difference.column), label(difference.against))
}

fn rows(paint: Paint, comparison: &Comparison) -> Vec<String> {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = paint.table();
    let labels = comparison.columns.iter().map(|column| right(column.label.clone()));
    table.set_header([Cell::new("")].into_iter().chain(labels));
    for row in comparison.shown_rows() {
        let cells = row.values.iter().map(|value| right(cell(row, *value)));
        table.add_row([Cell::new(&row.measure)].into_iter().chain(cells));
    }
    unpadded(&mut table)
}
