//! Histories for tests: a flawless one that follows a plan, and one sin after another to add to it.
use std::ops::RangeInclusive;
use std::time::Duration;

use super::history::{Event, Record};
use super::ledger::Ledger;
use super::plan::{Plan, Side};
use super::{schedule, spec};
use crate::bridge::yaml::Document;

/// A plan from the text of a scenario.
pub(super) fn plan(text: &str) -> Plan {
    spec::read(&Document::from_text("story.yaml", text), &[""; 0]).unwrap()
}

/// An event of the timeline.
pub(super) fn at(millis: u64, event: Event) -> Record {
    Record { t: millis * 1000, event }
}

/// Folds a history.
pub(super) fn ledger(plan: &Plan, history: &[Record]) -> Ledger {
    let mut ledger = Ledger::new(plan);
    history.iter().for_each(|record| ledger.fold(record));
    ledger
}

/// A history in the making.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) plan: Plan,
    history: Vec<Record>,
}

impl Story {
    /// Everything is sent when it is intended, acknowledged after 1 ms and received after 3 ms, or, where a fault that
    /// is not at the bridge's process holds, 100 ms after the heal and then one message a millisecond.
    pub(super) fn flawless(plan: Plan) -> Self {
        let run = Event::Run {
            run: 1,
            subject: plan.subjects[0].name.clone(),
            version: "1.0".into(),
            environment: "local".into(),
            remote: "mosquitto 2.0.11".into(),
            approximated: vec![],
            unexpressed: vec![],
            because: None,
            artifacts: Default::default(),
        };
        let mut history = vec![at(0, run)];
        for side in [Side::Remote, Side::Bridge] {
            history.push(at(0, Event::ReceiverConnected { side }));
        }
        let mut record = |moment: Duration, event| history.push(Record::at(moment, event));
        for (fault, done) in plan.faults.iter().enumerate() {
            record(done.start, Event::FaultOn { fault, kind: done.kind, on: done.on });
            record(done.end, Event::FaultOff { fault, kind: done.kind, on: done.on });
        }
        let mut waiting = 0;
        let mut latest = vec![Duration::ZERO; plan.loads.len()];
        for (moment, load, seq) in schedule::merged(&plan) {
            record(moment, Event::Sent { load, seq, again: false });
            if plan.loads[usize::from(load)].qos > 0 {
                record(moment + Duration::from_millis(1), Event::Acknowledged { load, seq });
            }
            let cut =
                plan.faults.iter().find(|fault| fault.on == Side::Remote && (fault.start..fault.end).contains(&moment));
            let earliest = match cut {
                Some(fault) => fault.end + Duration::from_millis(100 + waiting),
                None => moment + Duration::from_millis(3),
            };
            waiting += u64::from(cut.is_some());
            // Behind what is before it, as a queue has it.
            let last = &mut latest[usize::from(load)];
            let received = earliest.max(*last + Duration::from_millis(1));
            *last = received;
            record(received, Event::Received { load, seq });
        }
        record(plan.end + Duration::from_secs(2), Event::Settled { timed_out: false });
        Self { plan, history }
    }

    pub(super) fn and(mut self, record: Record) -> Self {
        self.history.push(record);
        self
    }

    /// Without the records that this is true of.
    pub(super) fn without(mut self, is: impl Fn(&Event) -> bool) -> Self {
        self.history.retain(|record| !is(&record.event));
        self
    }

    pub(super) fn never_received(self, load: u16, range: RangeInclusive<u64>) -> Self {
        self.without(|event| matches!(event, Event::Received { load: l, seq } if *l == load && range.contains(seq)))
    }

    pub(super) fn never_acknowledged(self, load: u16, range: RangeInclusive<u64>) -> Self {
        self.without(|event| matches!(event, Event::Acknowledged { load: l, seq } if *l == load && range.contains(seq)))
    }

    /// Another copy.
    pub(super) fn received(self, millis: u64, load: u16, seq: u64) -> Self {
        self.and(at(millis, Event::Received { load, seq }))
    }

    pub(super) fn history(mut self) -> Vec<Record> {
        self.history.sort_by_key(|record| record.t);
        self.history
    }

    pub(super) fn ledger(self) -> Ledger {
        let plan = self.plan.clone();
        ledger(&plan, &self.history())
    }
}
