//! mosquitto's own bridge.
use std::net::SocketAddr;
use std::time::Duration;

use super::{Configuration, Program, Sites, SubjectError, own_configuration, rounded, topics};
use crate::scenario::plan::{Plan, SubjectPlan, Via, WhenFull};

/// The least that mosquitto 2.0 accepts.
const LEAST_KEEP_ALIVE_SECONDS: u64 = 5;

/// The plan's remote leg in mosquitto's words. What it has no word for is listed; `max_queued_messages` is lifted, since the default of 1000 is not what is examined.
pub(super) fn configure(plan: &Plan, subject: &SubjectPlan, sites: &Sites<'_>) -> Result<Configuration, SubjectError> {
    let (text, unexpressed) = match own_configuration(plan, subject)? {
        Some((_, text)) => {
            let unexpressed = vec!["the scenario's `bridge:`: its own configuration is used as it is".to_owned()];
            (relocated(&text, sites), unexpressed)
        }
        None => (generated(plan, subject, sites), what_it_cannot_say(plan)),
    };
    let file = "mosquitto.conf".to_owned();
    let arguments = vec!["-c".into(), sites.folder.join(&file).display().to_string()];
    let listens = subject.config.as_ref().and_then(|_| listener(&text, sites));
    let program = Program::of(subject, "mosquitto");
    Ok(Configuration { unexpressed, listens, ..Configuration::new(program, arguments, vec![(file, text)]) })
}

fn what_it_cannot_say(plan: &Plan) -> Vec<String> {
    let bridge = &plan.bridge;
    let mut said: Vec<String> = ["connect_timeout", "ack_timeout", "window"]
        .map(|key| format!("bridge.{key}: mosquitto has no such setting that can be used here"))
        .into();
    said.push("bridge.session_expiry: 3.1.1 has none, the remote decides how long it keeps the session".to_owned());
    if bridge.keep_alive < Duration::from_secs(LEAST_KEEP_ALIVE_SECONDS) {
        said.push(format!("bridge.keep_alive: mosquitto's least is {LEAST_KEEP_ALIVE_SECONDS} s"));
    }
    said.extend(rounded("bridge.reconnect.min", bridge.reconnect_min));
    said.extend(rounded("bridge.reconnect.max", bridge.reconnect_max));
    if bridge.when_full.is_some_and(|when_full| when_full != WhenFull::DropNewest) {
        said.push("bridge.cache.when_full: mosquitto drops what comes then, and tells nobody".to_owned());
    }
    if bridge.protocol == 5 {
        said.push("bridge.protocol: 3.1.1, since with MQTT 5 mosquitto asks for no Session Expiry Interval".to_owned());
    }
    said
}

/// A configuration of the user's own, as it is but for where the remote and its own files are.
fn relocated(text: &str, sites: &Sites<'_>) -> String {
    let line = |line: &str| match line.split_whitespace().next() {
        Some("address" | "addresses") => format!("address {}:{}\n", sites.remote.0, sites.remote.1),
        Some("persistence_location") => format!("persistence_location {}/\n", sites.folder.display()),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Where a configuration listens first.
fn listener(text: &str, sites: &Sites<'_>) -> Option<SocketAddr> {
    let port = |line: &str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["listener" | "port", port, ..] => port.parse().ok(),
        _ => None,
    };
    text.lines().find_map(port).map(|port| SocketAddr::new(sites.listen.ip(), port))
}

fn generated(plan: &Plan, subject: &SubjectPlan, sites: &Sites<'_>) -> String {
    let bridge = &plan.bridge;
    let seconds = |duration: Duration, least: u64| duration.as_millis().div_ceil(1000).max(least.into());
    let (first, last) = (seconds(bridge.reconnect_min, 1), seconds(bridge.reconnect_max, 1));
    let restart = if last > first { format!("{first} {last}") } else { first.to_string() };
    let line = |key: &str, value: String| (key.to_owned(), value);
    let mut lines = vec![
        line("listener", format!("{} {}", sites.listen.port(), sites.listen.ip())),
        line("allow_anonymous", "true".into()),
        line("user", "root".into()), // Read only where it is started by root, whose files it could not open otherwise.
        line("log_dest", "stderr".into()),
        line("persistence", "true".into()),
        line("persistence_location", format!("{}/", sites.folder.display())),
        line("autosave_interval", "1".into()),
        line("max_queued_messages", bridge.max_messages.unwrap_or(0).to_string()),
        // After a stall 2.0.11 and its peer disagree about who may have 20 messages under way in 3.1.1, which has no
        // Receive Maximum: one closes the connection on the other, again and again ("Unknown error"), and nothing that is
        // queued ever arrives, whatever the remote's own limit is. Without a limit it drains.
        line("max_inflight_messages", "0".into()),
        line("connection", "lab".into()),
        line("address", format!("{}:{}", sites.remote.0, sites.remote.1)),
        // Its own default, and its best: with mqttv50 it asks for no Session Expiry Interval (seen with 2.0.11), so the
        // remote forgets at every cut what `cleansession false` was to keep. `settings` can ask for that.
        line("bridge_protocol_version", "mqttv311".into()),
        line("remote_clientid", "lab-subject".into()),
        line("cleansession", "false".into()),
        line("keepalive_interval", seconds(bridge.keep_alive, LEAST_KEEP_ALIVE_SECONDS).to_string()),
        line("restart_timeout", restart),
        line("start_type", "automatic".into()),
        line("try_private", "false".into()),
        line("notifications", "false".into()),
    ];
    lines.extend(topics(plan, Via::Bridge).into_iter().map(|(topic, qos)| line("topic", format!("{topic} out {qos}"))));
    lines.extend(topics(plan, Via::Remote).into_iter().map(|(topic, qos)| line("topic", format!("{topic} in {qos}"))));
    for (key, value) in &subject.settings {
        match lines.iter_mut().find(|(known, _)| known == key && known != "topic") {
            Some((_, known)) => known.clone_from(value),
            None => lines.push((key.clone(), value.clone())),
        }
    }
    lines.into_iter().map(|(key, value)| format!("{key} {value}\n")).collect()
}
