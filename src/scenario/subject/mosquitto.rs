//! mosquitto's own bridge.
use super::{Configuration, Program, Sites, topics};
use crate::scenario::plan::{Plan, SubjectPlan, Via};

/// The least that mosquitto 2.0 accepts.
const LEAST_KEEP_ALIVE_SECONDS: u64 = 5;

/// The plan's remote leg in mosquitto's words. What it has no word for (time-outs on connect and acknowledgement) stays
/// as it is; `max_queued_messages` is lifted, since the default of 1000 is not what is examined.
pub(super) fn configure(plan: &Plan, subject: &SubjectPlan, sites: &Sites<'_>) -> Configuration {
    let bridge = &plan.bridge;
    let seconds = |duration: std::time::Duration, least: u64| duration.as_millis().div_ceil(1000).max(least.into());
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
    let text: String = lines.into_iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let file = "mosquitto.conf".to_owned();
    Configuration {
        program: Program::Installed("mosquitto"),
        arguments: vec!["-c".into(), sites.folder.join(&file).display().to_string()],
        files: vec![(file, text)],
        has_metrics: false,
    }
}
