//! What the scenario asked for: load, faults, and how the bridges were configured. Only what is named here is shown, so
//! that no password of an environment variable or of a command line is.
use std::time::Duration;

use crate::scenario::plan::{BridgeSettings, Direction, Fault, Load, Parameters, Place, Plan, Side, SubjectPlan, Via};

use super::text::{list, table, text};

/// What a setting's name may say of its value.
const SECRETS: [&str; 7] = ["password", "passwd", "secret", "token", "psk", "credential", "private"];

/// The section.
pub(super) fn section(plan: &Plan) -> String {
    let load = |load: &Load| {
        let via = match load.via {
            Via::Bridge => "the bridge",
            Via::Remote => "the remote",
        };
        let windows = load.windows.iter().map(|window| format!("{} to {}", seconds(window.start), seconds(window.end)));
        vec![
            text(&load.topic),
            load.qos.to_string(),
            load.qps.to_string(),
            format!("{} B", load.payload),
            via.to_owned(),
            windows.collect::<Vec<_>>().join(", "),
            load.count().to_string(),
        ]
    };
    let header = ["topic", "QoS", "per second", "payload", "published at", "when", "messages"];
    let settings = bridge(&plan.bridge).into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    let parts = [
        "<h2>Configuration</h2>\n".to_owned(),
        table("load", &header, plan.loads.iter().map(load)),
        list("plain", plan.faults.iter().map(|fault| format!("planned fault: {}", text(&planned(fault))))),
        format!(
            "<p>After the last publish or fault, up to {} for what is still on its way.</p>\n",
            seconds(plan.settle)
        ),
        format!(
            "<div class=\"words\">{}</div>",
            table("remote leg, of every subject", &["setting", "value"], settings)
        ),
        list("plain", plan.subjects.iter().map(subject)),
        list("plain", plan.reproduces.iter().map(|thread| format!("reproduces {}", text(thread)))),
    ];
    format!("<section id=\"configuration\">\n{}</section>\n", parts.concat())
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn bridge(settings: &BridgeSettings) -> Vec<(&'static str, String)> {
    let mut said = vec![
        ("protocol", if settings.protocol == 4 { "MQTT 3.1.1".to_owned() } else { "MQTT 5".to_owned() }),
        ("Keep Alive", seconds(settings.keep_alive)),
        ("connect timeout", seconds(settings.connect_timeout)),
        ("acknowledgement timeout", seconds(settings.ack_timeout)),
        (
            "wait before a reconnect",
            format!("{} to {}", seconds(settings.reconnect_min), seconds(settings.reconnect_max)),
        ),
        ("window", settings.window.to_string()),
        ("Session Expiry Interval", seconds(settings.session_expiry)),
    ];
    said.extend(settings.max_messages.map(|most| ("messages kept at most", most.to_string())));
    said.extend(settings.when_full.map(|when| ("when full", format!("{when:?}"))));
    said
}

fn planned(fault: &Fault) -> String {
    let whom = match (fault.kind.place(), fault.on) {
        (Place::Link, _) => "the link",
        (Place::Process, Side::Remote) => "the remote",
        (Place::Process, Side::Bridge) => "the bridge",
        (Place::Disk, _) => "the disk",
    };
    let when = fault.when.map_or(format!("at {}", seconds(fault.start)), |when| format!("at {}", when.words()));
    let long = if fault.length().is_zero() { String::new() } else { format!(" for {}", seconds(fault.length())) };
    format!("{} on {whom} {when}{long}{}", fault.kind.name(), parameters(&fault.parameters))
}

fn parameters(parameters: &Parameters) -> String {
    match parameters {
        Parameters::None => String::new(),
        Parameters::HalfOpen { passes: Direction::ToRemote } => ", bytes still pass to the remote".to_owned(),
        Parameters::HalfOpen { passes: Direction::ToBridge } => ", bytes still pass to the bridge".to_owned(),
        Parameters::Delay { by, jitter, only } => {
            let only = only.as_ref().map(|only| format!(", only {:?}, every {}", only.packets, only.every));
            format!(", by {} and up to {} more{}", seconds(*by), seconds(*jitter), only.unwrap_or_default())
        }
        Parameters::Throttle { bytes_per_second } => format!(", {bytes_per_second} bytes a second"),
        Parameters::Loss { percent } => format!(", {percent} % of the IP packets"),
        Parameters::DropPackets { only } => format!(", only {:?}, every {}", only.packets, only.every),
        Parameters::Session { lost } => format!(", sessions {}", if *lost { "lost" } else { "kept" }),
        Parameters::FillDisk { size } => size.map(|size| format!(", of {size} bytes")).unwrap_or_default(),
    }
}

fn subject(subject: &SubjectPlan) -> String {
    let mut said = vec![text(&subject.name)];
    said.extend(subject.image.as_ref().map(|image| format!("image {}", text(image))));
    let file = subject.config.as_ref().and_then(|config| config.file_name());
    said.extend(file.map(|file| format!("configuration of its own, {}", text(&file.to_string_lossy()))));
    said.extend(subject.workers.map(|workers| format!("{workers} workers")));
    said.extend(subject.settings.iter().map(|(name, value)| {
        let secret = SECRETS.iter().any(|secret| name.to_lowercase().contains(secret));
        format!("<code>{} {}</code>", text(name), if secret { "***".to_owned() } else { text(value) })
    }));
    format!("subject: {}", said.join(", "))
}
