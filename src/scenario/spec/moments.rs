//! When each fault begins.
use std::time::Duration;

use super::typed::Step;
use crate::bridge::units::format_duration;
use crate::bridge::yaml::{Document, YamlError};

/// Between the end of one seeded fault and the begin of the next, so that each is a fault of its own.
const APART: Duration = Duration::from_secs(1);

const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// More of one step than anybody looks at.
const MOST_TIMES: u32 = 10_000;

/// Rejects moments so far away that arithmetic on them would be meaningless.
pub(super) fn within_reason(document: &Document, index: usize, step: &Step) -> Result<(), YamlError> {
    let moments = step.at.iter().chain(step.between.iter().flatten()).map(|moment| moment.0);
    let times = [step.duration, step.period, step.spread, step.by, step.jitter];
    if moments.chain(times.into_iter().flatten()).any(|time| time > LONGEST) {
        let what = format!("longer than {} cannot be tried", format_duration(LONGEST));
        return Err(document.wrong(&format!("timeline[{index}]"), what));
    }
    match step.times {
        Some(0) => Err(document.wrong(&format!("timeline[{index}].times"), "0 is too small: at least 1")),
        Some(times) if times > MOST_TIMES => {
            let what = format!("{times} are too many: at most {MOST_TIMES}");
            Err(document.wrong(&format!("timeline[{index}].times"), what))
        }
        _ => Ok(()),
    }
}

/// The moments when a fault that lasts for `duration` begins, in order; none where it waits for progress.
pub(super) fn begins(
    document: &Document,
    index: usize,
    step: &Step,
    duration: Duration,
    rng: &mut fastrand::Rng,
) -> Result<Vec<Duration>, YamlError> {
    let wrong = |key: &str, what: &str| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
    match (step.at, step.between, step.when) {
        (Some(at), None, None) => periodic(document, index, step, at.0, duration, rng),
        (None, Some([first, last]), None) => {
            let alien = [("period", step.period), ("spread", step.spread)];
            if let Some((key, _)) = alien.iter().find(|(_, value)| value.is_some()) {
                return wrong(key, "between has seeded moments already: write at instead of between");
            }
            seeded(document, index, [first.0, last.0], step.times.unwrap_or(1), duration, rng)
        }
        (None, None, Some(_)) => {
            let alien =
                [("times", step.times.is_some()), ("period", step.period.is_some()), ("spread", step.spread.is_some())];
            match alien.iter().find(|(_, there)| *there) {
                Some((key, _)) => wrong(key, "what waits for progress happens once, as soon as it comes about"),
                None => Ok(Vec::new()),
            }
        }
        (Some(_), _, Some(_)) | (None, Some(_), Some(_)) => {
            wrong("when", "at or between says when already: write one of them")
        }
        (Some(_), Some(_), None) => wrong("between", "at says when already: write one of both"),
        (None, None, None) => wrong("at", "at or between is missing: write for example at: 10s"),
    }
}

fn periodic(
    document: &Document,
    index: usize,
    step: &Step,
    at: Duration,
    duration: Duration,
    rng: &mut fastrand::Rng,
) -> Result<Vec<Duration>, YamlError> {
    let wrong = |key: &str, what: String| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
    let spread = step.spread.unwrap_or_default();
    let period = match (step.times, step.period) {
        (None, None) => Duration::ZERO,
        (Some(_), None) => {
            let what = "it needs between or period: write for example between: [15s, 75s], or period: 10s";
            return wrong("times", what.to_owned());
        }
        (None, Some(_)) => return wrong("period", "it needs times: write for example times: 40".to_owned()),
        (Some(_), Some(period)) if period <= duration + spread => {
            let needed = format_duration(duration + spread);
            return wrong("period", format!("the next one would begin before this one ends: write more than {needed}"));
        }
        (Some(_), Some(period)) => period,
    };
    let mut later = || Duration::from_micros(rng.u64(0..=spread.as_micros() as u64));
    let moments = (0..step.times.unwrap_or(1)).map(|time| at + period * time + later());
    Ok(moments.collect())
}

fn seeded(
    document: &Document,
    index: usize,
    [first, last]: [Duration; 2],
    times: u32,
    duration: Duration,
    rng: &mut fastrand::Rng,
) -> Result<Vec<Duration>, YamlError> {
    let wrong = |key: &str, what: String| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
    if first >= last {
        let (first, last) = (format_duration(first), format_duration(last));
        return wrong("between", format!("{last} is not after {first}: write the earlier moment first"));
    }
    let apart = duration + APART;
    let Some(slack) = apart.checked_mul(times - 1).and_then(|taken| (last - first).checked_sub(taken)) else {
        let (room, apart) = (format_duration(last - first), format_duration(apart));
        let what = format!("{times} times at least {apart} apart (for and a second) do not fit into {room}");
        return wrong("times", format!("{what}: write fewer, or a longer between"));
    };
    // Drawn within the room that the distances leave, sorted, and then moved apart: every outcome is equally likely.
    let mut drawn: Vec<u64> = (0..times).map(|_| rng.u64(0..=slack.as_micros() as u64)).collect();
    drawn.sort_unstable();
    let moved = drawn.into_iter().zip(0..).map(|(drawn, before)| first + Duration::from_micros(drawn) + apart * before);
    Ok(moved.collect())
}
