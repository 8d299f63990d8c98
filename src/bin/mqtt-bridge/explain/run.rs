//! The findings of a recorded run.
use std::path::Path;

use mqtt_bridge::scenario::report::run_folder;
use mqtt_bridge::scenario::verdict;

use super::{Format, print};

pub(super) fn run(folder: &Path, format: Format) -> anyhow::Result<u8> {
    let (plan, ledgers) = run_folder::read(folder)?;
    let report = verdict::report(&plan, &ledgers);
    if let Format::Json = format {
        let subjects = report.subjects.iter().map(|subject| {
            let (verdict, summary) = (subject.verdict, &subject.summary);
            let findings = print::with_mechanism(&subject.findings);
            serde_json::json!({ "name": subject.name, "verdict": verdict, "summary": summary, "findings": findings })
        });
        let subjects: Vec<_> = subjects.collect();
        println!("{:#}", serde_json::json!({ "scenario": report.scenario, "subjects": subjects }));
        return Ok(0);
    }
    let mut page = print::Page::new(format);
    page.heading(&format!("{}: {}", report.scenario, report.about));
    for subject in &report.subjects {
        let (name, version, verdict) = (&subject.name, subject.version_alone(), subject.verdict.name());
        page.section(&format!("{name} {version}: {verdict}"));
        page.paragraph(&subject.summary);
        match subject.findings.is_empty() {
            true => page.paragraph("Nothing is out of the ordinary."),
            false => page.findings(&subject.findings),
        }
    }
    page.print()?;
    Ok(0)
}
