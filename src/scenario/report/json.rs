//! `report.json`.
use super::model::Report;

/// The report as JSON with line breaks.
///
/// # Errors
/// Where a number cannot be written in JSON; no report has such a number.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report)
}
