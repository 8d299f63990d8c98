//! Wills: sections 3.1.2.5 to 3.1.2.7, 3.1.3.2 and 3.14.4.
use std::time::{Duration, Instant};

use crate::check;
use crate::client::{Client, unique};
use crate::packet::{Connect, Will, binary, both, number, property, topic};

/// Who waits for the Will.
fn waiting(version: u8) -> (Client, String) {
    let (mut subscriber, topic) = (Client::new(version), topic());
    subscriber.subscribe(&[(&topic, 2)]);
    (subscriber, topic)
}

#[test]
fn a_will_is_published_when_the_connection_is_lost() {
    check(|| {
        both(|version| {
            for qos in 0..3 {
                let (mut subscriber, topic) = waiting(version);
                Connect::new(version, &unique()).will(&topic, qos, false).accepted().0.cut();
                let message = subscriber.message();
                assert_eq!((message.text(), message.qos, message.retain), ("will", qos, false));
            }
        });
    });
}

#[test]
fn a_will_is_published_once() {
    check(|| {
        both(|version| {
            let (mut subscriber, topic) = waiting(version);
            let kept = Connect::kept(version, &unique()).will(&topic, 0, false);
            kept.accepted().0.cut();
            assert_eq!(subscriber.message().text(), "will");
            // Without a Will this time.
            Connect { will: None, ..kept }.accepted().0.cut();
            subscriber.quiet(&mut Client::new(version));
        });
    });
}

#[test]
fn a_will_is_discarded_by_disconnect() {
    check(|| {
        both(|version| {
            let (mut subscriber, topic) = waiting(version);
            let connect = Connect::new(version, &unique()).will(&topic, 1, false);
            connect.accepted().0.disconnect();
            let mut client = connect.accepted().0;
            if version == 5 {
                client.send([0xE0, 1, 0]);
                assert_eq!(client.ends(), None);
            } else {
                client.disconnect();
            }
            subscriber.quiet(&mut Client::new(version));
        });
    });
}

#[test]
fn a_disconnect_may_ask_for_the_will() {
    check(|| {
        let (mut subscriber, topic) = waiting(5);
        let mut client = Connect::new(5, &unique()).will(&topic, 0, false).accepted().0;
        client.send([0xE0, 1, 4]);
        assert_eq!(client.ends(), None);
        assert_eq!(subscriber.message().text(), "will");
    });
}

#[test]
fn a_will_is_published_after_a_protocol_error_and_a_silence() {
    check(|| {
        both(|version| {
            let (mut subscriber, topic) = waiting(version);
            let mut wrong = Connect::new(version, &unique()).will(&topic, 0, false).accepted().0;
            wrong.send([0x36, 3, 0, 1, b'a']);
            wrong.ends();
            assert_eq!(subscriber.message().text(), "will");
            let silent = Connect { keep_alive: 1, ..Connect::new(version, &unique()).will(&topic, 0, false) };
            let _silent = silent.accepted().0;
            assert_eq!(subscriber.message().text(), "will");
        });
    });
}

#[test]
fn a_will_is_published_when_its_connection_is_taken_over() {
    check(|| {
        both(|version| {
            let (mut subscriber, topic) = waiting(version);
            let connect = Connect::new(version, &unique()).will(&topic, 0, false);
            let _first = connect.accepted().0;
            let _second = Connect { will: None, ..connect }.accepted().0;
            assert_eq!(subscriber.message().text(), "will");
        });
    });
}

#[test]
fn a_will_with_retain_is_retained() {
    check(|| {
        both(|version| {
            for retain in [false, true] {
                let (mut subscriber, topic) = waiting(version);
                Connect::new(version, &unique()).will(&topic, 1, retain).accepted().0.cut();
                assert_eq!(subscriber.message().text(), "will");
                let mut late = Client::new(version);
                late.subscribe(&[(&topic, 1)]);
                if retain {
                    assert!(late.message().retain);
                } else {
                    late.quiet(&mut Client::new(version));
                }
            }
        });
    });
}

/// A Will with these properties.
fn with(topic: &str, properties: Vec<u8>) -> Will {
    Will { topic: topic.into(), payload: b"will".to_vec(), qos: 1, retain: false, properties }
}

#[test]
fn the_properties_of_a_will_are_passed_on() {
    check(|| {
        let (mut subscriber, topic) = waiting(5);
        let user = |name: &str, value: &str| property(0x26, [binary(name), binary(value)].concat());
        let properties = [
            user("z", "1"),
            property(0x01, [1]),
            property(0x02, 60_u32.to_be_bytes()),
            property(0x03, binary("text/plain")),
            property(0x08, binary("answers")),
            property(0x09, binary([0, 1])),
            user("a", "2"),
            property(0x18, 0_u32.to_be_bytes()),
        ];
        let will = with(&topic, properties.concat());
        Connect { will: Some(will), ..Connect::new(5, &unique()) }.accepted().0.cut();
        let message = subscriber.message();
        assert_eq!(message.property(0x26), [b"z=1", b"a=2"]);
        assert_eq!(message.property(0x01), [[1]]);
        assert_eq!(message.property(0x03), [b"text/plain"]);
        assert_eq!(message.property(0x08), [b"answers"]);
        assert_eq!(message.property(0x09), [[0, 1]]);
        assert!((58..=60).contains(&number(&message.properties, 0x02).unwrap()));
    });
}

fn delayed(topic: &str, seconds: u32) -> Connect {
    let will = with(topic, property(0x18, seconds.to_be_bytes()));
    Connect { will: Some(will), ..Connect::kept(5, &unique()) }
}

#[test]
fn a_will_waits_for_its_delay() {
    check(|| {
        let (mut subscriber, topic) = waiting(5);
        let client = delayed(&topic, 1).accepted().0;
        let since = Instant::now();
        client.cut();
        assert_eq!(subscriber.message().text(), "will");
        let took = since.elapsed().as_secs_f64();
        assert!((1.0..5.0).contains(&took), "{took} s");
    });
}

#[test]
fn a_will_is_not_published_where_its_client_is_back_in_time() {
    check(|| {
        let (mut subscriber, topic) = waiting(5);
        let connect = delayed(&topic, 1);
        connect.accepted().0.cut();
        let (_back, present, _) = connect.accepted();
        assert!(present);
        std::thread::sleep(Duration::from_millis(1600));
        subscriber.quiet(&mut Client::new(5));
    });
}

#[test]
fn a_will_does_not_wait_longer_than_its_session() {
    check(|| {
        let (mut subscriber, topic) = waiting(5);
        let connect = Connect { properties: Vec::new(), ..delayed(&topic, 3600) };
        connect.accepted().0.cut();
        assert_eq!(subscriber.message().text(), "will");
        // A new session ends the old one.
        let connect = delayed(&topic, 3600);
        connect.accepted().0.cut();
        let _new = Connect { will: None, ..connect.clean(true) }.accepted().0;
        assert_eq!(subscriber.message().text(), "will");
    });
}

#[test]
fn a_client_that_was_refused_has_no_will() {
    check(|| {
        let (mut subscriber, topic) = waiting(4);
        Connect::new(4, "").clean(false).will(&topic, 0, false).refused(None, Some(2));
        subscriber.quiet(&mut Client::new(4));
    });
}
