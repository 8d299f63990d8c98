//! Every rule on a history that it is about: on recorded ones, where there are any, and on constructed ones.
mod constructed;
mod recorded;

use crate::scenario::report::model::{Finding, SubjectReport};
use crate::scenario::story;
use crate::scenario::verdict;

fn judged(name: &str) -> SubjectReport {
    let (plan, history) = recorded::read(name);
    verdict::judge(&plan, &story::ledger(&plan, &history))
}

fn rules(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.rule.as_str()).collect()
}

/// Each recorded history with the rules that fire on it, all of them and no other.
const RECORDED: &[(&str, &[&str])] = &[
    ("nanomq-silent-n4-1", &["ring-overflow", "bistable-slots", "undetected-window", "out-of-order", "slow-reconnect"]),
    ("nanomq-silent-n32-1", &["out-of-order", "drain-paced-by-tick"]),
    ("nanomq-rst-n4-1", &["out-of-order", "drain-paced-by-tick", "slow-reconnect"]),
    ("nanomq-kill9-n32", &["memory-part-lost", "out-of-order", "drain-paced-by-tick"]),
    ("nanomq-i2432-1", &["row-deleted-before-sent", "drain-paced-by-tick", "slow-detection"]),
    ("mosquitto-queue-full", &["limit-reached", "slow-detection"]),
    ("mosquitto-short-cut", &["slow-detection"]),
    ("mosquitto-silent-cut", &["slow-detection", "slow-reconnect"]),
    ("mosquitto-keepalive-60", &["slow-detection"]),
    ("mosquitto-killed-offline", &["memory-part-lost"]),
    ("ours-cut", &[]),
    ("ours-behind-schedule", &["laboratory-doubt"]),
    ("ours-small-cache", &["limit-reached"]),
    ("ours-acknowledgements-swallowed", &["duplicate-after-lost-ack", "out-of-order"]),
    ("ours-session-lost-at-qos2", &["duplicate-at-qos2"]),
    ("ours-refused-by-acl", &["refused-by-remote", "duplicate-after-lost-ack"]),
    ("ours-metrics-falsified", &["limit-reached", "counters-disagree", "duplicate-after-lost-ack"]),
    ("model-idle-after-heal", &["out-of-order", "backlog-waits-for-publish", "slow-reconnect"]),
    ("model-cut-30s", &["ring-overflow", "bistable-slots", "undetected-window", "out-of-order", "post-heal-stall"]),
];

#[test]
fn on_every_recorded_history_exactly_its_rules_fire() {
    let fired = |name: &str| judged(name).findings.into_iter().map(|finding| finding.rule).collect::<Vec<_>>();
    let seen: Vec<_> = RECORDED.iter().map(|(name, _)| (*name, fired(name))).collect();
    let expected: Vec<_> =
        RECORDED.iter().map(|(name, rules)| (*name, rules.iter().map(|rule| (*rule).to_owned()).collect())).collect();
    assert_eq!(seen, expected);
}

#[test]
fn every_rule_fires_on_a_recorded_history() {
    for rule in super::RULES {
        let recorded = RECORDED.iter().any(|(_, rules)| rules.contains(&rule.name));
        assert!(recorded, "{}", rule.name);
        let sentences = rule.mechanism.split(". ").count();
        assert!(sentences <= 3, "{}: {sentences} sentences", rule.name);
    }
}

#[test]
fn the_original_report_is_explained_with_its_numbers() {
    let report = judged("nanomq-silent-n4-1");
    let said: Vec<String> = report.findings.iter().map(|finding| finding.evidence.join("\n")).collect();
    assert!(said[0].contains("658 times") && said[0].contains("658 were lost in all"), "{}", said[0]);
    assert!(said[0].contains("max_send_queue_len = 256"), "{}", said[0]);
    assert!(said[1].contains("27 messages were published") && said[1].contains("4 workers"), "{}", said[1]);
    assert!(said[2].contains("of 27 messages published meanwhile 23 never arrived"), "{}", said[2]);
}

#[test]
fn the_part_in_memory_is_told_from_its_threshold() {
    let evidence = judged("nanomq-kill9-n32").findings[0].evidence.join("\n");
    assert!(evidence.contains("225 mod 100 = 25"), "{evidence}");
}

#[test]
fn without_counters_and_without_a_log_what_the_ledger_shows_is_still_found() {
    use crate::scenario::history::Event;
    let (plan, mut history) = recorded::read("nanomq-i2432-1");
    history.retain(|record| !matches!(record.event, Event::Counters { .. }));
    let report = verdict::judge(&plan, &story::ledger(&plan, &history));
    assert!(rules(&report.findings).contains(&"row-deleted-before-sent"), "{:?}", rules(&report.findings));
    history.retain(|record| !matches!(record.event, Event::Log { .. }));
    let report = verdict::judge(&plan, &story::ledger(&plan, &history));
    assert_eq!(rules(&report.findings), ["row-deleted-before-sent", "drain-paced-by-tick"]);
}
