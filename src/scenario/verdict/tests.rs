//! Small histories with one known sin each.
use proptest::prelude::*;

use super::*;
use crate::scenario::history::{Event, Role};
use crate::scenario::plan::Side;
use crate::scenario::report::model::Verdict::{Fail, Inconclusive, Pass};
use crate::scenario::story::{Story, at, plan};

/// 16 messages at QoS 1, 8 at QoS 2, 8 at QoS 0 and 4 from the remote; the link is cut from 1 s to 3 s.
const SCENARIO: &str = "
load:
  - { topic: one, qos: 1, qps: 4 }
  - { topic: two, qos: 2, qps: 2 }
  - { topic: zero, qos: 0, qps: 2 }
  - { topic: back, qos: 1, qps: 1, via: remote }
timeline:
  - { at: 0s, do: publish, for: 4s }
  - { at: 1s, do: cut, for: 2s }
expect: { drained_within: 1s, first_delivery_within: 500ms }
";
const ONE: u16 = 0;
const TWO: u16 = 1;
const ZERO: u16 = 2;
const BACK: u16 = 3;

fn flawless() -> Story {
    Story::flawless(plan(SCENARIO))
}

fn judged(story: Story) -> SubjectReport {
    let plan = story.plan.clone();
    judge(&plan, &story.ledger())
}

/// The verdict and its line.
fn verdict(story: Story) -> (Verdict, String) {
    let report = judged(story);
    (report.verdict, report.summary)
}

fn check<'a>(report: &'a SubjectReport, name: &str) -> (Verdict, &'a str) {
    let check = report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"));
    (check.verdict, check.observed.as_str())
}

#[test]
fn nothing_wrong() {
    let report = judged(flawless());
    let said = "28 of 28 acknowledged messages arrived, 8 of 8 at QoS 0 arrived, none twice at QoS 2, none out of order; \
                backlog of 14 drained 0.1 s after the heal";
    assert_eq!((report.verdict, report.summary.as_str()), (Pass, said));
    assert!(report.checks.iter().all(|check| check.verdict == Pass));
    let (intended, sent, acknowledged, delivered) = (36, 36, 28, 36);
    assert_eq!(report.totals, Totals { intended, sent, acknowledged, received: 36, delivered, ..Totals::default() });
    assert_eq!(report.recovery_ms.first_delivery, Some(100.0));
    let latency = &report.latency_ms;
    assert_eq!(latency.before.map(|before| before.max), Some(3.0));
    assert_eq!(latency.after.map(|after| after.p50), Some(3.001));
    assert_eq!(latency.during.map(|during| during.max), Some(2103.0));
}

#[test]
fn lost() {
    let report = judged(flawless().never_received(ONE, 5..=8).never_received(ONE, 10..=10));
    assert_eq!(
        (report.verdict, report.summary.as_str()),
        (Fail, "lost 5 of 28 acknowledged messages (one 5..8, one 10)")
    );
    assert_eq!((report.totals.lost, report.totals.delivered), (5, 31));
    let ranges = &report.topics[0].lost_ranges;
    assert_eq!((ranges[0].first, ranges[0].last, ranges[0].count), (5, 8, 4));
    assert_eq!((ranges[0].published_s, ranges[0].during.as_slice()), ([1.25, 2.0], ["cut".to_owned()].as_slice()));
    assert_eq!(report.recovery_ms.drained, None);
    assert_eq!(check(&report, "drained within"), (Fail, "never: 5 of 21 messages are missing"));
}

#[test]
fn lost_although_the_settle_limit_was_waited_for() {
    let story = flawless().never_received(TWO, 0..=0).without(|event| matches!(event, Event::Settled { .. }));
    let story = story.and(at(60_000, Event::Settled { timed_out: true }));
    assert_eq!(verdict(story), (Fail, "lost 1 of 28 acknowledged messages (two 0)".into()));
}

#[test]
fn as_many_lost_as_allowed() {
    let mut story = flawless().never_received(ONE, 15..=15);
    story.plan.expect.lost = Some(1);
    let (verdict, said) = verdict(story);
    assert!(verdict == Pass && said.starts_with("27 of 28 acknowledged messages arrived"), "{said}");
}

#[test]
fn lost_at_qos_0_is_counted_and_not_condemned() {
    let report = judged(flawless().never_received(ZERO, 2..=3));
    assert_eq!((report.verdict, report.totals.lost, report.topics[2].lost_ranges.len()), (Pass, 2, 1));
    assert!(report.summary.contains("6 of 8 at QoS 0 arrived"), "{}", report.summary);
}

#[test]
fn duplicated_at_qos_1_is_counted_and_not_condemned() {
    let report = judged(flawless().received(3900, ONE, 2).received(3901, ONE, 2));
    assert_eq!((report.verdict, report.totals.duplicated, report.totals.received), (Pass, 1, 38));
    assert!(report.summary.contains("1 twice at QoS 1, as it may be"), "{}", report.summary);
    let mut story = flawless().received(3900, ONE, 2);
    story.plan.expect.duplicated_qos1 = Some(0);
    assert_eq!(verdict(story), (Fail, "1 message arrived twice at QoS 1".into()));
}

#[test]
fn duplicated_at_qos_2() {
    assert_eq!(verdict(flawless().received(3900, TWO, 2)), (Fail, "1 message arrived twice at QoS 2".into()));
}

#[test]
fn reordered() {
    let story = flawless().never_received(ONE, 1..=1).received(600, ONE, 1);
    assert_eq!(verdict(story), (Fail, "1 message arrived out of order".into()));
}

#[test]
fn damaged() {
    let altered = Event::Unexpected { topic: "one".into(), of: Some((ONE, 3)), why: "altered".into() };
    let report = judged(flawless().never_received(ONE, 3..=3).and(at(760, altered)));
    assert_eq!((report.verdict, report.totals.lost, report.totals.unexpected), (Fail, 0, 1));
    assert_eq!(report.summary, "unexpected arrivals: 1, such as one (message 3) at 0.8 s: altered");
}

#[test]
fn foreign() {
    let foreign = Event::Unexpected { topic: "other".into(), of: None, why: "no header".into() };
    let report = judged(flawless().and(at(500, foreign)));
    assert_eq!((report.verdict, report.totals.unexpected, report.totals.delivered), (Fail, 1, 36));
}

#[test]
fn received_though_never_sent() {
    let story = flawless().without(|event| matches!(event, Event::Sent { load: ONE, seq: 15, .. }));
    let report = judged(story);
    assert_eq!((report.verdict, report.totals.unexpected, report.totals.delivered), (Fail, 1, 35));
}

#[test]
fn late() {
    let story = flawless().never_received(ONE, 3..=3).without(|event| matches!(event, Event::Settled { .. }));
    let report = judged(story.and(at(60_000, Event::Settled { timed_out: true })).received(61_000, ONE, 3));
    assert_eq!((report.verdict, report.totals.late, report.totals.lost), (Fail, 1, 0));
    assert!(report.summary.contains("1 message arrived only after the settle limit"), "{}", report.summary);
}

#[test]
fn refused_and_unacknowledged_are_promised_to_nobody() {
    let story = flawless().never_received(ONE, 4..=6).never_acknowledged(ONE, 4..=6);
    let report = judged(story.and(at(1001, Event::Refused { load: ONE, seq: 4, reason: 0x97 })));
    assert_eq!(
        (report.verdict, report.totals.refused, report.totals.unacknowledged, report.totals.lost),
        (Pass, 1, 2, 0)
    );
    assert!(report.summary.contains("1 refused, 2 never acknowledged"), "{}", report.summary);
}

#[test]
fn recovered() {
    let report = judged(flawless().never_acknowledged(ONE, 4..=6));
    assert_eq!((report.verdict, report.totals.recovered, report.totals.delivered), (Pass, 3, 36));
}

#[test]
fn drained_too_late() {
    let report = judged(flawless().never_received(TWO, 5..=5).received(4500, TWO, 5));
    assert_eq!((report.verdict, check(&report, "drained within")), (Fail, (Fail, "1.500 s")));
    assert_eq!(report.recovery_ms.drained, Some(1500.0));
    assert!(
        report.summary.contains("backlog drained after 1.500 s, expected within 1s of the heal"),
        "{}",
        report.summary
    );
}

#[test]
fn nothing_after_the_heal() {
    let report = judged(flawless().without(|event| matches!(event, Event::Received { seq, .. } if *seq > 0)));
    assert_eq!(check(&report, "first delivery within"), (Fail, "nothing arrived after the heal"));
}

#[test]
fn a_receiver_that_was_gone_explains_what_is_missing_on_its_side() {
    let gone = |side| at(1500, Event::ReceiverDisconnected { side, why: "reset".into() });
    let (verdict, said) = verdict(flawless().never_received(ONE, 5..=6).and(gone(Side::Remote)));
    assert_eq!((verdict, said.as_str()), (Inconclusive, "the receiver at the remote was disconnected at 1.5 s: reset"));
    // Nothing is missing, and still it is no pass.
    assert_eq!(judged(flawless().and(gone(Side::Remote))).verdict, Inconclusive);
    // On the other side it explains nothing here.
    assert_eq!(judged(flawless().never_received(ONE, 5..=6).and(gone(Side::Bridge))).verdict, Fail);
    assert_eq!(judged(flawless().never_received(BACK, 1..=1).and(gone(Side::Bridge))).verdict, Inconclusive);
}

#[test]
fn a_receiver_that_never_was_there_proves_nothing() {
    let story = flawless().without(|event| matches!(event, Event::ReceiverConnected { .. } | Event::Received { .. }));
    let (verdict, said) = verdict(story);
    assert_eq!(verdict, Inconclusive);
    assert!(
        said.starts_with("there never was a receiver at the remote; there never was a receiver at the bridge"),
        "{said}"
    );
}

#[test]
fn a_load_that_was_behind_is_no_pass_and_no_excuse() {
    let delay = |mut story: Story| {
        story = story.without(|event| matches!(event, Event::Sent { load: ONE, seq: 15, .. }));
        story.and(at(4250, Event::Sent { load: ONE, seq: 15, again: false }))
    };
    let (verdict, said) = verdict(delay(flawless()));
    assert_eq!(
        (verdict, said.as_str()),
        (Inconclusive, "the load on one was behind its schedule: one message in a hundred by 500 ms or more")
    );
    assert_eq!(judged(delay(flawless()).received(3900, TWO, 2)).verdict, Fail);
    // A publisher that had to reconnect may be late.
    let lost = at(3700, Event::PublisherDisconnected { load: ONE, why: "killed".into() });
    assert_eq!(judged(delay(flawless()).and(lost)).verdict, Pass);
}

#[test]
fn messages_that_were_never_sent_are_a_doubt() {
    let of = |event: &Event| match event {
        Event::Sent { load, seq, .. } | Event::Acknowledged { load, seq } | Event::Received { load, seq } => {
            *load == ONE && *seq >= 9
        }
        _ => false,
    };
    let said = "7 of 16 messages on one were never sent, though its publisher was connected";
    assert_eq!(verdict(flawless().without(of)), (Inconclusive, said.into()));
}

#[test]
fn nothing_sent_at_all() {
    let is = |event: &Event| matches!(event, Event::Sent { .. } | Event::Acknowledged { .. } | Event::Received { .. });
    let report = judged(flawless().without(is));
    assert_eq!((report.verdict, check(&report, "lost")), (Inconclusive, (Inconclusive, "nothing was acknowledged")));
    assert!(report.summary.starts_with("nothing was sent on one; nothing was sent on two; "), "{}", report.summary);
}

#[test]
fn nothing_acknowledged_proves_nothing() {
    let story = flawless().without(|event| matches!(event, Event::Acknowledged { .. }));
    let report = judged(story);
    assert_eq!((report.verdict, check(&report, "lost")), (Inconclusive, (Inconclusive, "nothing was acknowledged")));
}

#[test]
fn interrupted() {
    let interrupted =
        |story: Story| story.without(|event| matches!(event, Event::Settled { .. })).and(at(3900, Event::Interrupted));
    let (verdict, said) = verdict(interrupted(flawless().never_received(ONE, 5..=6)));
    assert_eq!((verdict, said.as_str()), (Inconclusive, "interrupted at 3.9 s"));
    // What was received twice stays received twice.
    assert_eq!(judged(interrupted(flawless()).received(3800, TWO, 1)).verdict, Fail);
}

#[test]
fn a_history_that_breaks_off_or_never_began() {
    let said = "the history ends at 3.8 s, before the run was over";
    assert_eq!(
        verdict(flawless().without(|event| matches!(event, Event::Settled { .. }))),
        (Inconclusive, said.into())
    );
    let nothing = judged(flawless().without(|_| true));
    assert!(nothing.verdict == Inconclusive && nothing.summary.starts_with("it was not run"), "{}", nothing.summary);
    assert_eq!(report(&plan(SCENARIO), &[]).verdict, Inconclusive);
}

#[test]
fn a_fault_that_was_never_done() {
    let story = flawless().without(|event| matches!(event, Event::FaultOn { .. } | Event::FaultOff { .. }));
    let report = judged(story);
    assert_eq!(
        (report.verdict, check(&report, "drained within")),
        (Inconclusive, (Inconclusive, "no fault was healed"))
    );
    assert!(report.doubts.contains(&"0 of 1 faults were done".to_owned()));
}

#[test]
fn a_doubt_of_the_laboratory_itself() {
    let doubt = || at(2000, Event::Doubt { why: "the remote dropped 2 messages".into() });
    assert_eq!(verdict(flawless().and(doubt())), (Inconclusive, "the remote dropped 2 messages".into()));
    assert_eq!(judged(flawless().never_received(ONE, 5..=6).and(doubt())).verdict, Inconclusive);
}

#[test]
fn processes_that_end_by_themselves() {
    let ended = |role| at(2000, Event::ProcessEnded { role, status: "signal 11".into(), wanted: false });
    assert_eq!(
        verdict(flawless().and(ended(Role::Subject))),
        (Fail, "process: it ended by itself at 2.0 s: signal 11".into())
    );
    let said = "the remote ended by itself at 2.0 s: signal 11";
    assert_eq!(verdict(flawless().never_received(ONE, 5..=6).and(ended(Role::Remote))), (Inconclusive, said.into()));
    let wanted = at(2000, Event::ProcessEnded { role: Role::Subject, status: "signal 9".into(), wanted: true });
    assert_eq!(judged(flawless().and(wanted)).verdict, Pass);
}

#[test]
fn counters_that_do_not_add_up() {
    let counters = |millis, accepted: f64| {
        let counter = |name: &str, value| (format!("mqtt_bridge_messages_{name}{{bridge=\"b\"}}"), value);
        let values = [counter("accepted_total", accepted), counter("queued", 3.0), counter("delivered_total", 4.0)];
        at(millis, Event::Counters { values: values.into_iter().collect() })
    };
    let report = judged(flawless().and(counters(1000, 7.0)).and(counters(2000, 7.0)));
    assert_eq!((report.verdict, check(&report, "counters add up")), (Pass, (Pass, "2 samples do")));
    assert_eq!(report.counters.len(), 3);
    let report = judged(flawless().and(counters(1000, 8.0)).and(counters(2000, 7.0)));
    let said = "1 of 2 samples do not: at 1.0 s bridge b: accepted + restored = 8, \
                but delivered + queued + in_flight + quarantined + dropped = 7";
    assert_eq!((report.verdict, check(&report, "counters add up")), (Fail, (Fail, said)));
    assert!(judged(flawless()).checks.iter().all(|check| check.name != "counters add up"));
}

#[test]
fn a_run_is_as_good_as_its_worst_subject() {
    let (good, bad) = (flawless().ledger(), flawless().never_received(ONE, 5..=6).ledger());
    let ledgers = [("good".to_owned(), good.clone()), ("bad".to_owned(), bad)];
    let both = report(&plan(SCENARIO), &ledgers);
    assert_eq!((both.verdict(), both.exit_code()), (Fail, 1));
    assert_eq!((both.subjects[1].name.as_str(), both.remote.as_str()), ("bad", "mosquitto 2.0.11"));
    assert_eq!(report(&plan(SCENARIO), &ledgers[..1]).exit_code(), 0);
}

proptest! {
    /// Whatever happens, every message that was sent is in exactly one class, and the topics add up to the totals.
    #[test]
    fn classes_add_up(gone in prop::collection::vec((0u16..4, 0u64..16, 0u8..4), 0..40), late: bool) {
        let mut story = flawless();
        for (load, seq, sin) in gone {
            story = match sin {
                0 => story.never_received(load, seq..=seq),
                1 => story.never_acknowledged(load, seq..=seq).and(at(3000, Event::Refused { load, seq, reason: 0x80 })),
                2 => story.and(at(3000, Event::Unexpected { topic: "one".into(), of: Some((load, seq)), why: "altered".into() })),
                _ => story.received(if late { 9000 } else { 3500 }, load, seq),
            };
        }
        if late {
            story = story.without(|event| matches!(event, Event::Settled { .. })).and(at(8000, Event::Settled { timed_out: true }));
        }
        let ledger = story.clone().ledger();
        let report = judged(story);
        for (index, topic) in report.topics.iter().enumerate() {
            let altered = ledger.rows(index).filter(|(_, row)| row.altered() && row.copies() == 0).count() as u64;
            let refused = ledger.rows(index).filter(|(_, row)| row.refused() && row.copies() == 0 && !row.altered());
            let refused = if topic.qos == 0 { 0 } else { refused.count() as u64 };
            let totals = topic.totals;
            prop_assert_eq!(totals.sent, totals.delivered + totals.late + totals.lost + totals.unacknowledged + altered + refused);
            prop_assert_eq!(totals.lost, topic.lost_ranges.iter().map(|range| range.count).sum::<u64>());
            prop_assert!(totals.received >= totals.delivered + totals.late + totals.duplicated);
        }
        let mut sum = Totals::default();
        report.topics.iter().for_each(|topic| sum += topic.totals);
        prop_assert_eq!(sum, report.totals);
    }
}
