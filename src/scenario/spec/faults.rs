//! The faults of the timeline: each with its moments, its side and its parameters.
use std::time::Duration;

use super::moments;
use super::typed::{Action, Session, Step};
use crate::bridge::units::format_duration;
use crate::bridge::yaml::{Document, YamlError};
use crate::scenario::plan::{
    Acknowledgement, Acknowledgements, Direction, Fault, FaultKind, Load, Parameters, Place, Side, Via, When,
};

/// The faults in order of time, those that wait for progress last. Seeded moments are drawn step by step, in the order
/// of the file.
pub(super) fn faults(document: &Document, steps: &[Step], loads: &[Load], seed: u64) -> Result<Vec<Fault>, YamlError> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut faults: Vec<(usize, Fault)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        moments::within_reason(document, index, step)?;
        let Action::Fault(kind) = step.action else {
            no_alien_keys(document, index, step, "publish", &[])?;
            continue;
        };
        no_alien_keys(document, index, step, kind.name(), keys(kind))?;
        let duration = duration(document, index, step, kind)?;
        let own = matches!(kind, FaultKind::Kill | FaultKind::Restart | FaultKind::Stop | FaultKind::FillDisk);
        let on = step.on.unwrap_or(if own { Side::Bridge } else { Side::Remote });
        let parameters = parameters(document, index, step, kind, on)?;
        let when = when(document, index, step)?;
        let fault = |start| Fault { kind, on, parameters: parameters.clone(), when, start, end: start + duration };
        let begins = moments::begins(document, index, step, duration, &mut rng)?;
        let waits = when.map(|_| Duration::ZERO);
        let new: Vec<Fault> = begins.into_iter().chain(waits).map(fault).collect();
        if new.iter().any(Fault::stops_remote) && loads.iter().any(|load| load.via == Via::Remote) {
            let what = "it would take the publishers at the remote (via: remote) with it: \
                        leave out those loads, or do it to the link";
            return Err(document.wrong(&format!("timeline[{index}].on"), what));
        }
        faults.extend(new.into_iter().map(|fault| (index, fault)));
    }
    faults.sort_by_key(|(index, fault)| (fault.when.is_some(), fault.start, *index));
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

/// The keys that only some faults have, and those that a kind has of them.
const SPECIAL: [&str; 9] = ["passes", "by", "jitter", "rate", "share", "packets", "every", "session", "size"];

fn keys(kind: FaultKind) -> &'static [&'static str] {
    match kind {
        FaultKind::HalfOpen => &["passes"],
        FaultKind::Delay => &["by", "jitter", "packets", "every"],
        FaultKind::Throttle => &["rate"],
        FaultKind::Loss => &["share"],
        FaultKind::DropPackets => &["packets", "every"],
        FaultKind::Kill | FaultKind::Stop | FaultKind::Restart => &["session"],
        FaultKind::FillDisk => &["size"],
        _ => &[],
    }
}

fn no_alien_keys(document: &Document, index: usize, step: &Step, name: &str, keys: &[&str]) -> Result<(), YamlError> {
    let there = [
        step.passes.is_some(),
        step.by.is_some(),
        step.jitter.is_some(),
        step.rate.is_some(),
        step.share.is_some(),
        step.packets.is_some(),
        step.every.is_some(),
        step.session.is_some(),
        step.size.is_some(),
    ];
    let mut typed = SPECIAL.iter().zip(there).filter(|(_, there)| *there).map(|(key, _)| *key);
    match typed.find(|key| !keys.contains(key)) {
        Some(key) => {
            let has = if keys.is_empty() { "none of its own".to_owned() } else { keys.join(", ") };
            let what = format!("{name} has no {key} (it has {has}): remove it");
            Err(document.wrong(&format!("timeline[{index}].{key}"), what))
        }
        None => Ok(()),
    }
}

fn parameters(
    document: &Document,
    index: usize,
    step: &Step,
    kind: FaultKind,
    on: Side,
) -> Result<Parameters, YamlError> {
    let wrong = |key: &str, what: &str| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
    Ok(match kind {
        FaultKind::HalfOpen => Parameters::HalfOpen { passes: step.passes.unwrap_or(Direction::ToRemote) },
        FaultKind::Delay => {
            let (by, jitter) = (step.by.unwrap_or_default(), step.jitter.unwrap_or_default());
            if (by + jitter).is_zero() {
                return wrong("by", "it is missing: write for example by: 200ms");
            }
            Parameters::Delay { by, jitter, only: acknowledgements(document, index, step)? }
        }
        FaultKind::Throttle => match step.rate {
            Some(rate) => Parameters::Throttle { bytes_per_second: rate.0 },
            None => return wrong("rate", "it is missing: write for example rate: 8kbit"),
        },
        FaultKind::Loss => match step.share {
            Some(share) if share.0 < 100.0 => Parameters::Loss { percent: share.0 },
            Some(_) => return wrong("share", "100% loss is a cut: write do: cut"),
            None => return wrong("share", "it is missing: write for example share: 30%"),
        },
        FaultKind::DropPackets => match acknowledgements(document, index, step)? {
            Some(only) => Parameters::DropPackets { only },
            None => return wrong("packets", "it is missing: write for example packets: [puback]"),
        },
        FaultKind::Kill | FaultKind::Stop | FaultKind::Restart if on == Side::Remote => {
            Parameters::Session { lost: step.session == Some(Session::Lost) }
        }
        FaultKind::Kill | FaultKind::Stop | FaultKind::Restart if step.session.is_some() => {
            return wrong("session", "it is the remote that has sessions: write on: remote, or remove it");
        }
        FaultKind::FillDisk if on == Side::Remote => {
            return wrong("on", "only the disk of the bridge can be filled: write on: bridge, or remove it");
        }
        FaultKind::FillDisk => Parameters::FillDisk { size: step.size },
        _ => Parameters::None,
    })
}

fn acknowledgements(document: &Document, index: usize, step: &Step) -> Result<Option<Acknowledgements>, YamlError> {
    let wrong = |key: &str, what: &str| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
    let mut packets: Vec<Acknowledgement> = match (&step.packets, step.every) {
        (Some(packets), _) if packets.is_empty() => return wrong("packets", "it is empty: write for example [puback]"),
        (_, Some(0)) => return wrong("every", "0 is none of them: write 1 for each, 50 for one in fifty"),
        (None, Some(_)) => return wrong("every", "it needs packets: write for example packets: [puback]"),
        (None, None) => return Ok(None),
        (Some(packets), _) => packets.clone(),
    };
    packets.sort_unstable();
    packets.dedup();
    Ok(Some(Acknowledgements { packets, every: step.every.unwrap_or(1) }))
}

fn when(document: &Document, index: usize, step: &Step) -> Result<Option<When>, YamlError> {
    let Some(when) = step.when else { return Ok(None) };
    let percent = when.drained.0;
    if percent < 1.0 || percent.fract() != 0.0 {
        let what = format!("{percent}% is no whole number of percent from 1% to 100%");
        return Err(document.wrong(&format!("timeline[{index}].when.drained"), what));
    }
    Ok(Some(When::Drained(percent as u8)))
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
        (FaultKind::Restart, Some(_)) => wrong(
            "for",
            "restart starts again at once and has no for: write stop or kill for a pause between".to_owned(),
        ),
        (FaultKind::Restart | FaultKind::Kill | FaultKind::Stop | FaultKind::Reset, None) => Ok(Duration::ZERO),
        (FaultKind::Kill | FaultKind::Stop, Some(duration)) => Ok(duration),
        (_, None) => wrong("for", format!("it is missing: {name} needs a heal; write for example for: 10s")),
        (_, Some(duration)) if duration.is_zero() => {
            wrong("for", format!("0 is no {name}: write for example for: 10s"))
        }
        (_, Some(duration)) => Ok(duration),
    }
}

/// Whether two faults want different things of the same link, process or disk at the same time. What only impairs a
/// link goes with everything but another of its kind, unless these concern different acknowledgements. Of what waits
/// for progress nobody knows.
fn contradict(one: &Fault, other: &Fault) -> bool {
    if one.when.is_some() || other.when.is_some() {
        return false;
    }
    let overlap = one.start == other.start || one.start < other.end && other.start < one.end;
    overlap && one.on == other.on && same_place(one, other)
}

fn same_place(one: &Fault, other: &Fault) -> bool {
    if one.kind.only_impairs() || other.kind.only_impairs() {
        return one.kind == other.kind && !apart(&one.parameters, &other.parameters);
    }
    // A remote that stands still or is gone is no end of a link.
    let link =
        |fault: &Fault| fault.place() == Place::Link || fault.on == Side::Remote && fault.place() == Place::Process;
    one.place() == other.place() || link(one) && link(other)
}

fn apart(one: &Parameters, other: &Parameters) -> bool {
    let only = |parameters: &Parameters| match parameters {
        Parameters::DropPackets { only } | Parameters::Delay { only: Some(only), .. } => Some(only.packets.clone()),
        _ => None,
    };
    match (only(one), only(other)) {
        (Some(one), Some(other)) => one.iter().all(|packet| !other.contains(packet)),
        _ => false,
    }
}
