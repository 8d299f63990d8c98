//! The receiving side of PUBLISH: what is submitted, and which acknowledgement leaves when.
//!
//! Both legs use it. On the local leg a submission is committed; on the remote leg it is delivered to local sessions
//! and then committed. Either way the acknowledgement leaves afterwards (G1), in the order of the PUBLISHes
//! ([MQTT-4.6.0-2], [MQTT-4.6.0-3]).
use std::collections::{HashMap, VecDeque};

use crate::bridge::message::QoS;
use crate::bridge::wire::{Ack, Packet, Publish, ReasonCode, WireError};

/// Names a submission until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What a PUBLISH asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Submit it, then answer with [`Intake::handle_stored`].
    Submit(Ticket),
    /// It is the repetition of one that has been submitted.
    Repeated,
}

/// What a PUBREL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Forget the Packet Identifier, then answer with [`Intake::handle_forgotten`].
    Forget(u16),
    /// Nothing.
    Done,
}

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    packet_id: u16,
    qos: QoS,
    outcome: Option<Result<(), ReasonCode>>,
    /// The connection that waits for the acknowledgement is still there.
    reply: bool,
    /// The session it belonged to has ended.
    void: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exchange {
    Storing,
    Stored,
    Releasing,
}

/// The receiving side of one session.
#[derive(Debug)]
pub struct Intake {
    pending: VecDeque<Pending>,
    exchanges: HashMap<u16, Exchange>,
    replies: VecDeque<Packet>,
    limit: usize,
    next: u64,
}

impl Intake {
    /// A session that has these Packet Identifiers open, all of them committed. At most `limit` submissions wait.
    pub fn new(limit: u16, received_ids: impl IntoIterator<Item = u16>) -> Self {
        Self {
            pending: VecDeque::new(),
            exchanges: received_ids.into_iter().map(|id| (id, Exchange::Stored)).collect(),
            replies: VecDeque::new(),
            limit: usize::from(limit),
            next: 0,
        }
    }

    /// Whether another PUBLISH may be read.
    pub fn has_room(&self) -> bool {
        self.pending.len() < self.limit
    }

    /// Whether nothing waits for its answer.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.exchanges.values().all(|exchange| *exchange == Exchange::Stored)
    }

    /// A PUBLISH has come.
    ///
    /// # Errors
    /// Where its Packet Identifier is still in use (0x82).
    pub fn handle_publish(&mut self, publish: &Publish) -> Result<Accepted, WireError> {
        if publish.qos == QoS::ExactlyOnce {
            match self.exchanges.get(&publish.packet_id) {
                Some(Exchange::Stored) => {
                    // Known already, but what came before it on this connection is answered before it.
                    self.wait(publish, Some(Ok(())));
                    self.acknowledge_in_order();
                    return Ok(Accepted::Repeated);
                }
                Some(Exchange::Storing) => {
                    let same = |pending: &&mut Pending| {
                        pending.packet_id == publish.packet_id && pending.qos == QoS::ExactlyOnce && !pending.void
                    };
                    if let Some(pending) = self.pending.iter_mut().find(same) {
                        pending.reply = true;
                    }
                    return Ok(Accepted::Repeated);
                }
                Some(Exchange::Releasing) => {
                    let what = format!("PUBLISH with Packet Identifier {} before its PUBCOMP", publish.packet_id);
                    return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
                }
                None => {}
            }
            self.exchanges.insert(publish.packet_id, Exchange::Storing);
        }
        let ticket = self.wait(publish, None);
        Ok(Accepted::Submit(ticket))
    }

    fn wait(&mut self, publish: &Publish, outcome: Option<Result<(), ReasonCode>>) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.pending.push_back(Pending {
            ticket,
            packet_id: publish.packet_id,
            qos: publish.qos,
            outcome,
            reply: true,
            void: false,
        });
        ticket
    }

    /// A submission is answered: stored, or refused with a Reason Code. Unknown tickets are ignored.
    pub fn handle_stored(&mut self, ticket: Ticket, outcome: Result<(), ReasonCode>) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) {
            pending.outcome = Some(outcome);
        }
        self.acknowledge_in_order();
    }

    fn acknowledge_in_order(&mut self) {
        while let Some(outcome) = self.pending.front().and_then(|pending| pending.outcome) {
            if let Some(pending) = self.pending.pop_front() {
                self.acknowledge(&pending, outcome);
            }
        }
    }

    fn acknowledge(&mut self, pending: &Pending, outcome: Result<(), ReasonCode>) {
        let packet_id = pending.packet_id;
        let storing = self.exchanges.get(&packet_id) == Some(&Exchange::Storing);
        if pending.qos == QoS::ExactlyOnce && !pending.void && storing {
            match outcome {
                Ok(()) => self.exchanges.insert(packet_id, Exchange::Stored),
                Err(_) => self.exchanges.remove(&packet_id),
            };
        }
        if !pending.reply {
            return;
        }
        let ack = Ack { packet_id, reason: outcome.err().unwrap_or(ReasonCode::SUCCESS) };
        match pending.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.replies.push_back(Packet::Puback(ack)),
            QoS::ExactlyOnce => self.replies.push_back(Packet::Pubrec(ack)),
        }
    }

    /// A PUBREL has come. One for an unknown identifier is answered at once: its PUBCOMP may have been lost.
    ///
    /// # Errors
    /// Where its PUBREC has not been sent yet (0x82).
    pub fn handle_pubrel(&mut self, packet_id: u16) -> Result<Release, WireError> {
        match self.exchanges.get_mut(&packet_id) {
            Some(exchange @ Exchange::Stored) => {
                *exchange = Exchange::Releasing;
                Ok(Release::Forget(packet_id))
            }
            Some(Exchange::Releasing) => Ok(Release::Done),
            Some(Exchange::Storing) => {
                let what = format!("PUBREL with Packet Identifier {packet_id} before its PUBREC");
                Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what))
            }
            None => {
                let ack = Ack { packet_id, reason: ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
                self.replies.push_back(Packet::Pubcomp(ack));
                Ok(Release::Done)
            }
        }
    }

    /// Whether the session that a submission came with has ended meanwhile: its identifier must not be recorded.
    pub fn is_void(&self, ticket: Ticket) -> bool {
        self.pending.iter().any(|pending| pending.ticket == ticket && pending.void)
    }

    /// Whether a submission's acknowledgement is still waited for, by the connection that it came on.
    pub fn is_awaited(&self, ticket: Ticket) -> bool {
        self.pending.iter().any(|pending| pending.ticket == ticket && pending.reply && !pending.void)
    }

    /// An identifier has been forgotten. Where its session has ended since, another may have the same identifier open.
    pub fn handle_forgotten(&mut self, packet_id: u16) {
        if self.exchanges.get(&packet_id) == Some(&Exchange::Releasing) {
            self.exchanges.remove(&packet_id);
            self.replies.push_back(Packet::Pubcomp(Ack::success(packet_id)));
        }
    }

    /// The connection is gone, the session is not: what is still to be answered is answered to nobody, unless the peer
    /// sends it again.
    pub fn handle_closed(&mut self) {
        self.replies.clear();
        for pending in &mut self.pending {
            pending.reply = false;
        }
    }

    /// The session has ended: open identifiers mean nothing any more.
    pub fn handle_session_lost(&mut self) {
        self.handle_closed();
        self.exchanges.clear();
        for pending in &mut self.pending {
            pending.void = true;
        }
    }

    /// The next acknowledgement to send.
    pub fn poll_reply(&mut self) -> Option<Packet> {
        self.replies.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::Message;
    use std::sync::Arc;

    fn publish(qos: QoS, packet_id: u16) -> Publish {
        Publish::new(Arc::new(Message::new("t", "x", qos)), packet_id)
    }

    fn submit(intake: &mut Intake, qos: QoS, packet_id: u16) -> Ticket {
        match intake.handle_publish(&publish(qos, packet_id)).unwrap() {
            Accepted::Submit(ticket) => ticket,
            Accepted::Repeated => unreachable!(),
        }
    }

    fn replies(intake: &mut Intake) -> Vec<Packet> {
        std::iter::from_fn(|| intake.poll_reply()).collect()
    }

    #[test]
    fn acknowledgements_leave_after_the_commit_in_the_order_of_the_publishes() {
        let mut intake = Intake::new(10, []);
        let first = submit(&mut intake, QoS::AtLeastOnce, 1);
        let second = submit(&mut intake, QoS::ExactlyOnce, 2);
        let third = submit(&mut intake, QoS::AtLeastOnce, 3);
        assert_eq!(replies(&mut intake), []);
        intake.handle_stored(third, Ok(()));
        intake.handle_stored(second, Ok(()));
        assert_eq!(replies(&mut intake), [], "the first is not committed");
        intake.handle_stored(first, Ok(()));
        let (one, two, three) = (Ack::success(1), Ack::success(2), Ack::success(3));
        assert_eq!(replies(&mut intake), [Packet::Puback(one), Packet::Pubrec(two), Packet::Puback(three)]);
    }

    #[test]
    fn qos_2_is_submitted_once_however_often_it_comes() {
        let mut intake = Intake::new(10, []);
        let ticket = submit(&mut intake, QoS::ExactlyOnce, 1);
        assert_eq!(intake.handle_publish(&publish(QoS::ExactlyOnce, 1)).unwrap(), Accepted::Repeated);
        intake.handle_stored(ticket, Ok(()));
        assert_eq!(replies(&mut intake), [Packet::Pubrec(Ack::success(1))]);
        assert_eq!(intake.handle_publish(&publish(QoS::ExactlyOnce, 1)).unwrap(), Accepted::Repeated);
        assert_eq!(replies(&mut intake), [Packet::Pubrec(Ack::success(1))]);
        assert_eq!(intake.handle_pubrel(1).unwrap(), Release::Forget(1));
        assert_eq!(intake.handle_pubrel(1).unwrap(), Release::Done);
        assert!(intake.handle_publish(&publish(QoS::ExactlyOnce, 1)).is_err(), "before its PUBCOMP");
        intake.handle_forgotten(1);
        assert_eq!(replies(&mut intake), [Packet::Pubcomp(Ack::success(1))]);
        submit(&mut intake, QoS::ExactlyOnce, 1);
    }

    #[test]
    fn a_repetition_of_what_is_stored_is_answered_in_its_turn() {
        let mut intake = Intake::new(10, [9]);
        let ticket = submit(&mut intake, QoS::ExactlyOnce, 5);
        assert_eq!(intake.handle_publish(&publish(QoS::ExactlyOnce, 9)).unwrap(), Accepted::Repeated);
        assert_eq!(replies(&mut intake), [], "5 came before it");
        intake.handle_stored(ticket, Ok(()));
        assert_eq!(replies(&mut intake), [Packet::Pubrec(Ack::success(5)), Packet::Pubrec(Ack::success(9))]);
    }

    #[test]
    fn open_identifiers_outlive_the_connection_and_unknown_ones_are_answered() {
        let mut intake = Intake::new(10, [7]);
        assert_eq!(intake.handle_publish(&publish(QoS::ExactlyOnce, 7)).unwrap(), Accepted::Repeated);
        assert_eq!(replies(&mut intake), [Packet::Pubrec(Ack::success(7))]);
        assert_eq!(intake.handle_pubrel(8).unwrap(), Release::Done);
        let unknown = Ack { packet_id: 8, reason: ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
        assert_eq!(replies(&mut intake), [Packet::Pubcomp(unknown)]);
    }

    #[test]
    fn a_lost_connection_is_not_answered_until_the_peer_asks_again() {
        let mut intake = Intake::new(10, []);
        let (one, two) = (submit(&mut intake, QoS::ExactlyOnce, 1), submit(&mut intake, QoS::ExactlyOnce, 2));
        intake.handle_closed();
        assert_eq!(intake.handle_publish(&publish(QoS::ExactlyOnce, 2)).unwrap(), Accepted::Repeated);
        intake.handle_stored(one, Ok(()));
        intake.handle_stored(two, Ok(()));
        assert_eq!(replies(&mut intake), [Packet::Pubrec(Ack::success(2))]);
        assert_eq!(intake.handle_publish(&publish(QoS::ExactlyOnce, 1)).unwrap(), Accepted::Repeated);
    }

    #[test]
    fn what_was_stored_for_a_lost_session_is_no_open_identifier_of_the_next() {
        let mut intake = Intake::new(10, []);
        let ticket = submit(&mut intake, QoS::ExactlyOnce, 1);
        intake.handle_session_lost();
        intake.handle_stored(ticket, Ok(()));
        submit(&mut intake, QoS::ExactlyOnce, 1);
    }

    #[test]
    fn a_refusal_carries_its_reason_and_frees_the_identifier() {
        let mut intake = Intake::new(1, []);
        let ticket = submit(&mut intake, QoS::ExactlyOnce, 1);
        assert!(!intake.has_room());
        intake.handle_stored(ticket, Err(ReasonCode::QUOTA_EXCEEDED));
        let refused = Ack { packet_id: 1, reason: ReasonCode::QUOTA_EXCEEDED };
        assert_eq!(replies(&mut intake), [Packet::Pubrec(refused)]);
        submit(&mut intake, QoS::ExactlyOnce, 1);
    }
}
