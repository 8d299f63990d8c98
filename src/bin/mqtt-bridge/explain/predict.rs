//! `mqtt-bridge explain --config FILE --scenario FILE`, or `--qps RATE --outage TIME`: before anything is run.
mod arithmetic;

use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt_bridge::bridge::config::nanomq::send_path;
use mqtt_bridge::bridge::units;
use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::plan::{Plan, SubjectKind, Via};
use mqtt_bridge::scenario::prediction::{self, Forecast, Prediction, Range};
use mqtt_bridge::scenario::subject::nanomq_model::Modelled;
use mqtt_bridge::scenario::{shipped, spec};

use super::Format;

/// Of NanoMQ, where nobody names one: the original report's.
const VERSION: &str = "0.24.6";
/// Runs in virtual time, where nobody says how many.
const SEEDS: u64 = 200;
/// The same for one line.
const SEEDS_IN_SHORT: u64 = 20;

/// What is predicted, besides the configuration.
#[derive(clap::Args)]
pub(super) struct Question {
    /// Predict what this scenario does to the configuration: a file, or the name of a shipped one
    #[arg(long, value_name = "SCENARIO", requires = "config", conflicts_with_all = ["qps", "outage", "log"])]
    scenario: Option<PathBuf>,
    /// Messages a second, published at the bridge
    #[arg(long, value_name = "RATE", requires_all = ["config", "outage"])]
    qps: Option<f64>,
    /// How long the remote is silent
    #[arg(long, value_name = "TIME", requires_all = ["config", "qps"])]
    outage: Option<String>,
    /// Payload of each of them
    #[arg(long, value_name = "SIZE", default_value = "200B", value_parser = units::parse_size, conflicts_with = "scenario")]
    payload: u64,
    /// To the remote and back; without this 1ms, and for NanoMQ what its model takes
    #[arg(long, value_name = "TIME", value_parser = round_trip)]
    round_trip: Option<Duration>,
    /// QoS of the publishes
    #[arg(long, value_name = "QOS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Of a nanomq.conf alone: NanoMQ's -n; without this two for each CPU of this machine, as NanoMQ takes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
    /// Of a nanomq.conf alone: the version of NanoMQ; without this 0.24.6
    #[arg(long, value_name = "VERSION")]
    nanomq: Option<String>,
    /// Of a nanomq.conf alone: how many times it is run through in virtual time; without this 200
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: Option<u64>,
}

impl Question {
    pub(super) fn is_asked(&self) -> bool {
        self.scenario.is_some() || self.qps.is_some()
    }

    fn is_of_nanomq(&self) -> bool {
        self.workers.is_some() || self.nanomq.is_some() || self.seeds.is_some()
    }
}

fn round_trip(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text) {
        Ok(Duration::ZERO) => Err("nothing takes no time: 1us or more".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

pub(super) fn run(config: &Path, question: &Question, format: Format) -> anyhow::Result<u8> {
    let file = config.canonicalize().map_err(|error| anyhow::anyhow!("{}: {error}", config.display()))?;
    let text = std::fs::read_to_string(config).map_err(|error| anyhow::anyhow!("{}: {error}", config.display()))?;
    let kind = arithmetic::kind(config, &text)?;
    if question.is_of_nanomq() && !matches!(kind, arithmetic::Kind::Nanomq) {
        anyhow::bail!("{}: --workers, --nanomq and --seeds are of a nanomq.conf alone", config.display());
    }
    match kind {
        arithmetic::Kind::BridgeYaml => return arithmetic::own(config, question, format),
        arithmetic::Kind::Mosquitto => return arithmetic::mosquitto(config, &text, question, format),
        arithmetic::Kind::Nanomq => {}
    }
    let mut _unpacked = None;
    let plan = match (&question.scenario, question.qps, &question.outage) {
        (Some(scenario), ..) => {
            let loaded = shipped::load(scenario, &["nanomq-model"])?;
            let plan = loaded.plan.clone();
            _unpacked = Some(loaded);
            plan
        }
        (None, Some(qps), Some(outage)) => outage_of(config, &text, question, (qps, outage))?,
        _ => anyhow::bail!("--config needs --scenario, or --qps and --outage"),
    };
    let modelled = modelled(file, question, &plan)?;
    let forecast = prediction::forecast(&plan, modelled, question.seeds.unwrap_or(SEEDS))?;
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&forecast)?),
        Format::Text => print!("{}", page(config, &plan, &forecast)),
        Format::Markdown => print!("```text\n{}```\n", page(config, &plan, &forecast)),
    }
    Ok(0)
}

fn modelled(file: PathBuf, question: &Question, plan: &Plan) -> anyhow::Result<Modelled> {
    let modelled = plan.subjects.iter().find(|subject| subject.kind == SubjectKind::NanomqModel);
    let Some(mut subject) = modelled.cloned() else { anyhow::bail!("the scenario has no nanomq-model to be asked") };
    subject.config = Some(file);
    subject.workers = question.workers.or(subject.workers);
    let version = question.nanomq.as_deref().unwrap_or(VERSION).to_owned();
    subject.settings = [("version".to_owned(), version)].into();
    let mut modelled = prediction::modelled(plan, &subject)?;
    modelled.inputs.round_trip = question.round_trip.unwrap_or(modelled.inputs.round_trip);
    Ok(modelled)
}

/// What NanoMQ itself would make of its file, in one line: with few workers and with many.
pub(crate) fn in_short(config: &Path) -> anyhow::Result<String> {
    let file = config.canonicalize()?;
    let text = std::fs::read_to_string(config)?;
    let (qps, outage) = (10.0, "1m");
    let mut lost = Vec::new();
    for workers in [4, 32] {
        let question = Question {
            scenario: None,
            qps: Some(qps),
            outage: Some(outage.to_owned()),
            payload: 200,
            round_trip: None,
            qos: 1,
            workers: Some(workers),
            nanomq: None,
            seeds: None,
        };
        let plan = outage_of(config, &text, &question, (qps, outage))?;
        let outcomes = Prediction::of(&plan, modelled(file.clone(), &question, &plan)?)?.outcomes(SEEDS_IN_SHORT);
        if let Some(range) = Range::of(outcomes.iter().map(|outcome| outcome.lost_via(Via::Bridge))) {
            lost.push(format!("{range} lost with -n {workers}"));
        }
    }
    Ok(format!(
        "NanoMQ {VERSION} with this file, as modelled: of {qps} messages a second, the remote silent for {outage}: {}",
        lost.join(", ")
    ))
}

/// Ten seconds, the outage, and twenty seconds more, with one load on the first topic that is forwarded.
fn outage_of(config: &Path, text: &str, question: &Question, (qps, outage): (f64, &str)) -> anyhow::Result<Plan> {
    let path = send_path::read(config, text)?;
    let filter = path.bridges.iter().flat_map(|bridge| &bridge.forwards).map(|(filter, _)| filter).next();
    let Some(filter) = filter else { anyhow::bail!("{}: no bridge forwards anything", config.display()) };
    let (topic, qos, payload) = (arithmetic::matching(filter), question.qos, question.payload);
    let length = units::parse_duration(outage).map_err(|error| anyhow::anyhow!("--outage {outage}: {error}"))?;
    let publishing = length.as_secs() + 30;
    let scenario = format!(
        "name: outage\nabout: The remote is silent for {outage}.\nsubjects: [ {{ kind: nanomq-model }} ]\nload:\n  \
           - {{ topic: \"{topic}\", qos: {qos}, qps: {qps}, payload: {payload}B }}\ntimeline:\n  - {{ at: 0s, do: publish, for: {publishing}s }}\n  \
           - {{ at: 10s, do: disconnect, for: {outage} }}\nsettle: 3600s\n"
    );
    Ok(spec::read(&Document::from_text("--qps and --outage", &scenario), &[""; 0])?)
}

fn page(config: &Path, plan: &Plan, forecast: &Forecast) -> String {
    let mut lines = vec![
        format!(
            "{} in {}: NanoMQ {}, {} workers, as modelled",
            config.display(),
            plan.name,
            forecast.version,
            forecast.workers
        ),
        format!(
            "{} messages published at the bridge; {} runs in virtual time, nine of ten lie in the range",
            forecast.published, forecast.seeds
        ),
        String::new(),
        format!("lost          {}", forecast.lost),
        format!("duplicated    {}", forecast.duplicated),
        format!("out of order  {}", forecast.out_of_order),
    ];
    if let Some(first) = forecast.first_loss_ms {
        lines.push(format!("first loss    what is published at {}", seconds(first)));
    }
    if let Some(first) = forecast.first_delivery_ms {
        lines.push(format!("first arrival {} after the heal", seconds(first)));
    }
    if let Some(drained) = forecast.drained_ms {
        lines.push(format!("last of what waited and is not lost {} after the heal", seconds(drained)));
    }
    lines.extend([String::new(), "at its fullest   messages           second".to_owned()]);
    for queue in &forecast.queues {
        let [low, high] = queue.peak.likely;
        let peak = if low == high { low.to_string() } else { format!("{low} to {high}") };
        let at = if high == 0 { "-".to_owned() } else { seconds(queue.at_ms) };
        lines.push(format!("{:<16} {peak:<18} {at}", queue.name));
    }
    if forecast.lost_from_remote.max > 0 {
        lines.push(format!("\npublished at the remote and lost: {}", forecast.lost_from_remote));
    }
    let (help, none): (Vec<_>, Vec<_>) =
        forecast.changes.iter().partition(|change| change.lost.median < forecast.lost.median * 9 / 10);
    if !help.is_empty() {
        lines.extend([String::new(), "one change at a time, tried in the model   lost".to_owned()]);
        lines.extend(help.iter().map(|change| format!("{:<42} {}", change.what, change.lost)));
    }
    if !none.is_empty() {
        let tried: Vec<&str> = none.iter().map(|change| change.what.as_str()).collect();
        lines.push(format!("no help by itself: {}", tried.join(", ")));
    }
    lines.join("\n") + "\n"
}

fn seconds(range: Range) -> String {
    let [low, high] = range.likely.map(|millis| millis as f64 / 1000.0);
    match high - low < 0.05 {
        true => format!("{low:.1} s"),
        false => format!("{low:.1} to {high:.1} s"),
    }
}
