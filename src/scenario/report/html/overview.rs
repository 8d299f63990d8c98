//! The top of the page: what came out, of whom, and where.
use crate::scenario::report::model::{Report, SubjectReport};
use crate::scenario::report::table::duration;

use super::subject::badge;
use super::text::{list, number, shown_number, table, text};

/// The verdict first, then what was run.
pub(super) fn overview(report: &Report) -> String {
    let line = |(index, subject): (usize, &SubjectReport)| {
        format!(
            "<a href=\"#subject-{index}\">{}</a> {} {}",
            text(&subject.name),
            badge(subject.verdict),
            text(&subject.summary)
        )
    };
    let because =
        report.because.as_ref().map(|because| format!("{}, because: {}", text(&report.environment), text(because)));
    let approximated = report.approximated.iter().map(|what| format!("approximated: {}", text(what)));
    format!(
        "<header>\n<h1>{} {}</h1>\n<p class=\"about\">{}</p>\n{}{}<p class=\"facts\">environment <b>{}</b> · remote <b>{}</b> · seed {}</p>\n{}</header>\n",
        text(&report.scenario),
        badge(report.verdict),
        text(&report.about),
        list("verdicts", report.subjects.iter().enumerate().map(line)),
        comparison(report),
        text(&report.environment),
        text(&report.remote),
        number("/seed", report.seed),
        list("plain", because.into_iter().chain(approximated)),
    )
}

/// Several subjects side by side.
fn comparison(report: &Report) -> String {
    if report.subjects.len() < 2 {
        return String::new();
    }
    let row = |(index, subject): (usize, &SubjectReport)| {
        let pointer = format!("/subjects/{index}");
        let totals = &subject.totals;
        let count = |key: &str, value: u64, bad: bool| {
            let number = number(&format!("{pointer}/totals/{key}"), value);
            if bad && value > 0 { format!("<strong class=\"bad\">{number}</strong>") } else { number }
        };
        let span = |key: &str, millis: Option<f64>| {
            let shown = |millis: f64| shown_number(&format!("{pointer}/{key}"), millis, &duration(millis));
            millis.map_or("never".to_owned(), shown)
        };
        let recovery = subject.recovery_ms;
        let after = subject.latency_ms.after;
        vec![
            text(&subject.name),
            count("acknowledged", totals.acknowledged, false),
            count("delivered", totals.delivered, false),
            count("lost", totals.lost, true),
            count("duplicated", totals.duplicated, false),
            count("out_of_order", totals.out_of_order, true),
            span("recovery_ms/first_delivery", recovery.first_delivery),
            span("recovery_ms/drained", recovery.drained),
            after.map_or(String::new(), |after| span("latency_ms/after/p99", Some(after.p99))),
        ]
    };
    let header = [
        "subject",
        "acknowledged",
        "delivered",
        "lost",
        "duplicated",
        "out of order",
        "first delivery",
        "drained",
        "p99 after the heal",
    ];
    table("side by side", &header, report.subjects.iter().enumerate().map(row))
}
