use super::*;

#[test]
fn qos_2_is_published_after_its_commit_and_released_after_the_next() {
    let mut story = Story::connected(Version::V5);
    assert_eq!(story.push(delivery(1, QoS::ExactlyOnce)), []);
    let (writes, packets) = story.commit();
    assert_eq!(steps(&writes), [(1, Progress::Sent { packet_id: 1 })]);
    assert_eq!(published(&packets), [(1, 1, false)]);
    assert_eq!(story.say(Packet::Pubrec(Ack::success(1))), []);
    let (writes, packets) = story.commit();
    assert_eq!(steps(&writes), [(1, Progress::Released { order: 1 })]);
    assert_eq!(packets, [Packet::Pubrel(Ack::success(1))]);
    story.say(Packet::Pubcomp(Ack::success(1)));
    assert_eq!(story.forwarder.ids.len(), 1, "free once the row is gone");
    story.later(REMOVAL_DELAY);
    let (writes, _) = story.commit();
    assert_eq!(steps(&writes), [(1, Progress::Removed(Outcome::Delivered))]);
    assert!(story.forwarder.ids.is_empty() && story.forwarder.in_flight() == 0);
}

/// Once: a remote whose PUBRECs have an order of their own must not be left again and again.
#[test]
fn a_missing_pubrec_ends_the_connection_and_the_next_one_puts_up_with_it() {
    let mut story = Story::connected(Version::V5);
    for seq in 1..=3 {
        story.push(delivery(seq, QoS::ExactlyOnce));
    }
    assert_eq!(published(&story.commit().1), [(1, 1, false), (2, 2, false), (3, 3, false)]);
    assert_eq!(story.say(Packet::Pubrec(Ack::success(2))), []);
    assert!(story.is_closed());
    let again = [(1, 1, true), (2, 2, true), (3, 3, true)];
    assert_eq!(published(&story.connect(connack(true))), again);
    story.say(Packet::Pubrec(Ack::success(3)));
    assert!(!story.is_closed());
    assert_eq!(story.commit().1, [Packet::Pubrel(Ack::success(3))]);
    for packet_id in 1..=2 {
        story.say(Packet::Pubrec(Ack::success(packet_id)));
        assert_eq!(story.commit().1, [Packet::Pubrel(Ack::success(packet_id))]);
        // Said twice, it is none of a later one.
        story.say(Packet::Pubrec(Ack::success(packet_id)));
    }
    assert!(!story.is_closed());
}

#[test]
fn what_comes_behind_a_commit_waits_for_it() {
    let mut story = Story::connected(Version::V5);
    for (seq, qos) in [(1, QoS::ExactlyOnce), (2, QoS::AtLeastOnce), (3, QoS::AtMostOnce)] {
        assert_eq!(story.push(delivery(seq, qos)), []);
    }
    assert_eq!(published(&story.commit().1), [(1, 1, false), (2, 2, false), (3, 0, false)]);
}

#[test]
fn a_kept_session_gets_pubrels_in_their_order_then_publishes_in_theirs_with_dup_then_what_is_new() {
    let held = |seq, packet_id, phase| Held { delivery: delivery(seq, QoS::ExactlyOnce), packet_id, phase };
    let held = vec![
        held(1, 21, HeldPhase::Released(7)),
        held(2, 22, HeldPhase::Sent),
        held(3, 23, HeldPhase::Released(6)),
        held(4, 20, HeldPhase::Sent),
    ];
    let mut story = Story::new(Version::V5, config(), Restored { held, ..known() });
    story.ring.push(delivery(5, QoS::AtLeastOnce)).unwrap();
    let packets = story.connect(connack(true));
    assert_eq!(packets[..2], [Packet::Pubrel(Ack::success(23)), Packet::Pubrel(Ack::success(21))]);
    assert_eq!(published(&packets), [(2, 22, true), (4, 20, true), (5, 24, false)]);
}

#[test]
fn a_lost_session_gets_everything_again_under_new_identifiers_without_dup_and_counted() {
    let mut story = Story::connected(Version::V5);
    story.push(delivery(1, QoS::ExactlyOnce));
    story.commit();
    story.push(delivery(2, QoS::AtLeastOnce));
    story.lose(false);
    assert_eq!(story.connect(connack(false)), []);
    let (writes, packets) = story.commit();
    assert_eq!(steps(&writes), [(1, Progress::Requeued), (1, Progress::Sent { packet_id: 3 })]);
    assert_eq!(published(&packets), [(1, 3, false), (2, 4, false)]);
    assert_eq!(story.forwarder.statistics.ambiguous, 1);
}

#[test]
fn receive_maximum_bounds_the_window_on_every_connection_anew() {
    let mut story = Story::connected(Version::V5);
    for seq in 1..=12 {
        story.push(delivery(seq, QoS::AtLeastOnce));
    }
    assert_eq!(story.forwarder.window.len(), 10, "the configured window");
    story.lose(false);
    let packets = story.connect(Connack { receive_maximum: 2, ..connack(true) });
    assert_eq!(published(&packets), [(1, 1, true), (2, 2, true)]);
    assert_eq!(published(&story.say(Packet::Puback(Ack::success(2)))), [(3, 3, true)]);
    assert_eq!(published(&story.say(Packet::Puback(Ack::success(2)))), [], "a repeated one makes no room");
}

#[test]
fn all_identifiers_in_use_is_a_wait_and_no_spin() {
    let mut story = Story::connected(Version::V5);
    while story.forwarder.ids.take().is_some() {}
    assert_eq!(story.push(delivery(1, QoS::AtLeastOnce)), []);
    story.forwarder.ids.free(9);
    assert_eq!(published(&story.pump()), [(1, 9, false)]);
}

#[test]
fn what_has_its_packet_identifier_does_not_expire_while_that_is_committed() {
    let mut story = Story::connected(Version::V5);
    let properties = Properties { message_expiry: Some(30), ..Properties::default() };
    let message = Message { properties, ..Message::new("t", vec![1; 20], QoS::ExactlyOnce) };
    assert!(story.push(Delivery { message: Arc::new(message), ..delivery(1, QoS::ExactlyOnce) }).is_empty());
    // A kill would leave it as one that may have been sent; nothing behind it may be sent instead.
    assert!(published(&story.push(delivery(2, QoS::AtLeastOnce))).is_empty());
    story.now += SECOND * 31;
    assert_eq!(published(&story.commit().1), [(1, 1, false), (2, 2, false)]);
}

#[test]
fn what_expired_before_it_was_sent_is_dropped_and_what_was_sent_is_not() {
    let expiring = |seq| {
        let mut delivery = delivery(seq, QoS::AtLeastOnce);
        let properties = Properties { message_expiry: Some(30), ..Properties::default() };
        delivery.message = Arc::new(Message { properties, ..Message::clone(&delivery.message) });
        delivery
    };
    let mut story = Story::connected(Version::V5);
    story.now = SECOND * 8;
    let packets = story.push(expiring(1));
    let expiry = |packets: &[Packet]| {
        assert_eq!(published(packets).len(), 1);
        packets.iter().find_map(|packet| match packet {
            Packet::Publish(publish) => publish.message_expiry,
            _ => None,
        })
    };
    assert_eq!(expiry(&packets), Some(22), "counted down");
    story.lose(false);
    story.now = SECOND * 40;
    story.ring.push(expiring(2)).unwrap();
    assert_eq!(expiry(&story.connect(connack(true))), Some(1), "only the first, which may be there already");
    story.later(REMOVAL_DELAY);
    let (writes, _) = story.commit();
    assert_eq!(steps(&writes), [(2, Progress::Removed(Outcome::Dropped(DropReason::Expired)))]);
}

#[test]
fn qos_0_is_removed_when_it_is_written_and_not_before() {
    let mut story = Story::connected(Version::V5);
    story.ring.push(delivery(1, QoS::AtMostOnce)).unwrap();
    story.forwarder.pump(&mut story.ring, story.now);
    let length = story.forwarder.transmit().len();
    story.forwarder.handle_written(length - 1, story.now);
    assert_eq!(story.forwarder.in_flight(), 1);
    story.forwarder.handle_written(1, story.now);
    assert_eq!(story.forwarder.in_flight(), 0);
}

#[test]
fn inbound_qos_2_is_delivered_once_across_a_reconnect() {
    let subscription = config::Subscription::of("t", QoS::ExactlyOnce);
    let mut story = Story::new(Version::V5, config::Bridge { subscriptions: vec![subscription], ..config() }, known());
    story.connect(connack(true));
    let message = Arc::new(Message::new("t", "x", QoS::ExactlyOnce));
    let publish = |dup| Packet::Publish(Publish { dup, ..Publish::new(message.clone(), 5) });
    story.say(publish(false));
    let delivered = story.effects.iter().find_map(|effect| match effect {
        Effect::Deliver(ticket, _) => Some(*ticket),
        _ => None,
    });
    story.effects.clear();
    story.forwarder.handle_delivered(delivered.unwrap(), Vec::new(), story.now);
    story.pump();
    let commits = std::mem::take(&mut story.effects);
    story.lose(false);
    story.connect(connack(true));
    assert_eq!(story.say(publish(true)), [], "its commit is under way");
    assert!(!story.effects.iter().any(|effect| matches!(effect, Effect::Deliver(..))));
    story.effects.splice(0..0, commits);
    assert_eq!(story.commit().1, [Packet::Pubrec(Ack::success(5))]);
    assert_eq!(story.say(Packet::Pubrel(Ack::success(5))), [], "before it is forgotten");
    assert_eq!(story.commit().1, [Packet::Pubcomp(Ack::success(5))]);
}

#[test]
fn a_backlog_reaches_the_remote_at_its_rate_and_live_messages_at_once() {
    let drain = Some(config::Drain { max_rate: crate::bridge::units::parse_rate("10/s").unwrap() });
    let mut story = Story::new(Version::V5, config::Bridge { drain, window: 100, ..config() }, known());
    for seq in 1..=22 {
        story.ring.push(delivery(seq, QoS::AtMostOnce)).unwrap();
    }
    let mut sent: Vec<(u64, u8)> = Vec::new();
    let mut packets = story.connect(connack(true));
    let begun = story.now;
    while sent.len() < 22 {
        sent.extend(published(&packets).into_iter().map(|(seq, ..)| ((story.now - begun).as_millis() as u64, seq)));
        let deadline = story.forwarder.deadline().unwrap();
        packets = story.later(deadline.saturating_sub(story.now));
    }
    assert!(sent.is_sorted(), "order holds: {sent:?}");
    // One a second, two, four, eight, then ten.
    let within = |second: u64| sent.iter().filter(|(at, _)| at / 1000 == second).count();
    assert_eq!([within(0), within(1), within(2), within(3)], [1, 2, 4, 8]);
    assert!((6..=7).contains(&within(4)), "{sent:?}");
    // The queue is empty, so nothing is held back, nor does anybody wake up for it.
    story.later(SECOND);
    assert_eq!(story.forwarder.governed, None);
    let live = story.push(delivery(30, QoS::AtMostOnce));
    assert_eq!(published(&live).len(), 1);
}

#[test]
fn a_full_window_is_not_the_governors_to_wake_for() {
    let drain = Some(config::Drain { max_rate: crate::bridge::units::parse_rate("1000/s").unwrap() });
    let mut story = Story::new(Version::V5, config::Bridge { drain, window: 1, ..config() }, known());
    story.ring.push(delivery(1, QoS::AtLeastOnce)).unwrap();
    story.ring.push(delivery(2, QoS::AtLeastOnce)).unwrap();
    assert_eq!(published(&story.connect(connack(true))).len(), 1);
    assert_eq!(story.forwarder.governed, None);
    assert_eq!(published(&story.say(Packet::Puback(Ack::success(1)))), [], "its time has not come");
    assert!(story.forwarder.governed.is_some_and(|until| until > story.now));
    assert_eq!(published(&story.later(SECOND)).len(), 1);
}

#[test]
fn of_what_is_deferred_the_cache_is_told_at_once_and_of_what_should_be_a_row_by_now_with_others() {
    let mut story = Story::connected(Version::V5);
    let until = story.now + SECOND;
    for seq in 1..=3 {
        story.push(Delivery { kept: Kept::Deferred { until }, ..delivery(seq, QoS::AtLeastOnce) });
    }
    story.say(Packet::Puback(Ack::success(1)));
    assert_eq!(steps(&story.commit().0), [(1, Progress::Removed(Outcome::Delivered))]);
    story.say(Packet::Puback(Ack { packet_id: 2, reason: ReasonCode::NOT_AUTHORIZED }));
    assert_eq!(steps(&story.commit().0), [(2, Progress::Quarantined(ReasonCode::NOT_AUTHORIZED))]);
    story.later(SECOND);
    story.say(Packet::Puback(Ack::success(3)));
    assert_eq!(steps(&story.commit().0), []);
    story.later(REMOVAL_DELAY);
    assert_eq!(steps(&story.commit().0), [(3, Progress::Removed(Outcome::Delivered))]);
}

#[test]
fn of_many_acknowledgements_half_are_worth_a_wake_up_and_of_few_or_late_ones_each() {
    let mut story = Story::new(Version::V5, config::Bridge { window: 40, ..config() }, known());
    story.connect(connack(true));
    (1..=60).for_each(|seq| story.ring.push(delivery(seq, QoS::AtLeastOnce)).unwrap());
    story.pump();
    assert_eq!(story.forwarder.receive_low_water(), 1, "nothing says that PUBACKs are what comes");
    story.say(Packet::Puback(Ack::success(1)));
    assert_eq!(story.forwarder.receive_low_water(), 20 * PUBACK_BYTES);
    assert_eq!(story.forwarder.deadline(), Some(story.now + GATHER));
    story.later(GATHER);
    assert_eq!(story.forwarder.receive_low_water(), 1, "what has come is read");
    assert!(story.forwarder.deadline().is_some_and(|deadline| deadline > story.now), "once, without a spin");
    story.say(Packet::Pingresp);
    assert_eq!(story.forwarder.receive_low_water(), 1);
    for id in 2..=60 - GATHERED_FROM as u16 + 1 {
        story.say(Packet::Puback(Ack::success(id)));
    }
    assert_eq!(story.forwarder.receive_low_water(), 1, "few are left");
}
