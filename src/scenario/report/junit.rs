//! The report for a CI server, in JUnit's XML: a suite for each subject, a case for each check. What could not be shown is
//! an error, so that no server takes it for a pass.
use std::fmt::Write;

use super::model::{Check, Report, SubjectReport, Verdict};

/// The report as JUnit's XML.
pub fn render(report: &Report) -> String {
    let suites: Vec<Suite> = report.subjects.iter().map(|subject| Suite::of(report, subject)).collect();
    let sum = |of: fn(&Suite) -> usize| suites.iter().map(of).sum::<usize>();
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let counts = counts(sum(|suite| suite.tests), sum(|suite| suite.failures), sum(|suite| suite.errors));
    push(&mut xml, format_args!("<testsuites name={} {counts}>\n", quoted(&report.scenario)));
    suites.iter().for_each(|suite| xml.push_str(&suite.xml));
    xml.push_str("</testsuites>\n");
    xml
}

struct Suite {
    tests: usize,
    failures: usize,
    errors: usize,
    xml: String,
}

impl Suite {
    fn of(report: &Report, subject: &SubjectReport) -> Self {
        let mut cases: Vec<Check> = subject.checks.clone();
        // Where nothing was checked, or a doubt alone decides, a case says so.
        if !subject.doubts.is_empty() || cases.is_empty() {
            let observed = if subject.doubts.is_empty() { subject.summary.clone() } else { subject.doubts.join("; ") };
            let verdict = if subject.verdict == Verdict::Pass { Verdict::Pass } else { Verdict::Inconclusive };
            let (name, expected) = ("no doubt about what was seen".to_owned(), "none".to_owned());
            cases.push(Check { name, verdict, expected, observed });
        }
        let of = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
        let (tests, failures, errors) = (cases.len(), of(Verdict::Fail), of(Verdict::Inconclusive));
        let mut xml = String::new();
        let name = format!("{}.{}", report.scenario, subject.name);
        let counts = counts(tests, failures, errors);
        push(&mut xml, format_args!("  <testsuite name={} {counts}>\n    <properties>\n", quoted(&name)));
        let properties = [
            ("version", &subject.version),
            ("environment", &report.environment),
            ("remote", &report.remote),
            ("seed", &report.seed.to_string()),
        ];
        let artifacts = subject.artifacts.iter().map(|(whose, what)| (whose.as_str(), what));
        for (name, value) in properties.into_iter().chain(artifacts) {
            push(&mut xml, format_args!("      <property name={} value={}/>\n", quoted(name), quoted(value)));
        }
        xml.push_str("    </properties>\n");
        for case in &cases {
            push_case(&mut xml, &name, case);
        }
        push(&mut xml, format_args!("    <system-out>{}</system-out>\n  </testsuite>\n", escaped(&said(subject))));
        Self { tests, failures, errors, xml }
    }
}

fn push_case(xml: &mut String, class: &str, case: &Check) {
    push(xml, format_args!("    <testcase name={} classname={}", quoted(&case.name), quoted(class)));
    let element = match case.verdict {
        Verdict::Pass => return xml.push_str("/>\n"),
        Verdict::Fail => "failure",
        Verdict::Inconclusive => "error",
    };
    let (message, kind) = (quoted(&case.observed), quoted(&case.verdict.name().to_lowercase()));
    let text = escaped(&format!("expected {}\nobserved {}", case.expected, case.observed));
    push(xml, format_args!(">\n      <{element} message={message} type={kind}>{text}</{element}>\n    </testcase>\n"));
}

fn said(subject: &SubjectReport) -> String {
    let mut lines = vec![format!("{}: {}", subject.verdict.name(), subject.summary)];
    for finding in &subject.findings {
        lines.push(format!("{} ({})", finding.title, finding.rule));
        lines.extend(finding.evidence.iter().map(|line| format!("  {line}")));
        lines.push(format!("  {}", finding.advice));
    }
    lines.join("\n")
}

fn counts(tests: usize, failures: usize, errors: usize) -> String {
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\"")
}

fn push(xml: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = xml.write_fmt(text);
}

fn quoted(text: &str) -> String {
    // A line break in an attribute is read as a space unless it is a reference.
    format!("\"{}\"", escaped(text).replace('\n', "&#10;").replace('\t', "&#9;"))
}

/// Characters that XML 1.0 cannot hold in any form are replaced.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\r' => safe.push_str("&#13;"),
            '\n' | '\t' => safe.push(c),
            '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => safe.push('\u{FFFD}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;
    use crate::scenario::report::model::Report;

    fn subject(name: &str, checks: &[(&str, Verdict, &str)], doubts: &[&str]) -> SubjectReport {
        let verdicts = checks.iter().map(|(_, verdict, _)| *verdict);
        let doubted = doubts.iter().map(|_| Verdict::Inconclusive);
        let check = |(name, verdict, observed): &(&str, Verdict, &str)| Check {
            name: (*name).to_owned(),
            verdict: *verdict,
            expected: "0".to_owned(),
            observed: (*observed).to_owned(),
        };
        SubjectReport {
            name: name.to_owned(),
            verdict: Verdict::all(verdicts.chain(doubted)),
            checks: checks.iter().map(check).collect(),
            doubts: doubts.iter().map(|doubt| (*doubt).to_owned()).collect(),
            summary: "in one line".to_owned(),
            ..SubjectReport::default()
        }
    }

    fn report(subjects: Vec<SubjectReport>) -> Report {
        Report {
            scenario: "cut".to_owned(),
            about: String::new(),
            environment: "local".to_owned(),
            because: None,
            approximated: Vec::new(),
            remote: "mosquitto".to_owned(),
            seed: 1,
            verdict: Verdict::all(subjects.iter().map(|subject| subject.verdict)),
            subjects,
        }
    }

    fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
        node.children().filter(move |child| child.has_tag_name(name))
    }

    #[test]
    fn what_is_not_shown_is_no_pass() {
        let losing = subject("nanomq", &[("lost", Verdict::Fail, "650"), ("late", Verdict::Pass, "0")], &[]);
        let doubted = subject("ours", &[("lost", Verdict::Pass, "0")], &["the disk was slow"]);
        let xml = render(&report(vec![losing, doubted]));
        let document = Document::parse(&xml).unwrap();
        let suites = document.root_element();
        let count = |node: Node<'_, '_>, name| node.attribute(name).unwrap().parse::<usize>().unwrap();
        assert_eq!(["tests", "failures", "errors"].map(|name| count(suites, name)), [4, 1, 1]);
        let (mut failures, mut errors) = (Vec::new(), Vec::new());
        for suite in children(suites, "testsuite") {
            assert_eq!(children(suite, "testcase").count(), count(suite, "tests"));
            for case in children(suite, "testcase") {
                failures.extend(children(case, "failure").map(|failure| failure.attribute("message").unwrap()));
                errors.extend(children(case, "error").map(|error| error.attribute("message").unwrap()));
            }
        }
        assert_eq!((failures, errors), (vec!["650"], vec!["the disk was slow"]));
    }

    #[test]
    fn it_is_xml_whatever_is_in_it() {
        let wild = "<a href=\"x\">'&amp;' ]]> \u{1}\u{1b}[31m\0\u{FFFF}\r\n\t\u{1F600} end";
        let mut wild_report = report(vec![subject(wild, &[(wild, Verdict::Fail, wild)], &[wild])]);
        wild_report.scenario = wild.to_owned();
        wild_report.subjects[0].artifacts.insert(wild.to_owned(), wild.to_owned());
        wild_report.subjects[0].summary = wild.to_owned();
        let xml = render(&wild_report);
        let document = Document::parse(&xml).unwrap();
        let said = wild.replace(['\u{1}', '\u{1b}', '\0', '\u{FFFF}'], "\u{FFFD}");
        assert_eq!(document.root_element().attribute("name"), Some(said.as_str()));
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(failure.attribute("message"), Some(said.as_str()));
        assert!(failure.text().unwrap().ends_with(said.trim_start_matches('\u{FFFD}')), "{:?}", failure.text());
        // No run of nothing is a pass.
        let empty = render(&report(vec![SubjectReport { verdict: Verdict::Inconclusive, ..subject("x", &[], &[]) }]));
        assert!(Document::parse(&empty).unwrap().descendants().any(|node| node.has_tag_name("error")));
    }
}
