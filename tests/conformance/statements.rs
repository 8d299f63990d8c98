//! The table of statements, held to the sources of these tests.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::pending::PENDING;

const PAGE: &str = include_str!("statements.md");

/// Statement and coverage of each row of a part of the page.
fn rows(heading: &str) -> Vec<(&'static str, &'static str)> {
    let part = PAGE.split("\n## ").find(|part| part.starts_with(heading)).unwrap();
    let mut rows = Vec::new();
    for line in part.lines().filter(|line| line.starts_with("| MQTT-")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [statement, short, binds, covered] = cells[..] else { panic!("{line}") };
        assert!(!short.is_empty() && ["server", "client", "both"].contains(&binds), "{line}");
        rows.push((statement, covered));
    }
    rows
}

fn named(covered: &str) -> BTreeSet<&str> {
    covered.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect()
}

/// `file::function` of every test in this folder but those of this file.
fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|extension| extension != "rs") || module == "statements" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for rest in text.split("#[test]\nfn ").skip(1) {
            found.insert(format!("{module}::{}", rest.split('(').next().unwrap()));
        }
    }
    found
}

#[test]
fn the_page_names_every_test_and_no_other() {
    let rows = [rows("MQTT 5"), rows("MQTT 3.1.1")].concat();
    let named: BTreeSet<String> = rows.iter().flat_map(|row| named(row.1)).map(str::to_owned).collect();
    let tests = tests();
    let absent: Vec<&String> = named.difference(&tests).collect();
    let unnamed: Vec<&String> = tests.difference(&named).collect();
    assert!(absent.is_empty() && unnamed.is_empty(), "no such test: {absent:?}; on no row: {unnamed:?}");
    let unknown: Vec<&&str> = PENDING.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(unknown.is_empty(), "pending and not there: {unknown:?}");
}

#[test]
fn every_statement_has_a_row_and_every_row_says_who_covers_it() {
    // So many are in the appendices.
    for (heading, count) in [("MQTT 5", 251), ("MQTT 3.1.1", 138)] {
        let rows = rows(heading);
        let mut sections: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (statement, covered) in &rows {
            let covers = !named(covered).is_empty()
                || *covered == "client's duty"
                || covered.starts_with("not supported on purpose: ");
            assert!(covers, "{statement}: {covered}");
            let (section, number) = statement.strip_prefix("MQTT-").unwrap().rsplit_once('-').unwrap();
            sections.entry(section).or_default().push(number.parse().unwrap());
        }
        for (section, numbers) in sections {
            // Neither twice nor left out; one section of MQTT 5 begins at 2.
            let first = if (heading, section) == ("MQTT 5", "2.2.1") { 2 } else { 1 };
            let all: Vec<u32> = (first..first + numbers.len() as u32).collect();
            assert_eq!(numbers, all, "{heading}, section {section}");
        }
        assert_eq!(rows.len(), count, "{heading}");
    }
}
