//! The ledger: a history folded into one [`Row`] per message and the [`Facts`] of the run.
//!
//! It is folded record by record, while the run goes on or from a file, and takes 24 bytes per message sent however long
//! the history is, and a few per second. Records of one message may come in any order; only the order in which messages
//! were *received*, and what was received before and after [`Event::Settled`], is taken from the order of the records.
mod drained;
mod facts;
mod row;
mod series;

use std::time::Duration;

pub use drained::Drained;
pub use facts::{Done, Ended, Facts, Gone, Run, Settled};
pub use row::Row;
use series::MOST_SECONDS;
pub use series::Series;

use super::counters;
use super::history::{Event, Record, Role};
use super::plan::{Fault, Parameters, Plan, Side};

/// A history, folded.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    loads: Vec<Rows>,
    facts: Facts,
    progress: Progress,
    /// `None`: no fault of the plan waits for it.
    drained: Option<Drained>,
    received_per_second: Vec<u32>,
    series: Series,
}

/// Figures to show while a run goes on; messages, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Intended in all.
    pub intended: u64,
    /// Written to a publisher's socket.
    pub sent: u64,
    /// Acknowledged to their publisher.
    pub acknowledged: u64,
    /// Answered with a failure code and not acknowledged.
    pub refused: u64,
    /// Received.
    pub received: u64,
    /// Acknowledged, and nothing of them has arrived yet.
    pub outstanding: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Rows {
    topic: String,
    intended: u64,
    rows: Vec<Row>,
    highest: Option<u64>,
    unexpected: u64,
}

const MOST_EXAMPLES: usize = 5;
const MOST_DOUBTS: usize = 20;

impl Ledger {
    /// An empty ledger for a plan.
    pub fn new(plan: &Plan) -> Self {
        let rows = |load: &super::plan::Load| Rows {
            topic: load.topic.clone(),
            intended: load.count(),
            rows: Vec::new(),
            highest: None,
            unexpected: 0,
        };
        Self {
            loads: plan.loads.iter().map(rows).collect(),
            facts: Facts { publisher_losses: vec![0; plan.loads.len()], ..Facts::default() },
            progress: Progress { intended: plan.intended(), ..Progress::default() },
            drained: plan.faults.iter().any(|fault| fault.when.is_some()).then(Drained::default),
            received_per_second: Vec::new(),
            series: Series::new(plan.loads.len()),
        }
    }

    /// Takes in the next record of the history.
    pub fn fold(&mut self, record: &Record) {
        let at = Duration::from_micros(record.t);
        self.facts.last = self.facts.last.max(at);
        match &record.event {
            Event::Sent { load, seq, .. } => {
                let first = self.change(*load, *seq, |row| row.mark_sent(record.t));
                self.progress.sent += u64::from(first == Some(true));
            }
            Event::Acknowledged { load, seq } => {
                if self.change(*load, *seq, Row::mark_acknowledged) == Some(true) {
                    self.series.count_acknowledged(*load, record.t);
                }
            }
            Event::Refused { load, seq, .. } => {
                self.change(*load, *seq, Row::mark_refused);
            }
            Event::Received { load, seq } => self.received(record.t, *load, *seq),
            Event::Unexpected { topic, of, why } => self.unexpected(at, topic, *of, why),
            Event::Run {
                subject, version, environment, remote, approximated, unexpressed, because, artifacts, ..
            } => {
                self.facts.run = Some(Run {
                    subject: subject.clone(),
                    version: version.clone(),
                    environment: environment.clone(),
                    remote: remote.clone(),
                    approximated: approximated.clone(),
                    unexpressed: unexpressed.clone(),
                    because: because.clone(),
                    artifacts: artifacts.clone(),
                });
            }
            Event::FaultOn { fault, kind, on } => {
                let (parameters, when) = (Parameters::None, None);
                let done = Fault { kind: *kind, on: *on, parameters, when, start: at, end: at };
                self.facts.faults.push(Done { index: *fault, fault: done, healed: false });
                self.facts.faults.sort_by_key(|done| done.index);
            }
            Event::FaultOff { fault, .. } => {
                for done in self.facts.faults.iter_mut().filter(|done| done.index == *fault && !done.healed) {
                    done.fault.end = at;
                    done.healed = true;
                }
                self.measure_backlog();
            }
            Event::ProcessStarted { role: Role::Subject, .. } => self.facts.subject_starts += 1,
            Event::ProcessEnded { role, status, wanted: false } if !self.over() => {
                self.facts.ended.push(Ended { at, role: *role, status: status.clone() });
            }
            Event::PublisherDisconnected { load, .. } if !self.over() => {
                if let Some(losses) = self.facts.publisher_losses.get_mut(usize::from(*load)) {
                    *losses += 1;
                }
            }
            Event::ReceiverConnected { side } => self.facts.receivers[facts::place(*side)] = true,
            Event::ReceiverDisconnected { side, why } if !self.over() && !self.remote_is_away(*side) => {
                self.facts.receivers_gone.push(Gone { at, side: *side, why: why.clone() });
            }
            Event::Counters { values } => self.counters(at, values),
            Event::Settings { values } => self.facts.log.configured(values),
            Event::Usage { role, memory_bytes, .. } => self.series.used(at, *role, *memory_bytes),
            Event::Log { role: Role::Subject, line } => {
                self.facts.log.fold(at, line);
            }
            Event::Doubt { why } => {
                if !self.facts.doubts.contains(why) && self.facts.doubts.len() < MOST_DOUBTS {
                    self.facts.doubts.push(why.clone());
                }
            }
            Event::Settled { timed_out } => self.facts.settled = Some(Settled { at, timed_out: *timed_out }),
            Event::Interrupted => self.facts.interrupted = true,
            Event::ProcessEnded { .. }
            | Event::PublisherDisconnected { .. }
            | Event::ReceiverDisconnected { .. }
            | Event::ProcessStarted { .. }
            | Event::PublisherConnected { .. }
            | Event::Log { .. } => {}
        }
        let last = self.facts.last;
        self.series.stand(last, self.progress.outstanding);
        self.facts.faults.iter_mut().filter(|done| !done.healed).for_each(|done| done.fault.end = last);
    }

    /// The figures so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// How far the backlog at the last heal has drained; `None` where no fault of the plan waits for that.
    pub fn drained(&self) -> Option<Drained> {
        self.drained
    }

    /// Whether nothing that was acknowledged is still on its way. What was sent and not answered yet is not counted:
    /// [`Progress::sent`] against [`Progress::acknowledged`] and [`Progress::refused`] tells that.
    pub fn everything_arrived(&self) -> bool {
        self.progress.outstanding == 0
    }

    /// Whole copies received in each second of the timeline, the first second first.
    pub fn received_per_second(&self) -> &[u32] {
        &self.received_per_second
    }

    /// What happened in each second of the timeline.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// What is known of the run as a whole.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The rows of a load in order of sequence, one for every message intended, sent or not.
    pub fn rows(&self, load: usize) -> impl Iterator<Item = (u64, Row)> + '_ {
        let rows = self.loads.get(load);
        let intended = rows.map_or(0, |rows| rows.intended);
        let row = move |seq| rows.and_then(|rows| rows.rows.get(seq as usize)).copied().unwrap_or_default();
        (0..intended).map(move |seq| (seq, row(seq)))
    }

    /// Arrivals on a load's topic that were never sent like that.
    pub fn unexpected_on(&self, load: usize) -> u64 {
        self.loads.get(load).map_or(0, |rows| rows.unexpected)
    }

    /// Whether the remote's process was taken away, and with it, as it must be, the receiver there.
    fn remote_is_away(&self, side: Side) -> bool {
        side == Side::Remote && self.facts.faults.iter().any(|done| !done.healed && done.fault.stops_remote())
    }

    fn over(&self) -> bool {
        self.facts.settled.is_some() || self.facts.interrupted
    }

    /// Changes a row and keeps the figures in step; `None` where the plan has no such message.
    fn change(&mut self, load: u16, seq: u64, change: impl FnOnce(&mut Row) -> bool) -> Option<bool> {
        let load = self.loads.get_mut(usize::from(load)).filter(|load| seq < load.intended)?;
        if seq as usize >= load.rows.len() {
            load.rows.resize(seq as usize + 1, Row::default());
        }
        let row = load.rows.get_mut(seq as usize)?;
        let before = *row;
        let result = change(row);
        let moved = |figure: &mut u64, was: bool, is: bool| *figure = *figure + u64::from(is) - u64::from(was);
        moved(&mut self.progress.acknowledged, before.acknowledged(), row.acknowledged());
        moved(&mut self.progress.refused, before.refused(), row.refused());
        moved(&mut self.progress.received, before.copies() > 0, row.copies() > 0);
        moved(&mut self.progress.outstanding, before.outstanding(), row.outstanding());
        if let Some(drained) = &mut self.drained
            && row.in_backlog()
            && before.outstanding()
            && !row.outstanding()
        {
            drained.arrived += 1;
        }
        Some(result)
    }

    /// A heal: from now on, the backlog is what is outstanding now, if anything is.
    fn measure_backlog(&mut self) {
        let Some(drained) = self.drained.as_mut().filter(|_| self.progress.outstanding > 0) else { return };
        *drained = Drained { backlog: self.progress.outstanding, arrived: 0 };
        for row in self.loads.iter_mut().flat_map(|load| &mut load.rows) {
            row.mark_backlog(row.outstanding());
        }
    }

    fn received(&mut self, t: u64, load: u16, seq: u64) {
        let highest = self.loads.get(usize::from(load)).and_then(|load| load.highest);
        let out_of_order = highest.is_some_and(|highest| seq < highest);
        let late = self.facts.settled.is_some_and(|settled| settled.timed_out);
        if self.change(load, seq, |row| row.mark_received(t, out_of_order, late)).is_none() {
            let topic = self.loads.get(usize::from(load)).map(|load| load.topic.clone()).unwrap_or_default();
            let why = format!("load {load} has no message {seq} in this plan");
            return self.unexpected(Duration::from_micros(t), &topic, None, &why);
        }
        if let Some(load) = self.loads.get_mut(usize::from(load)) {
            load.highest = load.highest.max(Some(seq));
        }
        self.series.count_received(load, t);
        let second = t / 1_000_000;
        if second < MOST_SECONDS {
            let second = second as usize;
            if second >= self.received_per_second.len() {
                self.received_per_second.resize(second + 1, 0);
            }
            self.received_per_second[second] += 1;
        }
    }

    fn unexpected(&mut self, at: Duration, topic: &str, of: Option<(u16, u64)>, why: &str) {
        let of = of.filter(|(load, seq)| self.change(*load, *seq, Row::mark_altered).is_some());
        let by_topic = || self.loads.iter().position(|load| load.topic == topic);
        let load = of.map(|(load, _)| usize::from(load)).or_else(by_topic);
        match load.and_then(|load| self.loads.get_mut(load)) {
            Some(load) => load.unexpected += 1,
            None => self.facts.unexpected_elsewhere += 1,
        }
        if self.facts.unexpected_examples.len() < MOST_EXAMPLES {
            let message = of.map(|(_, seq)| format!(" (message {seq})")).unwrap_or_default();
            let example = format!("{topic}{message} at {:.1} s: {why}", at.as_secs_f64());
            self.facts.unexpected_examples.push(example);
        }
    }

    fn counters(&mut self, at: Duration, values: &counters::Sample) {
        self.series.sampled(at, values);
        if counters::can_be_checked(values) {
            self.facts.samples_checked += 1;
            if let Some(imbalance) = counters::imbalance(values) {
                self.facts.imbalances += 1;
                let said = format!("at {:.1} s {imbalance}", at.as_secs_f64());
                self.facts.first_imbalance.get_or_insert(said);
            }
        }
        for (name, value) in values {
            if counters::metric(name).ends_with("_connected") {
                self.facts.log.link(at, *value > 0.0);
            }
            match self.facts.peaks.get_mut(name) {
                Some(peak) => *peak = peak.max(*value),
                None => drop(self.facts.peaks.insert(name.clone(), *value)),
            }
        }
        self.facts.first_counters.get_or_insert_with(|| values.clone());
        self.facts.last_counters = Some(values.clone());
    }
}

/// Where the messages of a load are received.
pub fn received_at(load: &super::plan::Load) -> Side {
    match load.via {
        super::plan::Via::Bridge => Side::Remote,
        super::plan::Via::Remote => Side::Bridge,
    }
}

#[cfg(test)]
mod tests;
