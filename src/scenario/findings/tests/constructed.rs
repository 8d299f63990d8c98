//! Rules on constructed histories: each fires on its sin, and not beside it.
use std::collections::BTreeMap;

use super::rules;
use crate::scenario::history::{Event, Role};
use crate::scenario::report::model::SubjectReport;
use crate::scenario::story::{Story, at, plan};
use crate::scenario::verdict;

fn scenario(subject: &str, timeline: &str) -> Story {
    let text = format!(
        "subjects:\n  - {subject}\nload:\n  - {{ topic: t, qos: 1, qps: 5 }}\nbridge: {{ keep_alive: 3s }}\n\
         timeline:\n{timeline}"
    );
    Story::flawless(plan(&text))
}

fn judged(story: Story) -> SubjectReport {
    let plan = story.plan.clone();
    verdict::judge(&plan, &story.ledger())
}

fn log(millis: u64, line: &str) -> crate::scenario::history::Record {
    at(millis, Event::Log { role: Role::Subject, line: line.to_owned() })
}

const UP: &str = "2026-11-22 16:07:44 [1] INFO /x/bridge.c:1 f: Bridge [mqtt-tcp://emqx:1883] connected! RC [0]";
const DOWN: &str = "2026-11-22 16:07:44 [1] WARN /x/mqtt_client.c:1 f: MQTT Timeout and disconnect";

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let story =
        scenario("{ kind: mqtt-bridge }", "  - { at: 0s, do: publish, for: 20s }\n  - { at: 5s, do: cut, for: 5s }\n");
    assert_eq!(rules(&judged(story).findings), Vec::<&str>::new());
}

#[test]
fn a_stall_after_the_heal_ends_with_resend_wait() {
    let story = |resend_wait: u64| {
        let subject = format!("{{ kind: nanomq, workers: 32, settings: {{ resend_wait: {resend_wait} }} }}");
        let story = scenario(&subject, "  - { at: 0s, do: publish, for: 40s }\n  - { at: 5s, do: cut, for: 10s }\n");
        // What was to arrive from 15 s on arrives at 30 s.
        let stalled = story.without(|event| matches!(event, Event::Received { seq, .. } if (25..200).contains(seq)));
        let stalled = (25..200).fold(stalled, |story, seq| story.received(30_000.max(seq * 200) + seq, 0, seq));
        judged(stalled.and(log(0, UP)).and(log(8_000, DOWN)).and(log(15_500, UP)))
    };
    let stalled = story(25_000);
    assert_eq!(rules(&stalled.findings), ["post-heal-stall"]);
    assert!(stalled.findings[0].evidence[1].contains("resend_wait = 25000 ms, longer than the outage of 10.0 s"));
    assert!(!rules(&story(3_000).findings).contains(&"post-heal-stall"));
}

#[test]
fn a_backlog_that_waits_for_a_publish_is_told_from_one_that_is_slow() {
    let timeline = "  - { at: 0s, do: publish, for: 5s }\n  - { at: 10s, do: cut, for: 10s }\n  - { at: 12s, do: publish, count: 10 }\n  - { at: 60s, do: publish, count: 1 }\n";
    let story = |arrival: u64| {
        let story = scenario("{ kind: nanomq }", timeline)
            .without(|event| matches!(event, Event::Received { seq, .. } if (25..35).contains(seq)));
        let story = (25..35).fold(story, |story, seq| story.received(arrival + seq, 0, seq));
        judged(story.and(log(0, UP)).and(log(13_000, DOWN)).and(log(20_500, UP)))
    };
    let waited = story(60_010);
    assert!(rules(&waited.findings).contains(&"backlog-waits-for-publish"), "{:?}", rules(&waited.findings));
    assert!(!rules(&story(30_000).findings).contains(&"backlog-waits-for-publish"));
}

#[test]
fn what_the_remote_refuses_is_seen_in_the_counters() {
    let timeline = "  - { at: 0s, do: publish, for: 20s }\n";
    let name = "mqtt_bridge_messages_quarantined{bridge=\"a\"}".to_owned();
    let values = BTreeMap::from([(name, 3.0)]);
    let story = scenario("{ kind: mqtt-bridge }", timeline).and(at(19_000, Event::Counters { values }));
    let report = judged(story);
    assert_eq!(rules(&report.findings), ["refused-by-remote"]);
    assert!(report.findings[0].evidence[0].contains("reached 3"));
}

#[test]
fn counters_that_deny_a_loss_are_found_and_those_that_own_up_are_not() {
    let story = |dropped: f64| {
        let story =
            scenario("{ kind: mqtt-bridge }", "  - { at: 0s, do: publish, for: 20s }\n").never_received(0, 20..=29);
        let values = [("accepted_total", 100.0), ("delivered_total", 100.0 - dropped), ("dropped_total", dropped)];
        let values = values.map(|(name, value)| (format!("mqtt_bridge_messages_{name}"), value));
        judged(story.and(at(20_000, Event::Counters { values: values.into() })))
    };
    let denied = story(0.0);
    assert_eq!(rules(&denied.findings), ["counters-disagree"]);
    assert!(denied.findings[0].evidence[0].contains("10 acknowledged messages never arrived"), "{:?}", denied.findings);
    assert!(!rules(&story(10.0).findings).contains(&"counters-disagree"));
}

#[test]
fn a_model_without_a_log_is_explained_by_its_counters() {
    let subject =
        "{ kind: nanomq, workers: 4, settings: { max_send_queue_len: 8, keepalive: 3, resend_interval: 50 } }";
    let story = scenario(subject, "  - { at: 0s, do: publish, for: 20s }\n  - { at: 5s, do: cut, for: 10s }\n");
    let sample = |ring: f64| Event::Counters {
        values: [("nanomq_ctx_msgs".to_owned(), ring), ("nanomq_sqlite_rows".to_owned(), 0.0)].into(),
    };
    let story = story.never_received(0, 30..=60).and(at(0, sample(0.0))).and(at(14_000, sample(8.0)));
    let report = judged(story);
    assert_eq!(rules(&report.findings), ["ring-overflow", "bistable-slots", "undetected-window"]);
}
