//! What is malformed: sections 1.5, 2.1 and 4.13.
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Packet, Publish, both, frame, subscribe, topic, unsubscribe};

/// Ends the connection; Malformed Packet or Protocol Error in MQTT 5.
fn wrong(version: u8, bytes: &[u8]) {
    let mut client = Client::new(version);
    client.send(bytes);
    let said = client.ends();
    assert!(matches!((version, said), (4, None) | (5, Some(0x81 | 0x82))), "{bytes:x?}: {said:x?}");
}

#[test]
fn reserved_flags_of_the_fixed_header_are_malformed() {
    check(|| {
        both(|version| {
            let packets = [
                vec![0x40, 2, 0, 1],
                vec![0x50, 2, 0, 1],
                vec![0x60, 2, 0, 1],
                vec![0x70, 2, 0, 1],
                subscribe(version, 1, &[], &[("a", 0)]),
                unsubscribe(version, 1, &["a"]),
                vec![0xC0, 0],
                vec![0xE0, 0],
            ];
            for packet in packets {
                let right = if matches!(packet[0] >> 4, 6 | 8 | 10) { 2 } else { 0 };
                for flags in (0..16).filter(|flags| *flags != right) {
                    let mut bytes = packet.clone();
                    bytes[0] = bytes[0] & 0xF0 | flags;
                    let mut client = Client::new(version);
                    client.send(&bytes);
                    client.ends_with(0x81);
                }
            }
        });
    });
}

#[test]
fn reserved_flags_of_connect_are_malformed() {
    check(|| {
        both(|version| {
            for flags in 1..16 {
                let mut bytes = Connect::new(version, &unique()).bytes();
                bytes[0] |= flags;
                let mut client = Client::open(version);
                client.send(bytes);
                client.not_accepted(&[0x81, 0x82]);
            }
        });
    });
}

#[test]
fn packet_types_that_do_not_exist_or_only_a_server_sends_are_refused() {
    check(|| {
        both(|version| {
            for first in [0x00, 0x20, 0x90, 0xB0, 0xD0] {
                wrong(version, &[first, 2, 0, 0]);
            }
        });
    });
}

#[test]
fn a_remaining_length_of_five_bytes_is_malformed() {
    check(|| {
        both(|version| {
            let mut client = Client::new(version);
            client.send([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
            client.ends_with(0x81);
        });
    });
}

#[test]
fn acknowledgements_that_are_malformed_are_refused() {
    check(|| {
        both(|version| {
            for first in [0x40, 0x50, 0x62, 0x70] {
                wrong(version, &[first, 0]);
                wrong(version, &[first, 1, 0]);
                wrong(version, &[first, 2, 0, 0]);
            }
        });
        // A Reason Code that does not exist there, a property of another packet, and a length that is too long.
        for first in [0x40, 0x50, 0x62, 0x70] {
            wrong(5, &[first, 3, 0, 1, 0x42]);
            wrong(5, &[first, 6, 0, 1, 0, 2, 0x24, 1]);
            wrong(5, &[first, 4, 0, 1, 0, 9]);
        }
        // 3.1.1 has no Reason Codes.
        for first in [0x40, 0x50, 0x62, 0x70] {
            wrong(4, &[first, 3, 0, 1, 0]);
        }
    });
}

#[test]
fn a_packet_above_the_servers_maximum_is_refused() {
    check(|| {
        let mut client = Client::new(5);
        // 268,435,455 bytes; they need not come.
        client.send([0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
        client.ends_with(0x95);
    });
}

#[test]
fn an_error_ends_its_own_connection_alone() {
    check(|| {
        both(|version| {
            let (mut bystander, topic) = (Client::new(version), topic());
            bystander.subscribe(&[(&topic, 0)]);
            for _ in 0..20 {
                wrong(version, &[0x00, 0]);
            }
            Client::new(version).publish(&topic, b"x");
            assert_eq!(bystander.message().text(), "x");
        });
    });
}

#[test]
fn nothing_is_sent_above_the_clients_maximum_packet_size() {
    check(|| {
        let (mut publisher, topic) = (Client::new(5), topic());
        let connect = Connect::new(5, &unique()).with(0x27, 64_u32.to_be_bytes()).with(0x21, [0, 1]);
        let (mut client, ..) = connect.accepted();
        client.subscribe(&[(&topic, 1)]);
        publisher.publish(&topic, &[b'x'; 100]);
        // It counts as delivered: neither it nor its identifier keeps the next from coming.
        publisher.publish(&topic, b"small");
        let message = client.message();
        assert_eq!(message.text(), "small");
        client.send(crate::packet::ack(4, message.id));
        // Failures of every kind say no more than fits.
        client.send(subscribe(5, 1, &[], &[("a/#/b", 0)]));
        client.next();
        client.send(unsubscribe(5, 2, &["nothing"]));
        client.next();
        assert!(client.longest <= 64, "{}", client.longest);
        // Exactly at the limit it comes.
        let mut client = connect.accepted().0;
        client.subscribe(&[(&topic, 0)]);
        publisher.publish(&topic, &vec![b'x'; 64 - 2 - 2 - topic.len() - 1]);
        assert!(matches!(client.receive(), Packet::Publish(_)));
        assert_eq!(client.longest, 64);
    });
}

#[test]
fn even_a_disconnect_is_not_above_the_clients_maximum_packet_size() {
    check(|| {
        let mut client = Connect::new(5, &unique()).with(0x27, 64_u32.to_be_bytes()).accepted().0;
        client.send(Publish::new(&"#".repeat(500), 0, "x").bytes(5));
        client.ends_with(0x90);
        assert!(client.longest <= 64, "{}", client.longest);
    });
}

#[test]
fn lengths_are_encoded_in_the_fewest_bytes() {
    check(|| {
        both(|version| {
            // The strict reader of these tests compares them.
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            client.subscribe(&[(&topic, 0)]);
            for length in [100_usize, 127, 128, 16_383, 16_384, 100_000] {
                let payload = vec![b'x'; length - 2 - topic.len() - usize::from(version == 5)];
                publisher.publish(&topic, &payload);
                assert_eq!(client.message().payload, payload);
            }
        });
    });
}

#[test]
fn a_packet_may_come_in_pieces() {
    check(|| {
        both(|version| {
            let mut client = Client::open(version);
            for byte in Connect::new(version, &unique()).bytes() {
                client.send([byte]);
            }
            assert!(matches!(client.receive(), Packet::Connack { code: 0, .. }));
            for byte in Publish::new("t", 1, "x").bytes(version) {
                client.send([byte]);
            }
            assert!(client.ack(4, 1) < 0x80);
        });
    });
}

#[test]
fn bytes_after_the_fields_of_a_packet_are_malformed() {
    check(|| {
        both(|version| {
            wrong(version, &[0xC0, 1, 0]);
            let mut bytes = Connect::new(version, &unique()).bytes();
            bytes.push(0);
            bytes[1] += 1;
            let mut client = Client::open(version);
            client.send(bytes);
            client.not_accepted(&[0x81, 0x82]);
            wrong(version, &frame(0xA2, &[0, 1, 0, 0, 9, b'a']));
        });
    });
}
