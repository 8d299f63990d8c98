//! `scenarios/schema.json`, which editors use, says what the parser says.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.

use jsonschema::Validator;
use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::shipped::SHIPPED;
use mqtt_bridge::scenario::spec;
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(include_str!("../scenarios/schema.json")).unwrap()
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

fn instance(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// What the parser says; `mqtt-bridge` stands in for subjects that this version cannot run.
fn parsed(text: &str) -> Result<(), String> {
    let read = spec::read(&Document::from_text("s.yaml", text), &["mqtt-bridge"]);
    read.map(|_| ()).map_err(|error| error.to_string())
}

const LOAD: &str = "load:\n  - { topic: t, qps: 5 }\n";
const TIMELINE: &str = "timeline:\n  - { at: 0s, do: publish, for: 10s }\n";

fn step(step: &str) -> String {
    format!("{LOAD}{TIMELINE}  - {{ {step} }}\n")
}

#[test]
fn every_shipped_scenario_is_valid_and_names_its_schema() {
    let validator = validator();
    for shipped in SHIPPED {
        let errors: Vec<String> =
            validator.iter_errors(&instance(shipped.text)).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", shipped.name);
        assert!(shipped.text.starts_with("# yaml-language-server: $schema=schema.json\n"), "{}", shipped.name);
    }
}

#[test]
fn what_is_right_is_right_to_both() {
    let validator = validator();
    let valid = [
        "at: 1s, do: disconnect, on: bridge, for: 1s",
        "at: 1.5s, do: reset",
        "at: 1s, do: pause, on: bridge, for: 500ms",
        "at: 0, do: refuse, for: 1m",
        "between: [1s, 9s], times: 2, do: kill, for: 1s",
        "at: 1s, times: 3, period: 10s, spread: 2s, do: cut, for: 3s",
        "when: { drained: 20% }, do: cut, for: 3s",
        "when: { drained: 100% }, do: restart",
        "at: 1s, do: half_open, passes: to_bridge, for: 3s",
        "at: 1s, do: delay, by: 100ms, jitter: 50ms, for: 3s",
        "at: 1s, do: delay, jitter: 50ms, packets: [puback], every: 20, for: 3s",
        "at: 1s, do: throttle, rate: 8kbit, for: 3s",
        "at: 1s, do: throttle, rate: 1KiB/s, for: 3s",
        "at: 1s, do: loss, share: 30%, for: 3s",
        "at: 1s, do: drop_packets, packets: [pubrec, pubcomp, pubrel], for: 3s",
        "at: 1s, do: stop, on: remote, session: lost, for: 3s",
        "at: 1s, do: restart, on: remote, session: kept",
        "at: 1s, do: fill_disk, size: 32MiB, for: 3s",
        "at: 15s, do: publish, count: 3, load: [t]",
    ];
    let rest = "name: s\nseed: 7\nenvironment: netns\nsettle: 5s\nremote: { broker: built-in, receive_maximum: 10 }\n\
        bridge: { protocol: 4, window: 5, cache: { max_messages: 5, when_full: drop_oldest } }\n\
        expect: { lost: evicted, refused: counted, duplicated: { qos1: 3, qos2: ambiguous }, out_of_order: any }\n";
    let image = "remote: { image: 'a:1', preset: none, env: { A: 1, B: yes }, command: [run], port: 1884,\n  \
        names: [broker.example], ready_within: 5s }\n";
    for text in valid.map(step).into_iter().chain([rest, image].map(|text| format!("{text}{LOAD}{TIMELINE}"))) {
        assert_eq!(parsed(&text), Ok(()), "{text}");
        let errors: Vec<String> = validator.iter_errors(&instance(&text)).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn what_is_wrong_is_wrong_to_both() {
    let validator = validator();
    let steps = [
        "at: 1s, do: cutt, for: 1s",
        "at: 1s, for: 1s",
        "do: cut, for: 1s",
        "at: 1s, do: cut",
        "at: 1, do: cut, for: 1s",
        "at: -1s, do: cut, for: 1s",
        "at: 1s, between: [1s, 2s], do: cut, for: 1s",
        "between: [1s], do: kill",
        "at: 1s, do: restart, for: 1s",
        "at: 1s, do: cut, for: 1s, count: 3",
        "at: 1s, do: cut, for: 1s, rate: 8kbit",
        "at: 1s, do: cut, for: 1s, on: broker",
        "at: 1s, do: delay, for: 1s",
        "at: 1s, do: throttle, for: 1s",
        "at: 1s, do: throttle, rate: 8, for: 1s",
        "at: 1s, do: loss, share: 100%, for: 1s",
        "at: 1s, do: loss, share: 30, for: 1s",
        "at: 1s, do: drop_packets, for: 1s",
        "at: 1s, do: drop_packets, packets: [publish], for: 1s",
        "at: 1s, do: drop_packets, packets: [puback], every: 0, for: 1s",
        "at: 1s, do: fill_disk, on: remote, for: 1s",
        "at: 1s, do: fill_disk, size: 32, for: 1s",
        "at: 1s, do: half_open, passes: both, for: 1s",
        "when: { drained: 0% }, do: cut, for: 1s",
        "when: { drained: 20 }, do: cut, for: 1s",
        "when: {}, do: cut, for: 1s",
        "when: { drained: 20% }, do: publish, for: 1s",
        "at: 15s, do: publish",
        "at: 15s, do: publish, for: 1s, on: remote",
        "at: 15s, do: publish, for: 1s, count: 3",
    ];
    let wholes = [
        TIMELINE.to_owned(),
        LOAD.to_owned(),
        format!("load: []\n{TIMELINE}"),
        format!("load:\n  - {{ topic: t, qos: 3 }}\n{TIMELINE}"),
        format!("load:\n  - {{ topic: t, qps: 0 }}\n{TIMELINE}"),
        format!("load:\n  - {{ topic: 'a/+' }}\n{TIMELINE}"),
        format!("load:\n  - {{ topic: t, speed: 3 }}\n{TIMELINE}"),
        format!("{LOAD}{TIMELINE}speed: 3\n"),
        format!("{LOAD}{TIMELINE}settle: 60\n"),
        format!("{LOAD}{TIMELINE}environment: mars\n"),
        format!("{LOAD}{TIMELINE}remote: {{ receive_maximum: 0 }}\n"),
        format!("{LOAD}{TIMELINE}remote: {{ preset: hivemq }}\n"),
        format!("{LOAD}{TIMELINE}remote: {{ port: 0 }}\n"),
        format!("{LOAD}{TIMELINE}remote: {{ names: ['a b'] }}\n"),
        format!("{LOAD}{TIMELINE}remote: {{ files: {{ etc: x }} }}\n"),
        format!("{LOAD}{TIMELINE}bridge: {{ protocol: 3 }}\n"),
        format!("{LOAD}{TIMELINE}bridge: {{ cache: {{ when_full: explode }} }}\n"),
        format!("{LOAD}{TIMELINE}subjects:\n  - {{ kind: mosquito }}\n"),
        format!("{LOAD}{TIMELINE}expect: {{ lost: ambiguous }}\n"),
        format!("{LOAD}{TIMELINE}expect: {{ out_of_order: -1 }}\n"),
    ];
    for text in steps.map(step).into_iter().chain(wholes) {
        assert!(parsed(&text).is_err(), "the parser takes\n{text}");
        assert!(!validator.is_valid(&instance(&text)), "the schema takes\n{text}");
    }
}

/// A key that the parser knows and the schema does not would be marked as a mistake by every editor.
#[test]
fn both_know_the_same_keys() {
    let schema = schema();
    for (path, text) in [
        ("", "nonsense: 1\n".to_owned()),
        ("/properties/timeline/items", step("at: 1s, do: cut, for: 1s, nonsense: 1")),
        ("/properties/load/items", format!("load:\n  - {{ topic: t, nonsense: 1 }}\n{TIMELINE}")),
        ("/properties/subjects/items", format!("{LOAD}{TIMELINE}subjects:\n  - {{ kind: mosquitto, nonsense: 1 }}\n")),
        ("/properties/remote", format!("{LOAD}{TIMELINE}remote: {{ nonsense: 1 }}\n")),
        ("/properties/bridge", format!("{LOAD}{TIMELINE}bridge: {{ nonsense: 1 }}\n")),
        ("/properties/bridge/properties/cache", format!("{LOAD}{TIMELINE}bridge: {{ cache: {{ nonsense: 1 }} }}\n")),
        ("/properties/expect", format!("{LOAD}{TIMELINE}expect: {{ nonsense: 1 }}\n")),
    ] {
        let said = parsed(&text).unwrap_err();
        let known = said.split("(known: ").nth(1).unwrap_or_else(|| panic!("{said}")).trim_end_matches(')');
        let mut known: Vec<&str> = known.split(", ").collect();
        let place = schema.pointer(&format!("{path}/properties")).unwrap().as_object().unwrap();
        let mut described: Vec<&str> = place.keys().map(String::as_str).collect();
        known.sort_unstable();
        described.sort_unstable();
        assert_eq!(known, described, "{path}");
    }
}
