//! The timeline: lane under lane on one axis. A lane for each load with its rates and its strip of messages, and below
//! them what was under way and the memory it took.
use crate::scenario::ledger::{Ledger, Series};
use crate::scenario::plan::{Load, Plan, Via};
use crate::scenario::report::model::{FaultSpan, SubjectReport, TopicReport};
use crate::scenario::report::table::lost_range;
use crate::scenario::schedule;

use super::axis::{Axis, WIDTH, words};
use super::strip::{self, MARKS, Mark, Strip};
use super::text::{details, list, number, text};

const HEIGHT: u32 = 48;
/// Lost ranges that are shown at once, and for those who ask.
const RANGES: usize = 3;
const MORE_RANGES: usize = 200;

/// All lanes of a subject; `pointer` is where it stands in `report.json`.
pub(super) fn lanes(plan: &Plan, ledger: &Ledger, subject: &SubjectReport, axis: Axis, pointer: &str) -> String {
    let faults = &subject.timeline.faults;
    let mut shown = vec![Mark::Delivered, Mark::Lost];
    let mut lanes = axis.faults(faults);
    for (index, (load, topic)) in plan.loads.iter().zip(&subject.topics).enumerate() {
        let strip = Strip::of(load, index, ledger, axis);
        shown.extend(MARKS.into_iter().filter(|mark| strip.count(*mark) > 0));
        let pointer = format!("{pointer}/topics/{index}");
        lanes.push_str(&load_lane(load, topic, &rates(load, index, ledger, axis), &strip, faults, axis, &pointer));
    }
    lanes.push_str(&depth_lane(ledger.series(), faults, axis));
    lanes.push_str(&memory_lane(ledger.series(), faults, axis));
    let name = text(&subject.name);
    format!(
        "{}<div class=\"lanes\" role=\"group\" aria-label=\"timeline of {name}\" data-seconds=\"{}\" data-wide=\"{}\">\n{lanes}{}</div>\n{}",
        legend(&shown),
        axis.seconds,
        axis.wide,
        axis.scale(),
        list("faults", faults.iter().map(|fault| text(&words(fault))))
    )
}

/// What marks and lines mean: only what is there.
fn legend(shown: &[Mark]) -> String {
    let swatch = |drawing: &str| format!("<svg viewBox=\"0 0 12 24\" aria-hidden=\"true\">{drawing}</svg>");
    let mark = |mark: &Mark| {
        let drawing = format!("<path class=\"mark {}\" d=\"{}\"/>", mark.name(), mark.draw(2.0, 7.0));
        format!("{}{}", swatch(&drawing), mark.words())
    };
    let line = |(class, words): (&str, &str)| {
        let d = if class == "received" { "M0 6h12v12h-12z" } else { "M0 12h12" };
        format!("{}{words}", swatch(&format!("<path class=\"{class}\" d=\"{d}\"/>")))
    };
    let lines = [("received", "received per second"), ("acknowledged", "acknowledged"), ("intended", "intended")];
    let lines = list("legend", lines.map(line));
    let marks = MARKS.iter().rev().filter(|mark| shown.contains(mark));
    let marks = list("legend", marks.map(mark));
    format!(
        "{lines}{marks}<p class=\"note\">Heights per second are square roots, so that a trickle is seen beside a burst. Every message \
         is a mark where it was <em>intended</em>; where several share a place, the worst of them is drawn.</p>\n"
    )
}

/// Messages per second of a load, as each column's mean.
struct Rates {
    intended: Vec<f64>,
    acknowledged: Vec<f64>,
    received: Vec<f64>,
}

fn rates(load: &Load, index: usize, ledger: &Ledger, axis: Axis) -> Rates {
    let mut intended = vec![0; axis.seconds];
    for (_, moment) in schedule::instants(load) {
        if let Some(second) = intended.get_mut(moment.as_secs() as usize) {
            *second += 1;
        }
    }
    let series = ledger.series();
    Rates {
        intended: axis.means(&intended),
        acknowledged: axis.means(series.acknowledged(index)),
        received: axis.means(series.received(index)),
    }
}

fn load_lane(
    load: &Load,
    topic: &TopicReport,
    rates: &Rates,
    strip: &Strip,
    faults: &[FaultSpan],
    axis: Axis,
    pointer: &str,
) -> String {
    let highest =
        [&rates.intended, &rates.acknowledged, &rates.received].map(|rates| top(rates)).into_iter().fold(0.0, f64::max);
    let y = |rate: f64| f64::from(HEIGHT) * (1.0 - 0.94 * (rate / highest.max(f64::MIN_POSITIVE)).sqrt());
    let mut drawing = axis.shades(faults, HEIGHT);
    drawing.push_str(&format!("<path class=\"received\" d=\"{}\"/>", area(&steps(&rates.received, axis, y))));
    if topic.qos > 0 {
        drawing.push_str(&format!("<path class=\"acknowledged\" d=\"{}\"/>", steps(&rates.acknowledged, axis, y)));
    }
    drawing.push_str(&format!("<path class=\"intended\" d=\"{}\"/>", steps(&rates.intended, axis, y)));
    let from = match load.via {
        Via::Bridge => "",
        Via::Remote => ", published at the remote",
    };
    let totals = &topic.totals;
    let lost = match totals.lost {
        0 => "<span>none lost</span>".to_owned(),
        lost => format!(
            "<strong class=\"bad\">✕ {} of {} lost</strong>",
            number(&format!("{pointer}/lost"), lost),
            totals.acknowledged.max(lost)
        ),
    };
    let crowd = match strip.crowd {
        0 | 1 => String::new(),
        crowd => format!("<span>a mark is up to {crowd} messages</span>"),
    };
    let name = text(&load.topic);
    let label = format!(
        "{name}: intended {}, acknowledged {}, received {}, lost {}",
        totals.intended, totals.acknowledged, totals.received, totals.lost
    );
    format!(
        "<div class=\"lane load\" data-name=\"{name}\" data-lost=\"{}\" data-intended=\"{}\" data-acknowledged=\"{}\" data-received=\"{}\" \
         data-places=\"{}\">\n<div class=\"name\"><b>{name}</b><span>QoS {}{from}</span>{lost}<span>highest {}/s</span>{crowd}</div>\n\
         <div class=\"plot\">{}{}{}</div></div>\n",
        totals.lost,
        compact(&rates.intended),
        if topic.qos > 0 { compact(&rates.acknowledged) } else { String::new() },
        compact(&rates.received),
        strip.places(),
        topic.qos,
        short(highest),
        svg("rate", HEIGHT, &label, &drawing),
        svg("strip", strip::HEIGHT, &label, &format!("{}{}", axis.shades(faults, strip::HEIGHT), strip.paths())),
        lost_ranges(topic),
    )
}

fn lost_ranges(topic: &TopicReport) -> String {
    let said = |range| text(&lost_range(range));
    let shown = list("ranges", topic.lost_ranges.iter().take(RANGES).map(said));
    let rest = topic.lost_ranges.len().saturating_sub(RANGES);
    let more = topic.lost_ranges.iter().skip(RANGES).take(MORE_RANGES).map(said);
    let unsaid = rest.saturating_sub(MORE_RANGES);
    let unsaid = (unsaid > 0).then(|| format!("and {unsaid} more, in report.json"));
    format!("{shown}{}", details(&format!("{rest} more lost ranges"), &list("ranges", more.chain(unsaid))))
}

/// Acknowledged and not received yet, as seen from outside, and what the subject itself says of its cache.
fn depth_lane(series: &Series, faults: &[FaultSpan], axis: Axis) -> String {
    let outstanding = axis.highest(series.outstanding());
    let cached = series.cached().iter().map(|(at, depth)| (at.as_secs_f64(), *depth as f64));
    let cached: Vec<(f64, f64)> = cached.filter(|(at, _)| *at <= axis.seconds as f64).collect();
    let highest = cached.iter().map(|(_, depth)| *depth).chain([top(&outstanding), 1.0]).fold(0.0, f64::max);
    let y = |depth: f64| f64::from(HEIGHT) * (1.0 - 0.94 * depth / highest);
    let drawing = format!(
        "{}<path class=\"outstanding\" d=\"{}\"/><path class=\"cached\" d=\"{}\"/>",
        axis.shades(faults, HEIGHT),
        area(&steps(&outstanding, axis, y)),
        line(&cached, axis, y)
    );
    let own = if cached.is_empty() {
        "<span>cache depth: it does not count it</span>".to_owned()
    } else {
        format!(
            "<span>line: cache depth by its own count, highest {}</span>",
            short(cached.iter().map(|(_, d)| *d).fold(0.0, f64::max))
        )
    };
    format!(
        "<div class=\"lane depth\" data-name=\"under way\" data-outstanding=\"{}\" data-cached=\"{}\"><div class=\"name\"><b>under way</b>\
         <span>area: acknowledged, not received, highest {}</span>{own}</div><div class=\"plot\">{}</div></div>\n",
        compact(&outstanding),
        samples(&cached),
        short(top(&outstanding)),
        svg("rate", HEIGHT, "messages acknowledged and not received yet", &drawing)
    )
}

fn memory_lane(series: &Series, faults: &[FaultSpan], axis: Axis) -> String {
    const MIB: f64 = 1_048_576.0;
    let memory = series.memory().iter().map(|(at, bytes)| (at.as_secs_f64(), *bytes as f64 / MIB));
    let memory: Vec<(f64, f64)> = memory.filter(|(at, _)| *at <= axis.seconds as f64).collect();
    if memory.is_empty() {
        return "<div class=\"lane memory\"><div class=\"name\"><b>memory</b></div><div class=\"plot\"><p class=\"note\">not measured in \
                this environment</p></div></div>\n"
            .to_owned();
    }
    let highest = memory.iter().map(|(_, mib)| *mib).fold(0.0, f64::max);
    let y = |mib: f64| f64::from(HEIGHT) * (1.0 - 0.94 * mib / highest.max(f64::MIN_POSITIVE));
    let drawing = format!("{}<path class=\"cached\" d=\"{}\"/>", axis.shades(faults, HEIGHT), line(&memory, axis, y));
    format!(
        "<div class=\"lane memory\" data-name=\"memory\" data-memory=\"{}\"><div class=\"name\"><b>memory</b><span>highest {highest:.1} MiB</span>\
         </div><div class=\"plot\">{}</div></div>\n",
        samples(&memory),
        svg("rate", HEIGHT, "memory of the bridge", &drawing)
    )
}

fn svg(class: &str, height: u32, label: &str, drawing: &str) -> String {
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {WIDTH} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">{drawing}</svg>"
    )
}

/// A value a column, each drawn as wide as its column; what does not change is drawn once.
fn steps(values: &[f64], axis: Axis, y: impl Fn(f64) -> f64) -> String {
    let mut d = String::new();
    let mut before = f64::NAN;
    for (column, value) in values.iter().enumerate() {
        if *value != before {
            let (x, y) = (axis.x((column * axis.wide) as f64), y(*value));
            d.push_str(&if d.is_empty() { format!("M{x:.1} {y:.1}") } else { format!("H{x:.1}V{y:.1}") });
            before = *value;
        }
    }
    d + &format!("H{WIDTH}")
}

/// What is under a line of steps.
fn area(steps: &str) -> String {
    format!("{steps}V{HEIGHT}H0z")
}

/// Samples joined by a line.
fn line(samples: &[(f64, f64)], axis: Axis, y: impl Fn(f64) -> f64) -> String {
    let point = |(index, (at, value)): (usize, &(f64, f64))| {
        format!("{}{:.1} {:.1}", if index == 0 { "M" } else { "L" }, axis.x(*at), y(*value))
    };
    samples.iter().enumerate().map(point).collect()
}

fn top(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// `12` or `12.5`.
pub(super) fn short(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    rounded.to_string()
}

fn compact(values: &[f64]) -> String {
    values.iter().map(|value| short(*value)).collect::<Vec<_>>().join(",")
}

fn samples(samples: &[(f64, f64)]) -> String {
    samples.iter().map(|(at, value)| format!("{}:{}", short(*at), short(*value))).collect::<Vec<_>>().join(",")
}
