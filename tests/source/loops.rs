//! Two bridges between two brokers, everything in both directions: what goes round ends, unless it is not counted.
use std::time::{Duration, Instant};

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscribe, Subscription, Version};

use crate::common::wire::Wire;
use crate::common::{Bridge, PATIENCE, has};
use crate::mosquitto::Mosquitto;
use crate::relay::Relay;
use crate::world::{mosquitto, subscribed, until};

/// A bridge with everything in both directions between two brokers, ready.
struct Both {
    folder: tempfile::TempDir,
    bridge: Bridge,
}

fn both(name: &str, local: &Mosquitto, remote: &Mosquitto, rest: &str, no_local: bool) -> Both {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (Relay::start(local.address), Relay::start(remote.address));
    let configuration = format!(
        "source: {{ server: \"mqtt://{}\" }}\ncache: {{ path: {} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  - {{ name: \
         {name}, server: \"mqtt://{}\", client_id: {name}, {rest} forwards: [{{ local: \"#\" }}], subscriptions: [{{ \
         remote: \"#\", no_local: {no_local} }}] }}\n",
        near.address,
        folder.path().join("cache.db").display(),
        far.address,
    );
    let bridge = Bridge::without_listener(folder.path(), &configuration, &[]);
    until("both subscribe", || subscribed(&near, 1) && subscribed(&far, 1));
    Both { folder, bridge }
}

fn watch(broker: &Mosquitto) -> Wire {
    let (mut wire, _) = Wire::connect(broker.address, Connect::new(Version::V5, "watch"), PATIENCE).unwrap();
    let filter = Subscription {
        filter: "#".into(),
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    wire.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], identifier: None }));
    assert!(matches!(wire.receive().unwrap(), Packet::Suback(_)));
    wire
}

fn publish(broker: &Mosquitto) {
    let (mut wire, _) = Wire::connect(broker.address, Connect::new(Version::V5, "device"), PATIENCE).unwrap();
    wire.send(&Packet::Publish(Publish::new(Message::new("a/b", "x", QoS::AtLeastOnce).into(), 1)));
    assert_eq!(wire.receive().unwrap(), Packet::Puback(Ack::success(1)));
}

/// Copies that come before nothing comes for so long, at most so many.
fn copies(wire: &mut Wire, quiet: Duration, most: usize) -> usize {
    wire.stream.set_read_timeout(Some(quiet)).unwrap();
    let begun = Instant::now();
    let mut copies = 0;
    while copies < most && begun.elapsed() < PATIENCE * 3 {
        match wire.receive() {
            Ok(Packet::Publish(_)) => copies += 1,
            Ok(other) => panic!("{}", other.name()),
            Err(_) => break,
        }
    }
    copies
}

const QUIET: Duration = Duration::from_secs(2);

#[test]
fn what_goes_round_between_two_bridges_ends_and_without_a_count_it_does_not() {
    if !has("mosquitto", "what_goes_round_between_two_bridges_ends") {
        return;
    }
    for (rest, ends) in [("", true), ("max_hops: 0,", false)] {
        let folder = tempfile::tempdir().unwrap();
        let (local, remote) = (mosquitto(folder.path(), "local"), mosquitto(folder.path(), "remote"));
        let bridges = ["one", "two"].map(|name| both(name, &local, &remote, rest, true));
        let mut watch = watch(&local);
        publish(&local);
        let seen = copies(&mut watch, QUIET, 200);
        if ends {
            // The message, and what each of two rounds brings back: it has passed 2, 4, 6, and 8 bridges.
            assert_eq!(seen, 1 + 2 * 4);
            for Both { bridge, .. } in &bridges {
                assert_eq!(bridge.metric("messages_dropped_total"), 1);
                assert!(bridge.process.log().contains("topics go round"), "{}", bridge.process.log());
            }
        } else {
            assert_eq!(seen, 200, "this is the loop");
        }
        drop(bridges.map(|both| both.folder));
    }
}

#[test]
fn what_a_bridge_publishes_does_not_come_back_to_it_unless_it_asks_for_that() {
    if !has("mosquitto", "what_a_bridge_publishes_does_not_come_back_to_it") {
        return;
    }
    for (no_local, expected) in [(true, 1), (false, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let (local, remote) = (mosquitto(folder.path(), "local"), mosquitto(folder.path(), "remote"));
        let bridge = both("one", &local, &remote, "", no_local);
        let mut watch = watch(&local);
        publish(&local);
        assert_eq!(copies(&mut watch, QUIET, 200), expected);
        drop(bridge);
    }
}
