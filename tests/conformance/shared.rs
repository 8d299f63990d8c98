//! Shared Subscriptions: section 4.8.2.
use std::collections::HashSet;

use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Packet, Publish, ack, ack_with, topic, unsubscribe};

#[test]
fn each_message_goes_to_one_of_the_group() {
    check(|| {
        let topic = topic();
        let filter = format!("$share/group/{topic}/+");
        let mut members: Vec<Client> = (0..3).map(|_| Client::new(5)).collect();
        for member in &mut members {
            assert_eq!(member.subscribe(&[(&filter, 1)]), [1]);
        }
        let mut apart = Client::new(5);
        apart.subscribe(&[(&format!("{topic}/#"), 1)]);
        let mut other_group = Client::new(5);
        other_group.subscribe(&[(&format!("$share/another/{topic}/#"), 1)]);
        let mut publisher = Client::new(5);
        for number in 0..30 {
            publisher.publish(&format!("{topic}/{number}"), number.to_string().as_bytes());
        }
        let texts = |client: &mut Client| {
            let last = crate::packet::topic();
            let mut other = Client::new(5);
            client.send(crate::packet::subscribe(5, 1, &[], &[(&last, 0)]));
            let mut found = Vec::new();
            loop {
                match client.receive() {
                    Packet::Publish(message) if message.topic == last => break found,
                    Packet::Publish(message) => {
                        client.send(ack(4, message.id));
                        found.push(message.text().to_owned());
                    }
                    Packet::Suback { .. } => other.publish(&last, b"the last"),
                    packet => panic!("{packet:?}"),
                }
            }
        };
        let all: HashSet<String> = (0..30).map(|number| number.to_string()).collect();
        for alone in [&mut apart, &mut other_group] {
            let found = texts(alone);
            assert_eq!((found.len(), found.into_iter().collect::<HashSet<_>>()), (30, all.clone()));
        }
        let found: Vec<String> = members.iter_mut().flat_map(texts).collect();
        assert_eq!((found.len(), found.into_iter().collect::<HashSet<_>>()), (30, all));
    });
}

#[test]
fn a_member_gets_its_messages_at_its_own_qos() {
    check(|| {
        let topic = topic();
        let filter = format!("$share/group/{topic}");
        for qos in 0..3 {
            let mut member = Client::new(5);
            assert_eq!(member.subscribe(&[(&filter, qos)]), [qos]);
            Client::new(5).publish_as(Publish::new(&topic, 2, "x"));
            assert_eq!(member.message().qos, qos);
            member.send(unsubscribe(5, 1, &[&filter]));
            loop {
                if let Packet::Unsuback { codes, .. } = member.receive() {
                    assert_eq!(codes, [0]);
                    break;
                }
            }
        }
    });
}

#[test]
fn a_member_that_leaves_leaves_the_others_its_share() {
    check(|| {
        let topic = topic();
        let filter = format!("$share/group/{topic}");
        let (mut stays, mut leaves) = (Client::new(5), Client::new(5));
        stays.subscribe(&[(&filter, 1)]);
        leaves.subscribe(&[(&filter, 1)]);
        leaves.send(unsubscribe(5, 1, &[&filter]));
        leaves.expect(&Packet::Unsuback { id: 1, codes: vec![0], properties: Vec::new() });
        let mut publisher = Client::new(5);
        for number in 0..6 {
            publisher.publish(&topic, number.to_string().as_bytes());
        }
        for number in 0..6 {
            let message = stays.message();
            assert_eq!(message.text(), number.to_string());
            stays.send(ack(4, message.id));
        }
    });
}

#[test]
fn the_name_of_a_group_must_be_one() {
    check(|| {
        for filter in ["$share//a", "$share/a+b/c", "$share/a#/c", "$share/group", "$share/group/", "$share/g/a/#/b"] {
            let mut client = Client::new(5);
            client.send(crate::packet::subscribe(5, 1, &[], &[(filter, 0)]));
            match client.receive() {
                Packet::Suback { codes, .. } => assert_eq!(codes, [0x8F], "{filter}"),
                Packet::Disconnect { code, .. } => assert!([0x81, 0x82, 0x8F].contains(&code), "{filter}"),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn nothing_retained_comes_with_a_shared_subscription() {
    check(|| {
        let (mut client, mut publisher, topic) = (Client::new(5), Client::new(5), topic());
        publisher.publish_as(Publish::retained(&topic, 1, "x"));
        client.subscribe(&[(&format!("$share/group/{topic}"), 1)]);
        client.quiet(&mut publisher);
    });
}

#[test]
fn an_open_qos_2_delivery_stays_with_its_client() {
    check(|| {
        let topic = topic();
        let filter = format!("$share/group/{topic}");
        let kept = Connect::kept(5, &unique());
        let mut first = kept.accepted().0;
        first.subscribe(&[(&filter, 2)]);
        let mut publisher = Client::new(5);
        publisher.publish_as(Publish::new(&topic, 2, "x"));
        let id = first.message().id;
        first.send(ack(5, id));
        assert_eq!(first.ack(6, id), 0);
        first.cut();
        let mut second = Client::new(5);
        second.subscribe(&[(&filter, 2)]);
        second.quiet(&mut publisher);
        // It is completed when that client is back.
        let mut first = kept.accepted().0;
        assert_eq!(first.ack(6, id), 0);
        first.send(ack(7, id));
        first.lives();
    });
}

#[test]
fn an_open_qos_2_delivery_of_a_session_that_ends_goes_to_nobody_else() {
    check(|| {
        let topic = topic();
        let filter = format!("$share/group/{topic}");
        let mut first = Client::new(5);
        first.subscribe(&[(&filter, 2)]);
        let mut publisher = Client::new(5);
        publisher.publish_as(Publish::new(&topic, 2, "x"));
        assert_eq!(first.message().qos, 2);
        let mut second = Client::new(5);
        second.subscribe(&[(&filter, 2)]);
        // Its session ends with its connection.
        first.disconnect();
        second.quiet(&mut publisher);
    });
}

#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    check(|| {
        let topic = topic();
        let filter = format!("$share/group/{topic}");
        let (mut first, mut publisher) = (Client::new(5), Client::new(5));
        first.subscribe(&[(&filter, 2)]);
        for (qos, kind) in [(1, 4), (2, 5)] {
            publisher.publish_as(Publish::new(&topic, qos, "x"));
            let id = first.message().id;
            let mut second = Client::new(5);
            second.subscribe(&[(&filter, 2)]);
            first.send(ack_with(kind, id, 0x80));
            first.quiet(&mut publisher);
            second.quiet(&mut publisher);
            second.disconnect();
        }
    });
}
