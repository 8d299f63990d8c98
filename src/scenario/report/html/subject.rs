//! One subject: its verdict, what was found, its timeline, its latencies, and the numbers.
use crate::scenario::ledger::Ledger;
use crate::scenario::plan::Plan;
use crate::scenario::report::model::{Finding, SubjectReport, Totals, Verdict};
use crate::scenario::report::table::duration;

use super::axis::Axis;
use super::text::{details, list, number, shown_number, step, table, text};
use super::{lanes, latency};

/// A class of messages: its key in `report.json`, its words, and its number.
type Class = (&'static str, &'static str, fn(&Totals) -> u64);

const CLASSES: [Class; 14] = [
    ("intended", "intended", |totals| totals.intended),
    ("sent", "sent", |totals| totals.sent),
    ("acknowledged", "acknowledged", |totals| totals.acknowledged),
    ("received", "received (copies)", |totals| totals.received),
    ("delivered", "delivered", |totals| totals.delivered),
    ("lost", "lost", |totals| totals.lost),
    ("duplicated", "duplicated", |totals| totals.duplicated),
    ("out_of_order", "out of order", |totals| totals.out_of_order),
    ("refused", "refused", |totals| totals.refused),
    ("refused_and_received", "refused and received", |totals| totals.refused_and_received),
    ("unacknowledged", "unacknowledged", |totals| totals.unacknowledged),
    ("recovered", "recovered", |totals| totals.recovered),
    ("unexpected", "unexpected", |totals| totals.unexpected),
    ("late", "late", |totals| totals.late),
];

/// Seconds in the table of seconds at most; beyond, it has a row for several.
const MOST_ROWS: usize = 300;

/// The word, with a sign that does not need its colour.
pub(in crate::scenario::report) fn badge(verdict: Verdict) -> String {
    let (class, sign) = match verdict {
        Verdict::Pass => ("pass", "✓"),
        Verdict::Fail => ("fail", "✕"),
        Verdict::Inconclusive => ("inconclusive", "?"),
    };
    format!("<strong class=\"badge {class}\"><span aria-hidden=\"true\">{sign} </span>{}</strong>", verdict.name())
}

/// The section of a subject.
pub(super) fn section(plan: &Plan, ledger: &Ledger, subject: &SubjectReport, index: usize, axis: Axis) -> String {
    let pointer = format!("/subjects/{index}");
    let unexpressed = subject.unexpressed.iter().map(|what| format!("not said to it: {}", text(what)));
    let doubts = subject.doubts.iter().map(|doubt| format!("doubt: {}", text(doubt)));
    let parts = [
        format!(
            "<h2>{} <small>{}</small> {}</h2>\n",
            text(&subject.name),
            text(&subject.version),
            badge(subject.verdict)
        ),
        list("doubts", doubts),
        figures(subject, &pointer),
        findings(&subject.findings),
        "<h3>Timeline</h3>\n".to_owned(),
        lanes::lanes(plan, ledger, subject, axis, &pointer),
        "<h3>Messages</h3>\n".to_owned(),
        messages(subject, &pointer),
        "<h3>Latency</h3>\n".to_owned(),
        latency::latency(plan, ledger, subject, &pointer),
        "<h3>Checks</h3>\n".to_owned(),
        checks(subject),
        details("What could not be said to it", &list("plain", unexpressed)),
        details("Every second", &seconds(plan, ledger, axis)),
        details("Its own counters", &counters(subject, &pointer)),
        details("What exactly was run", &artifacts(subject)),
    ];
    format!(
        "<section class=\"subject\" id=\"subject-{index}\" data-verdict=\"{}\">\n{}</section>\n",
        subject.verdict.name(),
        parts.concat()
    )
}

/// The few numbers that everybody asks for.
fn figures(subject: &SubjectReport, pointer: &str) -> String {
    let totals = &subject.totals;
    let count = |key: &str, value: u64| number(&format!("{pointer}/totals/{key}"), value);
    let figure = |name: &str, bad: bool, value: String| {
        format!("<div{}><dt>{name}</dt><dd>{value}</dd></div>", if bad { " class=\"bad\"" } else { "" })
    };
    let mut figures = vec![
        figure("acknowledged", false, count("acknowledged", totals.acknowledged)),
        figure("delivered", false, count("delivered", totals.delivered)),
        figure("lost", totals.lost > 0, count("lost", totals.lost)),
        figure("duplicated", false, count("duplicated", totals.duplicated)),
        figure("out of order", totals.out_of_order > 0, count("out_of_order", totals.out_of_order)),
    ];
    let recovery = subject.recovery_ms;
    let span =
        |key: &str, millis: f64| shown_number(&format!("{pointer}/recovery_ms/{key}"), millis, &duration(millis));
    if let Some(first) = recovery.first_delivery {
        figures.push(figure("first delivery after the heal", false, span("first_delivery", first)));
        let backlog = number(&format!("{pointer}/recovery_ms/backlog"), recovery.backlog);
        figures.push(match recovery.drained {
            Some(drained) => figure("backlog drained", false, format!("{backlog} in {}", span("drained", drained))),
            None => figure("backlog drained", true, format!("never; {backlog} arrived")),
        });
    }
    format!("<dl class=\"figures\">{}</dl>\n", figures.concat())
}

fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let finding = |finding: &Finding| {
        let linked = finding.reference.starts_with("https://") || finding.reference.starts_with("http://");
        let reference = match (finding.reference.as_str(), linked) {
            ("", _) => String::new(),
            (reference, true) => {
                format!("<p class=\"reference\"><a rel=\"noreferrer\" href=\"{0}\">{0}</a></p>", text(reference))
            }
            (reference, false) => format!("<p class=\"reference\">see {}</p>", text(reference)),
        };
        let advice = match finding.advice.as_str() {
            "" => String::new(),
            advice => format!("<p class=\"advice\"><b>What to do:</b> {}</p>", text(advice)),
        };
        format!(
            "<article class=\"finding\" data-rule=\"{rule}\"><h4>{} <code>{rule}</code></h4>{}{advice}{reference}</article>\n",
            text(&finding.title),
            list("evidence", finding.evidence.iter().map(|evidence| text(evidence))),
            rule = text(&finding.rule),
        )
    };
    format!("<h3>Findings</h3>\n{}", findings.iter().map(finding).collect::<String>())
}

/// Every class that there is, for each topic and together.
fn messages(subject: &SubjectReport, pointer: &str) -> String {
    const ALWAYS: [&str; 6] = ["sent", "acknowledged", "received", "lost", "duplicated", "out_of_order"];
    let shown: Vec<_> =
        CLASSES.into_iter().filter(|(key, _, of)| ALWAYS.contains(key) || of(&subject.totals) > 0).collect();
    let header: Vec<&str> = ["topic", "QoS"].into_iter().chain(shown.iter().map(|(_, words, _)| *words)).collect();
    let cells = |totals: &Totals, pointer: &str, qos: u8| -> Vec<String> {
        let cell = |(key, _, of): &Class| {
            let bad = match *key {
                "lost" => qos > 0,
                "duplicated" => qos == 2,
                key => ["out_of_order", "unexpected", "late"].contains(&key),
            };
            let number = number(&format!("{pointer}/{key}"), of(totals));
            if bad && of(totals) > 0 { format!("<strong class=\"bad\">{number}</strong>") } else { number }
        };
        shown.iter().map(cell).collect()
    };
    let topics = subject.topics.iter().enumerate().map(|(index, topic)| {
        let pointer = format!("{pointer}/topics/{index}");
        let qos = number(&format!("{pointer}/qos"), topic.qos);
        [text(&topic.topic), qos].into_iter().chain(cells(&topic.totals, &pointer, topic.qos)).collect::<Vec<_>>()
    });
    // A total is bad news where a topic's number is.
    let worst = subject.topics.iter().map(|topic| topic.qos).max().unwrap_or(0);
    let total = ["total".to_owned(), String::new()].into_iter();
    let total = total.chain(cells(&subject.totals, &format!("{pointer}/totals"), worst.min(1))).collect();
    table("received counts copies, all others count messages", &header, topics.chain([total]))
}

fn checks(subject: &SubjectReport) -> String {
    let row = |check: &crate::scenario::report::model::Check| {
        [check.name.as_str(), check.expected.as_str(), check.observed.as_str()]
            .map(text)
            .into_iter()
            .chain([badge(check.verdict)])
            .collect()
    };
    format!(
        "<div class=\"words\">{}</div>",
        table(
            "what the scenario expects",
            &["check", "expected", "observed", "verdict"],
            subject.checks.iter().map(row)
        )
    )
}

/// The charts as numbers.
fn seconds(plan: &Plan, ledger: &Ledger, axis: Axis) -> String {
    let series = ledger.series();
    let each = axis.seconds.div_ceil(MOST_ROWS);
    let sum =
        |counts: &[u32], from: usize| counts.iter().skip(from).take(each).map(|count| u64::from(*count)).sum::<u64>();
    let mut rows = Vec::new();
    for from in (0..axis.seconds).step_by(each) {
        let to = (from + each).min(axis.seconds);
        let mut row = vec![format!("{from} to {to}")];
        for load in 0..plan.loads.len() {
            row.push(format!("{}/{}", sum(series.acknowledged(load), from), sum(series.received(load), from)));
        }
        let outstanding = series.outstanding();
        row.push(outstanding.get(to - 1).or(outstanding.last()).copied().unwrap_or(0).to_string());
        let within = |at: &std::time::Duration| (from as u64..to as u64).contains(&at.as_secs());
        let cached = series.cached().iter().rev().find(|(at, _)| within(at));
        row.push(cached.map(|(_, depth)| depth.to_string()).unwrap_or_default());
        rows.push(row);
    }
    let topics: Vec<String> = plan.loads.iter().map(|load| text(&load.topic)).collect();
    let header = ["seconds"].into_iter().chain(topics.iter().map(String::as_str));
    let header: Vec<&str> = header.chain(["not received yet", "cache depth"]).collect();
    table("acknowledged/received in each second", &header, rows)
}

fn counters(subject: &SubjectReport, pointer: &str) -> String {
    if subject.counters.is_empty() {
        return "<p>It serves none.</p>\n".to_owned();
    }
    let row =
        |(name, value): (&String, &f64)| vec![text(name), number(&format!("{pointer}/counters/{}", step(name)), value)];
    table("the last sample of its counters", &["counter", "value"], subject.counters.iter().map(row))
}

fn artifacts(subject: &SubjectReport) -> String {
    if subject.artifacts.is_empty() {
        return String::new();
    }
    let row = |(whose, what): (&String, &String)| vec![text(whose), text(what)];
    format!(
        "<div class=\"words\">{}</div>",
        table("versions and digests", &["whose", "what"], subject.artifacts.iter().map(row))
    )
}
