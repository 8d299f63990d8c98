//! What the remote says to our PUBLISHes.
use super::send::{CLOSES_BEFORE_ALONE, free};
use super::*;
use crate::bridge::wire::Ack;

/// Refusals that pass: the same message may be accepted later. All others are final.
fn passes(reason: ReasonCode) -> bool {
    matches!(reason.0, 0x80 | 0x83 | 0x91 | 0x97)
}

impl Forwarder {
    pub(super) fn handle_puback(&mut self, ack: Ack, now: Time) {
        let expected = |entry: &InFlight| entry.phase == Phase::Published && entry.qos == QoS::AtLeastOnce;
        let Some(entry) = self.completed(ack.packet_id, expected) else {
            return self.unexpected("PUBACK", ack.packet_id);
        };
        if ack.reason.is_failure() {
            return self.refused(entry, ack.reason, now);
        }
        self.remove(&entry, Outcome::Delivered, free(&entry), now);
    }

    pub(super) fn handle_pubrec(&mut self, ack: Ack, now: Time) {
        let packet_id = ack.packet_id;
        if self.leaves_one_out(packet_id) && !self.had_gap {
            self.close("a PUBREC is missing: that of a later PUBLISH has come", now);
            self.had_gap = true;
            return;
        }
        let entry = self.window.get_mut(&packet_id).filter(|entry| entry.qos == QoS::ExactlyOnce);
        match entry.map(|entry| (entry.phase, entry.delivery.seq)) {
            Some((Phase::Published, seq)) if !ack.reason.is_failure() => {
                self.release_order += 1;
                let order = self.release_order;
                if let Some(entry) = self.window.get_mut(&packet_id) {
                    entry.phase = Phase::Releasing(order);
                }
                self.acknowledged(seq);
                self.progress(seq, Progress::Released { order }, After::Released { seq, packet_id }, now);
            }
            Some((Phase::Published, _)) => {
                if let Some(entry) = self.completed(packet_id, |_| true) {
                    self.refused(entry, ack.reason, now);
                }
            }
            // Its PUBREL is on its way.
            Some((Phase::Releasing(_) | Phase::Released(_), _)) => {}
            // Its PUBLISH is still to be repeated; a PUBREL now would make the remote take that for a new message.
            Some((Phase::Ready | Phase::Recording, _)) => self.unexpected("PUBREC", packet_id),
            _ if self.head.values().any(|entry| entry.packet_id == packet_id) => {}
            _ => {
                self.unexpected("PUBREC", packet_id);
                // A refusal has ended the exchange; only a PUBREC with success asks for a PUBREL.
                if !ack.reason.is_failure() {
                    self.send_pubrel(packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, now);
                }
            }
        }
    }

    /// Whether this PUBREC comes before that of an earlier PUBLISH. PUBRECs come in the order of the PUBLISHes
    /// ([MQTT-4.6.0-3]), so that one was lost on the way, and a PUBREL now would have the remote deliver the later message
    /// first. A remote that has an order of its own does so again on the next connection, where that is put up with.
    fn leaves_one_out(&mut self, packet_id: u16) -> bool {
        match self.unreceived.iter().position(|sent| *sent == packet_id) {
            Some(position) => {
                self.unreceived.remove(position);
                position > 0
            }
            None => false,
        }
    }

    pub(super) fn released(&mut self, seq: Seq, packet_id: u16, now: Time) {
        let Some(entry) = self.window.get_mut(&packet_id).filter(|entry| entry.delivery.seq == seq) else { return };
        let Phase::Releasing(order) = entry.phase else { return };
        entry.phase = Phase::Released(order);
        if self.is_connected() {
            self.send_pubrel(packet_id, ReasonCode::SUCCESS, now);
        }
    }

    pub(super) fn send_pubrel(&mut self, packet_id: u16, reason: ReasonCode, now: Time) {
        let retiring = self.retiring.get_mut(&packet_id).map(|(entry, _)| entry);
        if let Some(entry) = self.window.get_mut(&packet_id).or(retiring) {
            entry.asked = now;
            self.clock.push_back((now, packet_id, entry.phase));
        }
        self.send(&Packet::Pubrel(Ack { packet_id, reason }), now);
    }

    pub(super) fn handle_pubcomp(&mut self, ack: Ack, now: Time) {
        if let Some((entry, why)) = self.retiring.remove(&ack.packet_id) {
            self.acknowledged(entry.delivery.seq);
            return self.retired(entry, why, now);
        }
        let expected = |entry: &InFlight| matches!(entry.phase, Phase::Released(_));
        let Some(entry) = self.completed(ack.packet_id, expected) else {
            return self.unexpected("PUBCOMP", ack.packet_id);
        };
        // 0x00, or 0x92: the remote completed it before its PUBCOMP was lost.
        self.remove(&entry, Outcome::Delivered, free(&entry), now);
    }

    /// Takes an exchange out of the window if it is at the right point.
    fn completed(&mut self, packet_id: u16, expected: impl Fn(&InFlight) -> bool) -> Option<InFlight> {
        if !self.window.get(&packet_id).is_some_and(expected) {
            return None;
        }
        let entry = self.window.remove(&packet_id)?;
        self.acknowledged(entry.delivery.seq);
        Some(entry)
    }

    /// Something moved: whoever is first now has its time from its own sending on.
    fn acknowledged(&mut self, seq: Seq) {
        if let Some(suspect) = self.suspect.filter(|suspect| suspect.seq == seq) {
            self.acquit(suspect);
        }
        while let Some((asked, packet_id, phase)) = self.clock.front() {
            let waits = |entry: &InFlight| entry.phase == *phase && entry.asked == *asked;
            let retiring = self.retiring.get(packet_id).map(|(entry, _)| entry);
            if self.window.get(packet_id).or(retiring).is_some_and(waits) {
                return;
            }
            self.clock.pop_front();
        }
    }

    /// It was not this one that made the remote close. Where it was sent alone, the next that was in flight with it is:
    /// were they all sent together again, each of them would cost as many closes.
    fn acquit(&mut self, suspect: Suspect) {
        let next = self.head.values().find(|entry| entry.sent).map(|entry| entry.delivery.seq);
        let next = next.filter(|_| suspect.closes >= CLOSES_BEFORE_ALONE);
        self.suspect = next.map(|seq| Suspect { seq, closes: CLOSES_BEFORE_ALONE });
    }

    fn refused(&mut self, mut entry: InFlight, reason: ReasonCode, now: Time) {
        // The exchange has ended for both sides.
        entry.dup = false;
        if !passes(reason) {
            return self.give_up(entry, reason, now);
        }
        self.statistics.reordered += 1;
        if entry.qos == QoS::ExactlyOnce {
            self.progress(entry.delivery.seq, Progress::Requeued, free(&entry), now);
        } else {
            self.ids.free(entry.packet_id);
        }
        entry.packet_id = 0;
        entry.phase = Phase::Ready;
        self.again.push_back((now + self.settings.config.reconnect.max, entry));
    }

    pub(super) fn unexpected(&mut self, packet: &'static str, packet_id: u16) {
        self.statistics.unexpected_acks += 1;
        self.log(Notice::Unexpected { packet, packet_id });
    }
}
