//! The findings of a recorded run.
use std::path::Path;

use mqtt_bridge::scenario::report::run_folder;
use mqtt_bridge::scenario::verdict;

use super::Format;

pub(super) fn run(folder: &Path, _format: Format) -> anyhow::Result<u8> {
    let (plan, ledgers) = run_folder::read(folder)?;
    let report = verdict::report(&plan, &ledgers);
    for subject in &report.subjects {
        for finding in &subject.findings {
            println!("{}: {}", subject.name, finding.title);
        }
    }
    Ok(0)
}
