use std::path::Path;

use super::*;

const CONF: &str = "\
# a comment
listener 1883
max_queued_bytes 0
connection upstream
address emqx:1883
topic plant/# out 1
topic # out 0 local/ remote/
topic commands in 2
restart_timeout 2 20
keepalive_interval 10
";

fn read_text(text: &str) -> MosquittoConf {
    read(Path::new("mosquitto.conf"), text).unwrap()
}

fn asked(text: &str, rate: f64) -> MosquittoOutage {
    let conf = read_text(text);
    let load = |topic: &str, qos| Load { topic: topic.into(), qos, rate, payload: 100 };
    let loads = [load("plant/1", QoS::ExactlyOnce), load("local/x", QoS::AtLeastOnce), load("other", QoS::AtLeastOnce)];
    outage(&conf, &conf.connections[0], &loads, Duration::from_secs(1000), Duration::from_secs(1))
}

#[test]
fn the_default_queue_is_full_after_a_thousand_and_the_rest_is_lost() {
    let said = asked(CONF, 2.0);
    assert_eq!((said.survives, said.full_after_s, said.lost), (false, Some(500.0), 1000));
    assert_eq!((said.backlog, said.qos0_dropped, said.lost_in_a_crash), (1000, 2000, 1000));
    assert_eq!((said.cut_noticed_within_s, said.heal_noticed_within_s), (20.0, 20.0));
    // 20 in each second, less 4 that are published meanwhile.
    assert_eq!(said.drained_after_s, Some(1000.0 / 16.0));
    assert!(said.verdict.contains("full after 8 min 20 s (max_queued_messages)"), "{}", said.verdict);
    assert!(asked(CONF, 0.5).survives);
}

#[test]
fn whichever_limit_is_first_counts_and_none_is_none() {
    let said = asked(&format!("max_queued_messages 0\n{}", CONF.replace("bytes 0", "bytes 10000")), 2.0);
    assert_eq!((said.full_after_s, said.lost), (Some(50.0), 1900));
    let said = asked(&format!("max_queued_messages 0\n{CONF}"), 2.0);
    assert!(said.survives && said.full_after_s.is_none() && said.verdict.contains("no limit is set"), "{said:?}");
}

#[test]
fn what_a_crash_costs_depends_on_the_last_save() {
    let crash = |lines: &str| asked(&format!("{lines}{CONF}"), 1.0).lost_in_a_crash;
    assert_eq!(crash(""), 1000);
    assert_eq!(crash("persistence true\n"), 1000);
    assert_eq!(crash("persistence true\nautosave_interval 60\n"), 60);
    assert_eq!(crash("persistence true\nautosave_interval 0\n"), 1000);
    assert_eq!(crash("persistence true\nautosave_interval 7\nautosave_on_changes true\n"), 7);
}

#[test]
fn a_clean_session_keeps_nothing_unless_the_local_one_does() {
    let said = asked(&format!("{CONF}cleansession true\n"), 2.0);
    assert_eq!((said.survives, said.lost, said.backlog, said.full_after_s), (false, 2000, 0, None));
    assert_eq!(asked(&format!("{CONF}local_cleansession false\ncleansession true\n"), 2.0).lost, 1000);
    let said = asked(&format!("queue_qos0_messages true\n{CONF}"), 0.5);
    assert_eq!((said.qos0_dropped, said.backlog), (0, 1000));
}

#[test]
fn bad_values_are_named_with_file_line_and_key() {
    for (text, expected) in [
        ("max_queued_messages many", "mosquitto.conf:1: max_queued_messages: `many`: a whole number"),
        ("connection a\nkeepalive_interval 3", "mosquitto.conf:2: keepalive_interval: `3`: at least 5 seconds"),
        ("connection a\n\ncleansession maybe", "mosquitto.conf:3: cleansession: `maybe`: true or false"),
        ("connection a\nrestart_timeout 1 2 3", "mosquitto.conf:2: restart_timeout: `1 2 3`"),
        ("connection a\ntopic # sideways", "mosquitto.conf:2: topic: `# sideways`: in, out or both"),
        ("connection a\nbridge_protocol_version 5", "mosquitto.conf:2: bridge_protocol_version: `5`"),
        ("keepalive_interval 30", "mosquitto.conf:1: keepalive_interval: stands before any `connection`"),
        ("listener 1883", "mosquitto.conf: no bridge in it"),
    ] {
        let error = read(Path::new("mosquitto.conf"), text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn a_file_is_mosquitto_s_where_a_connection_begins_in_it() {
    assert!(is_mosquitto(CONF));
    for other in ["bridges.mqtt.emqx1 = {\n  connection = x\n}", "listeners:\n  - bind: x", "connection: x", ""] {
        assert!(!is_mosquitto(other), "{other}");
    }
}
