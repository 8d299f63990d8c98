//! What a publisher knows of its messages: which are due, which are under way, which come again after a reconnect.
//! Pure: no socket and no clock.
use std::collections::{HashMap, VecDeque};

use crate::bridge::message::QoS;

/// What is to be written next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// PUBLISH.
    Publish {
        /// Packet Identifier; 0 at QoS 0.
        packet_id: u16,
        /// Position within the load.
        seq: u64,
        /// When it was first handed out, in microseconds: part of the payload, which a repetition must not change.
        first_us: u64,
        /// DUP: the listener knows this packet identifier already.
        dup: bool,
        /// Whether the message was written before, on whatever connection.
        again: bool,
    },
    /// PUBREL.
    Pubrel(u16),
}

/// What an acknowledgement means for its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The listener has taken responsibility.
    Acknowledged(u64),
    /// The listener does not want it.
    Refused(u64),
    /// Nothing new: an acknowledgement of something unknown, or the end of a QoS 2 exchange.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for PUBACK or PUBREC.
    Published,
    /// PUBREC has come; waits for PUBCOMP.
    Released,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    seq: u64,
    first_us: u64,
    stage: Stage,
    /// Tells the order of PUBLISHes, and of PUBRECs, in which a resumed session repeats them.
    order: u64,
}

/// The session of one publisher, over all its connections.
#[derive(Debug)]
pub(crate) struct Session {
    qos: QoS,
    /// What the listener has not answered for good, by packet identifier.
    under_way: HashMap<u16, UnderWay>,
    order: u64,
    last_id: u16,
    /// Messages that lost their packet identifier with the listener's session, in order, with their first moment.
    anew: VecDeque<(u64, u64)>,
    /// The first sequence never handed out.
    next: u64,
    /// Sequences below this are due.
    due: u64,
    /// PUBRELs to be written on this connection.
    releases: VecDeque<u16>,
    /// PUBLISHes to be repeated on this connection.
    repeats: VecDeque<u16>,
    receive_maximum: u16,
    /// PUBLISHes that may still be sent on this connection (MQTT 5, section 4.9).
    quota: u16,
}

impl Session {
    /// A publisher that has not published yet.
    pub(crate) fn new(qos: QoS) -> Self {
        Self {
            qos,
            under_way: HashMap::new(),
            order: 0,
            last_id: 0,
            anew: VecDeque::new(),
            next: 0,
            due: 0,
            releases: VecDeque::new(),
            repeats: VecDeque::new(),
            receive_maximum: 0,
            quota: 0,
        }
    }

    /// A new connection has its CONNACK.
    pub(crate) fn connected(&mut self, session_present: bool, receive_maximum: u16) {
        (self.receive_maximum, self.quota) = (receive_maximum, receive_maximum);
        if session_present {
            self.releases = self.in_order(Stage::Released).into();
            self.repeats = self.in_order(Stage::Published).into();
            return;
        }
        // Both sides have lost their state [MQTT-3.2.2-5]: what was acknowledged is the listener's, the rest is new to
        // it. Messages that were to go anew already are later than what was under way.
        let lost = self.in_order(Stage::Published);
        for message in lost.iter().rev().filter_map(|packet_id| self.under_way.get(packet_id)) {
            self.anew.push_front((message.seq, message.first_us));
        }
        self.under_way.clear();
        self.releases.clear();
        self.repeats.clear();
    }

    fn in_order(&self, stage: Stage) -> Vec<u16> {
        let mut messages: Vec<(u64, u16)> = (self.under_way.iter())
            .filter(|(_, message)| message.stage == stage)
            .map(|(packet_id, message)| (message.order, *packet_id))
            .collect();
        messages.sort_unstable();
        messages.into_iter().map(|(_, packet_id)| packet_id).collect()
    }

    /// Messages below this sequence are due; never fewer than before.
    pub(crate) fn due(&mut self, due: u64) {
        self.due = self.due.max(due);
    }

    /// What to write next on the present connection at `now_us`; `None`: nothing until an acknowledgement or the next
    /// due message.
    pub(crate) fn next(&mut self, now_us: u64) -> Option<Outgoing> {
        if let Some(packet_id) = self.releases.pop_front() {
            return Some(Outgoing::Pubrel(packet_id));
        }
        if self.qos == QoS::AtMostOnce {
            let seq = self.next_new()?;
            return Some(Outgoing::Publish { packet_id: 0, seq, first_us: now_us, dup: false, again: false });
        }
        let quota = self.quota.checked_sub(1)?;
        while let Some(packet_id) = self.repeats.pop_front() {
            if let Some(&UnderWay { seq, first_us, stage: Stage::Published, .. }) = self.under_way.get(&packet_id) {
                self.quota = quota;
                return Some(Outgoing::Publish { packet_id, seq, first_us, dup: true, again: true });
            }
        }
        let packet_id = self.free_id()?;
        let (seq, first_us, again) = match self.anew.pop_front() {
            Some((seq, first_us)) => (seq, first_us, true),
            None => (self.next_new()?, now_us, false),
        };
        (self.quota, self.last_id) = (quota, packet_id);
        let order = self.next_order();
        self.under_way.insert(packet_id, UnderWay { seq, first_us, stage: Stage::Published, order });
        Some(Outgoing::Publish { packet_id, seq, first_us, dup: false, again })
    }

    fn next_new(&mut self) -> Option<u64> {
        (self.next < self.due).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn free_id(&self) -> Option<u16> {
        let after = (u32::from(self.last_id)..).map(|id| (id % u32::from(u16::MAX)) as u16 + 1);
        after.take(u16::MAX.into()).find(|id| !self.under_way.contains_key(id))
    }

    /// PUBACK.
    pub(crate) fn puback(&mut self, packet_id: u16, refused: bool) -> Answer {
        match self.under_way.get(&packet_id) {
            Some(UnderWay { stage: Stage::Published, seq, .. }) => {
                let answer = if refused { Answer::Refused(*seq) } else { Answer::Acknowledged(*seq) };
                self.completed(packet_id);
                answer
            }
            _ => Answer::Nothing,
        }
    }

    /// PUBREC.
    pub(crate) fn pubrec(&mut self, packet_id: u16, refused: bool) -> Answer {
        if refused {
            return self.puback(packet_id, true);
        }
        // A PUBREL closes the exchange also where PUBREC is repeated or unknown to us [MQTT-4.3.3-4].
        self.releases.push_back(packet_id);
        let order = self.next_order();
        match self.under_way.get_mut(&packet_id) {
            Some(message) if message.stage == Stage::Published => {
                (message.stage, message.order) = (Stage::Released, order);
                Answer::Acknowledged(message.seq)
            }
            _ => Answer::Nothing,
        }
    }

    /// PUBCOMP.
    pub(crate) fn pubcomp(&mut self, packet_id: u16) {
        if self.under_way.get(&packet_id).is_some_and(|message| message.stage == Stage::Released) {
            self.completed(packet_id);
        }
    }

    fn completed(&mut self, packet_id: u16) {
        self.under_way.remove(&packet_id);
        self.quota = self.receive_maximum.min(self.quota.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(session: &mut Session) -> Vec<Outgoing> {
        std::iter::from_fn(|| session.next(5)).collect()
    }

    fn first(packet_id: u16, seq: u64) -> Outgoing {
        Outgoing::Publish { packet_id, seq, first_us: 5, dup: false, again: false }
    }

    fn repeated(packet_id: u16, seq: u64) -> Outgoing {
        Outgoing::Publish { packet_id, seq, first_us: 5, dup: true, again: true }
    }

    fn anew(packet_id: u16, seq: u64) -> Outgoing {
        Outgoing::Publish { packet_id, seq, first_us: 5, dup: false, again: true }
    }

    fn connected(qos: QoS, receive_maximum: u16, due: u64) -> Session {
        let mut session = Session::new(qos);
        session.connected(false, receive_maximum);
        session.due(due);
        session
    }

    #[test]
    fn the_receive_maximum_is_kept_and_what_is_due_waits() {
        let mut session = connected(QoS::AtLeastOnce, 2, 5);
        assert_eq!(all(&mut session), [first(1, 0), first(2, 1)]);
        assert_eq!(session.puback(1, false), Answer::Acknowledged(0));
        assert_eq!(all(&mut session), [first(3, 2)]);
        assert_eq!(session.puback(2, true), Answer::Refused(1));
        assert_eq!(session.puback(2, false), Answer::Nothing);
        assert_eq!(all(&mut session), [first(4, 3)]);
    }

    #[test]
    fn a_qos_2_message_counts_until_pubcomp() {
        let mut session = connected(QoS::ExactlyOnce, 1, 3);
        assert_eq!(all(&mut session), [first(1, 0)]);
        assert_eq!(session.pubrec(1, false), Answer::Acknowledged(0));
        assert_eq!(all(&mut session), [Outgoing::Pubrel(1)]);
        session.pubcomp(1);
        assert_eq!(all(&mut session), [first(2, 1)]);
        assert_eq!(session.pubrec(2, true), Answer::Refused(1));
        assert_eq!(all(&mut session), [first(3, 2)]);
    }

    #[test]
    fn a_resumed_session_repeats_in_order_before_anything_new() {
        let mut session = connected(QoS::ExactlyOnce, 10, 4);
        all(&mut session);
        session.pubrec(3, false);
        session.pubrec(1, false);
        session.due(5);
        session.connected(true, 10);
        let expected = [Outgoing::Pubrel(3), Outgoing::Pubrel(1), repeated(2, 1), repeated(4, 3), first(5, 4)];
        assert_eq!(all(&mut session), expected);
        session.pubcomp(3);
        session.connected(true, 10);
        assert_eq!(all(&mut session), [Outgoing::Pubrel(1), repeated(2, 1), repeated(4, 3), repeated(5, 4)]);
        session.connected(true, 1);
        assert_eq!(all(&mut session), [Outgoing::Pubrel(1), repeated(2, 1)]);
        session.pubrec(2, false);
        session.pubcomp(2);
        assert_eq!(all(&mut session), [Outgoing::Pubrel(2), repeated(4, 3)]);
    }

    #[test]
    fn a_lost_session_sends_anew_what_was_not_acknowledged() {
        let mut session = connected(QoS::ExactlyOnce, 3, 5);
        all(&mut session);
        session.pubrec(1, false);
        session.connected(false, 3);
        assert_eq!(all(&mut session), [anew(4, 1), anew(5, 2), first(6, 3)]);
        // Lost once more with a smaller window, before all of it could be sent anew.
        session.connected(false, 1);
        assert_eq!(all(&mut session), [anew(7, 1)]);
        session.connected(false, 2);
        assert_eq!(all(&mut session), [anew(8, 1), anew(9, 2)]);
        session.pubrec(8, false);
        session.pubcomp(8);
        assert_eq!(all(&mut session), [Outgoing::Pubrel(8), anew(10, 3)]);
    }

    #[test]
    fn a_repetition_keeps_its_first_moment() {
        let mut session = connected(QoS::AtLeastOnce, 10, 1);
        let moment = |outgoing| match outgoing {
            Some(Outgoing::Publish { first_us, .. }) => first_us,
            _ => unreachable!(),
        };
        assert_eq!(moment(session.next(7)), 7);
        session.connected(true, 10);
        assert_eq!(moment(session.next(8)), 7);
        session.connected(false, 10);
        assert_eq!(moment(session.next(9)), 7);
    }

    #[test]
    fn packet_identifiers_are_never_zero_nor_used_twice() {
        let mut session = connected(QoS::AtLeastOnce, u16::MAX, 70_000);
        let packet_id = |outgoing: Outgoing| match outgoing {
            Outgoing::Publish { packet_id, .. } => packet_id,
            Outgoing::Pubrel(_) => unreachable!(),
        };
        assert_eq!(all(&mut session).len(), 65_535);
        session.puback(7, false);
        assert_eq!(all(&mut session).into_iter().map(packet_id).collect::<Vec<_>>(), [7]);
        session.puback(65_535, false);
        session.puback(1, false);
        assert_eq!(all(&mut session).into_iter().map(packet_id).collect::<Vec<_>>(), [65_535, 1]);
    }

    #[test]
    fn qos_0_is_handed_out_once_and_forgotten() {
        let mut session = connected(QoS::AtMostOnce, 1, 3);
        assert_eq!(all(&mut session), [first(0, 0), first(0, 1), first(0, 2)]);
        session.connected(false, 1);
        assert_eq!(all(&mut session), []);
    }

    #[test]
    fn a_repeated_pubrec_is_answered() {
        let mut session = connected(QoS::ExactlyOnce, 1, 1);
        all(&mut session);
        session.pubrec(1, false);
        all(&mut session);
        assert_eq!(session.pubrec(1, false), Answer::Nothing);
        assert_eq!(all(&mut session), [Outgoing::Pubrel(1)]);
    }
}
