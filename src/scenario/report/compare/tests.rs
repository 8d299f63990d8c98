use super::*;
use crate::scenario::history::Event;
use crate::scenario::story::{Story, at, plan};
use crate::scenario::verdict;

const SCENARIO: &str = "
name: cut-10s
load:
  - { topic: test1, qos: 1, qps: 5 }
  - { topic: test3, qos: 2, qps: 1 }
  - { topic: test0, qos: 0, qps: 1 }
timeline:
  - { at: 0s, do: publish, for: 25s }
  - { at: 5s, do: cut, for: 10s }
";

fn flawless() -> Story {
    Story::flawless(plan(SCENARIO))
}

fn losing() -> Story {
    let lost = flawless().never_received(0, 27..=60).never_received(1, 6..=6).never_received(2, 9..=9);
    lost.received(20_501, 1, 3)
}

fn run(folder: &str, subjects: Vec<(&str, Story)>) -> (String, Report) {
    let ledgers: Vec<_> = subjects.into_iter().map(|(name, story)| (name.to_owned(), story.ledger())).collect();
    (folder.to_owned(), verdict::report(&plan(SCENARIO), &ledgers))
}

fn said(comparison: &Comparison) -> Vec<String> {
    comparison.differences.iter().map(|difference| terminal::line(comparison, difference)).collect()
}

#[test]
fn two_versions_of_a_subject_are_compared_and_the_worst_stands_first() {
    let before = run("runs/before", vec![("mqtt-bridge", flawless())]);
    let after = run("runs/after", vec![("mqtt-bridge", losing())]);
    let comparison = compare(&[before.clone(), after.clone()]);
    assert_eq!(
        said(&comparison),
        [
            "verdict: FAIL in after/mqtt-bridge, PASS in before/mqtt-bridge",
            "lost: 35 in after/mqtt-bridge, 0 in before/mqtt-bridge (test1 +34, test3 +1)",
            "duplicated at QoS 2: 1 in after/mqtt-bridge, 0 in before/mqtt-bridge (test3 +1)",
            "drained after the heal: never in after/mqtt-bridge, 169 ms in before/mqtt-bridge",
        ]
    );
    assert!(comparison.differences.iter().all(|difference| difference.regression));
    assert_eq!(comparison.setup, Vec::<String>::new());
    assert_eq!(comparison.exit_code(), 1);
    // The other way round everything is better.
    let comparison = compare(&[after, before]);
    assert_eq!(comparison.differences.len(), 4);
    assert!(comparison.differences.iter().all(|difference| difference.change == Change::Better));
    assert_eq!(comparison.exit_code(), 0, "that the first one fails is no regression");
}

#[test]
fn subjects_of_one_run_are_compared_with_the_first_and_those_of_others_with_their_own() {
    let first = run("first", vec![("mqtt-bridge", flawless()), ("nanomq", losing())]);
    let alone = compare(std::slice::from_ref(&first));
    assert_eq!(alone.columns.iter().map(|column| column.against).collect::<Vec<_>>(), [None, Some(0)]);
    assert!(said(&alone)[0].starts_with("verdict: FAIL in nanomq, PASS in mqtt-bridge"), "{:?}", said(&alone));
    let second = run("second", vec![("nanomq", losing()), ("mosquitto", flawless())]);
    let both = compare(&[first, second]);
    assert_eq!(both.columns.iter().map(|column| column.against).collect::<Vec<_>>(), [None, Some(0), Some(1), Some(0)]);
    assert!(both.differences.iter().all(|difference| difference.column == 1), "{:?}", said(&both));
    let labels: Vec<&str> = both.columns.iter().map(|column| column.label.as_str()).collect();
    assert_eq!(labels, ["mqtt-bridge", "first/nanomq", "second/nanomq", "mosquitto"]);
}

#[test]
fn what_proves_nothing_is_no_regression_and_no_pass() {
    let doubted = flawless().and(at(9, Event::Doubt { why: "why".into() }));
    let comparison = compare(&[run("a", vec![("b", flawless())]), run("c", vec![("b", doubted)])]);
    assert_eq!(said(&comparison), ["verdict: INCONCLUSIVE in c/b, PASS in a/b"]);
    assert_eq!((comparison.differences[0].regression, comparison.exit_code()), (false, 3));
    let same = compare(&[run("a", vec![("b", flawless())]), run("c", vec![("b", flawless())])]);
    assert_eq!((same.differences.len(), same.exit_code()), (0, 0));
}

#[test]
fn what_else_differs_is_said() {
    let (folder, mut other) = run("c", vec![("b", flawless())]);
    other.environment = "docker".to_owned();
    other.subjects[0].timeline.faults.clear();
    let comparison = compare(&[run("a", vec![("b", flawless())]), (folder, other)]);
    assert_eq!(comparison.setup, ["environment: local (a/b), docker (c/b)", "faults: cut for 10 s (a/b), none (c/b)"]);
}

#[test]
fn it_is_readable_in_a_terminal_and_in_an_issue() {
    let runs = [run("before", vec![("mqtt-bridge", flawless())]), run("after", vec![("mqtt-bridge", losing())])];
    let comparison = compare(&runs);
    let text = terminal::render(&comparison, 80, false);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(text.starts_with("WORSE  verdict: FAIL"), "{text}");
    assert!(terminal::render(&comparison, 80, true).contains("\u{1b}[1;31mWORSE\u{1b}[0m"));
    let markdown = markdown::render(&comparison);
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 8 && rows.iter().all(|row| row.matches(" | ").count() == 2), "{markdown}");
    assert!(markdown.contains("| lost | 0 | 35 |"), "{markdown}");
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(
        (&json["differences"][1]["measure"], &json["differences"][1]["change"]),
        (&"lost".into(), &"worse".into())
    );
    let drained =
        json["rows"].as_array().unwrap().iter().find(|row| row["measure"] == "drained after the heal").unwrap();
    assert_eq!(drained["values"][1], "never");
}

#[test]
fn the_page_has_the_same_numbers_and_takes_nothing_from_outside_for_markup() {
    let runs = [run("before", vec![("mqtt-bridge", flawless())]), run("after", vec![("mqtt-bridge", losing())])];
    let page = html::render(&compare(&runs));
    for part in [
        "<strong class=\"badge fail\">worse</strong> lost: 35 in after/mqtt-bridge, 0 in before/mqtt-bridge (test1 +34, test3 +1)",
        "<tr><th scope=\"row\">lost</th><td>0</td><td><strong class=\"bad\">35</strong></td></tr>",
        "<td>169 ms</td><td><strong class=\"bad\">never</strong></td>",
        "scenario <b>cut-10s</b> · environment <b>local</b>",
        "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(html::render(&compare(&[runs[0].clone(), runs[0].clone()])).contains("There is none."));

    let markup = "</td><script src=http://a:b@c/>'\"&";
    let mut comparison = compare(&runs);
    comparison.setup = vec![markup.to_owned()];
    for column in &mut comparison.columns {
        for told in [&mut column.label, &mut column.version, &mut column.summary] {
            markup.clone_into(told);
        }
    }
    comparison.differences[1].topics = markup.to_owned();
    let setup = html::render(&comparison);
    comparison.setup.clear();
    for column in &mut comparison.columns {
        for told in [&mut column.scenario, &mut column.environment, &mut column.remote] {
            markup.clone_into(told);
        }
    }
    let escaped = "&lt;/td&gt;&lt;script src=http://a:***@c/&gt;&#39;&quot;&amp;";
    // Title, heading, header, verdicts, summaries and versions of two; two labels of each difference, one topic.
    let everywhere = 6 * 2 + 4 * 2 + 1;
    for (page, count) in [(setup, everywhere + 1), (html::render(&comparison), everywhere + 3)] {
        assert!(!page.contains("<script") && !page.contains("a:b@c"), "{page}");
        assert_eq!(page.matches(escaped).count(), count, "{page}");
    }
}
