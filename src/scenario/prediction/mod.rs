//! Predictions: what NanoMQ does with a plan, before anything is run.
//!
//! What the scenario leaves open (where in its waits the bridge stands at the heal, where in its tick at the cut, in which
//! order the publishes of one instant come) is drawn from a seed; many seeds give the range in which a real run lies.
mod forecast;
pub mod mosquitto;
mod range;

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::Event;
use super::ledger::Ledger;
use super::plan::{Plan, SubjectPlan, Via};
use super::runner::virtual_time;
use super::schedule::last_heal;
use super::subject::SubjectError;
use super::subject::nanomq_model::{self, Modelled, Unknown};

pub use forecast::{Change, Forecast, Queue, forecast};
pub use range::Range;

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictionError {
    /// The subject cannot be modelled.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A fault cannot be modelled.
    #[error(transparent)]
    Fault(#[from] Unknown),
}

/// What comes of a plan with one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was drawn from it.
    pub seed: u64,
    /// For each load, in the order of the plan.
    pub topics: Vec<TopicOutcome>,
    /// When the first message that is lost was published, of those published at the bridge.
    pub first_loss: Option<Duration>,
    /// The highest value of each counter, and when it was reached; sampled once a second.
    pub peaks: BTreeMap<String, Peak>,
    /// The first arrival after the last heal, counted from it.
    pub first_delivery: Option<Duration>,
    /// When the last message arrived that was published before the last heal, counted from it. What is lost is not
    /// waited for.
    pub drained: Option<Duration>,
    /// Lines of the log by what they say, numbers left out.
    pub lines: BTreeMap<String, u64>,
}

/// What comes of one load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOutcome {
    /// Topic Name.
    pub topic: String,
    /// Where it is published.
    pub via: Via,
    /// Acknowledged (QoS 0: sent) and not received.
    pub lost: u64,
    /// First and last sequence of each run of lost messages.
    pub lost_ranges: Vec<[u64; 2]>,
    /// Received more than once.
    pub duplicated: u64,
    /// First copies below the highest sequence received before.
    pub out_of_order: u64,
}

/// A highest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// The value.
    pub value: f64,
    /// When it was first reached.
    pub at: Duration,
}

/// A plan with the model of a subject, ready to be asked.
#[derive(Debug, Clone)]
pub struct Prediction<'a> {
    plan: &'a Plan,
    modelled: Modelled,
    outages: Vec<nanomq_model::Outage>,
}

/// The model of a subject of a plan, to be looked at or changed.
///
/// # Errors
/// [`PredictionError::Subject`].
pub fn modelled(plan: &Plan, subject: &SubjectPlan) -> Result<Modelled, PredictionError> {
    Ok(nanomq_model::modelled(plan, subject)?)
}

impl<'a> Prediction<'a> {
    /// Looks the subject and the faults of a plan through.
    ///
    /// # Errors
    /// [`PredictionError`].
    pub fn new(plan: &'a Plan, subject: &SubjectPlan) -> Result<Self, PredictionError> {
        Self::of(plan, nanomq_model::modelled(plan, subject)?)
    }

    /// The same for a model whose settings may have been changed.
    ///
    /// # Errors
    /// [`PredictionError::Fault`].
    pub fn of(plan: &'a Plan, modelled: Modelled) -> Result<Self, PredictionError> {
        let outages = virtual_time::outages(plan)?;
        Ok(Self { plan, modelled, outages })
    }

    /// What is asked.
    pub fn modelled(&self) -> &Modelled {
        &self.modelled
    }

    /// What comes of it with one seed.
    pub fn outcome(&self, seed: u64) -> Outcome {
        let mut peaks: BTreeMap<String, Peak> = BTreeMap::new();
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        let ledger =
            virtual_time::tell(self.plan, &self.modelled, &self.outages, seed, &mut |record| match &record.event {
                Event::Counters { values } => {
                    let at = Duration::from_micros(record.t);
                    for (name, value) in values {
                        let peak = peaks.entry(name.clone()).or_insert(Peak { value: *value, at });
                        if *value > peak.value {
                            *peak = Peak { value: *value, at };
                        }
                    }
                }
                Event::Log { line, .. } => *lines.entry(said(line)).or_default() += 1,
                _ => {}
            });
        let heal = last_heal(&self.plan.faults);
        Outcome {
            seed,
            topics: topics(self.plan, &ledger),
            first_loss: lost_messages(self.plan, &ledger)
                .filter(|(load, ..)| self.plan.loads[*load].via == Via::Bridge)
                .map(|(_, _, sent)| sent)
                .min(),
            peaks,
            first_delivery: heal.and_then(|heal| first_delivery(self.plan, &ledger, heal)),
            drained: heal.and_then(|heal| drained(self.plan, &ledger, heal)),
            lines,
        }
    }

    /// What comes of it with each of the seeds 1 to `seeds`, on all CPUs.
    pub fn outcomes(&self, seeds: u64) -> Vec<Outcome> {
        let threads = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        let of = |thread: u64| (1..=seeds).filter(move |seed| seed % threads == thread).map(|seed| self.outcome(seed));
        let mut outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let started: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || of(thread).collect::<Vec<_>>())).collect();
            let joined = started.into_iter().map(|thread| thread.join());
            // A panic in a thread is one here.
            joined.flat_map(|outcomes| outcomes.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        outcomes.sort_unstable_by_key(|outcome| outcome.seed);
        outcomes
    }
}

impl Outcome {
    /// Lost of what was published on one side.
    pub fn lost_via(&self, via: Via) -> u64 {
        self.topics.iter().filter(|topic| topic.via == via).map(|topic| topic.lost).sum()
    }

    /// Lost in all.
    pub fn lost(&self) -> u64 {
        self.topics.iter().map(|topic| topic.lost).sum()
    }

    /// Out of order in all.
    pub fn out_of_order(&self) -> u64 {
        self.topics.iter().map(|topic| topic.out_of_order).sum()
    }

    /// Duplicated in all.
    pub fn duplicated(&self) -> u64 {
        self.topics.iter().map(|topic| topic.duplicated).sum()
    }

    /// The highest value of a counter of the model, such as `ctx_msgs`, over all bridges.
    pub fn peak(&self, counter: &str) -> Option<Peak> {
        let of = |name: &str| name.strip_prefix("nanomq_").is_some_and(|name| name.split('{').next() == Some(counter));
        let peaks = self.peaks.iter().filter(|(name, _)| of(name)).map(|(_, peak)| *peak);
        peaks.reduce(|one, other| if other.value > one.value { other } else { one })
    }
}

/// What a line says, from the colon behind the function on, without its numbers.
fn said(line: &str) -> String {
    let text = line.split_once(": ").map_or(line, |(_, text)| text);
    let parts: Vec<&str> = text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    parts.join("N")
}

/// Load, sequence and moment of sending of every message that is lost.
fn lost_messages<'l>(plan: &'l Plan, ledger: &'l Ledger) -> impl Iterator<Item = (usize, u64, Duration)> + 'l {
    plan.loads.iter().enumerate().flat_map(move |(index, load)| {
        ledger.rows(index).filter_map(move |(seq, row)| {
            let promised = row.acknowledged() || (load.qos == 0 && row.sent().is_some());
            let sent = row.sent().filter(|_| promised && row.copies() == 0)?;
            Some((index, seq, sent))
        })
    })
}

fn topics(plan: &Plan, ledger: &Ledger) -> Vec<TopicOutcome> {
    let mut topics: Vec<TopicOutcome> = plan
        .loads
        .iter()
        .map(|load| TopicOutcome {
            topic: load.topic.clone(),
            via: load.via,
            lost: 0,
            lost_ranges: Vec::new(),
            duplicated: 0,
            out_of_order: 0,
        })
        .collect();
    for (index, seq, _) in lost_messages(plan, ledger) {
        let topic = &mut topics[index];
        topic.lost += 1;
        match topic.lost_ranges.last_mut() {
            Some([_, last]) if *last + 1 == seq => *last = seq,
            _ => topic.lost_ranges.push([seq, seq]),
        }
    }
    for (index, topic) in topics.iter_mut().enumerate() {
        for (_, row) in ledger.rows(index) {
            topic.duplicated += u64::from(row.copies() > 1);
            topic.out_of_order += u64::from(row.out_of_order());
        }
    }
    topics
}

/// Sent and received of every message that arrived.
fn arrived<'l>(plan: &'l Plan, ledger: &'l Ledger) -> impl Iterator<Item = (Duration, Duration)> + 'l {
    (0..plan.loads.len())
        .flat_map(|index| ledger.rows(index))
        .filter_map(|(_, row)| Some((row.sent()?, row.received()?)))
}

fn first_delivery(plan: &Plan, ledger: &Ledger, heal: Duration) -> Option<Duration> {
    arrived(plan, ledger).map(|(_, received)| received).filter(|received| *received >= heal).min().map(|at| at - heal)
}

fn drained(plan: &Plan, ledger: &Ledger, heal: Duration) -> Option<Duration> {
    let backlog = arrived(plan, ledger).filter(|(sent, received)| *sent < heal && *received >= heal);
    backlog.map(|(_, received)| received - heal).max()
}
