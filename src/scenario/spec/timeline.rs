//! The timeline: when each load is published, and every fault with both its moments.
use std::time::Duration;

use super::typed::{Action, Step};
use crate::bridge::units::format_duration;
use crate::bridge::yaml::{Document, YamlError};
use crate::scenario::plan::{Fault, FaultKind, Load, Side, Window};

/// Between the end of one seeded fault and the begin of the next, so that each is a fault of its own.
const APART: Duration = Duration::from_secs(1);

const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The faults in order of time. Seeded moments are drawn step by step, in the order of the file.
pub(super) fn faults(document: &Document, steps: &[Step], seed: u64) -> Result<Vec<Fault>, YamlError> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut faults: Vec<(usize, Fault)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        available(document, index, step)?;
        let Some(kind) = kind(step.action) else { continue };
        let duration = duration(document, index, step, kind)?;
        let process = matches!(kind, FaultKind::Kill | FaultKind::Restart);
        let on = step.on.unwrap_or(if process { Side::Bridge } else { Side::Remote });
        for start in moments(document, index, step, duration, &mut rng)? {
            faults.push((index, Fault { kind, on, start, end: start + duration }));
        }
    }
    faults.sort_by_key(|(index, fault)| (fault.start, *index));
    for (later, (index, fault)) in faults.iter().enumerate() {
        if let Some((_, earlier)) = faults[..later].iter().find(|(_, earlier)| contradict(earlier, fault)) {
            let what = format!(
                "{} at {} falls into the {} from {} to {}: one fault at a time on the same side; move one of them",
                fault.kind.name(),
                format_duration(fault.start),
                earlier.kind.name(),
                format_duration(earlier.start),
                format_duration(earlier.end),
            );
            return Err(document.wrong(&format!("timeline[{index}]"), what));
        }
    }
    Ok(faults.into_iter().map(|(_, fault)| fault).collect())
}

/// Gives every load its windows.
pub(super) fn publish(document: &Document, steps: &[Step], loads: &mut [Load]) -> Result<(), YamlError> {
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.action == Action::Publish) {
        let wrong = |key: &str, what: String| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
        if step.between.is_some() || step.times.is_some() {
            return wrong("between", "publish has no seeded moments: write at".to_owned());
        }
        if step.on.is_some() {
            return wrong("on", "publish has no side: write via at the load".to_owned());
        }
        let Some(start) = step.at else {
            return wrong("at", "it is missing: write for example at: 0s".to_owned());
        };
        for (position, topic) in step.load.iter().flatten().enumerate() {
            if loads.iter().all(|load| load.topic != *topic) {
                let known: Vec<&str> = loads.iter().map(|load| load.topic.as_str()).collect();
                let what = format!("no load has the topic `{topic}` (there are: {})", known.join(", "));
                return wrong(&format!("load[{position}]"), what);
            }
        }
        let chosen = |load: &Load| step.load.as_ref().is_none_or(|topics| topics.contains(&load.topic));
        for load in loads.iter_mut().filter(|load| chosen(load)) {
            let duration = match (step.duration, step.count) {
                (Some(duration), None) if !duration.is_zero() => duration,
                // Rounded down to the microsecond, or the rounding would be room for one message more.
                (None, Some(count)) if count > 0 => {
                    Duration::from_micros((count as f64 / load.qps * 1e6).floor().min(1e18) as u64)
                }
                (Some(_), Some(_)) => return wrong("count", "for says how many already: write one of both".to_owned()),
                (Some(_), None) => return wrong("for", "0 would publish nothing: write for example 130s".to_owned()),
                (None, Some(_)) => return wrong("count", "0 would publish nothing: at least 1".to_owned()),
                (None, None) => return wrong("for", "for or count is missing: write for example for: 130s".to_owned()),
            };
            let window = Window { start: start.0, end: start.0 + duration };
            if load.windows.iter().any(|other| window.start < other.end && other.start < window.end) {
                let what = format!("`{}` is published by another step at that time: move one of them", load.topic);
                return wrong("at", what);
            }
            load.windows.push(window);
        }
    }
    if loads.iter().all(|load| load.windows.is_empty()) {
        return Err(document.wrong("timeline", "nothing is published: add - { at: 0s, do: publish, for: 130s }"));
    }
    for (index, load) in loads.iter_mut().enumerate() {
        if load.count() == 0 {
            let what = format!("`{}` is in no publish step: add it to one, or remove it", load.topic);
            return Err(document.wrong(&format!("load[{index}].topic"), what));
        }
        load.windows.sort_by_key(|window| window.start);
    }
    Ok(())
}

/// Rejects what this version cannot do, and moments so far away that arithmetic on them would be meaningless.
fn available(document: &Document, index: usize, step: &Step) -> Result<(), YamlError> {
    let moments = step.at.iter().chain(step.between.iter().flatten()).map(|moment| moment.0);
    if moments.chain(step.duration).any(|time| time > LONGEST) {
        let what = format!("longer than {} cannot be tried", format_duration(LONGEST));
        return Err(document.wrong(&format!("timeline[{index}]"), what));
    }
    let not_yet = |key: &str, what: &str| {
        let what = format!("{what} is not available yet in this version");
        Err(document.wrong(&format!("timeline[{index}].{key}"), what))
    };
    if step.when.is_some() {
        return not_yet("when", "a step that waits for progress");
    }
    match step.action {
        Action::HalfOpen => not_yet("do", "`half_open`"),
        Action::Delay => not_yet("do", "`delay`"),
        Action::Throttle => not_yet("do", "`throttle`"),
        Action::Loss => not_yet("do", "`loss`"),
        Action::DropPackets => not_yet("do", "`drop_packets`"),
        Action::Stop => not_yet("do", "`stop`"),
        Action::FillDisk => not_yet("do", "`fill_disk`"),
        _ => Ok(()),
    }
}

fn kind(action: Action) -> Option<FaultKind> {
    match action {
        Action::Disconnect => Some(FaultKind::Disconnect),
        Action::Cut => Some(FaultKind::Cut),
        Action::Reset => Some(FaultKind::Reset),
        Action::Refuse => Some(FaultKind::Refuse),
        Action::Pause => Some(FaultKind::Pause),
        Action::Kill => Some(FaultKind::Kill),
        Action::Restart => Some(FaultKind::Restart),
        _ => None,
    }
}

fn duration(document: &Document, index: usize, step: &Step, kind: FaultKind) -> Result<Duration, YamlError> {
    let wrong = |key: &str, what: String| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
    let name = kind.name();
    if step.load.is_some() {
        return wrong("load", format!("{name} has no load: only publish has"));
    }
    if step.count.is_some() {
        return wrong("count", format!("{name} has no count: only publish has; write between and times"));
    }
    match (kind, step.duration) {
        (FaultKind::Restart, Some(_)) => {
            wrong("for", "restart starts again at once and has no for: write kill for a pause between".to_owned())
        }
        (FaultKind::Restart | FaultKind::Kill | FaultKind::Reset, None) => Ok(Duration::ZERO),
        (FaultKind::Kill, Some(duration)) => Ok(duration),
        (_, None) => wrong("for", format!("it is missing: {name} needs a heal; write for example for: 10s")),
        (_, Some(duration)) if duration.is_zero() => {
            wrong("for", format!("0 is no {name}: write for example for: 10s"))
        }
        (_, Some(duration)) => Ok(duration),
    }
}

fn moments(
    document: &Document,
    index: usize,
    step: &Step,
    duration: Duration,
    rng: &mut fastrand::Rng,
) -> Result<Vec<Duration>, YamlError> {
    let wrong = |key: &str, what: String| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
    let [first, last] = match (step.at, step.between) {
        (Some(at), None) if step.times.is_none() => return Ok(vec![at.0]),
        (Some(_), None) => return wrong("times", "it needs between: write for example between: [15s, 75s]".to_owned()),
        (None, Some([first, last])) => [first.0, last.0],
        (Some(_), Some(_)) => return wrong("between", "at says when already: write one of both".to_owned()),
        (None, None) => return wrong("at", "at or between is missing: write for example at: 10s".to_owned()),
    };
    if first >= last {
        let (first, last) = (format_duration(first), format_duration(last));
        return wrong("between", format!("{last} is not after {first}: write the earlier moment first"));
    }
    let times = step.times.unwrap_or(1);
    if times == 0 {
        return wrong("times", "0 is too small: at least 1".to_owned());
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

/// Whether two faults want different things of the same link, or of the same process, at the same time.
fn contradict(one: &Fault, other: &Fault) -> bool {
    let link = |kind| !matches!(kind, FaultKind::Kill | FaultKind::Restart);
    let process = |kind| matches!(kind, FaultKind::Kill | FaultKind::Restart | FaultKind::Pause);
    let same = link(one.kind) && link(other.kind) || process(one.kind) && process(other.kind);
    let overlap = one.start == other.start || one.start < other.end && other.start < one.end;
    same && one.on == other.on && overlap
}
