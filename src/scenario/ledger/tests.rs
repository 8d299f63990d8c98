use proptest::prelude::*;

use super::*;
use crate::scenario::plan::FaultKind;
use crate::scenario::story::{at, ledger, plan};

const SCENARIO: &str = "load:\n  - { topic: a, qps: 4 }\n  - { topic: b, qps: 2 }\n\
    timeline:\n  - { at: 0s, do: publish, for: 2s }\n  - { at: 1s, do: cut, for: 1s }\n";

fn sent(millis: u64, load: u16, seq: u64) -> Record {
    at(millis, Event::Sent { load, seq, again: false })
}
fn acknowledged(millis: u64, load: u16, seq: u64) -> Record {
    at(millis, Event::Acknowledged { load, seq })
}
fn received(millis: u64, load: u16, seq: u64) -> Record {
    at(millis, Event::Received { load, seq })
}

#[test]
fn progress_follows_each_record() {
    let plan = plan(SCENARIO);
    let mut ledger = Ledger::new(&plan);
    assert_eq!(ledger.progress(), Progress { intended: 12, ..Progress::default() });
    assert!(ledger.everything_arrived());
    for record in [sent(0, 0, 0), sent(9, 0, 0), acknowledged(10, 0, 0), acknowledged(11, 0, 0)] {
        ledger.fold(&record);
    }
    assert_eq!(
        ledger.progress(),
        Progress { intended: 12, sent: 1, acknowledged: 1, outstanding: 1, ..Progress::default() }
    );
    assert!(!ledger.everything_arrived());
    ledger.fold(&received(1500, 0, 0));
    ledger.fold(&received(1600, 0, 0));
    assert!(ledger.everything_arrived());
    assert_eq!((ledger.progress().received, ledger.received_per_second()), (1, [0, 2].as_slice()));
    let (_, row) = ledger.rows(0).next().unwrap();
    assert_eq!((row.copies(), row.received()), (2, Some(Duration::from_millis(1500))));
    assert_eq!(ledger.rows(0).count(), 8);
}

#[test]
fn a_refusal_that_is_acknowledged_later_is_none() {
    let refused = |millis| at(millis, Event::Refused { load: 0, seq: 0, reason: 0x97 });
    let ledger = ledger(&plan(SCENARIO), &[sent(0, 0, 0), refused(1), acknowledged(2, 0, 0)]);
    assert_eq!((ledger.progress().refused, ledger.progress().acknowledged), (0, 1));
}

#[test]
fn order_counts_first_copies_of_one_load_only() {
    let history = [received(0, 0, 0), received(1, 0, 2), received(2, 0, 0), received(3, 0, 1), received(4, 1, 0)];
    let ledger = ledger(&plan(SCENARIO), &history);
    let out_of_order: Vec<u64> = ledger.rows(0).filter(|(_, row)| row.out_of_order()).map(|(seq, _)| seq).collect();
    assert_eq!(out_of_order, [1]);
    assert!(ledger.rows(1).all(|(_, row)| !row.out_of_order()));
}

#[test]
fn what_the_plan_does_not_have_is_unexpected_and_takes_no_memory() {
    let ledger = ledger(&plan(SCENARIO), &[received(0, 0, u64::MAX), received(0, 99, 0), sent(0, 0, u64::MAX)]);
    assert_eq!((ledger.unexpected_on(0), ledger.facts().unexpected_elsewhere), (1, 1));
    assert!(ledger.loads.iter().all(|load| load.rows.is_empty()));
    let ledger = self::ledger(&plan(SCENARIO), &[Record { t: u64::MAX, event: Event::Received { load: 0, seq: 0 } }]);
    assert!(ledger.received_per_second().is_empty());
}

#[test]
fn faults_are_kept_as_they_really_were() {
    let on = at(1100, Event::FaultOn { fault: 0, kind: FaultKind::Cut, on: Side::Remote });
    let off = at(2300, Event::FaultOff { fault: 0, kind: FaultKind::Cut, on: Side::Remote });
    let open = ledger(&plan(SCENARIO), &[on.clone(), received(1700, 0, 0)]);
    assert_eq!(open.facts().heal(), None);
    assert_eq!(open.facts().faults()[0].end, Duration::from_millis(1700));
    let healed = ledger(&plan(SCENARIO), &[on, off, received(3000, 0, 0)]);
    assert_eq!(healed.facts().heal(), Some(Duration::from_millis(2300)));
    assert_eq!(healed.facts().faults()[0].start, Duration::from_millis(1100));
}

#[test]
fn what_ends_after_the_run_is_over_is_no_fact() {
    let gone = || Event::ReceiverDisconnected { side: Side::Remote, why: "closed".into() };
    let settled = at(3, Event::Settled { timed_out: false });
    assert_eq!(ledger(&plan(SCENARIO), &[settled, at(4, gone())]).facts().receivers_gone, []);
    assert_eq!(ledger(&plan(SCENARIO), &[at(4, gone())]).facts().receivers_gone.len(), 1);
}

fn any_record() -> impl Strategy<Value = Record> {
    (0u64..5000, 0u16..3, 0u64..9, 0u8..5).prop_map(|(t, load, seq, kind)| {
        let event = match kind {
            0 => Event::Sent { load, seq, again: false },
            1 => Event::Acknowledged { load, seq },
            2 => Event::Refused { load, seq, reason: 0x80 },
            3 => Event::Unexpected { topic: "a".into(), of: Some((load, seq)), why: "altered".into() },
            _ => Event::Received { load, seq },
        };
        at(t, event)
    })
}

proptest! {
    #[test]
    fn only_the_order_of_receiving_matters(history in prop::collection::vec(any_record(), 0..60)) {
        // Everything received first, in its order, and the rest behind it, backwards.
        let is_received = |record: &Record| matches!(record.event, Event::Received { .. });
        let (mut moved, rest): (Vec<Record>, Vec<Record>) = history.iter().cloned().partition(is_received);
        moved.extend(rest.into_iter().rev());
        let plan = plan(SCENARIO);
        let (one, other) = (ledger(&plan, &history), ledger(&plan, &moved));
        prop_assert_eq!(one.progress(), other.progress());
        for load in 0..2 {
            prop_assert!(one.rows(load).eq(other.rows(load)));
            prop_assert_eq!(one.unexpected_on(load), other.unexpected_on(load));
        }
    }

    #[test]
    fn progress_is_what_the_rows_say(history in prop::collection::vec(any_record(), 0..60)) {
        let ledger = ledger(&plan(SCENARIO), &history);
        let count = |is: fn(&Row) -> bool| (0..2).flat_map(|load| ledger.rows(load)).filter(|(_, row)| is(row)).count() as u64;
        let progress = ledger.progress();
        prop_assert_eq!(progress.sent, count(|row| row.sent().is_some()));
        prop_assert_eq!(progress.acknowledged, count(Row::acknowledged));
        prop_assert_eq!(progress.refused, count(Row::refused));
        prop_assert_eq!(progress.received, count(|row| row.received().is_some()));
        prop_assert_eq!(progress.outstanding, count(|row| row.acknowledged() && row.copies() == 0 && !row.altered()));
    }
}

#[test]
fn the_backlog_at_a_heal_drains_by_what_was_outstanding_then() {
    let plan = plan(&format!("{SCENARIO}  - {{ when: {{ drained: 50% }}, do: cut, for: 1s }}\n"));
    let off = |millis| at(millis, Event::FaultOff { fault: 0, kind: FaultKind::Cut, on: Side::Remote });
    let mut history = vec![off(0)];
    for seq in 0..4 {
        history.extend([sent(10, 0, seq), acknowledged(20, 0, seq)]);
    }
    let drained = |history: &[Record]| ledger(&plan, history).drained().unwrap();
    assert_eq!(drained(&history), Drained::default(), "a heal without a backlog is none");
    history.push(off(30));
    assert_eq!(drained(&history), Drained { backlog: 4, arrived: 0 });
    // What is acknowledged after the heal has no part in it, and a second copy is no second message.
    history.extend([sent(40, 0, 4), acknowledged(41, 0, 4), received(42, 0, 4)]);
    history.extend([received(43, 0, 0), received(44, 0, 0), received(45, 0, 1)]);
    assert_eq!(drained(&history), Drained { backlog: 4, arrived: 2 });
    history.push(off(50));
    assert_eq!(drained(&history), Drained { backlog: 2, arrived: 0 });
    assert_eq!(ledger(&self::plan(SCENARIO), &history).drained(), None, "nobody waits for it");
}

#[test]
fn a_receiver_leaves_with_the_remote_and_that_is_no_fact() {
    let gone = |millis| at(millis, Event::ReceiverDisconnected { side: Side::Remote, why: "closed".into() });
    let on = at(1000, Event::FaultOn { fault: 0, kind: FaultKind::Kill, on: Side::Remote });
    let off = at(2000, Event::FaultOff { fault: 0, kind: FaultKind::Kill, on: Side::Remote });
    let plan = plan(SCENARIO);
    assert_eq!(ledger(&plan, &[on.clone(), gone(1001), off.clone()]).facts().receivers_gone, []);
    assert_eq!(ledger(&plan, &[on.clone(), off, gone(2001)]).facts().receivers_gone.len(), 1);
    let cut = at(1000, Event::FaultOn { fault: 0, kind: FaultKind::Cut, on: Side::Remote });
    assert_eq!(ledger(&plan, &[cut, gone(1001)]).facts().receivers_gone.len(), 1);
    let local = at(1001, Event::ReceiverDisconnected { side: Side::Bridge, why: "closed".into() });
    assert_eq!(ledger(&plan, &[on, local]).facts().receivers_gone.len(), 1);
}
