//! CONNECT and CONNACK: sections 3.1 and 3.2.
use std::time::{Duration, Instant};

use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Packet, Publish, Will, ack, both, frame, number, property, subscribe, topic, values};

/// Malformed Packet or Protocol Error.
const WRONG: &[u8] = &[0x81, 0x82];

#[test]
fn the_first_packet_must_be_connect() {
    check(|| {
        both(|version| {
            for first in
                [vec![0xC0, 0], Publish::new("t", 0, "x").bytes(version), subscribe(version, 1, &[], &[("t", 0)])]
            {
                let mut client = Client::open(version);
                client.send(first);
                assert_eq!(client.ends(), None);
            }
        });
    });
}

#[test]
fn a_second_connect_ends_the_connection() {
    check(|| {
        both(|version| {
            let connect = Connect::new(version, &unique());
            let (mut client, ..) = connect.accepted();
            client.send(connect.bytes());
            client.ends_with(0x82);
        });
    });
}

#[test]
fn another_protocol_name_is_refused() {
    check(|| {
        both(|version| {
            for name in ["MQTX", "MQIsdp", "mqtt", ""] {
                let rest = &[version, 2, 0, 0];
                let tail = if version == 5 { vec![0, 0, 1, b'c'] } else { vec![0, 1, b'c'] };
                let mut client = Client::open(version);
                client.send(frame(0x10, &[crate::packet::binary(name).as_slice(), rest, &tail].concat()));
                let said = client.raw();
                assert!([&[][..], &[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0]].contains(&said.as_slice()), "{said:x?}");
            }
        });
    });
}

#[test]
fn another_protocol_version_is_refused() {
    check(|| {
        for level in [0, 2, 3, 6, 0x7F, 0x84, 0xFF] {
            let mut client = Client::open(4);
            client.send(Connect::new(level, "c").bytes());
            // A client of 3.1.1 or older is told so; how one of a version to come is told is not laid down.
            let said = client.raw();
            assert!([&[0x20, 2, 0, 1][..], &[0x20, 3, 0, 0x84, 0]].contains(&said.as_slice()), "{level}: {said:x?}");
        }
    });
}

#[test]
fn the_reserved_connect_flag_must_be_0() {
    check(|| both(|version| Connect::new(version, &unique()).wrong(1).sent().not_accepted(WRONG)));
}

#[test]
fn without_a_will_its_qos_and_retain_must_be_0() {
    check(|| {
        both(|version| {
            for wrong in [0x08, 0x10, 0x18, 0x20] {
                Connect::new(version, &unique()).wrong(wrong).sent().not_accepted(WRONG);
            }
        });
    });
}

#[test]
fn a_will_of_qos_3_is_refused() {
    check(|| both(|version| Connect::new(version, &unique()).will("t", 3, false).sent().not_accepted(WRONG)));
}

#[test]
fn fields_and_flags_of_connect_must_agree() {
    check(|| {
        both(|version| {
            // The flag without the field: Will, User Name with Password, User Name, in which a Password would be short.
            for wrong in [0x04, 0xC0, 0x80] {
                Connect::new(version, &unique()).wrong(wrong).sent().not_accepted(WRONG);
            }
            // The field without the flag.
            let name = Connect { username: Some("u".into()), ..Connect::new(version, &unique()) };
            name.clone().wrong(0x80).sent().not_accepted(WRONG);
            let password = Connect { password: Some("p".into()), ..name };
            password.clone().wrong(0x40).sent().not_accepted(WRONG);
            Connect::new(version, &unique()).will("t", 0, false).wrong(0x04).sent().not_accepted(WRONG);
        });
    });
}

#[test]
fn a_password_needs_a_user_name_in_3_1_1_alone() {
    check(|| {
        let connect = |version| Connect { password: Some("p".into()), ..Connect::new(version, &unique()) };
        connect(4).sent().not_accepted(WRONG);
        connect(5).accepted();
    });
}

#[test]
fn a_user_name_and_a_password_are_taken() {
    check(|| {
        both(|version| {
            let connect = Connect {
                username: Some("a name".into()),
                password: Some(vec![0, 0xFF]),
                ..Connect::new(version, &unique()).will("t", 1, false)
            };
            connect.accepted();
        });
    });
}

#[test]
fn clean_start_begins_a_new_session() {
    check(|| {
        both(|version| {
            let (id, topic) = (unique(), topic());
            let kept = Connect::kept(version, &id);
            let (mut client, present, _) = kept.accepted();
            assert!(!present);
            client.subscribe(&[(&topic, 1)]);
            client.disconnect();
            let (mut client, present, _) = kept.clone().clean(true).accepted();
            assert!(!present);
            let mut publisher = Client::new(version);
            publisher.publish(&topic, b"not for it any more");
            client.quiet(&mut publisher);
        });
    });
}

#[test]
fn a_session_is_resumed_without_clean_start() {
    check(|| {
        both(|version| {
            let (kept, topic) = (Connect::kept(version, &unique()), topic());
            let (mut client, present, _) = kept.accepted();
            assert!(!present, "there was none");
            client.subscribe(&[(&topic, 1)]);
            client.disconnect();
            let (mut client, present, _) = kept.accepted();
            assert!(present);
            Client::new(version).publish(&topic, b"x");
            assert_eq!(client.message().text(), "x");
        });
    });
}

#[test]
fn a_client_that_connects_again_takes_over() {
    check(|| {
        both(|version| {
            let connect = Connect::new(version, &unique());
            let (mut first, ..) = connect.accepted();
            let (mut second, ..) = connect.accepted();
            first.ends_with(0x8E);
            second.lives();
        });
    });
}

#[test]
fn client_identifiers_of_letters_and_digits_are_taken() {
    check(|| {
        both(|version| {
            for id in ["0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ", "a"] {
                let mut client = Connect::new(version, id).accepted().0;
                client.lives();
            }
        });
    });
}

#[test]
fn the_client_identifier_must_be_there_and_be_utf_8() {
    check(|| {
        both(|version| {
            let mut missing = Client::open(version);
            let tail: &[u8] = if version == 5 { &[0] } else { &[] };
            missing.send(frame(0x10, &[crate::packet::binary("MQTT").as_slice(), &[version, 2, 0, 0], tail].concat()));
            missing.not_accepted(WRONG);
            for bytes in [b"a\xFF".as_slice(), b"\xED\xA0\x80", b"a\0b"] {
                let connect = Connect { client_id: bytes.to_vec(), ..Connect::new(version, "") };
                connect.sent().not_accepted(&[0x81, 0x82, 0x85]);
            }
        });
    });
}

#[test]
fn strings_of_connect_must_be_utf_8() {
    check(|| {
        both(|version| {
            for bytes in [b"a\xC0\x80".as_slice(), b"\xED\xBF\xBF", b"a\0"] {
                let name = Connect { username: Some(bytes.to_vec()), ..Connect::new(version, &unique()) };
                name.sent().not_accepted(WRONG);
                // A Will Topic that is no string: its bytes are put in by hand.
                let mut connect = Connect::new(version, &unique()).will("####", 0, false).bytes();
                let at = connect.windows(4).position(|bytes| bytes == b"####").unwrap();
                connect[at..at + bytes.len()].copy_from_slice(bytes);
                connect[at + bytes.len()..at + 4].fill(b'x');
                let mut client = Client::open(version);
                client.send(connect);
                client.not_accepted(&[0x81, 0x82, 0x90]);
            }
        });
    });
}

#[test]
fn without_a_client_identifier_one_is_assigned() {
    check(|| {
        let (mut one, _, properties) = Connect::new(5, "").accepted();
        let (_other, _, others) = Connect::new(5, "").accepted();
        let assigned = String::from_utf8(values(&properties, 0x12)[0].to_vec()).unwrap();
        assert_ne!(values(&others, 0x12)[0], assigned.as_bytes());
        // It is a Client Identifier as any other.
        let (_again, _, properties) = Connect::new(5, &assigned).accepted();
        assert!(values(&properties, 0x12).is_empty(), "it has said its own");
        one.ends_with(0x8E);
    });
}

#[test]
fn a_session_with_an_assigned_identifier_can_be_resumed() {
    check(|| {
        let (client, _, properties) = Connect::kept(5, "").accepted();
        let assigned = String::from_utf8(values(&properties, 0x12)[0].to_vec()).unwrap();
        client.disconnect();
        assert!(Connect::kept(5, &assigned).accepted().1);
    });
}

#[test]
fn without_a_client_identifier_3_1_1_must_ask_for_a_clean_session() {
    check(|| {
        Connect::new(4, "").accepted();
        Connect::new(4, "").clean(false).refused(None, Some(2));
    });
}

#[test]
fn the_first_that_is_said_is_connack_and_it_comes_once() {
    check(|| {
        both(|version| {
            let topic = topic();
            let mut client = Client::open(version);
            let bytes = [
                Connect::new(version, &unique()).bytes(),
                subscribe(version, 1, &[], &[(&topic, 1)]),
                Publish::new(&topic, 1, "x").bytes(version),
                vec![0xC0, 0],
            ];
            // In one segment: the client need not wait for CONNACK.
            client.send(bytes.concat());
            let mut seen = vec![client.receive()];
            assert!(matches!(seen[0], Packet::Connack { code: 0, present: false, .. }), "{seen:?}");
            while seen.len() < 5 {
                seen.push(client.receive());
            }
            assert!(!seen[1..].iter().any(|packet| matches!(packet, Packet::Connack { .. })), "{seen:?}");
        });
    });
}

#[test]
fn what_follows_a_refused_connect_is_not_processed() {
    check(|| {
        let topic = topic();
        let mut subscriber = Client::new(5);
        subscriber.subscribe(&[(&topic, 0)]);
        let mut refused = Client::open(4);
        let publish = Publish::new(&topic, 0, "x").bytes(4);
        refused.send([Connect::new(4, "").clean(false).bytes(), publish].concat());
        assert_eq!(refused.ends(), Some(2));
        let mut wrong = Client::open(5);
        wrong.send(
            [Connect::new(5, &unique()).with(0x21, [0, 0]).bytes(), Publish::new(&topic, 0, "x").bytes(5)].concat(),
        );
        wrong.not_accepted(&[0x82]);
        subscriber.quiet(&mut Client::new(5));
    });
}

#[test]
fn a_client_that_is_silent_is_disconnected_after_one_and_a_half_keep_alives() {
    check(|| {
        both(|version| {
            let connect = Connect { keep_alive: 1, ..Connect::new(version, &unique()) };
            let (mut client, _, properties) = connect.accepted();
            assert_eq!(number(&properties, 0x13), None, "no Server Keep Alive");
            // Each packet counts.
            std::thread::sleep(Duration::from_millis(900));
            client.lives();
            let since = Instant::now();
            client.ends_with(0x8D);
            let silent = since.elapsed().as_secs_f64();
            assert!((1.4..4.0).contains(&silent), "{silent} s");
        });
    });
}

#[test]
fn a_connect_with_wrong_properties_is_refused() {
    check(|| {
        let twice = |id: u8, value: &[u8]| [property(id, value), property(id, value)].concat();
        let cases: [(Vec<u8>, u8); 12] = [
            (property(0x21, [0, 0]), 0x82),
            (property(0x27, [0, 0, 0, 0]), 0x82),
            (property(0x19, [2]), 0x82),
            (property(0x17, [2]), 0x82),
            (twice(0x11, &[0, 0, 0, 1]), 0x82),
            (twice(0x21, &[0, 1]), 0x82),
            (twice(0x27, &[0, 0, 1, 0]), 0x82),
            (twice(0x22, &[0, 1]), 0x82),
            (twice(0x19, &[1]), 0x82),
            // Authentication Data without a method.
            (property(0x16, [0, 1, 0]), 0x82),
            // A property of another packet, and none at all.
            (property(0x24, [1]), 0x81),
            (property(0x7F, [1]), 0x81),
        ];
        for (properties, code) in cases {
            let mut client = Connect { properties: properties.clone(), ..Connect::new(5, &unique()) }.sent();
            if let Some(said) = client.ends() {
                assert!(said == code || WRONG.contains(&said), "{properties:x?}: {said:#x}");
            }
        }
        // User Properties may repeat.
        let pair = [crate::packet::binary("a"), crate::packet::binary("b")].concat();
        Connect { properties: twice(0x26, &pair), ..Connect::new(5, &unique()) }.accepted();
    });
}

#[test]
fn connack_says_what_the_server_can() {
    check(|| {
        let (_client, _, properties) = Connect::new(5, &unique()).accepted();
        // Absent is all: QoS 2, retained messages, wildcards, identifiers, shared subscriptions.
        for id in [0x24, 0x25, 0x28, 0x29, 0x2A] {
            assert_eq!(number(&properties, id), None, "property {id:#x}");
        }
        assert!(number(&properties, 0x21).is_none_or(|maximum| maximum > 0));
        assert!(number(&properties, 0x27).is_none_or(|maximum| maximum > 0));
    });
}

#[test]
fn response_information_and_problem_information_are_not_sent_unasked() {
    check(|| {
        let (mut client, _, properties) = Connect::new(5, &unique()).with(0x19, [0]).with(0x17, [0]).accepted();
        assert!(values(&properties, 0x1A).is_empty());
        client.send(subscribe(5, 1, &[], &[("a/#/b", 0)]));
        match client.receive() {
            Packet::Suback { properties, .. } => assert!(properties.is_empty()),
            // An invalid filter may end it.
            Packet::Disconnect { .. } => return,
            other => panic!("{other:?}"),
        }
        client.send(ack(6, 99));
        match client.receive() {
            Packet::Ack { kind: 7, properties, .. } => assert!(properties.is_empty()),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_malformed_will_is_refused() {
    check(|| {
        both(|version| {
            // A Topic Name without characters, and one with a wildcard.
            for topic in ["", "a/#", "+"] {
                Connect::new(version, &unique()).will(topic, 0, false).sent().not_accepted(&[0x81, 0x82, 0x90]);
            }
        });
        let wrong = |properties| {
            let will = Will { topic: "t".into(), payload: Vec::new(), qos: 0, retain: false, properties };
            Connect { will: Some(will), ..Connect::new(5, &unique()) }
        };
        wrong(property(0x01, [2])).sent().not_accepted(WRONG);
        wrong(property(0x23, [0, 1])).sent().not_accepted(WRONG);
        wrong([property(0x18, [0, 0, 0, 1]), property(0x18, [0, 0, 0, 1])].concat()).sent().not_accepted(WRONG);
    });
}

#[test]
fn bytes_that_are_no_mqtt_end_the_connection() {
    check(|| {
        for bytes in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 1], &[0, 0]] {
            let mut client = Client::open(4);
            client.send(bytes);
            assert_eq!(client.raw(), Vec::<u8>::new(), "{bytes:x?}");
        }
    });
}
