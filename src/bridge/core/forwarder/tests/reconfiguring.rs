use super::*;
use crate::bridge::core::forwarder::Notice;

fn subscribed(filters: &[(&str, QoS)]) -> config::Bridge {
    let subscription = |(filter, qos): &(&str, QoS)| config::Subscription {
        remote: (*filter).to_owned(),
        local: None,
        strip_levels: 0,
        prefix: String::new(),
        suffix: String::new(),
        qos: *qos,
    };
    config::Bridge { subscriptions: filters.iter().map(subscription).collect(), ..config() }
}

/// What is asked for and what no longer is, and the Packet Identifier of the latter.
fn asked(packets: &[Packet]) -> (Vec<String>, Vec<String>, u16) {
    let mut asked = (Vec::new(), Vec::new(), 0);
    for packet in packets {
        match packet {
            Packet::Subscribe(subscribe) => {
                asked.0.extend(subscribe.filters.iter().map(|wanted| wanted.filter.clone()));
            }
            Packet::Unsubscribe(unsubscribe) => {
                asked.1.extend(unsubscribe.filters.clone());
                asked.2 = unsubscribe.packet_id;
            }
            other => panic!("{other:?}"),
        }
    }
    asked
}

fn story() -> Story {
    let config = subscribed(&[("a", QoS::AtLeastOnce), ("b", QoS::AtLeastOnce), ("c", QoS::AtLeastOnce)]);
    let mut story = Story::new(Version::V5, config, known());
    let packets = story.connect(connack(true));
    assert_eq!(asked(&packets).0, ["a", "b", "c"]);
    let [Packet::Subscribe(subscribe)] = &packets[..] else { panic!("{packets:?}") };
    let reasons = vec![ReasonCode::SUCCESS; 3];
    story.say(Packet::Suback(Suback { packet_id: subscribe.packet_id, reasons }));
    story
}

#[test]
fn the_remote_is_asked_for_the_difference_and_no_identifier_is_left_behind() {
    let mut story = story();
    let new = subscribed(&[("a", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce), ("d", QoS::AtLeastOnce)]);
    story.forwarder.handle_config(&new, None, story.now);
    let (wanted, unwanted, packet_id) = asked(&story.pump());
    assert_eq!((wanted, unwanted), (vec!["b".to_owned(), "d".into()], vec!["c".to_owned()]));
    story.say(Packet::Unsuback(Suback { packet_id, reasons: vec![ReasonCode::SUCCESS] }));
    story.forwarder.handle_config(&new, None, story.now);
    assert_eq!(story.pump(), [], "nothing is different");
    story.lose(false);
    assert!(story.forwarder.ids.is_empty());
    assert_eq!(asked(&story.connect(connack(true))).1, Vec::<String>::new(), "it has said yes");
}

#[test]
fn what_is_gone_while_the_link_is_down_or_not_answered_is_said_on_the_next_connection() {
    let mut story = story();
    story.lose(false);
    story.forwarder.handle_config(&subscribed(&[("a", QoS::AtLeastOnce)]), None, story.now);
    for _ in 0..2 {
        let (wanted, unwanted, _) = asked(&story.connect(connack(true)));
        assert_eq!((wanted, unwanted), (vec!["a".to_owned()], vec!["b".to_owned(), "c".into()]));
        story.lose(false);
    }
    // Wanted again: it must not be ended.
    let new = subscribed(&[("a", QoS::AtLeastOnce), ("b", QoS::AtLeastOnce)]);
    story.forwarder.handle_config(&new, None, story.now);
    assert_eq!(asked(&story.connect(connack(true))).1, ["c"]);
    story.lose(false);
    // A session that has just begun has none of them.
    assert_eq!(asked(&story.connect(connack(false))).1, Vec::<String>::new());
}

#[test]
fn one_that_the_remote_does_not_end_is_said_and_asked_for_again() {
    let mut story = story();
    story.forwarder.handle_config(&subscribed(&[("a", QoS::AtLeastOnce), ("b", QoS::AtLeastOnce)]), None, story.now);
    let (_, _, packet_id) = asked(&story.pump());
    story.say(Packet::Unsuback(Suback { packet_id, reasons: vec![ReasonCode(0x87)] }));
    let refused = Effect::Log(Notice::UnsubscribeRefused { filter: "c".into(), reason: ReasonCode(0x87) });
    assert!(story.effects.contains(&refused));
    story.lose(false);
    assert_eq!(asked(&story.connect(connack(true))).1, ["c"]);
}

#[test]
fn a_message_of_a_subscription_that_is_gone_is_acknowledged_and_goes_nowhere() {
    let mut story = story();
    story.forwarder.handle_config(&subscribed(&[]), None, story.now);
    story.pump();
    story.effects.clear();
    let message = Arc::new(Message::new("c", "x", QoS::AtLeastOnce));
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "c".into(),
        packet_id: 7,
        message_expiry: None,
        message,
        subscription_ids: Vec::new(),
        topic_alias: None,
    };
    let packets = story.say(Packet::Publish(publish));
    assert!(matches!(&packets[..], [Packet::Puback(ack)] if ack.packet_id == 7), "{packets:?}");
    assert!(!story.effects.iter().any(|effect| matches!(effect, Effect::Deliver(..))));
}
