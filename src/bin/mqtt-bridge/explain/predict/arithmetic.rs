//! What is predicted by arithmetic: our own bridge.yaml, and mosquitto's bridges.
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mqtt_bridge::bridge::config::endurance::{self, Endurance, Load};
use mqtt_bridge::bridge::config::{Config, roughly};
use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::units::{format_duration, parse_duration};
use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::plan::{Plan, Via};
use mqtt_bridge::scenario::prediction::mosquitto::{self, MosquittoConf, MosquittoOutage};
use mqtt_bridge::scenario::shipped;
use serde::Serialize;

use super::super::Format;
use super::Question;

/// Where nothing else is said: within one building.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// Whose configuration it is.
pub(super) enum Kind {
    BridgeYaml,
    Mosquitto,
    Nanomq,
}

/// By the extension, or else by what only one of them has in it.
pub(super) fn kind(file: &Path, text: &str) -> anyhow::Result<Kind> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    if matches!(extension, Some("yaml" | "yml" | "json")) {
        return Ok(Kind::BridgeYaml);
    }
    if mosquitto::is_mosquitto(text) {
        return Ok(Kind::Mosquitto);
    }
    let code: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '/'])).collect();
    if code.iter().any(|line| line.contains(['=', '{'])) {
        return Ok(Kind::Nanomq);
    }
    if extension.is_none() && code.iter().any(|line| line.starts_with("listeners:")) {
        return Ok(Kind::BridgeYaml);
    }
    anyhow::bail!(
        "{}: whose configuration is this? A bridge.yaml ends in .yaml, a mosquitto.conf has a `connection NAME`, a \
         nanomq.conf has `bridges.mqtt.NAME = {{`",
        file.display()
    )
}

/// A topic that a filter matches.
pub(super) fn matching(filter: &str) -> String {
    let level = |level| if matches!(level, "+" | "#") { "x" } else { level };
    filter.split('/').map(level).collect::<Vec<_>>().join("/")
}

/// What is published, and how long the outage is.
struct Asked {
    /// `None`: so many on the first topic of each bridge.
    loads: Option<Vec<Load>>,
    outage: Duration,
    round_trip: Duration,
}

impl Asked {
    fn new(question: &Question) -> anyhow::Result<Self> {
        let round_trip = question.round_trip.unwrap_or(ROUND_TRIP);
        if let Some(scenario) = &question.scenario {
            let plan = &shipped::load(scenario, &[""; 0])?.plan;
            let outage = plan.faults.iter().map(|fault| fault.length()).max().unwrap_or_default();
            anyhow::ensure!(!outage.is_zero(), "{}: no fault lasts in it: there is no outage", plan.name);
            return Ok(Self { loads: Some(loads(plan)?), outage, round_trip });
        }
        let outage = question.outage.as_deref().unwrap_or_default();
        let rate = question.qps.unwrap_or_default();
        anyhow::ensure!(rate.is_finite() && rate > 0.0, "--qps {rate}: a rate above 0");
        let outage = parse_duration(outage).with_context(|| format!("--outage {outage}"))?;
        Ok(Self { loads: None, outage, round_trip })
    }

    fn loads(&self, question: &Question, filter: Option<&str>) -> anyhow::Result<Vec<Load>> {
        let Some(filter) = filter.filter(|_| self.loads.is_none()) else {
            return Ok(self.loads.clone().unwrap_or_default());
        };
        let qos = qos(question.qos)?;
        let (topic, rate, payload) = (matching(filter), question.qps.unwrap_or_default(), question.payload);
        Ok(vec![Load { topic, qos, rate, payload }])
    }
}

fn qos(number: u8) -> anyhow::Result<QoS> {
    QoS::try_from(number).map_err(|error| anyhow::anyhow!(error))
}

fn loads(plan: &Plan) -> anyhow::Result<Vec<Load>> {
    let local = plan.loads.iter().filter(|load| load.via == Via::Bridge);
    local
        .map(|load| {
            let (topic, payload) = (load.topic.clone(), load.payload as u64);
            Ok(Load { topic, qos: qos(load.qos)?, rate: load.qps, payload })
        })
        .collect()
}

fn print<T: Serialize>(format: Format, answers: &[T], page: &str) -> anyhow::Result<u8> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(answers)?),
        Format::Text => print!("{page}"),
        Format::Markdown => print!("```text\n{page}```\n"),
    }
    Ok(0)
}

/// Our own.
pub(super) fn own(file: &Path, question: &Question, format: Format) -> anyhow::Result<u8> {
    let config = Config::from_document(&Document::read(file)?)?;
    let Some(cache) = config.cache.as_ref().filter(|_| !config.bridges.is_empty()) else {
        anyhow::bail!("{}: no bridge in it: there is no outage to survive", file.display())
    };
    let asked = Asked::new(question)?;
    let mut answers = Vec::new();
    for bridge in &config.bridges {
        let filter = bridge.forwards.first().map(|forward| forward.local.as_str());
        let loads = asked.loads(question, filter)?;
        answers.push(endurance::endurance(bridge, cache, &loads, asked.outage, asked.round_trip));
    }
    let pages: Vec<String> = answers.iter().map(|answer| own_page(answer, asked.round_trip)).collect();
    print(format, &answers, &pages.join("\n"))
}

fn own_page(answer: &Endurance, round_trip: Duration) -> String {
    let mut lines = vec![answer.verdict.clone()];
    if answer.beyond_limit > 0 {
        lines.push(format!("beyond the limit   {} messages", answer.beyond_limit));
    }
    if answer.qos0_dropped > 0 {
        lines.push(format!("QoS 0              {} dropped (cache_qos0: true keeps them)", answer.qos0_dropped));
    }
    lines.extend([
        format!("backlog            {} messages at the heal", answer.backlog),
        format!("disk               {} of rows, and at most 16 MiB of WAL", mebibytes(answer.disk_bytes)),
        "memory             does not grow with the backlog: 22 MiB were measured with 1,000,000 cached".to_owned(),
        drain(answer.drained_after_s, round_trip),
        noticed(answer.cut_noticed_within_s, answer.heal_noticed_within_s),
    ]);
    lines.join("\n") + "\n"
}

/// mosquitto's.
pub(super) fn mosquitto(file: &Path, text: &str, question: &Question, format: Format) -> anyhow::Result<u8> {
    let conf = mosquitto::read(file, text)?;
    let asked = Asked::new(question)?;
    let mut answers = Vec::new();
    for connection in &conf.connections {
        let loads = asked.loads(question, connection.out.first().map(|(filter, _)| filter.as_str()))?;
        answers.push(mosquitto::outage(&conf, connection, &loads, asked.outage, asked.round_trip));
    }
    let pages: Vec<String> = answers.iter().map(|answer| mosquitto_page(&conf, answer, asked.round_trip)).collect();
    print(format, &answers, &pages.join("\n"))
}

fn mosquitto_page(conf: &MosquittoConf, answer: &MosquittoOutage, round_trip: Duration) -> String {
    let mut lines = vec![answer.verdict.clone()];
    if answer.qos0_dropped > 0 {
        lines.push(format!("QoS 0              {} dropped", answer.qos0_dropped));
    }
    let saved = match (conf.persistence, conf.autosave_interval) {
        (false, _) => "persistence false".to_owned(),
        (true, 0) => "autosave_interval 0: saved only at the end".to_owned(),
        (true, changes) if conf.autosave_on_changes => format!("saved every {changes} changes"),
        (true, seconds) => format!("saved every {seconds} s"),
    };
    lines.extend([
        format!("backlog            {} messages at the heal, in memory", answer.backlog),
        format!("a crash before it  loses {} of them at most ({saved})", answer.lost_in_a_crash),
        if conf.max_inflight_messages == 0 {
            "drained            as fast as the line and the remote let it: max_inflight_messages 0".to_owned()
        } else {
            drain(answer.drained_after_s, round_trip)
        },
        noticed(answer.cut_noticed_within_s, answer.heal_noticed_within_s),
    ]);
    lines.join("\n") + "\n"
}

fn drain(seconds: Option<f64>, round_trip: Duration) -> String {
    let trip = format_duration(round_trip);
    match seconds {
        Some(seconds) if seconds < 60.0 => {
            format!("drained            {seconds:.1} s after the connect (round trip {trip})")
        }
        Some(seconds) => format!(
            "drained            {} after the connect (round trip {trip})",
            Duration::try_from_secs_f64(seconds).map_or("ages".to_owned(), roughly)
        ),
        None => format!("drained            never: as much is published as goes through (round trip {trip})"),
    }
}

fn noticed(cut: f64, heal: f64) -> String {
    format!("noticed            a silent cut within {cut:.1} s, the heal within {heal:.1} s")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
