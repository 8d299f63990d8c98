//! The findings, in short: what each is, its first piece of evidence, and what to do.
use super::{INDENT, Paint, wrap};
use crate::scenario::report::model::SubjectReport;

impl Paint {
    /// Everything is in `report.json`, and `explain` prints it.
    pub(super) fn findings(self, subject: &SubjectReport) -> Vec<String> {
        if subject.findings.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![self.bold("findings")];
        for finding in &subject.findings {
            lines.extend(wrap(&format!("- {}", finding.title), self.width, INDENT));
            if let Some(evidence) = finding.evidence.first() {
                lines.extend(wrap(&format!("{INDENT}{evidence}"), self.width, INDENT));
            }
            lines.extend(wrap(&format!("{INDENT}advice: {}", finding.advice), self.width, "    "));
        }
        lines
    }
}
