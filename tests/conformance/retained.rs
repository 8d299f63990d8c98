//! Retained messages: section 3.3.1.3.
use std::time::Duration;

use crate::broker::own;
use crate::check;
use crate::client::Client;
use crate::packet::{Connect, Packet, Publish, binary, both, number, topic};

/// What a new subscription with these options brings at once.
fn brought(version: u8, filter: &str, options: u8) -> Option<crate::packet::Message> {
    let (mut client, mut publisher, last) = (Client::new(version), Client::new(version), topic());
    client.subscribe(&[(filter, options)]);
    client.subscribe_further(&last);
    publisher.publish(&last, b"the last");
    let message = client.message();
    (message.topic != last).then(|| {
        assert_eq!(client.message().topic, last, "more than one");
        message
    })
}

impl Client {
    /// Subscribes while messages may come in between, which are handed out afterwards.
    fn subscribe_further(&mut self, filter: &str) {
        self.send(crate::packet::subscribe(self.version, 1, &[], &[(filter, 0)]));
        let mut between = Vec::new();
        loop {
            match self.receive() {
                Packet::Suback { .. } => break,
                packet => between.push(packet),
            }
        }
        self.hand_out_first(between);
    }
}

#[test]
fn the_last_retained_message_comes_with_a_new_subscription() {
    check(|| {
        both(|version| {
            for qos in 0..3 {
                let (mut publisher, topic) = (Client::new(version), topic());
                for text in ["first", "last"] {
                    publisher.publish_as(Publish::retained(&topic, qos, text));
                }
                publisher.publish(&format!("{topic}/barrier"), b"x");
                for wanted in 0..3 {
                    let message = brought(version, &topic, wanted).expect("nothing is retained");
                    assert_eq!((message.text(), message.retain, message.qos), ("last", true, wanted.min(qos)));
                    assert_eq!(message.topic, topic);
                }
            }
        });
    });
}

#[test]
fn retained_messages_come_for_wildcards() {
    check(|| {
        both(|version| {
            let (mut publisher, topic) = (Client::new(version), topic());
            let names: Vec<String> = (0..3).map(|number| format!("{topic}/{number}")).collect();
            for name in &names {
                publisher.publish_as(Publish::retained(name, 1, "x"));
            }
            let mut client = Client::new(version);
            client.subscribe(&[(&format!("{topic}/+"), 0)]);
            let mut found: Vec<String> = (0..3).map(|_| client.message().topic).collect();
            found.sort();
            assert_eq!(found, names);
        });
    });
}

#[test]
fn an_established_subscription_gets_it_without_retain() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), topic());
            client.subscribe(&[(&topic, 1)]);
            Client::new(version).publish_as(Publish::retained(&topic, 1, "x"));
            let message = client.message();
            assert_eq!((message.text(), message.retain), ("x", false));
        });
    });
}

#[test]
fn retain_as_published_keeps_the_flag() {
    check(|| {
        let (mut client, mut publisher, topic) = (Client::new(5), Client::new(5), topic());
        client.subscribe(&[(&topic, 1 | 8)]);
        publisher.publish_as(Publish::retained(&topic, 1, "retained"));
        publisher.publish_as(Publish::new(&topic, 1, "not"));
        for (text, retain) in [("retained", true), ("not", false)] {
            let message = client.message();
            assert_eq!((message.text(), message.retain), (text, retain));
        }
    });
}

#[test]
fn a_retained_message_of_no_bytes_clears_the_topic() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            publisher.publish_as(Publish::retained(&topic, 1, "x"));
            assert!(brought(version, &topic, 0).is_some());
            client.subscribe(&[(&topic, 0)]);
            assert_eq!(client.message().text(), "x");
            publisher.publish_as(Publish::retained(&topic, 1, ""));
            // To those who subscribe it is a message as any other.
            let message = client.message();
            assert_eq!((message.text(), message.retain), ("", false));
            assert_eq!(brought(version, &topic, 0), None);
        });
    });
}

#[test]
fn a_message_without_retain_leaves_what_is_retained() {
    check(|| {
        both(|version| {
            let (mut publisher, topic) = (Client::new(version), topic());
            publisher.publish(&topic, b"not retained");
            assert_eq!(brought(version, &topic, 0), None);
            publisher.publish_as(Publish::retained(&topic, 1, "retained"));
            publisher.publish(&topic, b"not retained");
            publisher.publish(&topic, b"");
            assert_eq!(brought(version, &topic, 0).unwrap().text(), "retained");
        });
    });
}

#[test]
fn retain_handling_0_brings_it_each_time() {
    check(|| {
        let (mut client, mut publisher, topic) = (Client::new(5), Client::new(5), topic());
        publisher.publish_as(Publish::retained(&topic, 1, "x"));
        for _ in 0..2 {
            client.subscribe(&[(&topic, 0)]);
            assert_eq!(client.message().text(), "x");
        }
    });
}

#[test]
fn retain_handling_1_brings_it_to_a_new_subscription_alone() {
    check(|| {
        let (mut client, mut publisher, topic) = (Client::new(5), Client::new(5), topic());
        publisher.publish_as(Publish::retained(&topic, 1, "x"));
        client.subscribe(&[(&topic, 0x10)]);
        assert_eq!(client.message().text(), "x");
        client.subscribe(&[(&topic, 0x10)]);
        client.quiet(&mut publisher);
    });
}

#[test]
fn retain_handling_2_brings_nothing() {
    check(|| {
        let (mut publisher, topic) = (Client::new(5), topic());
        publisher.publish_as(Publish::retained(&topic, 1, "x"));
        assert_eq!(brought(5, &topic, 0x20), None);
        assert!(brought(5, &topic, 0).is_some());
    });
}

#[test]
fn a_retained_message_keeps_its_properties_and_expires() {
    check(|| {
        let (mut publisher, topic) = (Client::new(5), topic());
        let publish = |seconds: u32| {
            Publish::retained(&topic, 1, "x").with(0x02, seconds.to_be_bytes()).with(0x03, binary("text/plain"))
        };
        publisher.publish_as(publish(60));
        let message = brought(5, &topic, 0).unwrap();
        assert_eq!(message.property(0x03), [b"text/plain"]);
        assert!((55..=60).contains(&number(&message.properties, 0x02).unwrap()));
        publisher.publish_as(publish(1));
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(brought(5, &topic, 0), None);
    });
}

#[test]
fn what_is_retained_does_not_end_with_its_publishers_session() {
    check(|| {
        both(|version| {
            let topic = topic();
            let mut publisher = Client::new(version);
            publisher.publish_as(Publish::retained(&topic, 1, "x"));
            publisher.disconnect();
            assert_eq!(brought(version, &topic, 0).unwrap().text(), "x");
        });
    });
}

#[test]
fn what_is_retained_survives_a_kill() {
    check(|| {
        let folder = tempfile::tempdir().unwrap();
        let bridge = own(folder.path());
        let mut publisher = Connect::new(5, "p").accepted_at(bridge.address).0;
        publisher.publish_as(Publish::retained("t", 1, "x"));
        bridge.kill();
        let bridge = own(folder.path());
        let mut client = Connect::new(4, "s").accepted_at(bridge.address).0;
        client.subscribe(&[("t", 0)]);
        let message = client.message();
        assert_eq!((message.text(), message.retain), ("x", true));
    });
}
