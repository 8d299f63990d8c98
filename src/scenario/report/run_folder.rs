//! A run's folder: `plan.json`, and for each subject a folder with its `history.jsonl`.
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use crate::scenario::history::{Event, Record};
use crate::scenario::ledger::Ledger;
use crate::scenario::plan::Plan;

use super::model::Report;
use super::{html, json};

/// The plan's file in a run's folder.
pub const PLAN: &str = "plan.json";
/// The history's file in a subject's folder.
pub const HISTORY: &str = "history.jsonl";
/// The verdict, as `report.json`.
pub const REPORT: &str = "report.json";
/// The same for people.
pub const PAGE: &str = "report.html";

/// Why a recorded run cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// A file is not there or cannot be read.
    #[error("{}: cannot be read: {source}; a run's folder is what `replay --out DIR` writes", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}{}: {source}; was it written by another version?", .file.display(), line_of(*.line))]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line, from 1, in a history.
        line: Option<usize>,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A report cannot be written.
    #[error("{}: cannot be written: {source}", .file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

fn line_of(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

/// Reads a plan and the ledger of each of its subjects, in order of the plan. A subject without a history has an empty
/// ledger: it was not run.
///
/// # Errors
/// [`RunFolderError`].
pub fn read(folder: &Path) -> Result<(Plan, Vec<(String, Ledger)>), RunFolderError> {
    let file = folder.join(PLAN);
    let text = std::fs::read(&file).map_err(|source| RunFolderError::Unreadable { file: file.clone(), source })?;
    let plan: Plan =
        serde_json::from_slice(&text).map_err(|source| RunFolderError::Wrong { file, line: None, source })?;
    let mut ledgers = Vec::new();
    for subject in &plan.subjects {
        let ledger = history(&plan, &folder.join(&subject.name).join(HISTORY))?;
        ledgers.push((subject.name.clone(), ledger));
    }
    Ok((plan, ledgers))
}

/// Writes `report.json` and `report.html` of a run; `ledgers` are those that the report was made from.
///
/// # Errors
/// [`RunFolderError::Unwritable`].
pub fn write(folder: &Path, plan: &Plan, ledgers: &[(String, Ledger)], report: &Report) -> Result<(), RunFolderError> {
    let write = |name: &str, contents: std::io::Result<String>| {
        let file = folder.join(name);
        let written = contents.and_then(|contents| std::fs::write(&file, contents));
        written.map_err(|source| RunFolderError::Unwritable { file, source })
    };
    write(REPORT, json::render(report).map_err(std::io::Error::from))?;
    write(PAGE, Ok(html::render(plan, ledgers, report)))
}

fn history(plan: &Plan, file: &Path) -> Result<Ledger, RunFolderError> {
    let unreadable = |source| RunFolderError::Unreadable { file: file.to_owned(), source };
    let mut ledger = Ledger::new(plan);
    let mut reader = match File::open(file) {
        Ok(opened) => BufReader::new(opened),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ledger),
        Err(error) => return Err(unreadable(error)),
    };
    let mut last = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) => {
                ledger.fold(&record);
                last = record.t;
            }
            // The runner was killed while it wrote: what came before is as good as ever.
            Err(_) if !line.ends_with(b"\n") => {
                let why = format!("the history breaks off in line {number}");
                ledger.fold(&Record { t: last, event: Event::Doubt { why } });
            }
            Err(source) => {
                return Err(RunFolderError::Wrong { file: file.to_owned(), line: Some(number), source });
            }
        }
    }
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::report::model::Verdict;
    use crate::scenario::story::{Story, plan};
    use crate::scenario::verdict;

    const SCENARIO: &str = "subjects:\n  - { kind: mqtt-bridge }\n  - { kind: mosquitto }\nload:\n  - { topic: t, qps: 5 }\n\
        timeline:\n  - { at: 0s, do: publish, for: 4s }\n  - { at: 1s, do: cut, for: 2s }\n";

    /// A run of two subjects; only the first one has a history.
    fn recorded() -> (tempfile::TempDir, Plan) {
        let (folder, plan) = (tempfile::tempdir().unwrap(), plan(SCENARIO));
        std::fs::write(folder.path().join(PLAN), serde_json::to_string(&plan).unwrap()).unwrap();
        std::fs::create_dir(folder.path().join("mqtt-bridge")).unwrap();
        let lines = Story::flawless(plan.clone()).history();
        let lines: Vec<String> = lines.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
        std::fs::write(folder.path().join("mqtt-bridge").join(HISTORY), lines.concat()).unwrap();
        (folder, plan)
    }

    fn append(folder: &Path, text: &str) {
        let file = folder.join("mqtt-bridge").join(HISTORY);
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + text).unwrap();
    }

    #[test]
    fn a_recorded_history_reads_back_to_the_same_ledger() {
        let (folder, plan) = recorded();
        let (read_plan, ledgers) = read(folder.path()).unwrap();
        assert_eq!(read_plan, plan);
        assert_eq!(ledgers[0], ("mqtt-bridge".to_owned(), Story::flawless(plan.clone()).ledger()));
        let report = verdict::report(&plan, &ledgers);
        let verdicts: Vec<Verdict> = report.subjects.iter().map(|subject| subject.verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Inconclusive]);
    }

    #[test]
    fn a_last_line_that_breaks_off_is_a_doubt_and_a_broken_one_before_it_an_error() {
        let (folder, plan) = recorded();
        append(folder.path(), "{\"t\":99");
        let (_, ledgers) = read(folder.path()).unwrap();
        let judged = verdict::judge(&plan, &ledgers[0].1);
        assert_eq!(judged.verdict, Verdict::Inconclusive);
        assert!(judged.summary.starts_with("the history breaks off in line "), "{}", judged.summary);
        append(folder.path(), "\n{}\n");
        let said = read(folder.path()).unwrap_err().to_string();
        assert!(said.contains("history.jsonl:") && said.ends_with("; was it written by another version?"), "{said}");
    }

    #[test]
    fn a_folder_without_a_plan_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let said = read(folder.path()).unwrap_err().to_string();
        assert!(said.contains("plan.json: cannot be read: ") && said.contains("`replay --out DIR`"), "{said}");
        std::fs::write(folder.path().join(PLAN), "{}").unwrap();
        let said = read(folder.path()).unwrap_err().to_string();
        assert!(said.contains("plan.json: missing field"), "{said}");
    }
}
