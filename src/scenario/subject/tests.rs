use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::scenario::plan::{BridgeSettings, WhenFull};
use crate::scenario::story::plan;

const SCENARIO: &str = "load:\n  - { topic: test1, qos: 1, qps: 5 }\n  - { topic: test6, qos: 2, qps: 1, via: remote }\n\
    timeline:\n  - { at: 0s, do: publish, for: 2s }\n";

fn subject(kind: SubjectKind, settings: &[(&str, &str)]) -> SubjectPlan {
    let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    SubjectPlan {
        name: "s".into(),
        kind,
        image: None,
        binary: None,
        arguments: Vec::new(),
        config: None,
        workers: None,
        settings,
    }
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

fn sites() -> Sites<'static> {
    Sites {
        listen: "127.0.0.1:1884".parse().unwrap(),
        remote: ("emqx".into(), 1885),
        metrics: "127.0.0.1:9464".parse().unwrap(),
        folder: Path::new("/f"),
    }
}

#[test]
fn nanomq_is_told_in_its_own_words_and_what_it_has_none_for_is_said() {
    let mut subject = subject(SubjectKind::Nanomq, &[("resend_wait", "65000"), ("cache.flush_mem_threshold", "1")]);
    subject.workers = Some(4);
    let configuration = configure(&plan(SCENARIO), &subject, &sites()).unwrap();
    assert_eq!(configuration.program, Program::Installed("nanomq"));
    assert_eq!(configuration.arguments, ["start", "--conf", "/f/nanomq.conf", "-n", "4"]);
    assert_eq!(
        (configuration.folders.as_slice(), configuration.listens),
        (&["cache".to_owned()][..], Some(sites().listen))
    );
    assert!(configuration.unexpressed.iter().any(|what| what.starts_with("bridge.window: ")));
    insta::assert_snapshot!(configuration.files[0].1, @r#"
listeners.tcp { bind = "127.0.0.1:1884" }
log { to = [console], level = info }
auth { allow_anonymous = true, no_match = allow, deny_action = ignore }

bridges.mqtt.lab = {
    server = "mqtt-tcp://emqx:1885"
    proto_ver = 5
    clientid = "lab-subject"
    clean_start = false
    keepalive = "3s"
    backoff_max = "1s"
    max_parallel_processes = 2
    max_send_queue_len = 256
    max_recv_queue_len = 256
    resend_interval = 1000
    resend_wait = 65000
    cancel_timeout = 20000
    retry_qos_0 = true
    conn_properties = { session_expiry_interval = 604800 }
    forwards = [
        { local_topic = "test1", remote_topic = "test1", qos = 1 }
    ]
    subscription = [
        { remote_topic = "test6", local_topic = "test6", qos = 2 }
    ]
}
bridges.mqtt.cache {
    disk_cache_size = 102400
    mounted_file_path = "/f/cache/"
    flush_mem_threshold = 1
    resend_interval = 5000
}
"#);
    let unhurried = format!("bridge: {{ keep_alive: 60s }}\n{SCENARIO}");
    let patient = configure(&plan(&unhurried), &subject, &sites()).unwrap();
    assert!(patient.files[0].1.contains("    resend_interval = 5000\n    resend_wait"));
    // The bridge that stands in for it reads the same file.
    let file = Path::new("nanomq.conf");
    let config = crate::bridge::config::nanomq::translate(file, &configuration.files[0].1).unwrap().config;
    assert_eq!((config.bridges.len(), config.listeners[0].bind), (1, sites().listen));
}

type Change = (&'static str, &'static str, fn(&mut BridgeSettings));

/// Every field of the scenario's `bridge:` with its key, and how it is given another value than by default.
const CHANGES: [Change; 10] = [
    ("protocol", "protocol", |bridge| bridge.protocol = 9 - bridge.protocol),
    ("keep_alive", "keep_alive", |bridge| bridge.keep_alive = Duration::from_secs(77)),
    ("connect_timeout", "connect_timeout", |bridge| bridge.connect_timeout = Duration::from_secs(77)),
    ("ack_timeout", "ack_timeout", |bridge| bridge.ack_timeout = Duration::from_secs(77)),
    ("reconnect_min", "reconnect.min", |bridge| bridge.reconnect_min = Duration::from_millis(500)),
    ("reconnect_max", "reconnect.max", |bridge| bridge.reconnect_max = Duration::from_secs(77)),
    ("window", "window", |bridge| bridge.window = 77),
    ("session_expiry", "session_expiry", |bridge| bridge.session_expiry = Duration::from_secs(77)),
    ("max_messages", "cache.max_messages", |bridge| bridge.max_messages = Some(77)),
    ("when_full", "cache.when_full", |bridge| bridge.when_full = Some(WhenFull::Reject)),
];

/// A key that is new must be said to every subject, or be listed as what it is not told.
#[test]
fn every_key_of_the_bridge_is_said_in_a_subjects_words_or_listed() {
    let told = |protocol: u8, kind, change: fn(&mut BridgeSettings)| {
        let mut plan = plan(SCENARIO);
        plan.bridge.protocol = protocol;
        change(&mut plan.bridge);
        let configuration = configure(&plan, &subject(kind, &[]), &sites()).unwrap();
        (configuration.files, configuration.unexpressed)
    };
    let fields = serde_json::to_value(plan(SCENARIO).bridge).unwrap();
    let fields: Vec<&String> = fields.as_object().unwrap().keys().collect();
    let mut known = CHANGES.map(|(field, ..)| field);
    known.sort_unstable();
    assert_eq!(fields, known, "a key of `bridge:` is missing here");
    for kind in [SubjectKind::MqttBridge, SubjectKind::Mosquitto, SubjectKind::Nanomq] {
        for (protocol, (_, key, change)) in [4, 5].into_iter().flat_map(|protocol| CHANGES.map(|one| (protocol, one))) {
            let ((before, _), (after, unexpressed)) = (told(protocol, kind, |_| {}), told(protocol, kind, change));
            let listed = unexpressed.iter().any(|what| what.starts_with(&format!("bridge.{key}: ")));
            // mosquitto speaks 3.1.1 whatever is asked for, which is said where that is not it.
            let own = kind == SubjectKind::Mosquitto && key == "protocol" && protocol == 5;
            assert!(
                before != after || listed || own,
                "{kind:?}, protocol {protocol}: {key} is neither said nor listed"
            );
        }
    }
}

#[test]
fn a_configuration_of_ones_own_is_used_as_it_is_but_for_its_places() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("nanomq.conf", include_str!("../../../scenarios/silent-cut-100s/nanomq.conf"));
    write("mosquitto.conf", "listener 1999\nconnection a\naddress emqx:1\npersistence_location /var/x/\n");
    write("other.conf", "host={{remote_host}}\nport={{remote_port}}\nin={{folder}}\n");
    let plan = Plan { directory: folder.path().to_owned(), ..plan(SCENARIO) };
    let own = |kind, config: &str| SubjectPlan { config: Some(config.into()), ..subject(kind, &[]) };
    let nanomq = configure(&plan, &own(SubjectKind::Nanomq, "nanomq.conf"), &sites()).unwrap();
    let text = &nanomq.files[0].1;
    assert!(text.contains("server = \"mqtt-tcp://emqx:1885\"") && text.contains("mounted_file_path=\"/f/cache/\""));
    assert!(text.contains("resend_wait = 65000"), "the rest is as it was");
    assert_eq!(nanomq.listens, Some("127.0.0.1:1883".parse().unwrap()));
    let mosquitto = configure(&plan, &own(SubjectKind::Mosquitto, "mosquitto.conf"), &sites()).unwrap();
    assert_eq!(mosquitto.files[0].1, "listener 1999\nconnection a\naddress emqx:1885\npersistence_location /f/\n");
    assert_eq!(mosquitto.listens, Some("127.0.0.1:1999".parse().unwrap()));
    let command = SubjectPlan {
        binary: Some("/opt/bridge".into()),
        arguments: vec!["--config={{config}}".into(), "{{listen_port}}".into()],
        ..own(SubjectKind::Command, "other.conf")
    };
    let command = configure(&plan, &command, &sites()).unwrap();
    assert_eq!(command.program, Program::File("/opt/bridge".into()));
    assert_eq!(command.arguments, ["--config=/f/other.conf", "1884"]);
    assert_eq!(command.files[0].1, "host=emqx\nport=1885\nin=/f\n");
    let both = SubjectPlan { settings: [("a".into(), "1".into())].into(), ..own(SubjectKind::Nanomq, "nanomq.conf") };
    assert!(matches!(configure(&plan, &both, &sites()), Err(SubjectError::BothConfigurations { .. })));
    write("nanomq.conf", "\nbridges.mqtt.a {\n");
    let error = configure(&plan, &own(SubjectKind::Nanomq, "nanomq.conf"), &sites()).unwrap_err();
    assert!(error.to_string().contains("nanomq.conf:2: "), "{error}");
}
