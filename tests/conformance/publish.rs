//! PUBLISH: section 3.3.
use std::time::Duration;

use crate::check;
use crate::client::Client;
use crate::packet::{Connect, Packet, Publish, binary, both, frame, number, property, subscribe, topic};

/// A subscriber to a topic of its own with these options, and somebody who publishes.
fn pair(version: u8, options: u8) -> (Client, Client, String) {
    let (mut subscriber, publisher, topic) = (Client::new(version), Client::new(version), topic());
    assert_eq!(subscriber.subscribe(&[(&topic, options)]), [options & 3]);
    (subscriber, publisher, topic)
}

/// What is wrong ends the connection with this code and reaches nobody.
fn wrong(version: u8, code: u8, bytes: &[u8]) {
    let (mut subscriber, mut bystander) = (Client::new(version), Client::new(version));
    subscriber.subscribe(&[("wrong/#", 0)]);
    let mut client = Client::new(version);
    client.send(bytes);
    client.ends_with(code);
    subscriber.quiet(&mut bystander);
}

#[test]
fn a_wildcard_in_a_topic_name_is_refused() {
    check(|| {
        both(|version| {
            for topic in ["wrong/#", "wrong/+/a", "#", "wrong/a+"] {
                wrong(version, 0x90, &Publish::new(topic, 0, "x").bytes(version));
            }
        });
    });
}

#[test]
fn a_topic_name_must_be_utf_8() {
    check(|| {
        both(|version| {
            for topic in [b"wrong/\xFF".as_slice(), b"wrong/\xED\xA0\x80", b"wrong/\0"] {
                let publish = Publish { topic: topic.to_vec(), ..Publish::new("", 0, "x") }.bytes(version);
                let mut client = Client::new(version);
                client.send(publish);
                let said = client.ends();
                assert!(matches!((version, said), (4, None) | (5, Some(0x81 | 0x90))), "{topic:x?}: {said:x?}");
            }
        });
    });
}

#[test]
fn an_empty_topic_name_is_refused() {
    check(|| {
        let mut client = Client::new(4);
        client.send(Publish::new("", 0, "x").bytes(4));
        assert_eq!(client.ends(), None);
        let mut client = Client::new(5);
        client.send(Publish::new("", 0, "x").bytes(5));
        let said = client.ends();
        assert!(matches!(said, Some(0x82 | 0x90)), "{said:x?}");
    });
}

#[test]
fn qos_3_is_refused() {
    check(|| both(|version| wrong(version, 0x81, &Publish::new("wrong/a", 3, "x").bytes(version))));
}

#[test]
fn dup_at_qos_0_is_refused() {
    check(|| both(|version| wrong(version, 0x81, &Publish::new("wrong/a", 0, "x").dup().bytes(version))));
}

#[test]
fn packet_identifier_0_is_refused() {
    check(|| {
        both(|version| {
            for bytes in [
                Publish::new("wrong/a", 1, "x").id(0).bytes(version),
                Publish::new("wrong/a", 2, "x").id(0).bytes(version),
                subscribe(version, 0, &[], &[("a", 0)]),
                crate::packet::unsubscribe(version, 0, &["a"]),
            ] {
                let mut client = Client::new(version);
                client.send(&bytes);
                let said = client.ends();
                assert!(matches!((version, said), (4, None) | (5, Some(0x81 | 0x82))), "{bytes:x?}: {said:x?}");
            }
        });
    });
}

#[test]
fn a_publish_that_is_too_short_is_malformed() {
    check(|| {
        both(|version| {
            // No topic; a topic longer than the packet; no Packet Identifier.
            for bytes in [frame(0x30, &[]), frame(0x30, &[0, 9, b'a']), frame(0x32, &[0, 1, b'a', 0])] {
                let mut client = Client::new(version);
                client.send(bytes);
                client.ends_with(0x81);
            }
        });
    });
}

#[test]
fn a_message_is_delivered_under_its_topic_as_it_is() {
    check(|| {
        both(|version| {
            for qos in 0..3 {
                let (mut subscriber, mut publisher, topic) = pair(version, 2);
                publisher.publish_as(Publish::new(&topic, qos, [0, 0xFF, b'x']));
                let message = subscriber.message();
                assert_eq!((message.topic, message.qos, message.payload), (topic, qos, vec![0, 0xFF, b'x']));
                assert!(!message.dup && !message.retain && message.properties.is_empty());
            }
        });
    });
}

#[test]
fn dup_is_not_passed_on() {
    check(|| {
        both(|version| {
            let (mut subscriber, mut publisher, topic) = pair(version, 2);
            for qos in 1..3 {
                publisher.publish_as(Publish::new(&topic, qos, "x").dup());
                assert!(!subscriber.message().dup);
            }
        });
    });
}

#[test]
fn properties_are_passed_on_unaltered() {
    check(|| {
        let (mut subscriber, mut publisher, topic) = pair(5, 1);
        let user = |name: &str, value: &str| [binary(name), binary(value)].concat();
        let publish = Publish::new(&topic, 1, "{}")
            .with(0x26, user("z", "1"))
            .with(0x01, [1])
            .with(0x08, binary("answers/here"))
            .with(0x26, user("a", "2"))
            .with(0x09, binary([0, 1, 0xFF]))
            .with(0x03, binary("application/json"))
            .with(0x26, user("z", "1"));
        publisher.publish_as(publish);
        let message = subscriber.message();
        assert_eq!(message.property(0x01), [[1]]);
        assert_eq!(message.property(0x08), [b"answers/here"]);
        assert_eq!(message.property(0x09), [[0, 1, 0xFF]]);
        assert_eq!(message.property(0x03), [b"application/json"]);
        assert_eq!(message.property(0x26), [b"z=1", b"a=2", b"z=1"]);
    });
}

#[test]
fn properties_do_not_reach_a_client_of_3_1_1() {
    check(|| {
        let (mut subscriber, topic) = (Client::new(4), topic());
        subscriber.subscribe(&[(&topic, 1)]);
        Client::new(5).publish_as(Publish::new(&topic, 1, "x").with(0x03, binary("text/plain")));
        assert_eq!(subscriber.message().text(), "x");
    });
}

#[test]
fn wrong_properties_of_publish_are_refused() {
    check(|| {
        let twice = |id: u8, value: &[u8]| [property(id, value), property(id, value)].concat();
        let cases: [(Vec<u8>, &[u8]); 10] = [
            // Response Topic with a wildcard, no string.
            (property(0x08, binary("a/#")), &[0x81, 0x82, 0x90]),
            (property(0x08, binary([0xFF])), &[0x81]),
            // Content Type, Payload Format Indicator.
            (property(0x03, binary([0xFF])), &[0x81]),
            (property(0x01, [2]), &[0x81, 0x82]),
            (twice(0x01, &[0]), &[0x82]),
            (twice(0x02, &[0, 0, 0, 1]), &[0x82]),
            (twice(0x03, &[0, 0]), &[0x82]),
            // A Subscription Identifier from a client.
            (property(0x0B, [1]), &[0x81, 0x82]),
            // A property of another packet.
            (property(0x21, [0, 1]), &[0x81, 0x82]),
            // User Property: a pair of which the second is no string.
            (property(0x26, [0, 1, b'a', 0, 1, 0xFF]), &[0x81]),
        ];
        for (properties, codes) in cases {
            let mut client = Client::new(5);
            client.send(Publish { properties: properties.clone(), ..Publish::new("wrong/a", 1, "x") }.bytes(5));
            let said = client.ends();
            assert!(said.is_some_and(|code| codes.contains(&code)), "{properties:x?}: {said:x?}");
        }
    });
}

#[test]
fn the_message_expiry_interval_is_passed_on() {
    check(|| {
        let (mut subscriber, mut publisher, topic) = pair(5, 1);
        publisher.publish_as(Publish::new(&topic, 1, "x").with(0x02, 60_u32.to_be_bytes()));
        let left = number(&subscriber.message().properties, 0x02).unwrap();
        assert!((58..=60).contains(&left), "{left}");
    });
}

#[test]
fn a_message_that_waits_has_less_time_left_and_expires() {
    check(|| {
        let (kept, topic) = (Connect::kept(5, &crate::client::unique()), topic());
        let mut subscriber = kept.accepted().0;
        subscriber.subscribe(&[(&topic, 1)]);
        subscriber.disconnect();
        let mut publisher = Client::new(5);
        publisher.publish_as(Publish::new(&topic, 1, "expires").with(0x02, 1_u32.to_be_bytes()));
        publisher.publish_as(Publish::new(&topic, 1, "stays").with(0x02, 60_u32.to_be_bytes()));
        std::thread::sleep(Duration::from_millis(2100));
        let mut subscriber = kept.accepted().0;
        let message = subscriber.message();
        assert_eq!(message.text(), "stays");
        let left = number(&message.properties, 0x02).unwrap();
        assert!((50..=58).contains(&left), "{left} s of 60 after 2.1 s");
    });
}

/// The Topic Alias Maximum that the broker announces.
fn maximum(client: &Connect) -> (Client, u16) {
    let (client, _, properties) = client.accepted();
    (client, number(&properties, 0x22).unwrap_or(0) as u16)
}

#[test]
fn a_topic_alias_stands_for_its_topic_on_its_connection() {
    check(|| {
        let (mut subscriber, topic) = (Client::new(5), topic());
        subscriber.subscribe(&[(&format!("{topic}/#"), 1)]);
        let connect = Connect::new(5, &crate::client::unique());
        let (mut publisher, maximum) = maximum(&connect);
        assert!(maximum > 0, "no Topic Alias Maximum");
        for alias in [1, maximum] {
            let name = format!("{topic}/{alias}");
            publisher.publish_as(Publish::new(&name, 1, "a").with(0x23, alias.to_be_bytes()));
            publisher.publish_as(Publish::new("", 1, "b").with(0x23, alias.to_be_bytes()));
            for text in ["a", "b"] {
                let message = subscriber.message();
                assert_eq!((message.topic.as_str(), message.text()), (name.as_str(), text));
                subscriber.send(crate::packet::ack(4, message.id));
            }
        }
        // Another topic for the same alias.
        publisher.publish_as(Publish::new(&format!("{topic}/new"), 1, "c").with(0x23, [0, 1]));
        publisher.publish_as(Publish::new("", 1, "d").with(0x23, [0, 1]));
        for text in ["c", "d"] {
            let message = subscriber.message();
            assert_eq!((message.topic.as_str(), message.text()), (format!("{topic}/new").as_str(), text));
            subscriber.send(crate::packet::ack(4, message.id));
        }
        publisher.disconnect();
        // Nothing of it is left to the next connection.
        let (mut publisher, ..) = connect.accepted();
        publisher.send(Publish::new("", 1, "x").with(0x23, [0, 1]).bytes(5));
        publisher.ends_with(0x82);
    });
}

#[test]
fn a_topic_alias_of_0_or_above_the_maximum_is_refused() {
    check(|| {
        let (_, maximum) = maximum(&Connect::new(5, &crate::client::unique()));
        let Some(above) = maximum.checked_add(1) else { return };
        wrong(5, 0x94, &Publish::new("wrong/a", 0, "x").with(0x23, above.to_be_bytes()).bytes(5));
        let mut client = Client::new(5);
        client.send(Publish::new("wrong/a", 0, "x").with(0x23, [0, 0]).bytes(5));
        let said = client.ends();
        assert!(matches!(said, Some(0x82 | 0x94)), "{said:x?}");
    });
}

#[test]
fn a_topic_alias_that_was_never_set_is_refused() {
    check(|| wrong(5, 0x82, &Publish::new("", 0, "x").with(0x23, [0, 1]).bytes(5)));
}

#[test]
fn no_topic_alias_is_sent_above_what_the_client_takes() {
    check(|| {
        for takes in [None, Some(0_u16), Some(2)] {
            let topic = topic();
            let connect = Connect::new(5, &crate::client::unique());
            let connect = takes.map_or(connect.clone(), |takes| connect.with(0x22, takes.to_be_bytes()));
            let mut subscriber = connect.accepted().0;
            subscriber.subscribe(&[(&format!("{topic}/#"), 0)]);
            let mut publisher = Client::new(5);
            for number in 0..6 {
                publisher.publish(&format!("{topic}/{}", number % 3), b"x");
            }
            let mut known = std::collections::HashMap::new();
            for sent in 0..6 {
                let message = subscriber.message();
                let alias = number(&message.properties, 0x23);
                assert!(alias.is_none_or(|alias| (1..=takes.unwrap_or(0).into()).contains(&alias)), "{alias:?}");
                let name = match alias {
                    Some(alias) if message.topic.is_empty() => known[&alias],
                    Some(alias) => {
                        known.insert(alias, sent % 3);
                        sent % 3
                    }
                    None => sent % 3,
                };
                assert_eq!(name, sent % 3);
                assert!(alias.is_some() || message.topic == format!("{topic}/{}", sent % 3));
            }
        }
    });
}

#[test]
fn a_message_for_nobody_is_acknowledged() {
    check(|| {
        both(|version| {
            let (mut publisher, topic) = (Client::new(version), topic());
            publisher.send(Publish::new(&topic, 1, "x").id(7).bytes(version));
            assert!([0, 0x10].contains(&publisher.ack(4, 7)));
            publisher.send(Publish::new(&topic, 2, "x").id(8).bytes(version));
            assert!([0, 0x10].contains(&publisher.ack(5, 8)));
        });
    });
}

#[test]
fn a_message_of_no_bytes_is_a_message() {
    check(|| {
        both(|version| {
            let (mut subscriber, mut publisher, topic) = pair(version, 0);
            publisher.publish(&topic, b"");
            assert_eq!(
                subscriber.receive(),
                Packet::Publish(crate::packet::Message {
                    dup: false,
                    qos: 0,
                    retain: false,
                    topic,
                    id: 0,
                    properties: Vec::new(),
                    payload: Vec::new(),
                })
            );
        });
    });
}
