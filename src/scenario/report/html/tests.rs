use serde_json::Value;

use super::*;
use crate::scenario::history::Event;
use crate::scenario::report::json;
use crate::scenario::report::model::Finding;
use crate::scenario::story::{Story, at, plan};
use crate::scenario::verdict;

const SCENARIO: &str = "name: story\nsubjects:\n  - { kind: mqtt-bridge }\n  - { kind: mosquitto, settings: { remote_password: hunter2, \
    max_queued_messages: 100 } }\nremote: { image: emqx/emqx, env: { EMQX_PASSWORD: hunter2 } }\nload:\n  - { topic: t, qps: 5 }\n  \
    - { topic: 'a/<script>alert(1)</script>\"', qps: 2, qos: 2 }\n  - { topic: q, qps: 1, qos: 0 }\ntimeline:\n  \
    - { at: 0s, do: publish, for: 4s }\n  - { at: 1s, do: cut, for: 2s }\n";

/// A run of two: one flawless, one with sins of every kind.
fn run() -> (Plan, Vec<(String, Ledger)>) {
    let plan = plan(SCENARIO);
    let counters = Event::Counters { values: [("queued{a=\"b/c~d\"}".to_owned(), 7.5)].into() };
    let sins = Story::flawless(plan.clone())
        .never_received(0, 6..=8)
        .never_acknowledged(1, 7..=7)
        .never_received(1, 7..=7)
        .received(5000, 0, 3)
        .and(at(5001, counters))
        .and(at(5002, Event::Unexpected { topic: "t".into(), of: None, why: "</style><img src=x>".into() }))
        .and(at(5003, Event::Doubt { why: "mqtt://u:hunter2@h is <odd>".into() }));
    let flawless = Story::flawless(plan.clone()).ledger();
    let ledgers = vec![("mqtt-bridge".to_owned(), flawless), ("mosquitto".to_owned(), sins.ledger())];
    (plan, ledgers)
}

fn page_of(report: impl FnOnce(&mut Report)) -> (Report, String) {
    let (plan, ledgers) = run();
    let mut judged = verdict::report(&plan, &ledgers);
    report(&mut judged);
    let page = render(&plan, &ledgers, &judged);
    (judged, page)
}

/// The attribute values that stand behind `name="` on the page.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("{name}=\"");
    page.split(start.as_str()).skip(1).filter_map(|rest| rest.split_once('"')).map(|(value, _)| value).collect()
}

#[test]
fn the_numbers_are_those_of_report_json() {
    let (report, page) = page_of(|_| {});
    let json: Value = serde_json::from_str(&json::render(&report).unwrap()).unwrap();
    let (values, pointers) = (attributes(&page, "<data value"), attributes(&page, "data-from"));
    assert!(values.len() == pointers.len() && values.len() > 100, "{} {}", values.len(), pointers.len());
    for (value, pointer) in values.iter().zip(&pointers) {
        let pointer = pointer.replace("&quot;", "\"");
        let said = json.pointer(&pointer).and_then(Value::as_f64);
        assert_eq!(said, value.parse().ok(), "{pointer}");
    }
    // And what somebody looks for is among them.
    for wanted in ["totals/lost", "topics/0/lost", "latency_ms/during/p99", "recovery_ms/first_delivery"] {
        let pointer = format!("/subjects/1/{wanted}");
        assert!(pointers.contains(&pointer.as_str()), "{pointer}");
    }
}

#[test]
fn the_marks_of_a_strip_are_the_messages_of_its_topic() {
    let (report, page) = page_of(|_| {});
    let sinner = page.split("id=\"subject-1\"").nth(1).unwrap();
    let strips: Vec<&str> = sinner.split("class=\"lane load\"").skip(1).collect();
    assert_eq!(strips.len(), 3);
    for (strip, topic) in strips.iter().zip(&report.subjects[1].topics) {
        let of = |class: &str| {
            let path = strip.split(&format!("class=\"mark {class}")).nth(1);
            path.map_or(0, |path| attributes(path, "data-messages")[0].parse::<u64>().unwrap())
        };
        let totals = topic.totals;
        assert_eq!((of("lost"), of("unacknowledged")), (totals.lost, totals.unacknowledged));
        assert_eq!(of("delivered") + of("duplicated") + of("out-of-order"), totals.delivered);
    }
    assert_eq!(report.subjects[1].topics[0].totals.lost, 3);
}

#[test]
fn what_comes_from_outside_stays_text_and_fetches_nothing() {
    let (_, page) = page_of(|report| {
        let hostile = "<script>alert(2)</script><img src=\"http://evil\">\u{202e}";
        report.subjects[1].findings.push(Finding {
            rule: hostile.into(),
            title: hostile.into(),
            evidence: vec![hostile.into()],
            advice: hostile.into(),
            reference: "javascript:alert(3)".into(),
        });
        report.subjects[1].artifacts.insert(hostile.into(), hostile.into());
    });
    assert_eq!(page.matches("<script").count(), 1, "the page's own");
    let own = page.replace(STYLE, "").replace(SCRIPT, "");
    for markup in ["<img", "<link", "<iframe", "@import", "url(", "href=\"javascript", "\u{202e}", "src=\"", "onerror="]
    {
        assert!(!own.contains(markup), "{markup}");
    }
    assert!(page.contains("a/&lt;script&gt;alert(1)&lt;/script&gt;&quot;"));
    assert!(!STYLE.contains("url(") && !SCRIPT.contains("fetch(") && !SCRIPT.contains("innerHTML"));
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
}

#[test]
fn no_secret_is_on_the_page() {
    let (_, page) = page_of(|_| {});
    assert!(
        !page.contains("hunter2"),
        "{}",
        page.split("hunter2").next().unwrap().chars().rev().take(200).collect::<String>()
    );
    assert!(page.contains("remote_password ***") && page.contains("max_queued_messages 100"));
}

#[test]
fn findings_are_shown_with_evidence_advice_and_reference() {
    let (_, page) = page_of(|report| {
        report.subjects[0].findings.push(Finding {
            rule: "cache-not-used".into(),
            title: "The cache was never asked".into(),
            evidence: vec!["first".into(), "second".into()],
            advice: "Say -n 27".into(),
            reference: "https://example.org/1873".into(),
        });
    });
    let finding = page.split("data-rule=\"cache-not-used\"").nth(1).unwrap().split("</article>").next().unwrap();
    for part in
        ["The cache was never asked", "<li>first</li><li>second</li>", "Say -n 27", "href=\"https://example.org/1873\""]
    {
        assert!(finding.contains(part), "{part} in {finding}");
    }
}

#[test]
fn a_run_of_nothing_and_a_subject_that_was_not_run_have_a_page() {
    let (plan, _) = run();
    let nothing = verdict::report(&plan, &[]);
    assert!(render(&plan, &[], &nothing).contains("INCONCLUSIVE"));
    let ledgers = [("mqtt-bridge".to_owned(), Ledger::new(&plan))];
    let page = render(&plan, &ledgers, &verdict::report(&plan, &ledgers));
    assert!(page.contains("Nothing arrived.") && !page.contains("NaN"), "{page}");
}

#[test]
fn a_hundred_thousand_messages_make_a_small_page_and_always_the_same() {
    let plan = plan(
        "load:\n  - { topic: t, qps: 2500 }\ntimeline:\n  - { at: 0s, do: publish, for: 40s }\n  - { at: 9s, do: cut, for: 20s }\n",
    );
    // Every third one: the most ranges that there can be.
    let story = Story::flawless(plan.clone());
    let story = story.without(|event| matches!(event, Event::Received { seq, .. } if seq % 3 == 0));
    let ledgers = [("mqtt-bridge".to_owned(), story.ledger())];
    let report = verdict::report(&plan, &ledgers);
    assert_eq!(report.subjects[0].totals.lost, 33_334);
    let page = render(&plan, &ledgers, &report);
    assert!(page.len() < 150_000, "{} bytes", page.len());
    assert_eq!(page, render(&plan, &ledgers, &report));
}
