//! `$SYS/bridge/<name>/state` over real TCP.
use std::path::Path;
use std::sync::Arc;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Connect, Packet, Publish, Subscribe, Subscription, Version};
use serde_json::Value;

use super::common::{Bridge, Client};

const TOPIC: &str = "$SYS/bridge/b/state";

fn start(folder: &Path, remote: &str, interval: &str) -> Bridge {
    let path = folder.join("cache.db").display().to_string();
    Bridge::start(
        folder,
        &format!(
            "cache: {{ path: {path} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nstate_interval: {interval}\n\
             bridges: [{{ name: b, server: mqtt://{remote}, client_id: b, keep_alive: 1s, reconnect: {{ max: 100ms }}, \
             forwards: [{{ local: \"#\" }}, {{ local: \"$SYS/#\" }}] }}]\n"
        ),
    )
}

fn subscribed(bridge: &Bridge, client_id: &str, filter: &str) -> Client {
    subscribed_as(bridge, Connect::new(Version::V5, client_id), filter)
}

fn subscribed_as(bridge: &Bridge, connect: Connect, filter: &str) -> Client {
    let (mut client, _) = Client::connect(bridge.address, connect);
    let filter = Subscription {
        filter: filter.to_owned(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    client.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], identifier: None }));
    client
}

/// The next message: its topic, RETAIN and payload. SUBACK may come before and after what is retained.
fn received(client: &mut Client) -> (String, bool, Vec<u8>) {
    loop {
        match client.receive() {
            Some(Packet::Publish(publish)) => {
                return (publish.topic.to_string(), publish.retain, publish.message.payload.to_vec());
            }
            Some(Packet::Suback(_) | Packet::Puback(_)) => {}
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }
}

/// Waits until a state is as wanted.
fn until(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (topic, _, payload) = received(client);
        assert_eq!(topic, TOPIC);
        let state = serde_json::from_slice(&payload).unwrap();
        if wanted(&state) {
            return state;
        }
    }
}

#[test]
fn whoever_subscribes_has_the_latest_state_at_once_and_every_change_after_it() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(far.path(), "");
    let address = remote.address.to_string();
    // So rarely that only changes are published.
    let bridge = start(near.path(), &address, "1h");
    bridge.until_metric("connected", 1);
    let mut client = subscribed(&bridge, "client", TOPIC);
    let state = until(&mut client, |state| state["connected"] == true);
    assert_eq!(state["server"], format!("mqtt://{address}"));
    assert_eq!((&state["queued"], &state["oldest_age_s"], &state["dropped"]), (&0.into(), &Value::Null, &0.into()));
    let (_, is_retained, _) = received(&mut subscribed(&bridge, "second", "$SYS/#"));
    assert!(is_retained);
    remote.kill();
    let lost = until(&mut client, |state| state["connected"] == false && !state["last_error"].is_null());
    assert!(lost["since"].as_u64() >= state["since"].as_u64());
    let _remote = Bridge::start_at(&address, far.path(), "");
    until(&mut client, |state| state["connected"] == true);
}

#[test]
fn a_session_that_is_kept_hears_the_state_from_memory_while_it_is_connected() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = start(folder.path(), "127.0.0.1:1", "100ms");
    let kept = Connect { clean_start: false, session_expiry: 60, ..Connect::new(Version::V5, "kept") };
    let mut client = subscribed_as(&bridge, kept.clone(), "$SYS/#");
    until(&mut client, |state| state["connected"] == false);
    let message = |topic| Arc::new(Message { retain: true, ..Message::new(topic, "forged", QoS::AtLeastOnce) });
    client.send(&Packet::Publish(Publish::new(message(TOPIC), 1)));
    client.send(&Packet::Publish(Publish::new(message("$SYS/bridge/b/other"), 2)));
    for _ in 0..3 {
        until(&mut client, |_| true);
    }
    drop(client);
    let (mut client, connack) = Client::connect(bridge.address, kept);
    assert!(connack.session_present);
    until(&mut client, |state| state["connected"] == false);
    assert_eq!(bridge.metric("messages_cached"), 0);
    let (_, is_retained, payload) = received(&mut subscribed(&bridge, "late", "$SYS/#"));
    assert!(is_retained && payload != b"forged");
}

#[test]
fn the_age_of_the_oldest_is_said_at_every_interval_and_in_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = start(folder.path(), "127.0.0.1:1", "100ms");
    let mut client = subscribed(&bridge, "client", TOPIC);
    until(&mut client, |state| state["oldest_age_s"].is_null());
    let message = Message::new("t", "waits", QoS::AtLeastOnce);
    client.send(&Packet::Publish(Publish::new(Arc::new(message), 1)));
    let state = until(&mut client, |state| state["oldest_age_s"].as_u64() >= Some(1));
    assert_eq!(state["queued"], 1);
    let page = bridge.page("/metrics");
    let age = page.lines().find(|line| line.starts_with("mqtt_bridge_oldest_message_age_seconds{")).unwrap();
    assert!(age.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 1.0, "{age}");
}

#[test]
fn nobody_else_speaks_in_the_bridges_name_and_a_wildcard_does_not_hear_it() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = Bridge::start(far.path(), "");
    let bridge = start(near.path(), &remote.address.to_string(), "1h");
    bridge.until_metric("connected", 1);
    let mut everything = subscribed(&bridge, "everything", "#");
    let mut any = subscribed(&bridge, "any", "+/bridge/b/state");
    let mut far_away = subscribed(&remote, "far", "$SYS/#");
    let mut own = subscribed(&bridge, "own", TOPIC);
    received(&mut own);
    for (packet_id, topic) in [(1, TOPIC), (2, "$SYS/other"), (3, "own/bridge/b/state")] {
        let message = Message::new(topic, "forged", QoS::AtLeastOnce);
        own.send(&Packet::Publish(Publish::new(Arc::new(message), packet_id)));
    }
    for client in [&mut everything, &mut any] {
        assert_eq!(received(client).0, "own/bridge/b/state");
    }
    bridge.until_metric("messages_delivered_total", 1);
    assert_eq!(bridge.metric("messages_accepted_total"), 1);
    // What was forged has been committed before; neither its publisher nor the remote has heard of it.
    for (client, topic) in [(&mut own, TOPIC), (&mut far_away, "$SYS/end")] {
        client.send(&Packet::Pingreq);
        loop {
            match client.receive() {
                Some(Packet::Pingresp) => break,
                Some(Packet::Puback(_) | Packet::Suback(_)) => {}
                other => panic!("{other:?} on {topic}"),
            }
        }
    }
}

#[test]
fn an_interval_of_zero_publishes_nothing_and_readyz_answers() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = start(folder.path(), "127.0.0.1:1", "0s");
    let ready = bridge.page("/readyz");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ready\n"), "{ready}");
    // Its first attempt to connect has failed, which is a change.
    bridge.process.line("no link to").unwrap();
    let mut client = subscribed(&bridge, "client", "$SYS/#");
    assert!(matches!(client.receive(), Some(Packet::Suback(_))));
    client.send(&Packet::Pingreq);
    assert_eq!(client.receive(), Some(Packet::Pingresp));
}
