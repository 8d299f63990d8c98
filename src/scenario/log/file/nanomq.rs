//! What is behind the lines of NanoMQ's log.
use std::collections::BTreeMap;
use std::time::Duration;

use super::past::Past;
use crate::scenario::log::{Known, Loss, moment};
use crate::scenario::report::model::Finding;

/// Its settings, with its own defaults where they are not known.
struct Settings<'a>(&'a BTreeMap<String, String>);

impl Settings<'_> {
    fn number(&self, key: &str) -> Option<u64> {
        let value = self.0.get(key)?.trim_matches('"');
        value.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
    }

    /// `resend_interval = 50`, where it is known.
    fn words(&self, keys: &[&str]) -> Vec<String> {
        keys.iter().filter_map(|key| Some(format!("{key} = {}", self.0.get(*key)?))).collect()
    }

    /// From the cut to the moment when it is noticed.
    fn detection(&self) -> Option<Duration> {
        let interval = Duration::from_millis(self.number("resend_interval")?);
        Some(Duration::from_secs(self.number("keepalive")?) + interval)
    }
}

pub(super) fn findings(past: &Past, settings: &BTreeMap<String, String>) -> Vec<Finding> {
    let settings = Settings(settings);
    let rules = [overflow, slots, dropped, broken_drain, memory_part, contradiction, paced, reconnect];
    rules.iter().filter_map(|rule| rule(past, &settings)).collect()
}

fn finding(rule: &str, title: String, evidence: Vec<String>, advice: &str, reference: &str) -> Option<Finding> {
    let (rule, advice, reference) = (rule.to_owned(), advice.to_owned(), reference.to_owned());
    Some(Finding { rule, title, evidence, advice, reference })
}

fn dated(known: Known, past: &Past) -> String {
    past.tally.seen(known).map_or_else(String::new, |seen| match seen.count {
        1 => format!("once, at {}", moment::words(seen.first)),
        count => format!("{count} times, {} to {}", moment::words(seen.first), moment::words(seen.last)),
    })
}

/// Messages a second, from the lines that say one each.
fn rate(past: &Past) -> Option<f64> {
    let seen = past.tally.seen(Known::RingOverflow)?;
    let span = seen.last.saturating_sub(seen.first).as_secs_f64();
    (seen.count > 10 && span >= 2.0).then(|| (seen.count - 1) as f64 / span)
}

fn overflow(past: &Past, settings: &Settings<'_>) -> Option<Finding> {
    let count = past.tally.count(Known::RingOverflow);
    if count == 0 {
        return None;
    }
    let mut evidence = vec![format!("\"Cached Message in ctx_msgs is lost!\" {}", dated(Known::RingOverflow, past))];
    if let Some(rate) = rate(past) {
        evidence.push(format!("that is {rate:.1} a second: the rate of publishing, once the queue was full"));
    }
    evidence.extend(settings.words(&["max_send_queue_len"]));
    if let Some((outage, length)) = past.longest_outage() {
        evidence.push(format!("no link from {} for {} s at the longest", moment::words(outage.from), length.as_secs()));
    }
    finding(
        "ring-overflow",
        format!("NanoMQ dropped {count} messages from its full queue in memory"),
        evidence,
        "max_send_queue_len of at least the longest outage times the rate buys time, in memory that a restart loses; a bridge \
         that commits before it acknowledges does not need it",
        "nanomq#2295, nanomq#2226, nanomq#1832",
    )
}

/// The cache was never reached, although one is configured.
fn slots(past: &Past, settings: &Settings<'_>) -> Option<Finding> {
    let stuck = past.tally.count(Known::RingOverflow) + past.tally.count(Known::BusyDropped);
    let reached = past.tally.count(Known::AckFailed) + past.tally.count(Known::IntoSqlite);
    let silent = past.tally.count(Known::Timeout);
    if stuck == 0 || reached > 0 || silent == 0 {
        return None;
    }
    let mut evidence = vec![
        format!("\"MQTT Timeout and disconnect\" {}: the cut was silent", dated(Known::Timeout, past)),
        "no line \"QoS msg ack failed\": no row of the SQLite cache was ever delivered".to_owned(),
    ];
    let keys = settings.words(&["keepalive", "resend_interval"]);
    if let Some(detection) = settings.detection() {
        let seconds = detection.as_secs_f64();
        let mut said = format!("{}: a dead link is noticed about {seconds:.2} s after the cut", keys.join(", "));
        if let Some(rate) = rate(past) {
            said += &format!("; at {rate:.1} messages a second that is {:.0} messages", rate * seconds);
        }
        evidence.push(said);
    }
    match settings.number("parallel") {
        Some(workers) => evidence.push(format!("parallel (-n) = {workers}: {workers} slots for messages in flight")),
        None => evidence.push("how many workers (-n, default twice the CPUs) there were is not known here".to_owned()),
    }
    finding(
        "bistable-slots",
        "Every worker's slot was stuck before the cut was noticed, so that the SQLite cache was never reached"
            .to_owned(),
        evidence,
        "more workers (-n) than messages between the cut and its detection, or a shorter keepalive; neither is a guarantee",
        "nanomq#1873, nanomq#2226, nanomq#2295",
    )
}

/// Other lines that each say that a message is lost.
fn dropped(past: &Past, _: &Settings<'_>) -> Option<Finding> {
    let grave = past.tally.all().filter(|(entry, _)| entry.known != Known::RingOverflow);
    let grave: Vec<_> =
        grave.filter(|(entry, _)| matches!(entry.loss, Loss::One) || entry.known == Known::PipeBusy).collect();
    if grave.is_empty() {
        return None;
    }
    let evidence = grave.iter().map(|(entry, seen)| {
        let sure = if entry.loss == Loss::One { "one message each" } else { "not always a message" };
        format!("\"{}\" {} times, {sure}: {}", entry.text(), seen.count, entry.meaning)
    });
    finding(
        "dropped-one-by-one",
        "NanoMQ dropped messages and said so, one line each".to_owned(),
        evidence.collect(),
        "cancel_timeout longer than the longest silence of the remote, and longer than resend_wait",
        "nanomq#2295, nanomq#2226, nanomq#1832",
    )
}

/// The link died while rows left the cache.
fn broken_drain(past: &Past, settings: &Settings<'_>) -> Option<Finding> {
    if past.broken_drains.is_empty() {
        return None;
    }
    let mut missing = 0;
    let mut evidence = Vec::new();
    for drain in &past.broken_drains {
        let (at, id) = drain.last_row;
        let window = drain.noticed.saturating_sub(at);
        let mut said = format!(
            "the last row was acknowledged at {} (packet id {id}), the dead link noticed {} s later",
            moment::words(at),
            window.as_secs()
        );
        if let Some(interval) = settings.number("resend_interval").filter(|interval| *interval > 0) {
            said += &format!(
                "; one row each {interval} ms leaves the cache: up to {}",
                window.as_millis() as u64 / interval
            );
        }
        if let Some(next) = drain.next.filter(|next| *next > id + 1 && *next - id < 10_000) {
            missing += next - id - 1;
            said += &format!("; the next row acknowledged was packet id {next}: {} are missing between", next - id - 1);
        }
        if evidence.len() < 10 {
            evidence.push(said);
        }
    }
    evidence.extend(settings.words(&["keepalive", "resend_interval"]));
    let title = match missing {
        0 => "The link died while the cache was draining: rows were deleted before they were sent".to_owned(),
        missing => format!("{missing} rows were deleted from the cache and very likely never reached the remote"),
    };
    finding(
        "row-deleted-before-sent",
        title,
        evidence,
        "none: this bridge cannot; the row is deleted before it is written to a connection that may be dead",
        "nanomq#2432, nanomq#1741",
    )
}

/// The process ended without a link.
fn memory_part(past: &Past, settings: &Settings<'_>) -> Option<Finding> {
    let first = past.ended_offline.first()?;
    let threshold = settings.number("flush_mem_threshold");
    let most = threshold.map_or_else(|| "99 (the default)".to_owned(), |threshold| (threshold.max(1) - 1).to_string());
    let mut evidence = vec![format!(
        "the process ended {} time(s) while there was no link, first before {}",
        past.ended_offline.len(),
        moment::words(*first)
    )];
    evidence.extend(settings.words(&["flush_mem_threshold"]));
    finding(
        "memory-part-lost",
        format!("Up to {most} messages of the cache stood in memory alone each time the process ended offline"),
        evidence,
        "flush_mem_threshold = 1 makes that part as small as it gets",
        "nanomq#1741, mosquitto#2666, mosquitto#1855",
    )
}

/// Settings that contradict each other.
fn contradiction(past: &Past, settings: &Settings<'_>) -> Option<Finding> {
    let mut evidence = Vec::new();
    let (wait, cancel) = (settings.number("resend_wait"), settings.number("cancel_timeout"));
    if let (Some(wait), Some(cancel)) = (wait, cancel)
        && wait > cancel
    {
        evidence.push(format!(
            "resend_wait = {wait} ms is longer than cancel_timeout = {cancel} ms: a message in flight is given up before it \
             is ever sent again"
        ));
    }
    if let (Some(wait), Some((_, outage))) = (wait, past.longest_outage())
        && Duration::from_millis(wait) > outage
    {
        evidence.push(format!(
            "resend_wait = {wait} ms is longer than the longest outage here ({} s): after the heal, slots stay stuck until it \
             is over",
            outage.as_secs()
        ));
    }
    if evidence.is_empty() {
        return None;
    }
    finding(
        "contradicting-timers",
        "The timers contradict each other".to_owned(),
        evidence,
        "resend_wait below cancel_timeout, and both below the shortest outage that matters (defaults: 3000 and 10000)",
        "nanomq#2226, nanomq#2295",
    )
}

/// How fast the cache drained.
fn paced(past: &Past, settings: &Settings<'_>) -> Option<Finding> {
    let seen = past.tally.seen(Known::AckFailed)?;
    let span = seen.last.saturating_sub(seen.first).as_secs_f64();
    if seen.count < 4 || span < 5.0 {
        return None;
    }
    let mut evidence = vec![
        format!(
            "\"QoS msg ack failed\" {}: said for each row that was delivered, and no loss",
            dated(Known::AckFailed, past)
        ),
        format!("{:.1} rows a second", (seen.count - 1) as f64 / span),
    ];
    if let Some(interval) = settings.number("resend_interval").filter(|interval| *interval > 0) {
        evidence.push(format!(
            "resend_interval = {interval} ms: one row each at most, {:.1} a second",
            1000.0 / interval as f64
        ));
    }
    finding(
        "drain-paced-by-tick",
        format!("{} rows of the cache were delivered, one for each tick of a timer", seen.count),
        evidence,
        "a shorter bridges.mqtt.NAME.resend_interval, not below the round trip; live messages overtake what drains",
        "nanomq#1980, nanomq#2423",
    )
}

fn reconnect(past: &Past, settings: &Settings<'_>) -> Option<Finding> {
    let wait = past.tally.longest_wait().filter(|wait| *wait >= Duration::from_secs(2))?;
    let mut evidence = vec![format!("\"reconnect to ... in N ms\" {}", dated(Known::Backoff, past))];
    evidence.push(format!("the longest wait was {:.1} s: so late may a heal be noticed", wait.as_secs_f64()));
    if past.tally.seen(Known::NoName).is_some() {
        evidence.push(format!("the remote's name did not resolve {}", dated(Known::NoName, past)));
    }
    evidence.extend(settings.words(&["backoff_max"]));
    finding(
        "slow-reconnect",
        "The waits between attempts to reconnect were long".to_owned(),
        evidence,
        "a smaller backoff_max, and a resolver that answers at once",
        "nanomq#1741",
    )
}

pub(super) fn unknown(past: &Past) -> Vec<String> {
    let mut said = vec![
        "which messages, of which topic and QoS: no line names one".to_owned(),
        "when a cut began: the log has the moment when it was noticed, keepalive + resend_interval later".to_owned(),
        "rows lost without a word: deleted before they were sent, evicted by disk_cache_size, or deleted by another bridge \
         that shares the file"
            .to_owned(),
        "what stood in the cache's part in memory when the process ended, and what was in flight then".to_owned(),
        "duplicates and order".to_owned(),
    ];
    if past.span().is_none() {
        said.push("when anything happened: no line is dated".to_owned());
    }
    said
}
