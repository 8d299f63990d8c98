//! A comparison for an issue or a pull request.
use super::{Change, Comparison, cell, terminal};
use crate::scenario::report::markdown::{table, text};

/// A comparison in GitHub's Markdown.
pub fn render(comparison: &Comparison) -> String {
    let mut parts = Vec::new();
    if comparison.setup.is_empty() {
        if let Some(column) = comparison.columns.first() {
            let (scenario, environment) = (text(&column.scenario), text(&column.environment));
            parts.push(format!("**{scenario}**, environment {environment}, remote {}", text(&column.remote)));
        }
    } else {
        parts.push(comparison.setup.iter().map(|line| format!("- differing {}\n", text(line))).collect());
    }
    let differences = comparison.differences.iter().map(|difference| {
        let word = match difference.change {
            Change::Worse => "**worse**",
            Change::Better => "better",
        };
        format!("- {word}: {}\n", text(&terminal::line(comparison, difference)))
    });
    parts.push(match comparison.differences.is_empty() {
        true => "No significant difference.".to_owned(),
        false => differences.collect(),
    });
    let header: Vec<String> =
        [String::new()].into_iter().chain(comparison.columns.iter().map(|column| text(&column.label))).collect();
    let verdicts = comparison.columns.iter().map(|column| column.verdict.name().to_owned());
    let versions = comparison.columns.iter().map(|column| text(&column.version));
    let mut rows: Vec<Vec<String>> = vec![
        ["version".to_owned()].into_iter().chain(versions).collect(),
        ["verdict".to_owned()].into_iter().chain(verdicts).collect(),
    ];
    for row in comparison.shown_rows() {
        let cells = row.values.iter().map(|value| cell(row, *value));
        rows.push([text(&row.measure)].into_iter().chain(cells).collect());
    }
    parts.push(table(&header, &rows));
    parts.push(format!("<sub>{}</sub>", text(comparison.rule)));
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n") + "\n"
}
