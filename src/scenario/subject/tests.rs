use std::path::PathBuf;

use super::*;
use crate::scenario::story::plan;

const SCENARIO: &str = "load:\n  - { topic: test1, qos: 1, qps: 5 }\n  - { topic: test6, qos: 2, qps: 1, via: remote }\n\
    timeline:\n  - { at: 0s, do: publish, for: 2s }\n";

fn subject(kind: SubjectKind, settings: &[(&str, &str)]) -> SubjectPlan {
    let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    SubjectPlan { name: "s".into(), kind, image: None, config: None, workers: None, settings }
}

fn configured(kind: SubjectKind, settings: &[(&str, &str)]) -> Result<String, SubjectError> {
    let sites = Sites {
        listen: "127.0.0.1:1884".parse().unwrap(),
        remote: ("127.0.0.1".into(), 1885),
        metrics: "127.0.0.1:9464".parse().unwrap(),
        folder: &PathBuf::from("/f"),
    };
    let configuration = configure(&plan(SCENARIO), &subject(kind, settings), &sites)?;
    assert_eq!(configuration.files.len(), 1);
    Ok(configuration.files[0].1.clone())
}

#[test]
fn mosquitto_is_told_in_its_own_words() {
    let text = configured(SubjectKind::Mosquitto, &[("max_queued_messages", "100"), ("round_robin", "true")]).unwrap();
    for line in [
        "listener 1884 127.0.0.1",
        "address 127.0.0.1:1885",
        "keepalive_interval 5",
        "restart_timeout 1",
        "topic test1 out 1",
        "topic test6 in 2",
        "max_queued_messages 100",
        "round_robin true",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("max_queued_messages 0"));
}

#[test]
fn our_own_bridge_is_told_in_yaml() {
    let settings = [("cache.max_messages", "1000"), ("bridges.0.window", "7"), ("cache.when_full", "drop_oldest")];
    let text = configured(SubjectKind::MqttBridge, &settings).unwrap();
    let yaml: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(yaml["bridges"][0]["server"], "mqtt://127.0.0.1:1885");
    assert_eq!(yaml["bridges"][0]["forwards"], serde_json::json!([{ "local": "test1", "remote": "test1", "qos": 1 }]));
    assert_eq!(yaml["bridges"][0]["subscriptions"][0]["remote"], "test6");
    assert_eq!(yaml["bridges"][0]["window"], 7);
    assert_eq!(yaml["bridges"][0]["keep_alive"], "3s");
    assert_eq!((&yaml["cache"]["max_messages"], &yaml["cache"]["when_full"]), (&1000.into(), &"drop_oldest".into()));
}

#[test]
fn a_setting_that_leads_nowhere_is_named() {
    let error = configured(SubjectKind::MqttBridge, &[("bridges.3.window", "7")]).unwrap_err();
    assert!(error.to_string().contains("settings.bridges.3.window: there is no `3` there"), "{error}");
}
