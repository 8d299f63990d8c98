//! SUBSCRIBE and SUBACK: sections 3.8 and 3.9.
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Packet, Publish, binary, both, frame, property, subscribe, topic, values, varint};

#[test]
fn a_subscribe_is_answered_with_a_code_for_each_filter_in_their_order() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), topic());
            for (id, filters) in [(1, vec![("a", 2)]), (0xFFFF, vec![("a", 1), ("b", 0), ("c/#", 2), ("+/d", 1)])] {
                let filters: Vec<(String, u8)> =
                    filters.iter().map(|(f, qos)| (format!("{topic}/{f}"), *qos)).collect();
                let filters: Vec<(&str, u8)> = filters.iter().map(|(f, qos)| (f.as_str(), *qos)).collect();
                client.send(subscribe(version, id, &[], &filters));
                let codes = filters.iter().map(|filter| filter.1).collect();
                client.expect(&Packet::Suback { id, codes, properties: Vec::new() });
            }
        });
    });
}

#[test]
fn several_filters_of_a_subscribe_are_as_several_subscribes() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), topic());
            let (one, two) = (format!("{topic}/1"), format!("{topic}/2"));
            client.subscribe(&[(&one, 0), (&two, 1)]);
            let mut publisher = Client::new(version);
            publisher.publish(&one, b"1");
            publisher.publish(&two, b"2");
            for (text, qos) in [("1", 0), ("2", 1)] {
                let message = client.message();
                assert_eq!((message.text(), message.qos), (text, qos));
            }
        });
    });
}

#[test]
fn a_message_comes_at_the_lower_of_both_qos() {
    check(|| {
        both(|version| {
            for wanted in 0..3 {
                for sent in 0..3 {
                    let (mut client, topic) = (Client::new(version), topic());
                    client.subscribe(&[(&topic, wanted)]);
                    Client::new(version).publish_as(Publish::new(&topic, sent, "x"));
                    assert_eq!(client.message().qos, wanted.min(sent));
                }
            }
        });
    });
}

#[test]
fn a_subscription_to_the_same_filter_replaces_the_one_before() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            publisher.publish_as(Publish::retained(&topic, 1, "retained"));
            for qos in [0, 1] {
                client.subscribe(&[(&topic, qos)]);
                // What is retained is sent again.
                assert_eq!(client.message().text(), "retained");
            }
            publisher.publish(&topic, b"once");
            let message = client.message();
            assert_eq!((message.text(), message.qos), ("once", 1));
            client.quiet(&mut publisher);
        });
    });
}

#[test]
fn no_message_is_lost_while_a_subscription_is_replaced() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), topic());
            client.subscribe(&[(&topic, 1)]);
            let name = topic.clone();
            let publishing = std::thread::spawn(move || {
                let mut publisher = Client::new(version);
                (0..50).for_each(|number| publisher.publish(&name, number.to_string().as_bytes()));
            });
            let (mut seen, mut answered) = (0, 0);
            for id in 1..=50 {
                client.send(subscribe(version, id, &[], &[(&topic, 1)]));
            }
            while seen < 50 || answered < 50 {
                match client.receive() {
                    Packet::Publish(message) => {
                        assert_eq!(message.text(), seen.to_string());
                        client.send(crate::packet::ack(4, message.id));
                        seen += 1;
                    }
                    Packet::Suback { .. } => answered += 1,
                    other => panic!("{other:?}"),
                }
            }
            publishing.join().unwrap();
        });
    });
}

#[test]
fn overlapping_subscriptions_deliver_at_the_highest_qos() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            client.subscribe(&[(&format!("{topic}/#"), 0), (&format!("{topic}/+"), 2), (&format!("{topic}/a"), 1)]);
            publisher.publish_as(Publish::new(&format!("{topic}/a"), 2, "x"));
            assert_eq!(client.message().qos, 2);
        });
    });
}

#[test]
fn no_local_keeps_a_client_from_its_own_messages() {
    check(|| {
        let (mut client, topic) = (Client::new(5), topic());
        client.subscribe(&[(&topic, 1 | 4)]);
        client.publish(&topic, b"its own");
        let mut other = Client::new(5);
        other.publish(&topic, b"another's");
        assert_eq!(client.message().text(), "another's");
        client.quiet(&mut other);
    });
}

#[test]
fn without_no_local_a_client_gets_its_own_messages() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), topic());
            client.subscribe(&[(&topic, 0)]);
            client.send(Publish::new(&topic, 0, "its own").bytes(version));
            assert_eq!(client.message().text(), "its own");
        });
    });
}

#[test]
fn no_local_on_a_shared_subscription_is_refused() {
    check(|| {
        let mut client = Client::new(5);
        client.send(subscribe(5, 1, &[], &[(&format!("$share/g/{}", topic()), 1 | 4)]));
        client.ends_with(0x82);
    });
}

#[test]
fn a_subscribe_without_filters_is_refused() {
    check(|| {
        both(|version| {
            let mut client = Client::new(version);
            client.send(subscribe(version, 1, &[], &[]));
            let said = client.ends();
            assert!(matches!((version, said), (4, None) | (5, Some(0x81 | 0x82))), "{said:x?}");
        });
    });
}

#[test]
fn reserved_options_of_a_subscription_are_malformed() {
    check(|| {
        for options in [0x40, 0x80, 0x03] {
            let mut client = Client::new(5);
            client.send(subscribe(5, 1, &[], &[("a", options)]));
            let said = client.ends();
            assert!(matches!(said, Some(0x81 | 0x82)), "{options:#x}: {said:x?}");
        }
        // Retain Handling 3 is a Protocol Error.
        let mut client = Client::new(5);
        client.send(subscribe(5, 1, &[], &[("a", 0x30)]));
        let said = client.ends();
        assert!(matches!(said, Some(0x81 | 0x82)), "{said:x?}");
        for options in [3, 4, 8, 0x10, 0x40, 0x80] {
            let mut client = Client::new(4);
            client.send(subscribe(4, 1, &[], &[("a", options)]));
            assert_eq!(client.ends(), None, "{options:#x}");
        }
    });
}

#[test]
fn a_filter_must_be_utf_8() {
    check(|| {
        both(|version| {
            for bytes in [b"a\xFF".as_slice(), b"\xED\xA0\x80", b"a\0"] {
                let properties: &[u8] = if version == 5 { &[0] } else { &[] };
                for (first, options) in [(0x82, [0].as_slice()), (0xA2, &[])] {
                    let mut client = Client::new(version);
                    client.send(frame(first, &[&[0, 1], properties, &binary(bytes), options].concat()));
                    if bytes == b"a\0" {
                        // A null character need not end the connection: it is enough that the filter is not taken.
                        if let Some(Packet::Suback { codes, .. } | Packet::Unsuback { codes, .. }) = client.next() {
                            assert!(codes.iter().all(|code| *code > 2), "{codes:x?}");
                        }
                        continue;
                    }
                    let said = client.ends();
                    assert!(matches!((version, said), (4, None) | (5, Some(0x81 | 0x8F))), "{bytes:x?}: {said:x?}");
                }
            }
        });
    });
}

#[test]
fn an_invalid_filter_is_not_granted() {
    check(|| {
        both(|version| {
            for filter in ["", "a/#/b", "a#", "a+", "+a/b", "#/a", "$share/g", "$share//a", "$share/g+/a", "$share/g/"]
            {
                if version == 4 && filter.starts_with('$') {
                    continue;
                }
                let mut client = Client::new(version);
                client.send(subscribe(version, 1, &[], &[(filter, 0)]));
                match client.next() {
                    None => assert_eq!(version, 4, "{filter:?}"),
                    Some(Packet::Suback { codes, .. }) => {
                        assert_eq!(codes, [if version == 5 { 0x8F } else { 0x80 }], "{filter:?}");
                    }
                    Some(Packet::Disconnect { code, .. }) => assert!([0x81, 0x82, 0x8F].contains(&code), "{filter:?}"),
                    other => panic!("{filter:?}: {other:?}"),
                }
            }
        });
    });
}

#[test]
fn subscription_identifiers_come_with_the_messages() {
    check(|| {
        let (mut client, mut publisher, topic) = (Client::new(5), Client::new(5), topic());
        let filters =
            [(format!("{topic}/a"), Some(1)), (format!("{topic}/+"), Some(268_435_455)), (format!("{topic}/#"), None)];
        for (id, (filter, identifier)) in filters.iter().enumerate() {
            let properties = identifier.map_or(Vec::new(), |identifier| property(0x0B, varint(identifier)));
            client.send(subscribe(5, id as u16 + 1, &properties, &[(filter, 0)]));
            assert!(matches!(client.receive(), Packet::Suback { codes, .. } if codes == [0]));
        }
        publisher.publish(&format!("{topic}/a"), b"x");
        publisher.publish(&format!("{topic}/b"), b"y");
        publisher.publish(&format!("{topic}/c/d"), b"z");
        let identifiers = |message: &crate::packet::Message| {
            let mut found: Vec<u32> =
                message.property(0x0B).iter().map(|bytes| u32::from_be_bytes((*bytes).try_into().unwrap())).collect();
            found.sort_unstable();
            found
        };
        // One copy with all, or a copy for each.
        let mut of_x = Vec::new();
        let y = loop {
            let message = client.message();
            match message.text() {
                "x" => of_x.extend(identifiers(&message)),
                _ => break message,
            }
        };
        of_x.sort_unstable();
        assert_eq!(of_x, [1, 268_435_455]);
        let mut of_y = identifiers(&y);
        let z = loop {
            let message = client.message();
            match message.text() {
                "y" => of_y.extend(identifiers(&message)),
                _ => break message,
            }
        };
        assert_eq!(of_y, [268_435_455]);
        assert_eq!((z.text(), identifiers(&z)), ("z", Vec::new()));
    });
}

#[test]
fn a_subscription_identifier_is_replaced_with_its_subscription() {
    check(|| {
        let (mut client, mut publisher, topic) = (Client::new(5), Client::new(5), topic());
        for properties in [property(0x0B, [7]), property(0x0B, [8]), Vec::new()] {
            client.send(subscribe(5, 1, &properties, &[(&topic, 0)]));
            assert!(matches!(client.receive(), Packet::Suback { codes, .. } if codes == [0]));
            publisher.publish(&topic, b"x");
            let wanted: Vec<[u8; 4]> = properties.get(1).map(|value| [0, 0, 0, *value]).into_iter().collect();
            assert_eq!(client.message().property(0x0B), wanted);
        }
    });
}

#[test]
fn a_wrong_subscription_identifier_is_refused() {
    check(|| {
        let twice = [property(0x0B, [1]), property(0x0B, [2])].concat();
        for properties in [property(0x0B, [0]), twice, property(0x21, [0, 1])] {
            let mut client = Client::new(5);
            client.send(subscribe(5, 1, &properties, &[("a", 0)]));
            let said = client.ends();
            assert!(matches!(said, Some(0x81 | 0x82)), "{properties:x?}: {said:x?}");
        }
    });
}

#[test]
fn subscription_identifiers_are_kept_with_the_session() {
    check(|| {
        let (kept, topic) = (Connect::kept(5, &unique()), topic());
        let mut client = kept.accepted().0;
        client.send(subscribe(5, 1, &property(0x0B, [9]), &[(&topic, 1)]));
        assert!(matches!(client.receive(), Packet::Suback { codes, .. } if codes == [1]));
        client.disconnect();
        Client::new(5).publish(&topic, b"x");
        let mut client = kept.accepted().0;
        assert_eq!(values(&client.message().properties, 0x0B), [[0, 0, 0, 9]]);
    });
}
