use super::*;
use crate::scenario::history::Event;
use crate::scenario::story::{Story, at, plan};
use crate::scenario::verdict;

const SCENARIO: &str = "
name: silent-cut-10s
about: The broker leaves the network without FIN or RST for 10 s while nine messages a second are published.
load:
  - { topic: test1, qos: 1, qps: 5 }
  - { topic: test2, qos: 1, qps: 1 }
  - { topic: test3, qos: 2, qps: 1 }
  - { topic: test6, qos: 2, qps: 1, via: remote }
timeline:
  - { at: 0s, do: publish, for: 25s }
  - { at: 5s, do: disconnect, for: 10s }
expect: { drained_within: 10s }
";

fn flawless() -> Story {
    Story::flawless(plan(SCENARIO))
}

/// The middle of the cut is lost, two messages come twice, one is refused.
fn losing() -> Story {
    let lost = flawless().never_received(0, 27..=60).never_received(2, 6..=6).never_received(0, 90..=90);
    let refused = lost.never_received(1, 3..=3).never_acknowledged(1, 3..=3);
    refused
        .and(at(3001, Event::Refused { load: 1, seq: 3, reason: 0x97 }))
        .received(20_500, 0, 3)
        .received(20_501, 2, 3)
}

fn report(stories: Vec<(&str, Story)>) -> Report {
    let plan = plan(SCENARIO);
    let ledgers: Vec<_> = stories.into_iter().map(|(name, story)| (name.to_owned(), story.ledger())).collect();
    let mut report = verdict::report(&plan, &ledgers);
    report.approximated = vec!["disconnect: the name stays, new connections are refused".into()];
    report
}

#[test]
fn a_pass_at_80_columns() {
    insta::assert_snapshot!(render(&report(vec![("mqtt-bridge", flawless())]), 80, false), @"");
}

#[test]
fn a_failure_beside_a_pass() {
    let report = report(vec![("mqtt-bridge", flawless()), ("mosquitto", losing())]);
    let text = render(&report, 80, false);
    let from = text.find("mosquitto 1.0").unwrap();
    insta::assert_snapshot!(&text[from..], @"");
}

#[test]
fn no_line_is_too_long_and_colours_change_no_character() {
    let report = report(vec![("mqtt-bridge", flawless()), ("mosquitto", losing())]);
    for width in [60, 80, 120, 200] {
        let text = render(&report, width, false);
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{} columns of {width}: {line}", line.chars().count());
        }
        let coloured = render(&report, width, true);
        assert!(coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m") && coloured.contains("\u{1b}[1;32mPASS"));
        let mut plain = String::new();
        let mut parts = coloured.split('\u{1b}');
        plain.push_str(parts.next().unwrap());
        parts.for_each(|part| plain.push_str(part.split_once('m').unwrap().1));
        let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(trimmed(&plain), trimmed(&text));
    }
}
