//! UNSUBSCRIBE and UNSUBACK: sections 3.10 and 3.11.
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Packet, Publish, ack, both, topic, unsubscribe};

fn unsuback(version: u8, id: u16, codes: &[u8]) -> Packet {
    let codes = if version == 5 { codes.to_vec() } else { Vec::new() };
    Packet::Unsuback { id, codes, properties: Vec::new() }
}

#[test]
fn after_unsubscribe_no_message_comes() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            client.subscribe(&[(&topic, 1)]);
            client.send(unsubscribe(version, 9, &[&topic]));
            client.expect(&unsuback(version, 9, &[0]));
            publisher.publish(&topic, b"x");
            client.quiet(&mut publisher);
        });
    });
}

#[test]
fn several_filters_are_answered_once_in_their_order() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            let names: Vec<String> = (0..4).map(|number| format!("{topic}/{number}")).collect();
            client.subscribe(&[(&names[0], 0), (&names[2], 0), (&names[3], 0)]);
            client.send(unsubscribe(version, 0xABCD, &[&names[0], &names[1], &names[2]]));
            client.expect(&unsuback(version, 0xABCD, &[0, 0x11, 0]));
            for name in &names {
                publisher.publish(name, b"x");
            }
            assert_eq!(client.message().topic, names[3]);
            client.quiet(&mut publisher);
        });
    });
}

#[test]
fn filters_are_compared_character_by_character() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            client.subscribe(&[(&format!("{topic}/+"), 0)]);
            // They match the same topics, and are not the same filter.
            let others = [
                format!("{topic}/a"),
                format!("{topic}/#"),
                format!("{topic}/+/"),
                format!("{}/+", topic.to_uppercase()),
            ];
            for other in &others {
                client.send(unsubscribe(version, 1, &[other]));
                client.expect(&unsuback(version, 1, &[0x11]));
            }
            publisher.publish(&format!("{topic}/a"), b"still here");
            assert_eq!(client.message().text(), "still here");
        });
    });
}

#[test]
fn what_is_on_its_way_is_completed_after_unsubscribe() {
    check(|| {
        both(|version| {
            let (kept, topic) = (Connect::kept(version, &unique()), topic());
            let (mut client, mut publisher) = (kept.accepted().0, Client::new(version));
            client.subscribe(&[(&topic, 2)]);
            for qos in [1, 2] {
                publisher.publish_as(Publish::new(&topic, qos, "x"));
            }
            let (one, two) = (client.message(), client.message());
            client.send(unsubscribe(version, 1, &[&topic]));
            client.expect(&unsuback(version, 1, &[0]));
            client.cut();
            let mut client = kept.accepted().0;
            assert_eq!(client.message().id, one.id);
            assert_eq!(client.message().id, two.id);
            client.send(ack(4, one.id));
            client.send(ack(5, two.id));
            assert_eq!(client.ack(6, two.id), 0);
            client.send(ack(7, two.id));
            client.quiet(&mut publisher);
        });
    });
}

#[test]
fn an_unsubscribe_without_filters_is_refused() {
    check(|| {
        both(|version| {
            let mut client = Client::new(version);
            client.send(unsubscribe(version, 1, &[]));
            let said = client.ends();
            assert!(matches!((version, said), (4, None) | (5, Some(0x81 | 0x82))), "{said:x?}");
        });
    });
}

#[test]
fn a_session_forgets_what_was_unsubscribed() {
    check(|| {
        both(|version| {
            let (kept, topic) = (Connect::kept(version, &unique()), topic());
            let mut client = kept.accepted().0;
            client.subscribe(&[(&topic, 1)]);
            client.send(unsubscribe(version, 1, &[&topic]));
            client.expect(&unsuback(version, 1, &[0]));
            client.disconnect();
            let mut publisher = Client::new(version);
            publisher.publish(&topic, b"x");
            kept.accepted().0.quiet(&mut publisher);
        });
    });
}
