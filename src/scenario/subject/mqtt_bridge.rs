//! Our own bridge: this executable.
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{Configuration, Program, Sites, SubjectError, topics};
use crate::bridge::units::format_duration;
use crate::scenario::plan::{Plan, SubjectPlan, Via};

const FILE: &str = "bridge.yaml";

/// The plan's remote leg as `bridge.yaml`. A key of `settings` is a path, such as `cache.max_messages` or
/// `bridges.0.window`.
pub(super) fn configure(plan: &Plan, subject: &SubjectPlan, sites: &Sites<'_>) -> Result<Configuration, SubjectError> {
    if subject.config.is_some() {
        return Err(SubjectError::OwnConfiguration { name: subject.name.clone() });
    }
    let bridge = &plan.bridge;
    let forwards = topics(plan, Via::Bridge).into_iter();
    let forwards: Vec<Value> =
        forwards.map(|(topic, qos)| json!({ "local": topic, "remote": topic, "qos": qos })).collect();
    let subscriptions = topics(plan, Via::Remote).into_iter();
    let subscriptions: Vec<Value> =
        subscriptions.map(|(topic, qos)| json!({ "remote": topic, "local": topic, "qos": qos })).collect();
    let mut root = json!({
        "listeners": [{ "bind": sites.listen.to_string() }],
        "cache": { "path": sites.folder.join("cache.db").display().to_string() },
        "bridges": [{
            "name": "remote",
            "server": format!("mqtt://{}:{}", sites.remote.0, sites.remote.1),
            "protocol": bridge.protocol,
            "client_id": "lab-subject",
            "clean_start": false,
            "session_expiry": format_duration(bridge.session_expiry),
            "keep_alive": format_duration(bridge.keep_alive),
            "connect_timeout": format_duration(bridge.connect_timeout),
            "ack_timeout": format_duration(bridge.ack_timeout),
            "reconnect": {
                "min": format_duration(bridge.reconnect_min),
                "max": format_duration(bridge.reconnect_max),
            },
            "window": bridge.window,
            "forwards": forwards,
            "subscriptions": subscriptions,
        }],
        "metrics": { "bind": sites.metrics.to_string() },
    });
    if let Some(max_messages) = bridge.max_messages {
        root["cache"]["max_messages"] = max_messages.into();
    }
    if let Some(when_full) = bridge.when_full {
        root["cache"]["when_full"] = json!(when_full);
    }
    for (key, value) in &subject.settings {
        let wrong = |why: String| SubjectError::Setting { name: subject.name.clone(), key: key.clone(), why };
        let value: Value = serde_yaml::from_str(value).map_err(|error| wrong(error.to_string()))?;
        set(&mut root, key, value).map_err(wrong)?;
    }
    let has_metrics = root.get("metrics").is_some_and(|metrics| metrics["bind"] == sites.metrics.to_string());
    Ok(configuration(&root, sites.folder, has_metrics))
}

/// Our own program as a small broker without bridges, for where no other remote is installed.
pub(crate) fn broker(listen: SocketAddr, receive_maximum: Option<u16>, folder: &Path) -> Configuration {
    // Without a cache: like the mosquitto that it stands for, it keeps its sessions in memory.
    // Nothing that it keeps for the subject may be dropped: that would look like the subject's loss.
    let mut listener = json!({ "bind": listen.to_string(), "max_queued_bytes": "64GiB" });
    if let Some(receive_maximum) = receive_maximum {
        listener["receive_maximum"] = receive_maximum.into();
    }
    configuration(&json!({ "listeners": [listener] }), folder, false)
}

fn configuration(root: &Value, folder: &Path, has_metrics: bool) -> Configuration {
    // JSON is YAML; nobody but people who look for a reason will read it.
    let text = format!("{root:#}\n");
    let arguments = vec!["run".into(), "--config".into(), folder.join(FILE).display().to_string()];
    Configuration { has_metrics, ..Configuration::new(Program::Own, arguments, vec![(FILE.into(), text)]) }
}

fn set(mut place: &mut Value, path: &str, value: Value) -> Result<(), String> {
    for step in path.split('.') {
        let found = match place {
            Value::Object(map) => Some(map.entry(step).or_insert_with(|| json!({}))),
            Value::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get_mut(index)),
            _ => None,
        };
        place = found.ok_or_else(|| {
            format!(
                "there is no `{step}` there: write a path in bridge.yaml such as cache.max_messages or bridges.0.window"
            )
        })?;
    }
    *place = value;
    Ok(())
}
