use super::*;

fn refused(packet_id: u16, reason: u8) -> Ack {
    Ack { packet_id, reason: ReasonCode(reason) }
}

#[test]
fn a_final_refusal_puts_it_into_quarantine_with_its_reason() {
    let mut story = Story::connected(Version::V5);
    story.push(delivery(1, QoS::AtLeastOnce));
    story.push(delivery(2, QoS::ExactlyOnce));
    story.commit();
    story.say(Packet::Puback(refused(1, 0x87)));
    story.say(Packet::Pubrec(refused(2, 0x99)));
    let (writes, packets) = story.commit();
    let quarantined = |reason| Progress::Quarantined(ReasonCode(reason));
    assert_eq!(steps(&writes), [(1, quarantined(0x87)), (2, quarantined(0x99))]);
    assert_eq!(packets, [], "the exchange has ended, no PUBREL");
    assert!(story.forwarder.ids.is_empty() && story.forwarder.in_flight() == 0);
}

#[test]
fn a_passing_refusal_is_tried_again_later_under_a_new_identifier_and_counted() {
    let mut story = Story::connected(Version::V5);
    story.push(delivery(1, QoS::AtLeastOnce));
    story.push(delivery(2, QoS::AtLeastOnce));
    assert_eq!(story.say(Packet::Puback(refused(1, 0x97))), []);
    assert_eq!(story.forwarder.statistics.reordered, 1);
    assert_eq!(published(&story.later(SECOND)), []);
    assert_eq!(published(&story.later(SECOND)), [(1, 3, false)]);
}

#[test]
fn a_message_larger_than_the_remote_takes_is_set_aside_and_the_next_one_sent() {
    let mut story = Story::new(Version::V5, config(), known());
    let mut large = delivery(1, QoS::AtLeastOnce);
    large.message = Arc::new(Message::new("t", vec![1; 500], QoS::AtLeastOnce));
    story.ring.push(large).unwrap();
    story.ring.push(delivery(2, QoS::AtLeastOnce)).unwrap();
    let packets = story.connect(Connack { maximum_packet_size: Some(100), ..connack(true) });
    assert_eq!(published(&packets), [(2, 1, false)]);
    assert_eq!(steps(&story.commit().0), [(1, Progress::Quarantined(ReasonCode::PACKET_TOO_LARGE))]);
}

#[test]
fn an_identifier_that_the_remote_may_hold_is_not_given_to_another_message() {
    let large = Delivery {
        message: Arc::new(Message::new("t", vec![1; 500], QoS::ExactlyOnce)),
        ..delivery(1, QoS::ExactlyOnce)
    };
    let held = vec![Held { delivery: large, packet_id: 9, phase: HeldPhase::Sent }];
    let mut story = Story::new(Version::V5, config(), Restored { held, ..known() });
    let packets = story.connect(Connack { maximum_packet_size: Some(100), ..connack(true) });
    assert_eq!(packets, [Packet::Pubrel(Ack::success(9))]);
    story.lose(false);
    let packets = story.connect(Connack { maximum_packet_size: Some(100), ..connack(true) });
    assert_eq!(packets, [Packet::Pubrel(Ack::success(9))], "until it is answered");
    assert_eq!(steps(&story.commit().0), [], "a kill would forget that it is held");
    story.say(Packet::Pubcomp(refused(9, 0x92)));
    let (writes, _) = story.commit();
    assert_eq!(steps(&writes), [(1, Progress::Quarantined(ReasonCode::PACKET_TOO_LARGE))]);
    assert!(story.forwarder.ids.is_empty());
}

#[test]
fn a_lower_maximum_qos_lowers_what_is_new_and_what_was_in_flight() {
    let mut story = Story::connected(Version::V5);
    story.push(delivery(1, QoS::ExactlyOnce));
    story.commit();
    story.lose(false);
    story.ring.push(delivery(2, QoS::ExactlyOnce)).unwrap();
    let mut packets = story.connect(Connack { maximum_qos: QoS::AtLeastOnce, ..connack(true) });
    assert_eq!(packets.remove(0), Packet::Pubrel(Ack::success(1)));
    assert_eq!(packets, [], "nothing overtakes it");
    packets.extend(story.say(Packet::Pubcomp(Ack::success(1))));
    assert_eq!(published(&packets), [(1, 2, false), (2, 3, false)]);
    let qos = |packet: &Packet| matches!(packet, Packet::Publish(publish) if publish.qos == QoS::AtLeastOnce);
    assert!(packets.iter().all(qos), "{packets:?}");
    assert_eq!(story.forwarder.statistics.ambiguous, 1);
}

#[test]
fn acknowledgements_of_nothing_are_counted_and_pubrec_is_answered() {
    let mut story = Story::connected(Version::V5);
    assert_eq!(story.say(Packet::Puback(Ack::success(7))), []);
    assert_eq!(story.say(Packet::Pubcomp(Ack::success(7))), []);
    assert_eq!(story.say(Packet::Pubrec(refused(7, 0x97))), []);
    assert_eq!(story.say(Packet::Pubrec(Ack::success(7))), [Packet::Pubrel(refused(7, 0x92))]);
    assert_eq!(story.forwarder.statistics.unexpected_acks, 4);
    // Its PUBLISH waits for a commit: a PUBREL now would void it.
    story.push(delivery(1, QoS::ExactlyOnce));
    assert_eq!(story.say(Packet::Pubrec(Ack::success(1))), []);
}

#[test]
fn a_3_1_1_remote_that_closes_at_a_message_gets_it_alone_and_then_no_more() {
    let mut story = Story::connected(Version::V4);
    story.push(delivery(1, QoS::AtLeastOnce));
    story.push(delivery(2, QoS::AtLeastOnce));
    for closes in 1..=6 {
        story.lose(true);
        let sent = published(&story.connect(connack(true)));
        match closes {
            1 | 2 => assert_eq!(sent, [(1, 1, true), (2, 2, true)]),
            3..=5 => assert_eq!(sent, [(1, 1, true)], "alone"),
            _ => assert_eq!(sent, [(2, 2, true)], "without it"),
        }
        story.forwarder.handle_packet(Packet::Pingresp, story.now);
    }
    let writes = steps(&story.commit().0);
    assert_eq!(writes, [(1, Progress::Quarantined(ReasonCode::UNSPECIFIED_ERROR))]);
}

#[test]
fn a_3_1_1_remote_that_closes_at_the_last_of_many_gets_each_alone_until_it_is_found() {
    let mut story = Story::connected(Version::V4);
    (1..=4).for_each(|seq| drop(story.push(delivery(seq, QoS::AtLeastOnce))));
    for _ in 0..3 {
        // Nothing that it says on a connection arrives before its end.
        story.lose(true);
        story.connect(connack(true));
    }
    for seq in 1..=3 {
        let next = published(&story.say(Packet::Puback(Ack::success(seq.into()))));
        assert_eq!(next, [(seq + 1, u16::from(seq) + 1, true)], "alone, and without another close");
    }
    story.later(SECOND);
    story.commit();
    story.ring.push(delivery(5, QoS::AtLeastOnce)).unwrap();
    for _ in 0..2 {
        story.lose(true);
        assert_eq!(published(&story.connect(connack(true))), [(4, 4, true)]);
    }
    story.lose(true);
    assert_eq!(published(&story.connect(connack(true))).len(), 1, "the fifth");
    let quarantined = (4, Progress::Quarantined(ReasonCode::UNSPECIFIED_ERROR));
    assert!(steps(&story.commit().0).contains(&quarantined));
}

#[test]
fn connections_that_are_lost_otherwise_make_no_message_suspicious() {
    let mut story = Story::connected(Version::V4);
    story.push(delivery(1, QoS::AtLeastOnce));
    story.push(delivery(2, QoS::AtLeastOnce));
    for _ in 0..10 {
        story.lose(false);
        assert_eq!(published(&story.connect(connack(true))).len(), 2);
    }
}
