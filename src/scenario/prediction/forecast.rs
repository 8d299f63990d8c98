//! A forecast: what many seeds say of a plan, and which single change of the configuration helps.
use std::time::Duration;

use serde::Serialize;

use super::{Outcome, Prediction, PredictionError, Range};
use crate::scenario::plan::{Plan, Via};
use crate::scenario::subject::nanomq_model::Modelled;

/// The queues of the model, in the order a message meets them.
const QUEUES: [&str; 6] = ["slots_busy", "ctx_msgs", "sent_unack", "send_messages", "offline_cache", "sqlite_rows"];
/// Seeds for each change that is tried.
const SEEDS_PER_CHANGE: u64 = 20;

/// What is to be expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// The version that is modelled.
    pub version: String,
    /// Worker slots.
    pub workers: usize,
    /// How many times the plan was run through.
    pub seeds: u64,
    /// Messages published at the bridge.
    pub published: u64,
    /// Acknowledged and never received.
    pub lost: Range,
    /// Received more than once.
    pub duplicated: Range,
    /// Received below a higher sequence.
    pub out_of_order: Range,
    /// When the first message that is lost is published, milliseconds of the timeline; absent: none is lost.
    pub first_loss_ms: Option<Range>,
    /// How full each queue gets, and when.
    pub queues: Vec<Queue>,
    /// First arrival after the last heal, milliseconds from it.
    pub first_delivery_ms: Option<Range>,
    /// Last arrival of what was published before the last heal, milliseconds from it.
    pub drained_ms: Option<Range>,
    /// Single changes that were tried, the best first; none where nothing is lost.
    pub changes: Vec<Change>,
}

/// A queue at its fullest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queue {
    /// Its name in NanoMQ.
    pub name: String,
    /// Messages.
    pub peak: Range,
    /// When it is reached, milliseconds of the timeline.
    pub at_ms: Range,
}

/// One change of the configuration, tried in the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// As it is written.
    pub what: String,
    /// Lost with it.
    pub lost: Range,
    /// When the backlog has arrived with it, milliseconds from the heal.
    pub drained_ms: Option<Range>,
}

/// Runs a plan through with the seeds 1 to `seeds`, and, where messages are lost, again with one change at a time.
///
/// # Errors
/// [`PredictionError`] where a fault is not modelled.
pub fn forecast(plan: &Plan, modelled: Modelled, seeds: u64) -> Result<Forecast, PredictionError> {
    let prediction = Prediction::of(plan, modelled)?;
    let outcomes = prediction.outcomes(seeds.max(1));
    let modelled = prediction.modelled();
    let lost = of(&outcomes, Outcome::lost);
    let mut changes = Vec::new();
    if lost.max > 0 {
        for (what, changed) in candidates(plan, modelled) {
            let outcomes = Prediction::of(plan, changed)?.outcomes(SEEDS_PER_CHANGE);
            changes.push(Change {
                what,
                lost: of(&outcomes, Outcome::lost),
                drained_ms: millis(&outcomes, |o| o.drained),
            });
        }
        changes.sort_by_key(|change| {
            (change.lost.median, change.lost.max, change.drained_ms.map(|drained| drained.median))
        });
    }
    let local = plan.loads.iter().filter(|load| load.via == Via::Bridge);
    Ok(Forecast {
        version: modelled.version.clone(),
        workers: modelled.inputs.workers,
        seeds: seeds.max(1),
        published: local.map(crate::scenario::plan::Load::count).sum(),
        lost,
        duplicated: of(&outcomes, Outcome::duplicated),
        out_of_order: of(&outcomes, Outcome::out_of_order),
        first_loss_ms: millis(&outcomes, |outcome| outcome.first_loss),
        queues: QUEUES.iter().map(|name| queue(name, &outcomes)).collect(),
        first_delivery_ms: millis(&outcomes, |outcome| outcome.first_delivery),
        drained_ms: millis(&outcomes, |outcome| outcome.drained),
        changes,
    })
}

fn of(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> u64) -> Range {
    let none = Range { min: 0, max: 0, median: 0, likely: [0, 0] };
    Range::of(outcomes.iter().map(figure)).unwrap_or(none)
}

fn millis(outcomes: &[Outcome], moment: impl Fn(&Outcome) -> Option<Duration>) -> Option<Range> {
    Range::of(outcomes.iter().filter_map(moment).map(|moment| moment.as_millis() as u64))
}

fn queue(name: &str, outcomes: &[Outcome]) -> Queue {
    let peak = |outcome: &Outcome| outcome.peak(name).map_or(0, |peak| peak.value as u64);
    let at = |outcome: &Outcome| outcome.peak(name).map_or(0, |peak| peak.at.as_millis() as u64);
    Queue { name: name.to_owned(), peak: of(outcomes, peak), at_ms: of(outcomes, at) }
}

/// Each setting of the send path changed alone, as far as it is not what it would be changed to.
fn candidates(plan: &Plan, modelled: &Modelled) -> Vec<(String, Modelled)> {
    let mut candidates = Vec::new();
    let mut change = |what: String, by: &dyn Fn(&mut Modelled)| {
        let mut changed = modelled.clone();
        by(&mut changed);
        if changed != *modelled {
            candidates.push((what, changed));
        }
    };
    let rate: f64 = plan.loads.iter().filter(|load| load.via == Via::Bridge).map(|load| load.qps).sum();
    let slowest = modelled.settings.bridges.iter().map(|bridge| bridge.keep_alive + bridge.resend_interval * 2).max();
    let undetected = (rate * slowest.unwrap_or_default().as_secs_f64()).ceil() as usize + 2;
    let workers = undetected.max(modelled.inputs.workers);
    change(format!("nanomq start -n {workers}"), &|modelled| modelled.inputs.workers = workers);
    let outage = plan.faults.iter().map(|fault| fault.length()).max().unwrap_or_default();
    let length = (rate * (outage + Duration::from_secs(20)).as_secs_f64()).ceil() as usize;
    let each = |modelled: &mut Modelled, by: &dyn Fn(&mut crate::bridge::config::nanomq::send_path::BridgeSendPath)| {
        modelled.settings.bridges.iter_mut().for_each(by);
    };
    change(format!("max_send_queue_len = {length}"), &|modelled| {
        each(modelled, &|bridge| bridge.max_send_queue_len = bridge.max_send_queue_len.max(Some(length)));
    });
    for millis in [3_000, 1_000] {
        change(format!("resend_wait = {millis}"), &|modelled| {
            each(modelled, &|bridge| bridge.resend_wait = bridge.resend_wait.min(Duration::from_millis(millis)));
        });
    }
    for seconds in [1, 10] {
        change(format!("keepalive = {seconds}s"), &|modelled| {
            each(modelled, &|bridge| bridge.keep_alive = Duration::from_secs(seconds));
        });
    }
    for millis in [50, 1_000] {
        change(format!("resend_interval = {millis}"), &|modelled| {
            each(modelled, &|bridge| bridge.resend_interval = Duration::from_millis(millis));
        });
    }
    for millis in [1_000, 120_000] {
        change(format!("cancel_timeout = {millis}"), &|modelled| {
            each(modelled, &|bridge| bridge.cancel_timeout = Duration::from_millis(millis));
        });
    }
    change("backoff_max = 1s".to_owned(), &|modelled| {
        each(modelled, &|bridge| bridge.backoff_max = Duration::from_secs(1));
    });
    change("retry_qos_0 = true".to_owned(), &|modelled| each(modelled, &|bridge| bridge.retry_qos_0 = true));
    change("flush_mem_threshold = 1".to_owned(), &|modelled| {
        if let Some(cache) = &mut modelled.settings.cache {
            cache.flush_mem_threshold = 1;
        }
    });
    candidates
}
