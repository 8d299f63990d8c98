//! `report.html`: one page for all subjects of a run, in one file that asks nobody for anything. Complete without
//! JavaScript, which only says more of what is pointed at.
mod axis;
mod configuration;
mod lanes;
mod latency;
mod overview;
mod strip;
mod subject;
#[cfg(test)]
mod tests;
pub(super) mod text;

use self::axis::Axis;
pub(super) use self::subject::badge;
use self::text::{details, text};
use super::model::Report;
use super::table;
use crate::scenario::ledger::Ledger;
use crate::scenario::plan::Plan;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Columns of the text to paste.
const COLUMNS: usize = 100;

/// The page. `ledgers` are those that `report` was made from.
pub fn render(plan: &Plan, ledgers: &[(String, Ledger)], report: &Report) -> String {
    let axis = Axis::of(plan, ledgers);
    let subjects = ledgers.iter().zip(&report.subjects).enumerate();
    let subjects: String =
        subjects.map(|(index, ((_, ledger), subject))| subject::section(plan, ledger, subject, index, axis)).collect();
    let pasted = format!(
        "<pre id=\"text\" tabindex=\"0\">```text\n{}\n```</pre>\n",
        text(table::render(report, COLUMNS, false).trim_end())
    );
    let title = format!("{}: {}", text(&report.scenario), report.verdict.name());
    [
        &head(&title, "script-src 'unsafe-inline'; "),
        "<body>\n<main>\n",
        &overview::overview(report),
        &subjects,
        &configuration::section(plan),
        &format!("<section id=\"paste\">\n{}</section>\n", details("As text, to paste into an issue", &pasted)),
        "<footer>Judged by mqtt-bridge ",
        env!("CARGO_PKG_VERSION"),
        "; all numbers are in <a href=\"report.json\">report.json</a>, beside this page.</footer>\n</main>\n",
        &format!("<output id=\"readout\" hidden></output>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"),
    ]
    .concat()
}

/// What stands before the body of every page. Nothing may be fetched, whatever a topic or a log line contains; `allowed` is
/// what its policy allows besides its style. `title` is markup.
pub(super) fn head(title: &str, allowed: &str) -> String {
    let policy = format!("default-src 'none'; style-src 'unsafe-inline'; {allowed}base-uri 'none'; form-action 'none'");
    [
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
        &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n"),
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        &format!("<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n"),
    ]
    .concat()
}
