//! TLS and WebSocket, on the local leg and on the remote leg, with certificates of our own.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // A test may.
#[path = "../common/mod.rs"]
mod common;

mod authority;
mod files;
mod mosquitto;
mod refusals;
mod relay;
mod world;

use std::collections::HashMap;
use std::path::Path;

use authority::Authority;
use mqtt_bridge::bridge::message::QoS;
use relay::Relay;
use world::{Broker, acknowledged, edge, message, publish, publisher, subscriber};

const NAME: &str = "broker.test";

/// The ways of a bridge to its remote: the scheme, and what the remote's listener says.
fn ways(server: &str, ca: &Path) -> Vec<(&'static str, String)> {
    let mutual = format!(", tls: {{ {server}, client_ca: {} }}", ca.display());
    vec![
        ("mqtts", mutual.clone()),
        ("ws", ", websocket: true".to_owned()),
        ("wss", format!("{mutual}, websocket: {{ path: /mqtt }}")),
    ]
}

/// What a bridge says of a remote that has a certificate for [`NAME`] and asks for one.
fn trusting(scheme: &str, ca: &Path, keys: &str) -> String {
    match scheme {
        "ws" | "mqtt" => String::new(),
        _ => format!(", tls: {{ ca: {}, server_name: {NAME}, {keys} }}", ca.display()),
    }
}

#[test]
fn every_message_crosses_a_link_that_is_cut_again_and_again_once_at_qos_2() {
    const EACH: u16 = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (server, client) = (authority.issue(&[NAME]), authority.issue(&["edge"]));
    for (scheme, listener) in ways(&server.keys(), &authority.file()) {
        let folder = tempfile::tempdir().unwrap();
        let remote = Broker::start(folder.path(), "remote", &listener, "");
        let relay = Relay::start(remote.address);
        let mut receiver = subscriber(remote.plain, "up/#", QoS::ExactlyOnce);
        let keys = trusting(scheme, &authority.file(), &client.keys());
        let edge = edge(folder.path(), &format!("{scheme}://{}", relay.address), &keys);
        assert!(edge.process.line("bridge b: connected to").is_some(), "{scheme}");
        let near = edge.address;
        let sending = std::thread::spawn(move || {
            let mut publisher = publisher(near);
            for number in 1..=EACH {
                for (topic, qos) in [("up/1", QoS::AtLeastOnce), ("up/2", QoS::ExactlyOnce)] {
                    publish(&mut publisher, topic, number.to_string().into_bytes(), qos, number);
                    acknowledged(&mut publisher, qos, number);
                }
            }
        });
        let (mut seen, mut cuts) = (HashMap::<(String, u16), u32>::new(), 0);
        while seen.len() < usize::from(EACH) * 2 {
            let message = message(&mut receiver).unwrap();
            let number = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
            *seen.entry((message.topic.to_string(), number)).or_default() += 1;
            if seen.len() % 500 == 250 && cuts < seen.len() / 500 + 1 {
                cuts += usize::from(relay.cut() > 0);
            }
        }
        sending.join().unwrap();
        assert!(cuts >= 3, "{scheme}: cut {cuts} times");
        assert!(edge.metric("connections_total") as usize > cuts, "{scheme}");
        let twice = seen.iter().filter(|((topic, _), times)| topic == "up/2" && **times > 1).count();
        assert_eq!(twice, 0, "{scheme}: QoS 2; {}", remote.process.log());
        edge.until_metric("messages_delivered_total", u64::from(EACH) * 2);
    }
}

#[test]
fn a_mebibyte_goes_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (server, client) = (authority.issue(&[NAME]), authority.issue(&["edge"]));
    // No two blocks are alike: what is swapped, repeated or cut off is found.
    let large: Vec<u8> =
        (0..(1 << 20) - 512_u32).flat_map(|n| (n / 4).to_be_bytes()[(n % 4) as usize..].first().copied()).collect();
    for (scheme, listener) in ways(&server.keys(), &authority.file()) {
        let folder = tempfile::tempdir().unwrap();
        let remote = Broker::start(folder.path(), "remote", &listener, "");
        let keys = trusting(scheme, &authority.file(), &client.keys());
        let edge = edge(folder.path(), &format!("{scheme}://{}", remote.address), &keys);
        assert!(edge.process.line("bridge b: connected to").is_some(), "{scheme}");
        for (from, to, topic) in [(edge.address, remote.plain, "up/large"), (remote.plain, edge.address, "down/large")]
        {
            let mut receiver = subscriber(to, topic, QoS::AtLeastOnce);
            let mut publisher = publisher(from);
            for number in 1..=3 {
                publish(&mut publisher, topic, large.clone(), QoS::AtLeastOnce, number);
            }
            for _ in 0..3 {
                assert!(message(&mut receiver).unwrap().payload == large, "{scheme} {topic}: altered");
            }
        }
        assert_eq!(edge.metric("connections_total"), 1, "{scheme}: the link did not stand");
    }
}
