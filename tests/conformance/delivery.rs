//! Quality of Service and delivery: sections 3.4 to 3.7, 4.3, 4.4 and 4.6.
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Packet, Publish, ack, ack_with, both, topic};

#[test]
fn a_publish_is_acknowledged_as_its_qos_demands() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), topic());
            client.send(Publish::new(&topic, 0, "x").bytes(version));
            client.lives();
            client.send(Publish::new(&topic, 1, "x").id(0xFFFF).bytes(version));
            assert!(client.ack(4, 0xFFFF) < 0x80);
            client.send(Publish::new(&topic, 2, "x").id(0x1234).bytes(version));
            assert!(client.ack(5, 0x1234) < 0x80);
            client.send(ack(6, 0x1234));
            assert_eq!(client.ack(7, 0x1234), 0);
        });
    });
}

#[test]
fn after_its_puback_an_identifier_is_another_message() {
    check(|| {
        both(|version| {
            let (mut subscriber, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            subscriber.subscribe(&[(&topic, 0)]);
            for text in ["one", "two"] {
                publisher.send(Publish::new(&topic, 1, text).id(5).dup().bytes(version));
                assert!(publisher.ack(4, 5) < 0x80);
                assert_eq!(subscriber.message().text(), text);
            }
        });
    });
}

#[test]
fn a_qos_2_message_is_delivered_once_however_often_it_is_sent() {
    check(|| {
        both(|version| {
            let (mut subscriber, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            subscriber.subscribe(&[(&topic, 0)]);
            let publish = Publish::new(&topic, 2, "once").id(5);
            publisher.send(publish.bytes(version));
            assert!(publisher.ack(5, 5) < 0x80);
            for _ in 0..3 {
                publisher.send(publish.clone().dup().bytes(version));
                assert!(publisher.ack(5, 5) < 0x80);
            }
            for _ in 0..2 {
                // A PUBREL again is answered again.
                publisher.send(ack(6, 5));
                let code = publisher.ack(7, 5);
                assert!(code == 0 || code == 0x92);
            }
            // The identifier is free: this is another message.
            publisher.publish_as(Publish::new(&topic, 2, "another").id(5));
            assert_eq!(subscriber.message().text(), "once");
            assert_eq!(subscriber.message().text(), "another");
        });
    });
}

#[test]
fn a_qos_2_message_is_delivered_once_across_connections() {
    check(|| {
        both(|version| {
            let (mut subscriber, kept, topic) = (Client::new(version), Connect::kept(version, &unique()), topic());
            subscriber.subscribe(&[(&topic, 0)]);
            let publish = Publish::new(&topic, 2, "once").id(5);
            let mut publisher = kept.accepted().0;
            publisher.send(publish.bytes(version));
            assert!(publisher.ack(5, 5) < 0x80);
            publisher.cut();
            let (mut publisher, present, _) = kept.accepted();
            assert!(present);
            publisher.send(publish.dup().bytes(version));
            assert!(publisher.ack(5, 5) < 0x80);
            publisher.send(ack(6, 5));
            assert_eq!(publisher.ack(7, 5), 0);
            assert_eq!(subscriber.message().text(), "once");
            subscriber.quiet(&mut publisher);
        });
    });
}

#[test]
fn an_unknown_pubrel_is_answered() {
    check(|| {
        both(|version| {
            let mut client = Client::new(version);
            client.send(ack(6, 77));
            assert_eq!(client.ack(7, 77), if version == 5 { 0x92 } else { 0 });
        });
    });
}

#[test]
fn acknowledgements_come_in_the_order_of_the_messages() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), topic());
            let publish = |qos, id| Publish::new(&topic, qos, "x").id(id).bytes(version);
            let bytes: Vec<u8> = (1..=20).flat_map(|id| publish(if id % 3 == 0 { 2 } else { 1 }, id)).collect();
            client.send(bytes);
            for id in 1..=20 {
                assert!(client.ack(if id % 3 == 0 { 5 } else { 4 }, id) < 0x80);
            }
        });
    });
}

/// A subscriber with a kept session to a topic, connected.
fn subscribed(version: u8, qos: u8) -> (Connect, Client, String) {
    let (kept, topic) = (Connect::kept(version, &unique()), topic());
    let mut client = kept.accepted().0;
    client.subscribe(&[(&topic, qos)]);
    (kept, client, topic)
}

#[test]
fn what_is_not_acknowledged_is_sent_again_on_the_next_connection() {
    check(|| {
        both(|version| {
            let (kept, mut subscriber, topic) = subscribed(version, 2);
            let mut publisher = Client::new(version);
            for qos in [1, 2, 1, 2] {
                publisher.publish_as(Publish::new(&topic, qos, qos.to_string()));
            }
            let first: Vec<_> = (0..4).map(|_| subscriber.message()).collect();
            assert!(first.iter().all(|message| !message.dup));
            let mut ids: Vec<u16> = first.iter().map(|message| message.id).collect();
            ids.dedup();
            assert_eq!(ids.len(), 4, "an identifier of two messages: {first:?}");
            // One is acknowledged; on this connection nothing is sent again.
            subscriber.send(ack(4, first[0].id));
            subscriber.quiet(&mut publisher);
            subscriber.cut();
            let (mut subscriber, present, _) = kept.accepted();
            assert!(present);
            for message in &first[1..] {
                let again = subscriber.message();
                assert!(again.dup, "{again:?}");
                assert_eq!((again.id, &again.payload, again.qos), (message.id, &message.payload, message.qos));
            }
            subscriber.quiet(&mut publisher);
        });
    });
}

#[test]
fn pubrel_is_sent_again_on_the_next_connection_and_the_message_is_not() {
    check(|| {
        both(|version| {
            let (kept, mut subscriber, topic) = subscribed(version, 2);
            let mut publisher = Client::new(version);
            for text in ["a", "b"] {
                publisher.publish_as(Publish::new(&topic, 2, text));
            }
            let ids = [subscriber.message().id, subscriber.message().id];
            for id in ids {
                subscriber.send(ack(5, id));
                assert_eq!(subscriber.ack(6, id), 0);
            }
            subscriber.cut();
            let mut subscriber = kept.accepted().0;
            for id in ids {
                assert_eq!(subscriber.ack(6, id), 0);
                subscriber.send(ack(7, id));
            }
            subscriber.quiet(&mut publisher);
            subscriber.cut();
            let mut subscriber = kept.accepted().0;
            subscriber.quiet(&mut publisher);
        });
    });
}

#[test]
fn a_qos_2_message_to_a_subscriber_is_completed() {
    check(|| {
        both(|version| {
            let (_, mut subscriber, topic) = subscribed(version, 2);
            let mut publisher = Client::new(version);
            for number in 0..3 {
                publisher.publish_as(Publish::new(&topic, 2, number.to_string()));
                let message = subscriber.message();
                assert_eq!((message.text(), message.qos), (number.to_string().as_str(), 2));
                subscriber.send(ack(5, message.id));
                assert_eq!(subscriber.ack(6, message.id), 0);
                subscriber.send(ack(7, message.id));
            }
            subscriber.quiet(&mut publisher);
        });
    });
}

#[test]
fn a_repeated_pubrec_is_answered_with_pubrel() {
    check(|| {
        both(|version| {
            let (_, mut subscriber, topic) = subscribed(version, 2);
            Client::new(version).publish_as(Publish::new(&topic, 2, "x"));
            let id = subscriber.message().id;
            for _ in 0..2 {
                subscriber.send(ack(5, id));
                assert_eq!(subscriber.ack(6, id), 0);
            }
        });
    });
}

#[test]
fn a_message_that_the_client_refuses_is_not_sent_again() {
    check(|| {
        let (kept, mut subscriber, topic) = subscribed(5, 2);
        let mut publisher = Client::new(5);
        for (qos, kind) in [(1, 4), (2, 5)] {
            publisher.publish_as(Publish::new(&topic, qos, "x"));
            let message = subscriber.message();
            assert_eq!(message.qos, qos);
            subscriber.send(ack_with(kind, message.id, 0x87));
        }
        // No PUBREL after a PUBREC with a failure.
        subscriber.quiet(&mut publisher);
        subscriber.cut();
        let (mut subscriber, present, _) = kept.accepted();
        assert!(present);
        subscriber.quiet(&mut publisher);
    });
}

#[test]
fn an_acknowledgement_of_nothing_does_no_harm() {
    check(|| {
        both(|version| {
            let (_, mut subscriber, topic) = subscribed(version, 1);
            let mut publisher = Client::new(version);
            for kind in [4, 7] {
                subscriber.send(ack(kind, 4711));
            }
            publisher.publish(&topic, b"x");
            assert_eq!(subscriber.message().text(), "x");
            // In MQTT 5 a PUBREC of nothing is answered with 0x92.
            if version == 5 {
                subscriber.send(ack(5, 4711));
                assert_eq!(subscriber.ack(6, 4711), 0x92);
            }
        });
    });
}

#[test]
fn messages_of_a_publisher_stay_in_their_order() {
    check(|| {
        both(|version| {
            for qos in 0..3 {
                let (_, mut subscriber, topic) = subscribed(version, 2);
                let mut publisher = Client::new(version);
                for number in 0..30 {
                    publisher.publish_as(Publish::new(&topic, qos, number.to_string()));
                }
                for number in 0..30 {
                    let message = loop {
                        match subscriber.receive() {
                            Packet::Publish(message) => break message,
                            Packet::Ack { kind: 6, id, .. } => subscriber.send(ack(7, id)),
                            other => panic!("{other:?}"),
                        }
                    };
                    assert_eq!((message.text(), message.qos), (number.to_string().as_str(), qos));
                    match qos {
                        0 => {}
                        1 => subscriber.send(ack(4, message.id)),
                        _ => subscriber.send(ack(5, message.id)),
                    }
                }
            }
        });
    });
}

#[test]
fn what_waited_comes_in_its_order_and_before_what_is_new() {
    check(|| {
        both(|version| {
            let (kept, subscriber, topic) = subscribed(version, 1);
            subscriber.cut();
            let mut publisher = Client::new(version);
            for number in 0..20 {
                publisher.publish(&topic, number.to_string().as_bytes());
            }
            let mut subscriber = kept.accepted().0;
            for number in 20..25 {
                publisher.publish(&topic, number.to_string().as_bytes());
            }
            for number in 0..25 {
                let message = subscriber.message();
                assert_eq!(message.text(), number.to_string());
                assert!(!message.dup);
                subscriber.send(ack(4, message.id));
            }
        });
    });
}
