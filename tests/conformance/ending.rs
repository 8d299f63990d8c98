//! PINGREQ and DISCONNECT: sections 3.12 to 3.14.
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Publish, both, frame, property, topic};

#[test]
fn pingreq_is_answered() {
    check(|| {
        both(|version| {
            let mut client = Client::new(version);
            for _ in 0..3 {
                client.lives();
            }
        });
    });
}

#[test]
fn a_pingreq_with_a_body_is_malformed() {
    check(|| {
        both(|version| {
            let mut client = Client::new(version);
            client.send([0xC0, 1, 0]);
            client.ends_with(0x81);
        });
    });
}

#[test]
fn disconnect_ends_the_connection_and_what_follows_is_ignored() {
    check(|| {
        both(|version| {
            let (mut subscriber, topic) = (Client::new(version), topic());
            subscriber.subscribe(&[(&topic, 0)]);
            let mut client = Client::new(version);
            client.send([vec![0xE0, 0], Publish::new(&topic, 0, "too late").bytes(version)].concat());
            assert_eq!(client.ends(), None);
            subscriber.quiet(&mut Client::new(version));
        });
    });
}

#[test]
fn a_malformed_disconnect_is_told() {
    check(|| {
        both(|version| {
            let mut client = Client::new(version);
            client.send([0xE1, 0]);
            client.ends_with(0x81);
        });
        let mut client = Client::new(4);
        client.send([0xE0, 1, 0]);
        assert_eq!(client.ends(), None);
        // A Reason Code that does not exist, and one that only a server says.
        let mut client = Client::new(5);
        client.send([0xE0, 1, 0x42]);
        let said = client.ends();
        assert!(matches!(said, Some(0x81 | 0x82)), "{said:x?}");
    });
}

#[test]
fn a_session_that_was_to_end_cannot_be_kept_by_disconnect() {
    check(|| {
        let mut client = Client::new(5);
        let properties = property(0x11, 60_u32.to_be_bytes());
        client.send(frame(0xE0, &[&[0, 5], properties.as_slice()].concat()));
        client.ends_with(0x82);
    });
}

#[test]
fn disconnect_may_shorten_and_lengthen_a_session() {
    check(|| {
        let kept = Connect::kept(5, &unique());
        let end = |seconds: u32| {
            let properties = property(0x11, seconds.to_be_bytes());
            let (mut client, present, _) = kept.accepted();
            client.send(frame(0xE0, &[&[0, 5], properties.as_slice()].concat()));
            assert_eq!(client.ends(), None);
            present
        };
        assert!(!end(7200));
        assert!(end(0));
        assert!(!end(60), "the session has ended with the connection");
    });
}
