use super::*;

#[test]
fn without_state_of_its_own_it_begins_with_clean_start_and_with_state_it_does_not() {
    assert!(Story::new(Version::V5, config(), Restored::default()).dial().clean_start);
    assert!(!Story::new(Version::V5, config(), known()).dial().clean_start);
    let elsewhere = Restored { established: Some("mqtt://other:1883 bridge".into()), ..Restored::default() };
    assert!(Story::new(Version::V5, config(), elsewhere).dial().clean_start, "another server's state says nothing");
}

/// With a session that ends with its connection: its CONNECT may arrive when another connection is long in use.
#[test]
fn it_connects_twice_first_to_wipe() {
    for version in [Version::V4, Version::V5] {
        let mut story = Story::new(version, config(), Restored::default());
        let connect = story.dial();
        assert!(connect.clean_start && connect.session_expiry == 0);
        story.say(Packet::Connack(Box::new(connack(false))));
        assert!(story.is_closed());
        let (writes, _) = story.commit();
        assert!(writes.iter().any(|write| matches!(write, Write::Established { .. })));
        let connect = story.dial();
        assert!(!connect.clean_start && connect.session_expiry > 0);
    }
}

#[test]
fn session_present_after_clean_start_is_a_violation() {
    let mut story = Story::new(Version::V5, config(), Restored::default());
    story.connect(connack(true));
    assert!(story.is_closed() && !story.forwarder.is_connected());
}

#[test]
fn it_subscribes_once_its_session_is_committed() {
    let subscription = config::Subscription::of("from", QoS::ExactlyOnce);
    let config = config::Bridge { subscriptions: vec![subscription], ..config() };
    let mut story = Story::new(Version::V5, config.clone(), Restored::default());
    story.connect(connack(false));
    story.dial();
    assert_eq!(story.say(Packet::Connack(Box::new(connack(false)))), []);
    let (_, packets) = story.commit();
    assert!(matches!(&packets[..], [Packet::Subscribe(_)]), "{packets:?}");
    let mut story = Story::new(Version::V5, config, known());
    assert!(matches!(&story.connect(connack(true))[..], [Packet::Subscribe(_)]));
    // An answer to a question that was not asked frees nothing.
    let used = story.forwarder.ids.len();
    story.say(Packet::Suback(Suback { packet_id: 9, reasons: vec![ReasonCode::SUCCESS] }));
    assert_eq!((story.forwarder.ids.len(), story.forwarder.statistics.unexpected_acks), (used, 1));
    // One that is never answered does not keep its identifier.
    story.lose(false);
    assert!(story.forwarder.ids.is_empty());
}

#[test]
fn silence_of_the_remote_closes_after_one_and_a_half_keep_alives() {
    let mut story = Story::connected(Version::V5);
    assert_eq!(story.later(SECOND * 4), []);
    assert_eq!(story.later(SECOND), [Packet::Pingreq]);
    story.later(SECOND * 9);
    assert!(!story.is_closed());
    story.later(SECOND);
    assert!(story.is_closed());
}

#[test]
fn an_unanswered_publish_closes_after_ack_timeout_and_one_that_moves_does_not() {
    let mut story = Story::connected(Version::V5);
    story.push(delivery(1, QoS::AtLeastOnce));
    story.later(SECOND * 5);
    story.push(delivery(2, QoS::AtLeastOnce));
    for _ in 0..3 {
        story.later(SECOND * 4);
        story.say(Packet::Pingresp);
    }
    story.say(Packet::Puback(Ack::success(1)));
    story.later(SECOND * 7);
    story.say(Packet::Pingresp);
    assert!(!story.is_closed(), "the second is 19 s old");
    story.later(SECOND);
    assert!(story.is_closed());
}

#[test]
fn a_socket_that_takes_nothing_closes_after_ack_timeout() {
    let mut config = config();
    config.keep_alive = Duration::ZERO;
    let mut story = Story::new(Version::V5, config, known());
    story.connect(connack(true));
    story.ring.push(Delivery { kept: Kept::Volatile, ..delivery(1, QoS::AtMostOnce) }).unwrap();
    story.forwarder.pump(&mut story.ring, story.now);
    assert!(!story.forwarder.transmit().is_empty());
    assert_eq!(story.forwarder.deadline(), Some(story.now + SECOND * 20));
    story.now += SECOND * 20;
    story.forwarder.pump(&mut story.ring, story.now);
    assert!(!story.forwarder.is_connected());
    assert_eq!(story.forwarder.in_flight(), 1, "not written, not gone");
}

#[test]
fn a_shutdown_says_goodbye_and_commits_everything() {
    let mut story = Story::connected(Version::V5);
    story.push(delivery(1, QoS::AtLeastOnce));
    story.say(Packet::Puback(Ack::success(1)));
    story.forwarder.handle_shutdown(story.now);
    assert!(!story.forwarder.is_stopped());
    story.pump();
    let last = story.effects.iter().find_map(|effect| if let Effect::Close(last) = effect { Some(last) } else { None });
    let said = story.decoder.decode(&mut last.unwrap().as_slice()).unwrap();
    assert!(matches!(said, Some(Packet::Disconnect(_))), "{said:?}");
    let (writes, _) = story.commit();
    assert_eq!(steps(&writes), [(1, Progress::Removed(Outcome::Delivered))]);
    assert!(story.forwarder.is_stopped());
    assert_eq!(story.forwarder.deadline(), None);
}

#[test]
fn a_refusal_is_said_once_until_the_remote_has_served_or_says_something_else() {
    let mut story = Story::new(Version::V5, config(), known());
    let refusals = |story: &Story| {
        let refused = |effect: &&Effect| matches!(effect, Effect::Log(Notice::Refused { .. }));
        story.effects.iter().filter(refused).count()
    };
    let wrong = Connack::new(ReasonCode::BAD_USER_NAME_OR_PASSWORD, false);
    for (connack, said) in [(&wrong, 1), (&wrong, 0), (&Connack::new(ReasonCode::NOT_AUTHORIZED, false), 1)] {
        story.connect(connack.clone());
        assert_eq!(refusals(&story), said);
    }
    story.connect(connack(true));
    story.say(Packet::Pingresp);
    story.lose(false);
    story.connect(Connack::new(ReasonCode::NOT_AUTHORIZED, false));
    assert_eq!(refusals(&story), 1);
}
