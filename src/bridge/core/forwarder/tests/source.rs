//! The source's leg: what the cache refuses is neither acknowledged nor lost, and keeps its order.
use super::*;
use crate::bridge::delivery::NewDelivery;

struct Source(Story);

impl Source {
    fn new() -> Self {
        let subscriptions = vec![config::Subscription::of("t", QoS::ExactlyOnce)];
        let config = config::Bridge { subscriptions, ..config() };
        let settings =
            Settings { bridge: BridgeId(1), version: Version::V5, config, max_age: None, seed: 1, is_source: true };
        let mut ring = Ring::new(100, 100_000, []);
        ring.refill(Vec::new(), true);
        let forwarder = Forwarder::new(settings, known(), Time::ZERO);
        let decoder = Decoder::server(1 << 20);
        let mut story = Story { forwarder, ring, decoder, now: Time::ZERO, effects: Vec::new() };
        story.connect(connack(true));
        story.effects.clear();
        Self(story)
    }

    /// The source publishes under this identifier, and it is routed.
    fn publish(&mut self, packet_id: u16, qos: QoS) {
        let message = Arc::new(Message::new("t", vec![packet_id as u8], qos));
        let packets = self.0.say(Packet::Publish(Publish::new(message, packet_id)));
        assert!(packets.iter().all(|packet| !matches!(packet, Packet::Puback(_) | Packet::Pubrec(_))), "{packets:?}");
        let effects = std::mem::take(&mut self.0.effects);
        for effect in effects {
            match effect {
                Effect::Deliver(ticket, message) => {
                    let topic = message.topic.clone();
                    let to = NewDelivery {
                        bridge: BridgeId(2),
                        topic,
                        qos,
                        retain: false,
                        when_full: None,
                        identifiers: None,
                    };
                    self.0.forwarder.handle_delivered(ticket, vec![to], self.0.now);
                }
                other => self.0.effects.push(other),
            }
        }
        self.0.pump();
    }

    /// What is offered to the cache, in order; answered like this.
    fn answer(&mut self, outcome: Result<(), ReasonCode>) -> (Vec<u8>, Vec<Packet>) {
        let mut offered = Vec::new();
        for effect in std::mem::take(&mut self.0.effects) {
            let Effect::Commit(writes) = effect else { continue };
            let outcomes = writes.iter().map(|write| match write {
                Write::Store(store) => {
                    offered.push(store.message.payload[0]);
                    outcome
                }
                _ => Ok(()),
            });
            let outcomes: Vec<_> = outcomes.collect();
            self.0.forwarder.handle_committed(&outcomes, self.0.now);
        }
        (offered, self.0.pump())
    }
}

const FULL: Result<(), ReasonCode> = Err(ReasonCode::QUOTA_EXCEEDED);

#[test]
fn what_does_not_fit_is_offered_again_in_its_order_and_acknowledged_then() {
    let mut source = Source::new();
    source.publish(1, QoS::AtLeastOnce);
    source.publish(2, QoS::ExactlyOnce);
    assert_eq!(source.answer(FULL), (vec![1, 2], vec![]), "no answer");
    source.publish(3, QoS::AtLeastOnce);
    assert_eq!(source.answer(Ok(())), (vec![], vec![]), "behind the others");
    source.0.later(SECOND * 2);
    assert!(source.0.effects.contains(&Effect::Resume));
    let (offered, packets) = source.answer(Ok(()));
    assert_eq!(offered, [1, 2, 3]);
    let expected = [Packet::Puback(Ack::success(1)), Packet::Pubrec(Ack::success(2)), Packet::Puback(Ack::success(3))];
    assert_eq!(packets, expected);
    assert_eq!(source.0.forwarder.statistics.held_back, 2);
}

#[test]
fn nothing_is_offered_again_before_everything_that_was_offered_is_answered() {
    let mut source = Source::new();
    source.publish(1, QoS::AtLeastOnce);
    let first = std::mem::take(&mut source.0.effects);
    source.publish(2, QoS::AtLeastOnce);
    let second = std::mem::replace(&mut source.0.effects, first);
    source.answer(FULL);
    source.publish(3, QoS::AtLeastOnce);
    source.0.later(SECOND * 9);
    assert!(!source.0.effects.contains(&Effect::Resume));
    source.0.effects = second;
    source.answer(FULL);
    source.0.pump();
    assert_eq!(source.answer(Ok(())).0, [1, 2, 3]);
}

#[test]
fn a_connection_that_ends_leaves_it_to_the_source_which_sends_all_of_it_again() {
    let mut source = Source::new();
    source.publish(1, QoS::ExactlyOnce);
    source.publish(2, QoS::AtLeastOnce);
    source.answer(FULL);
    source.0.lose(false);
    source.0.connect(connack(true));
    source.0.effects.clear();
    source.publish(1, QoS::ExactlyOnce);
    source.publish(2, QoS::AtLeastOnce);
    let (offered, packets) = source.answer(Ok(()));
    assert_eq!(offered, [1, 2], "once each");
    assert_eq!(packets, [Packet::Pubrec(Ack::success(1)), Packet::Puback(Ack::success(2))]);
}
