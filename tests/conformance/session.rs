//! Session state: sections 3.1.2.11.2 and 4.1.
use std::time::Duration;

use crate::broker::own;
use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Publish, ack, both, number, topic};

#[test]
fn a_session_ends_with_its_connection_where_nothing_else_is_asked_for() {
    check(|| {
        both(|version| {
            let connect = Connect::new(version, &unique());
            connect.accepted().0.disconnect();
            assert!(!connect.clone().clean(false).accepted().1);
        });
        // Session Expiry Interval 0 without Clean Start.
        let connect = Connect::new(5, &unique()).clean(false);
        connect.accepted().0.cut();
        assert!(!connect.accepted().1);
    });
}

#[test]
fn a_session_is_kept_for_its_expiry_interval_and_no_longer() {
    check(|| {
        let id = unique();
        let connect = |seconds: u32| Connect::new(5, &id).clean(false).with(0x11, seconds.to_be_bytes());
        let (client, _, properties) = connect(1).accepted();
        assert_eq!(number(&properties, 0x11), None, "it is granted as asked for");
        client.cut();
        let (client, present, _) = connect(1).accepted();
        assert!(present);
        client.disconnect();
        std::thread::sleep(Duration::from_millis(2200));
        assert!(!connect(1).accepted().1);
    });
}

#[test]
fn a_session_goes_on_while_its_connection_does() {
    check(|| {
        let (id, topic) = (unique(), topic());
        let mut client = Connect::new(5, &id).with(0x11, 1_u32.to_be_bytes()).accepted().0;
        client.subscribe(&[(&topic, 1)]);
        std::thread::sleep(Duration::from_millis(2200));
        Client::new(5).publish(&topic, b"x");
        assert_eq!(client.message().text(), "x");
    });
}

#[test]
fn a_session_of_never_ending_expiry_is_kept() {
    check(|| {
        let connect = Connect::new(5, &unique()).clean(false).with(0x11, u32::MAX.to_be_bytes());
        connect.accepted().0.disconnect();
        assert!(connect.accepted().1);
    });
}

#[test]
fn messages_for_an_absent_client_are_kept() {
    check(|| {
        both(|version| {
            let (kept, topic) = (Connect::kept(version, &unique()), topic());
            let mut client = kept.accepted().0;
            client.subscribe(&[(&topic, 2)]);
            client.disconnect();
            let mut publisher = Client::new(version);
            for qos in [1, 2] {
                publisher.publish_as(Publish::new(&topic, qos, "kept"));
            }
            let (mut client, present, _) = kept.accepted();
            assert!(present);
            for qos in [1, 2] {
                let message = client.message();
                assert_eq!((message.qos, message.dup, message.text()), (qos, false, "kept"));
            }
        });
    });
}

#[test]
fn a_session_survives_a_kill_with_its_subscriptions_and_messages() {
    check(|| {
        both(|version| {
            let (folder, kept, topic) = (tempfile::tempdir().unwrap(), Connect::kept(version, "kept"), topic());
            let bridge = own(folder.path());
            let mut client = kept.accepted_at(bridge.address).0;
            client.subscribe(&[(&topic, 2)]);
            let mut publisher = Connect::new(version, "p").accepted_at(bridge.address).0;
            publisher.publish_as(Publish::new(&topic, 2, "in flight"));
            let first = client.message();
            client.send(ack(5, first.id));
            assert_eq!(client.ack(6, first.id), 0);
            client.cut();
            publisher.publish_as(Publish::new(&topic, 1, "waits"));
            bridge.kill();
            let bridge = own(folder.path());
            let (mut client, present, _) = kept.accepted_at(bridge.address);
            assert!(present);
            // The exchange goes on where it was.
            assert_eq!(client.ack(6, first.id), 0);
            client.send(ack(7, first.id));
            assert_eq!(client.message().text(), "waits");
            let mut publisher = Connect::new(version, "p").accepted_at(bridge.address).0;
            publisher.publish_as(Publish::new(&topic, 1, "new"));
            assert_eq!(client.message().text(), "new");
        });
    });
}
