//! Enhanced authentication: sections 3.15 and 4.12. The broker has no method of it.
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, binary, frame, property, values};

#[test]
fn an_authentication_method_is_refused() {
    check(|| {
        for data in [Vec::new(), property(0x16, binary("data"))] {
            let properties = [property(0x15, binary("SCRAM-SHA-256")), data].concat();
            let mut client = Connect { properties, ..Connect::new(5, &unique()) }.sent();
            assert_eq!(client.ends(), Some(0x8C));
        }
    });
}

#[test]
fn without_a_method_there_is_no_auth() {
    check(|| {
        let (mut client, _, properties) = Connect::new(5, &unique()).accepted();
        assert!(values(&properties, 0x15).is_empty() && values(&properties, 0x16).is_empty());
        client.send([0xF0, 2, 0x18, 0]);
        client.ends_with(0x82);
        let mut client = Client::new(5);
        let properties = property(0x15, binary("SCRAM-SHA-256"));
        client.send(frame(0xF0, &[&[0x19, properties.len() as u8], properties.as_slice()].concat()));
        client.ends_with(0x82);
    });
}

#[test]
fn a_malformed_auth_is_refused() {
    check(|| {
        for bytes in [[0xF1, 0].as_slice(), &[0xF0, 2, 0x42, 0], &[0xF0, 1]] {
            let mut client = Client::new(5);
            client.send(bytes);
            if bytes == [0xF0, 1] {
                // The rest of it does not come: the client has gone.
                client.cut();
                continue;
            }
            let said = client.ends();
            assert!(matches!(said, Some(0x81 | 0x82)), "{bytes:x?}: {said:x?}");
        }
        // 3.1.1 has no packet of this type.
        let mut client = Client::new(4);
        client.send([0xF0, 0]);
        assert_eq!(client.ends(), None);
    });
}

#[test]
fn auth_is_not_the_first_packet() {
    check(|| {
        let mut client = Client::open(5);
        client.send([0xF0, 0]);
        assert_eq!(client.ends(), None);
    });
}
