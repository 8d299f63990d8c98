//! Several servers: the next takes over, and the first is returned to when it answers again.
use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Version};

use crate::common::{Bridge, Client, has};
use crate::plain::{next, subscriber};
use crate::relay::{Mode, Relay};
use crate::world::{mosquitto, until};

fn send(client: &mut Client, number: u16, qos: QoS) {
    let message = mqtt_bridge::bridge::message::Message::new("t", number.to_string(), qos);
    client.send(&Packet::Publish(Publish::new(message.into(), number + 1)));
    let ack = Ack::success(number + 1);
    if qos == QoS::AtLeastOnce {
        assert_eq!(client.receive().unwrap(), Packet::Puback(ack));
        return;
    }
    assert_eq!(client.receive().unwrap(), Packet::Pubrec(ack));
    client.send(&Packet::Pubrel(ack));
    assert_eq!(client.receive().unwrap(), Packet::Pubcomp(ack));
}

fn either(number: u16) -> QoS {
    if number.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce }
}

#[test]
fn the_second_server_takes_over_and_the_first_is_returned_to() {
    if !has("mosquitto", "the_second_server_takes_over_and_the_first_is_returned_to") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (mosquitto(folder.path(), "first"), mosquitto(folder.path(), "second"));
    let (one, two) = (Relay::start(first.address), Relay::start(second.address));
    let rest = format!(
        "cache: {{ path: {} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  - {{ name: b, server: [\"mqtt://{}\", \
         \"mqtt://{}\"], client_id: bridge, failback: 300ms, reconnect: {{ min: 10ms, max: 50ms }}, forwards: [{{ local: \
         \"#\" }}] }}\n",
        folder.path().join("cache.db").display(),
        one.address,
        two.address
    );
    let (mut above, mut aside) = (subscriber(&first, "t"), subscriber(&second, "t"));
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "device"));
    for number in 0..10 {
        send(&mut client, number, either(number));
        assert_eq!(next(&mut above).1, number.to_string());
    }
    assert_eq!(bridge.metric("server_in_use"), 1);
    // Nothing is in flight when the first goes: nothing may come twice.
    until("all is acknowledged", || bridge.metric("messages_cached") == 0);
    one.set(Mode::Cut);
    for number in 10..20 {
        send(&mut client, number, either(number));
        assert_eq!(next(&mut aside).1, number.to_string());
    }
    assert_eq!((bridge.metric("server_in_use"), bridge.metric("server_changes_total")), (2, 1));
    one.set(Mode::Whole);
    bridge.until_metric("server_in_use", 1);
    for number in 20..30 {
        send(&mut client, number, either(number));
        assert_eq!(next(&mut above).1, number.to_string(), "{}", bridge.process.log());
    }
    bridge.until_metric("messages_delivered_total", 30);
    assert_eq!(bridge.metric("messages_ambiguous_total"), 0);
    assert_eq!(bridge.metric("server_changes_total"), 2);
    let log = bridge.process.log();
    assert!(log.contains(&format!("goes over to mqtt://{}", two.address)), "{log}");
}

#[test]
fn a_return_while_messages_flow_loses_and_repeats_nothing() {
    if !has("mosquitto", "a_return_while_messages_flow_loses_and_repeats_nothing") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (mosquitto(folder.path(), "first"), mosquitto(folder.path(), "second"));
    let (one, two) = (Relay::start(first.address), Relay::start(second.address));
    one.set(Mode::Cut);
    let rest = format!(
        "cache: {{ path: {} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  - {{ name: b, server: [\"mqtt://{}\", \
         \"mqtt://{}\"], client_id: bridge, failback: 200ms, window: 5, reconnect: {{ min: 10ms, max: 50ms }}, forwards: [{{ \
         local: \"#\" }}] }}\n",
        folder.path().join("cache.db").display(),
        one.address,
        two.address
    );
    let (mut above, mut aside) = (subscriber(&first, "t"), subscriber(&second, "t"));
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut client, _) = Client::connect(bridge.address, Connect::new(Version::V5, "device"));
    bridge.until_metric("server_in_use", 2);
    until("it is connected", || bridge.metric("connected") == 1);
    let mut sent = 0;
    while bridge.metric("server_in_use") == 2 {
        send(&mut client, sent, QoS::ExactlyOnce);
        sent += 1;
        if sent == 50 {
            one.set(Mode::Whole);
        }
        assert!(sent < 60_000, "{}", bridge.process.log());
    }
    for _ in 0..50 {
        send(&mut client, sent, QoS::ExactlyOnce);
        sent += 1;
    }
    bridge.until_metric("messages_delivered_total", sent.into());
    assert_eq!(bridge.metric("messages_ambiguous_total"), 0);
    // Each is at one of the two, once, and in order over both.
    let mut expected = 0;
    let delivered_aside = two.passed();
    let aside_count = delivered_aside.iter().filter(|passed| matches!(passed.packet, Packet::Publish(_))).count();
    for _ in 0..aside_count {
        assert_eq!(next(&mut aside).1, expected.to_string());
        expected += 1;
    }
    while expected < sent {
        assert_eq!(next(&mut above).1, expected.to_string());
        expected += 1;
    }
    assert!(aside_count >= 50);
}
