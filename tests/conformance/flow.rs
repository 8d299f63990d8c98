//! Flow control: sections 3.1.2.11.3, 3.3.4 and 4.9.
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Publish, ack, ack_with, number, topic};

/// A subscriber that takes so many at a time, and ten messages for it.
fn waiting(maximum: u16, qos: u8) -> Client {
    let (mut publisher, topic) = (Client::new(5), topic());
    let mut subscriber = Connect::new(5, &unique()).with(0x21, maximum.to_be_bytes()).accepted().0;
    subscriber.subscribe(&[(&topic, qos)]);
    for number in 0..10 {
        publisher.publish_as(Publish::new(&topic, qos, number.to_string()));
    }
    subscriber
}

#[test]
fn a_client_is_sent_no_more_than_its_receive_maximum() {
    check(|| {
        for maximum in [1, 3] {
            let mut subscriber = waiting(maximum, 1);
            let mut open: std::collections::VecDeque<u16> = (0..maximum).map(|_| subscriber.message().id).collect();
            for number in usize::from(maximum)..10 {
                // The quota is used up: everything else goes on.
                subscriber.lives();
                subscriber.lives();
                subscriber.send(ack(4, open.pop_front().unwrap()));
                let message = subscriber.message();
                assert_eq!(message.text(), number.to_string());
                open.push_back(message.id);
            }
        }
    });
}

#[test]
fn a_qos_2_message_counts_until_its_pubcomp_or_its_refusal() {
    check(|| {
        let mut subscriber = waiting(1, 2);
        let first = subscriber.message().id;
        subscriber.send(ack(5, first));
        assert_eq!(subscriber.ack(6, first), 0);
        subscriber.lives();
        subscriber.send(ack(7, first));
        let second = subscriber.message().id;
        subscriber.send(ack_with(5, second, 0x80));
        assert_eq!(subscriber.message().text(), "2");
    });
}

#[test]
fn qos_0_does_not_count() {
    check(|| {
        let (mut publisher, topic) = (Client::new(5), topic());
        let mut subscriber = Connect::new(5, &unique()).with(0x21, [0, 1]).accepted().0;
        subscriber.subscribe(&[(&topic, 0)]);
        for number in 0..5 {
            publisher.publish(&topic, number.to_string().as_bytes());
        }
        for number in 0..5 {
            assert_eq!(subscriber.message().text(), number.to_string());
        }
    });
}

#[test]
fn a_client_that_sends_more_than_the_servers_receive_maximum_is_disconnected() {
    check(|| {
        let (mut client, _, properties) = Connect::new(5, &unique()).accepted();
        let maximum = number(&properties, 0x21).unwrap_or(65_535) as u16;
        let topic = topic();
        // QoS 2 counts until its PUBREL is answered.
        let bytes = |id| Publish::new(&topic, 2, "x").id(id).bytes(5);
        client.send((1..=maximum).flat_map(bytes).collect::<Vec<u8>>());
        for id in 1..=maximum {
            assert!(client.ack(5, id) < 0x80);
        }
        client.lives();
        client.send(bytes(maximum + 1));
        client.ends_with(0x93);
    });
}

#[test]
fn a_client_without_quota_may_go_on_otherwise() {
    check(|| {
        let (mut client, _, properties) = Connect::new(5, &unique()).accepted();
        let maximum = number(&properties, 0x21).unwrap_or(65_535) as u16;
        let topic = topic();
        client.send((1..=maximum).flat_map(|id| Publish::new(&topic, 2, "x").id(id).bytes(5)).collect::<Vec<u8>>());
        for id in 1..=maximum {
            assert!(client.ack(5, id) < 0x80);
        }
        assert_eq!(client.subscribe(&[(&topic, 1)]), [1]);
        client.send(Publish::new(&topic, 0, "qos 0").bytes(5));
        assert_eq!(client.message().text(), "qos 0");
        client.send(ack(6, 1));
        assert_eq!(client.ack(7, 1), 0);
        client.publish("t/room-for-one", b"x");
    });
}
