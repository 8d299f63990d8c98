use super::*;
use crate::bridge::message::Message;
use std::sync::Arc;

const QUEUE: BridgeId = BridgeId::FIRST_SESSION;
const NOW: Time = Time::from_secs(100);

fn delivery(seq: i64, qos: QoS) -> Delivery {
    let message = Arc::new(Message::new("t", "x", QoS::ExactlyOnce));
    let (topic, received_at) = (message.topic.clone(), NOW);
    Delivery { seq: Seq(seq), topic, qos, retain: false, received_at, identifiers: None, kept: Kept::Row, message }
}

fn ring(deliveries: Vec<Delivery>) -> Ring {
    let mut ring = Ring::new(100, 1 << 16, []);
    ring.refill(deliveries, true);
    ring
}

fn session(held: Vec<Held>, receive_maximum: u16) -> SessionQueue {
    SessionQueue::new(QUEUE, held, receive_maximum, None, NOW)
}

fn progress(seq: i64, step: Progress) -> Write {
    Write::Progress { bridge: QUEUE, seq: Seq(seq), step }
}

fn sent(steps: &[Step]) -> Vec<(u16, bool)> {
    let publish = |step: &Step| match step {
        Step::Send(Packet::Publish(publish)) => Some((publish.packet_id, publish.dup)),
        _ => None,
    };
    steps.iter().filter_map(publish).collect()
}

const REMOVED: Progress = Progress::Removed(Outcome::Delivered);

#[test]
fn every_step_of_qos_2_is_committed_before_it_is_taken() {
    let mut session = session(vec![], 10);
    let steps = session.pump(&mut ring(vec![delivery(7, QoS::ExactlyOnce)]), Version::V5, NOW);
    assert_eq!(steps, [Step::Commit(progress(7, Progress::Sent { packet_id: 1 }), Some(1))]);
    assert!(
        matches!(session.handle_pubrec(Ack::success(1)), Some(Step::Send(Packet::Pubrel(ack))) if ack.reason.is_failure())
    );
    assert!(matches!(&session.handle_committed(1)[..], [Packet::Publish(publish)] if publish.packet_id == 1));
    let released = Step::Commit(progress(7, Progress::Released { order: 1 }), Some(1));
    assert_eq!(session.handle_pubrec(Ack::success(1)), Some(released));
    assert_eq!(session.handle_committed(1), [Packet::Pubrel(Ack::success(1))]);
    assert_eq!(session.handle_puback(Ack::success(1)), None, "QoS 2 is not completed by a PUBACK");
    assert_eq!(session.handle_pubcomp(Ack::success(1)), Some(Step::Commit(progress(7, REMOVED), None)));
    assert!(!session.is_waiting());
}

#[test]
fn what_was_in_flight_is_sent_again_under_its_identifier_before_anything_new() {
    let held = |seq, qos, packet_id, phase| Held { delivery: delivery(seq, qos), packet_id, phase };
    let mut session = session(
        vec![
            held(1, QoS::AtLeastOnce, 9, HeldPhase::Sent),
            held(2, QoS::ExactlyOnce, 4, HeldPhase::Released(2)),
            held(3, QoS::ExactlyOnce, 5, HeldPhase::Released(1)),
            held(4, QoS::ExactlyOnce, 6, HeldPhase::Sent),
        ],
        4,
    );
    let mut ring = ring(vec![delivery(5, QoS::AtLeastOnce)]);
    let steps = session.pump(&mut ring, Version::V5, NOW);
    let pubrels = [5, 4].map(|packet_id| Step::Send(Packet::Pubrel(Ack::success(packet_id))));
    assert_eq!(steps[..2], pubrels, "in the order of their PUBRECs");
    assert_eq!((sent(&steps), steps.len()), (vec![(9, true), (6, true)], 4), "the window is full");
    assert_eq!(session.handle_puback(Ack::success(9)), Some(Step::Commit(progress(1, REMOVED), None)));
    let steps = session.pump(&mut ring, Version::V5, NOW);
    assert_eq!(sent(&steps), [(10, false)]);
    assert_eq!(session.leave(), [progress(5, Progress::Sent { packet_id: 10 })]);
}

#[test]
fn what_lost_its_identifier_in_a_crash_is_sent_before_what_has_one_and_arrived_later() {
    let held = |seq, packet_id| Held { delivery: delivery(seq, QoS::ExactlyOnce), packet_id, phase: HeldPhase::Sent };
    let mut session = session(vec![held(2, 7), held(4, 8)], 10);
    let mut ring = Ring::new(100, 1 << 16, [2, 4].map(Seq));
    assert_eq!(session.pump(&mut ring, Version::V5, NOW), [], "what is there is not known yet");
    ring.refill([1, 3, 5].map(|seq| delivery(seq, QoS::AtLeastOnce)).into(), true);
    let steps = session.pump(&mut ring, Version::V5, NOW);
    assert_eq!(sent(&steps), [(9, false), (7, true), (10, false), (8, true), (11, false)]);
}

#[test]
fn a_smaller_window_of_the_next_connection_is_kept() {
    let held = |seq, packet_id| Held { delivery: delivery(seq, QoS::AtLeastOnce), packet_id, phase: HeldPhase::Sent };
    let mut session = session(vec![held(1, 1), held(2, 2), held(3, 3)], 2);
    let mut ring = ring(vec![delivery(4, QoS::AtLeastOnce)]);
    assert_eq!(sent(&session.pump(&mut ring, Version::V5, NOW)), [(1, true), (2, true)]);
    session.handle_puback(Ack::success(1));
    assert_eq!(sent(&session.pump(&mut ring, Version::V5, NOW)), [(3, true)]);
    session.handle_puback(Ack::success(2));
    assert_eq!(sent(&session.pump(&mut ring, Version::V5, NOW)), [(4, false)]);
}

#[test]
fn an_expired_message_is_removed_and_another_says_what_is_left() {
    let mut message = Message::new("t", "x", QoS::AtLeastOnce);
    message.properties.message_expiry = Some(10);
    let with = |seq, received_at| Delivery {
        received_at: Time::from_secs(received_at),
        message: Arc::new(message.clone()),
        ..delivery(seq, QoS::AtLeastOnce)
    };
    let mut session = session(vec![], 10);
    let steps = session.pump(&mut ring(vec![with(1, 90), with(2, 93)]), Version::V5, NOW);
    let expired = Progress::Removed(Outcome::Dropped(DropReason::Expired));
    assert_eq!(steps[0], Step::Commit(progress(1, expired), None));
    assert!(matches!(&steps[1], Step::Send(Packet::Publish(publish)) if publish.message_expiry == Some(3)));
}

#[test]
fn what_is_too_large_is_done_with_and_qos_0_is_not_kept() {
    let mut session = SessionQueue::new(QUEUE, vec![], 10, Some(5), NOW);
    let steps = session.pump(&mut ring(vec![delivery(1, QoS::AtLeastOnce)]), Version::V5, NOW);
    assert_eq!(steps, [Step::Commit(progress(1, REMOVED), None)]);
    let mut session = SessionQueue::new(QUEUE, vec![], 10, None, NOW);
    let volatile = Delivery { kept: Kept::Volatile, ..delivery(2, QoS::AtMostOnce) };
    let steps = session.pump(&mut ring(vec![volatile]), Version::V5, NOW);
    assert_eq!((sent(&steps), steps.len(), session.is_waiting()), (vec![(0, false)], 1, false));
}

#[test]
fn nothing_overtakes_what_waits_for_its_commit() {
    let mut session = session(vec![], 10);
    let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let deliveries = qos.into_iter().zip(1..).map(|(qos, seq)| delivery(seq, qos)).collect();
    let steps = session.pump(&mut ring(deliveries), Version::V5, NOW);
    assert_eq!(sent(&steps), [(1, false)]);
    assert_eq!(session.handle_puback(Ack::success(3)), None, "it was not sent");
    let steps: Vec<Step> = session.handle_committed(2).into_iter().map(Step::Send).collect();
    assert_eq!(sent(&steps), [(2, false), (3, false)]);
    assert_eq!(session.leave().len(), 2, "those of QoS 1");
}
