//! When each load is published.
use std::time::Duration;

use super::typed::{Action, Step};
use crate::bridge::yaml::{Document, YamlError};
use crate::scenario::plan::{Load, Window};

/// Gives every load its windows.
pub(super) fn publish(document: &Document, steps: &[Step], loads: &mut [Load]) -> Result<(), YamlError> {
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.action == Action::Publish) {
        let wrong = |key: &str, what: String| Err(document.wrong(&format!("timeline[{index}].{key}"), what));
        if step.between.is_some() || step.spread.is_some() {
            return wrong("between", "publish has no seeded moments: write at".to_owned());
        }
        if step.times.is_some() || step.period.is_some() {
            return wrong("times", "publish happens once: write another step, or a longer for".to_owned());
        }
        if step.when.is_some() {
            return wrong(
                "when",
                "publish has a fixed moment, so that its load follows from the plan: write at".to_owned(),
            );
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
