//! From what was typed to what it means, with the checks that need no timeline.
use std::path::Path;
use std::time::Duration;

use super::typed::{Allowance, Bridge, Broker, Expect, Load, Scenario};
use super::{SpecError, faults, publish, remote, subjects};
use crate::bridge::units::format_size;
use crate::bridge::yaml::{Document, YamlError};
use crate::scenario::identity::PAYLOAD_HEADER_BYTES;
use crate::scenario::plan::{self, BridgeSettings, Expectation, Plan, RemoteBroker};

/// Above this the ledger would not fit a small machine's memory.
const MOST_MESSAGES: u64 = 50_000_000;
const MOST_PER_SECOND: f64 = 100_000.0;
const MAX_PACKET_BYTES: u64 = 268_435_455;

pub(super) fn plan(document: &Document, typed: Scenario, asked: &[&str]) -> Result<Plan, SpecError> {
    let subjects = subjects::chosen(document, typed.subjects, asked)?;
    if typed.remote.receive_maximum == Some(0) {
        return Err(document.wrong("remote.receive_maximum", "0 is none that MQTT knows: at least 1").into());
    }
    let mut loads = loads(document, &typed.load)?;
    let faults = faults::faults(document, &typed.timeline, &loads, typed.seed)?;
    publish::publish(document, &typed.timeline, &mut loads)?;
    let published = loads.iter().flat_map(|load| &load.windows).map(|window| window.end);
    let planned = faults.iter().filter(|fault| fault.when.is_none());
    let end = planned.map(|fault| fault.end).chain(published).max().unwrap_or_default();
    let plan = Plan {
        name: typed.name.unwrap_or_else(|| file_stem(document.file())),
        about: typed.about,
        reproduces: typed.reproduces,
        seed: typed.seed,
        directory: document.file().parent().map(Path::to_owned).unwrap_or_default(),
        environment: typed.environment,
        remote: remote::plan(document, &typed.remote)?,
        remote_broker: typed.remote.broker.map(|broker| match broker {
            Broker::Mosquitto => RemoteBroker::Mosquitto,
            Broker::BuiltIn => RemoteBroker::BuiltIn,
        }),
        remote_receive_maximum: typed.remote.receive_maximum,
        subjects,
        loads,
        bridge: bridge(document, &typed.bridge)?,
        faults,
        end,
        settle: typed.settle.unwrap_or(Duration::from_secs(60)),
        expect: expectation(document, &typed.expect)?,
    };
    if plan.intended() > MOST_MESSAGES {
        let what = format!("{} messages in all are too many: at most {MOST_MESSAGES}", plan.intended());
        return Err(document.wrong("load", what).into());
    }
    let after_heal =
        [("drained_within", plan.expect.drained_within), ("first_delivery_within", plan.expect.first_delivery_within)];
    let unmeasurable = after_heal.iter().find(|(_, limit)| limit.is_some() && plan.faults.is_empty());
    if let Some((key, _)) = unmeasurable {
        let what = "there is no fault in the timeline, so there is no heal to count from: remove it, or add a fault";
        return Err(document.wrong(&format!("expect.{key}"), what).into());
    }
    Ok(plan)
}

fn file_stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn loads(document: &Document, typed: &[Load]) -> Result<Vec<plan::Load>, YamlError> {
    if typed.is_empty() {
        return Err(document.wrong("load", "nothing to publish: write for example - { topic: test1, qos: 1, qps: 5 }"));
    }
    if typed.len() > usize::from(u16::MAX) {
        return Err(document.wrong("load", format!("{} entries are too many: at most {}", typed.len(), u16::MAX)));
    }
    for (index, load) in typed.iter().enumerate() {
        let wrong = |key: &str, what: String| Err(document.wrong(&format!("load[{index}].{key}"), what));
        if let Some(what) = wrong_topic(&load.topic) {
            return wrong("topic", format!("`{}` is not a Topic Name: {what}", load.topic));
        }
        if load.qos > 2 {
            return wrong("qos", format!("{} is not a QoS: write 0, 1 or 2", load.qos));
        }
        // Also false for NaN.
        if !(load.qps > 0.0 && load.qps <= MOST_PER_SECOND) {
            let what = format!("{} is not a rate: write messages per second, above 0, at most 100000", load.qps);
            return wrong("qps", what);
        }
        let payload = load.payload.unwrap_or(64);
        if payload < PAYLOAD_HEADER_BYTES as u64 {
            let header = PAYLOAD_HEADER_BYTES;
            let what = format!("{} is below the {header} bytes of the identity in every payload", format_size(payload));
            return wrong("payload", format!("{what}: write {header}B or more"));
        }
        if payload + load.topic.len() as u64 + 64 > MAX_PACKET_BYTES {
            return wrong("payload", format!("{} does not fit an MQTT packet (256MiB)", format_size(payload)));
        }
        if let Some(other) = typed[..index].iter().find(|other| other.topic == load.topic) {
            if other.via != load.via {
                let what =
                    format!("`{}` would be bridged in both directions, and its messages go in a circle", load.topic);
                return wrong("via", format!("{what}: write another topic for one of them"));
            }
            if other.qos != load.qos {
                let what =
                    format!("`{}` is there with QoS {} already, and its forward has one QoS", load.topic, other.qos);
                return wrong("qos", format!("{what}: write the same, or another topic"));
            }
        }
    }
    let load = |load: &Load| plan::Load {
        topic: load.topic.clone(),
        qos: load.qos,
        qps: load.qps,
        payload: load.payload.unwrap_or(64) as usize,
        via: load.via,
        windows: Vec::new(),
    };
    Ok(typed.iter().map(load).collect())
}

fn wrong_topic(topic: &str) -> Option<&'static str> {
    match topic {
        "" => Some("it is empty"),
        _ if topic.contains(['+', '#']) => Some("a publisher cannot use the wildcards `+` and `#`"),
        _ if topic.contains('\0') => Some("it contains U+0000"),
        _ if topic.starts_with('$') => Some("what begins with `$` belongs to the broker"),
        _ if topic.len() > 65_535 => Some("it is longer than 65535 bytes"),
        _ => None,
    }
}

fn bridge(document: &Document, typed: &Bridge) -> Result<BridgeSettings, YamlError> {
    let default = BridgeSettings::default();
    let wrong = |key: &str, what: &str| Err(document.wrong(&format!("bridge.{key}"), what));
    let whole = |duration: Duration| duration.subsec_nanos() == 0;
    let settings = BridgeSettings {
        protocol: typed.protocol.unwrap_or(default.protocol),
        keep_alive: typed.keep_alive.unwrap_or(default.keep_alive),
        connect_timeout: typed.connect_timeout.unwrap_or(default.connect_timeout),
        ack_timeout: typed.ack_timeout.unwrap_or(default.ack_timeout),
        reconnect_min: typed.reconnect.min.unwrap_or(default.reconnect_min),
        reconnect_max: typed.reconnect.max.unwrap_or(default.reconnect_max),
        window: typed.window.unwrap_or(default.window),
        session_expiry: typed.session_expiry.unwrap_or(default.session_expiry),
        max_messages: typed.cache.max_messages,
        when_full: typed.cache.when_full,
    };
    if !matches!(settings.protocol, 4 | 5) {
        return wrong("protocol", "write 5, or 4 for MQTT 3.1.1");
    }
    if !whole(settings.keep_alive) || !(1..=65_535).contains(&settings.keep_alive.as_secs()) {
        return wrong("keep_alive", "Keep Alive has whole seconds: write 1s to 65535s");
    }
    if settings.connect_timeout.is_zero() {
        return wrong("connect_timeout", "0 leaves no time to connect: write for example 1s");
    }
    if settings.ack_timeout.is_zero() {
        return wrong("ack_timeout", "0 leaves no time to acknowledge: write for example 20s");
    }
    if settings.reconnect_min.is_zero() {
        return wrong("reconnect.min", "0 would try without a pause: write for example 100ms");
    }
    if settings.reconnect_min > settings.reconnect_max {
        return wrong("reconnect", "min is above max: write for example { min: 100ms, max: 1s }");
    }
    if settings.max_messages == Some(0) {
        return wrong("cache.max_messages", "0 would keep nothing: at least 1");
    }
    if settings.window == 0 {
        return wrong("window", "0 would send nothing: write 1 to 65535");
    }
    if !whole(settings.session_expiry) || settings.session_expiry.as_secs() > u64::from(u32::MAX) {
        return wrong("session_expiry", "Session Expiry has whole seconds: write for example 7d, at most 4294967295s");
    }
    Ok(settings)
}

/// A section that is absent asks for the guarantees; a key that is absent is not silently lenient.
fn expectation(document: &Document, typed: &Expect) -> Result<Expectation, YamlError> {
    let words = [
        ("lost", typed.lost, Allowance::Evicted),
        ("duplicated.qos2", typed.duplicated.qos2, Allowance::Ambiguous),
        ("duplicated.qos1", typed.duplicated.qos1, Allowance::Any),
        ("out_of_order", typed.out_of_order, Allowance::Any),
    ];
    for (key, value, own) in words {
        if let Some(value @ (Allowance::Evicted | Allowance::Ambiguous)) = value
            && value != own
        {
            let what = "only lost can be `evicted`, and only duplicated.qos2 `ambiguous`: write a number, or `any`";
            return Err(document.wrong(&format!("expect.{key}"), what));
        }
    }
    let or = |typed: Option<Allowance>, default: Option<u64>| typed.map_or(default, Allowance::number);
    Ok(Expectation {
        lost: or(typed.lost, Some(0)),
        lost_if_evicted: typed.lost == Some(Allowance::Evicted),
        refused_as_counted: typed.refused.is_some(),
        duplicated_qos1: or(typed.duplicated.qos1, None),
        duplicated_qos2: or(typed.duplicated.qos2, Some(0)),
        duplicated_qos2_if_ambiguous: typed.duplicated.qos2 == Some(Allowance::Ambiguous),
        out_of_order: or(typed.out_of_order, Some(0)),
        drained_within: typed.drained_within,
        first_delivery_within: typed.first_delivery_within,
    })
}
