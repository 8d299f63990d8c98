//! A comparison as a page in one file that asks nobody for anything, in the style of `report.html`; without JavaScript.
use super::{Change, Column, Comparison, Difference, Row, cell, terminal};
use crate::scenario::report::html::text::{list, table, text};
use crate::scenario::report::html::{badge, head};

/// A comparison as a page.
pub fn render(comparison: &Comparison) -> String {
    let labels: Vec<String> = comparison.columns.iter().map(|column| text(&column.label)).collect();
    let title = format!("Comparison: {}", labels.join(", "));
    [
        &head(&title, ""),
        "<body>\n<main>\n",
        &format!("<header>\n<h1>{title}</h1>\n{}</header>\n", facts(comparison)),
        &format!(
            "<section id=\"differences\">\n<h2>Significant differences</h2>\n{}</section>\n",
            differences(comparison)
        ),
        &format!("<section id=\"measures\">\n<h2>Side by side</h2>\n{}</section>\n", measures(comparison, &labels)),
        &format!("<footer>{} Compared by mqtt-bridge ", text(comparison.rule)),
        env!("CARGO_PKG_VERSION"),
        ".</footer>\n</main>\n</body>\n</html>\n",
    ]
    .concat()
}

/// Where the runs were made, or in what that differs; then how each of them did.
fn facts(comparison: &Comparison) -> String {
    let verdict =
        |column: &Column| format!("{} {} {}", text(&column.label), badge(column.verdict), text(&column.summary));
    let verdicts = list("verdicts", comparison.columns.iter().map(verdict));
    let differing = list("setup", comparison.setup.iter().map(|line| format!("differing {}", text(line))));
    let common = comparison.columns.first().filter(|_| comparison.setup.is_empty()).map(|column| {
        let [scenario, environment, remote] =
            [&column.scenario, &column.environment, &column.remote].map(|fact| text(fact));
        format!(
            "<p class=\"facts\">scenario <b>{scenario}</b> · environment <b>{environment}</b> · remote <b>{remote}</b></p>\n"
        )
    });
    format!("{}{differing}{verdicts}", common.unwrap_or_default())
}

fn differences(comparison: &Comparison) -> String {
    if comparison.differences.is_empty() {
        return "<p>There is none.</p>\n".to_owned();
    }
    let line = |difference: &Difference| {
        let (class, word) = match difference.change {
            Change::Worse => ("fail", "worse"),
            Change::Better => ("pass", "better"),
        };
        let said = text(&terminal::line(comparison, difference));
        format!("<strong class=\"badge {class}\">{word}</strong> {said}")
    };
    list("verdicts", comparison.differences.iter().map(line))
}

fn measures(comparison: &Comparison, labels: &[String]) -> String {
    let header: Vec<&str> = ["measure"].into_iter().chain(labels.iter().map(String::as_str)).collect();
    let worse = |measure: &str, column: usize| {
        let of = |difference: &&Difference| difference.column == column && difference.measure == measure;
        comparison.differences.iter().find(of).is_some_and(|difference| difference.change == Change::Worse)
    };
    let row = |row: &Row| {
        let cells = row.values.iter().enumerate().map(|(column, value)| {
            let shown = text(&cell(row, *value));
            match worse(&row.measure, column) {
                true => format!("<strong class=\"bad\">{shown}</strong>"),
                false => shown,
            }
        });
        [text(&row.measure)].into_iter().chain(cells).collect()
    };
    let versions = comparison.columns.iter().map(|column| text(&column.version));
    let versions = ["version".to_owned()].into_iter().chain(versions).collect();
    table("all measures", &header, [versions].into_iter().chain(comparison.shown_rows().map(row)))
}
