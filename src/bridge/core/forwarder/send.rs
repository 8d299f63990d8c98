//! From the head and the ring onto the wire.
use super::link::publish;
use super::*;
use crate::bridge::delivery::DropReason;
use crate::bridge::topic;

/// Closes in order with the same message first in flight, after which it is sent alone.
pub(super) const CLOSES_BEFORE_ALONE: u32 = 3;
/// Such closes after which it is quarantined: a remote that is restarted while the message is alone is no refusal.
const CLOSES_BEFORE_QUARANTINE: u32 = CLOSES_BEFORE_ALONE + 3;

/// What is next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// One that has been in flight.
    Head(Seq),
    /// The first of the ring.
    Ring,
}

impl Forwarder {
    /// Sends in order of sequence as far as the window and the socket allow.
    pub(super) fn send_what_waits(&mut self, ring: &mut Ring, now: Time) {
        while self.again.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, entry)) = self.again.pop_front() {
                self.head.insert(entry.delivery.seq, entry);
            }
        }
        self.governed = None;
        loop {
            self.flush_outbox(now);
            if self.out.len() >= HIGH_WATER || self.outbox.len() >= OUTBOX {
                return;
            }
            let Some(turn) = self.turn(ring) else { return };
            if !self.may_go(now) {
                return;
            }
            let Some(entry) = self.take(turn, ring) else { return };
            if let Some(entry) = self.start(entry, now) {
                // All Packet Identifiers wait for commits, and so does this.
                self.head.insert(entry.delivery.seq, entry);
                return;
            }
        }
    }

    /// It will be sent on this connection; the governor counts no drops.
    fn line_up(&mut self, out: Out, now: Time) {
        if let Some(governor) = &mut self.governor {
            governor.handle_sent(now);
        }
        self.outbox.push_back(out);
    }

    /// Asks the governor; where it is not time yet, that is remembered for [`deadline`](Self::deadline).
    fn may_go(&mut self, now: Time) -> bool {
        let next = self.governor.as_ref().map(Governor::next);
        self.governed = next.filter(|next| *next > now);
        self.governed.is_none()
    }

    /// Whose turn it is, if there is room for it in the window.
    fn turn(&mut self, ring: &Ring) -> Option<Turn> {
        if self.retiring.values().any(|(_, why)| matches!(why, Retiring::Lowered)) {
            // It is sent again at once, and may not have left before: nothing younger overtakes it.
            return None;
        }
        let first = self.head.keys().next().copied();
        let from_head = match (first, ring.near()) {
            (Some(head), Near::Delivery(near)) => head < near,
            (Some(_), Near::Nothing) => true,
            // A row that is still to be read may be older than the head, once, after a restart.
            (Some(_), Near::Unread) | (None, Near::Unread | Near::Nothing) => false,
            (None, Near::Delivery(_)) => false,
        };
        if first.is_none() && ring.near() == Near::Nothing {
            if let Some(governor) = &mut self.governor {
                governor.handle_drained();
            }
            return None;
        }
        let candidate = if from_head { first } else { None };
        if candidate.is_none() && self.servers.is_leaving() {
            return None;
        }
        let turn = match (candidate, ring.near()) {
            (Some(seq), _) => Turn::Head(seq),
            (None, Near::Delivery(_)) => Turn::Ring,
            (None, Near::Unread | Near::Nothing) => return None,
        };
        self.has_room(candidate).then_some(turn)
    }

    fn take(&mut self, turn: Turn, ring: &mut Ring) -> Option<InFlight> {
        if let Turn::Head(seq) = turn {
            return self.head.remove(&seq);
        }
        let delivery = self.settings.outbound(ring.take()?);
        self.taken += 1;
        let qos = delivery.qos;
        Some(InFlight { delivery, qos, packet_id: 0, phase: Phase::Ready, sent: false, dup: false, asked: Time::ZERO })
    }

    fn has_room(&self, candidate: Option<Seq>) -> bool {
        let State::Connected(link) = &self.state else { return false };
        let window = usize::from(self.settings.config.window).min(link.receive_maximum);
        let alone = self.suspect.is_some_and(|suspect| suspect.closes >= CLOSES_BEFORE_ALONE);
        let suspected = candidate.is_some() && self.suspect.map(|suspect| suspect.seq) == candidate;
        let limit = if alone && (suspected || self.suspect_is_in_flight()) { 1 } else { window };
        self.window.len() + self.again.len() < limit
    }

    fn suspect_is_in_flight(&self) -> bool {
        let suspect = self.suspect.map(|suspect| suspect.seq);
        self.window.values().any(|entry| Some(entry.delivery.seq) == suspect)
    }

    /// Puts a transmission into the outbox; gives it back where there is no Packet Identifier for it.
    fn start(&mut self, mut entry: InFlight, now: Time) -> Option<InFlight> {
        let State::Connected(link) = &self.state else { return Some(entry) };
        let (maximum_qos, maximum_packet_size) = (link.maximum_qos, link.maximum_packet_size);
        let suspect = self.suspect.filter(|suspect| suspect.seq == entry.delivery.seq);
        if suspect.is_some_and(|suspect| suspect.closes >= CLOSES_BEFORE_QUARANTINE) {
            self.suspect = None;
            self.give_up(entry, ReasonCode::UNSPECIFIED_ERROR, now);
            return None;
        }
        if self.is_expired(&entry, now) {
            self.drop_delivery(&entry, DropReason::Expired, now);
            return None;
        }
        if self.has_gone_round(&entry) {
            self.statistics.looped += 1;
            self.log(Notice::Looped { topic: entry.delivery.topic.clone(), count: self.statistics.looped });
            self.remove(&entry, Outcome::Dropped(DropReason::Looped), After::Nothing, now);
            return None;
        }
        if entry.qos > maximum_qos && entry.packet_id != 0 {
            // The remote has lowered its Maximum QoS and kept the session: what was in flight cannot be completed.
            if entry.qos == QoS::ExactlyOnce && entry.dup {
                self.retire(entry, Retiring::Lowered, now);
                return None;
            }
            self.requeue(&mut entry, now);
        }
        if entry.packet_id == 0 {
            entry.qos = entry.delivery.qos.min(maximum_qos);
        }
        if publish(&entry, true, now).encoded_len(self.settings.version) > maximum_packet_size {
            self.give_up(entry, ReasonCode::PACKET_TOO_LARGE, now);
            return None;
        }
        if topic::check_name(&entry.delivery.topic).is_err() {
            self.give_up(entry, ReasonCode::TOPIC_NAME_INVALID, now);
            return None;
        }
        let seq = entry.delivery.seq;
        if entry.qos == QoS::AtMostOnce {
            self.line_up(Out::AtMostOnce(entry), now);
            return None;
        }
        if entry.packet_id == 0 {
            let Some(packet_id) = self.ids.take() else { return Some(entry) };
            entry.packet_id = packet_id;
            if entry.qos == QoS::ExactlyOnce {
                entry.phase = Phase::Recording;
                self.progress(seq, Progress::Sent { packet_id }, After::Recorded { seq, packet_id }, now);
            }
        }
        self.line_up(Out::Acknowledged(entry.packet_id), now);
        self.window.insert(entry.packet_id, entry);
        None
    }

    pub(super) fn recorded(&mut self, seq: Seq, packet_id: u16) {
        // The connection may have been lost meanwhile, and the identifier with the session.
        let entry = self.window.get_mut(&packet_id).or_else(|| self.head.get_mut(&seq));
        if let Some(entry) = entry.filter(|entry| entry.packet_id == packet_id && entry.phase == Phase::Recording) {
            entry.phase = Phase::Ready;
        }
    }

    fn flush_outbox(&mut self, now: Time) {
        while self.out.len() < HIGH_WATER {
            let State::Connected(Link { retain_available, .. }) = self.state else { return };
            let recording = |id: &u16| self.window.get(id).is_some_and(|entry| entry.phase == Phase::Recording);
            if matches!(self.outbox.front(), Some(Out::Acknowledged(packet_id)) if recording(packet_id)) {
                return;
            }
            let entry = match self.outbox.pop_front() {
                None => return,
                Some(Out::Acknowledged(packet_id)) => self.window.remove(&packet_id),
                Some(Out::AtMostOnce(entry)) => Some(entry),
            };
            let Some(mut entry) = entry else { continue };
            if self.is_expired(&entry, now) {
                // It has waited that long for the commit of one before it.
                self.drop_delivery(&entry, DropReason::Expired, now);
                continue;
            }
            let packet = publish(&entry, retain_available, now);
            self.statistics.repeated += u64::from(packet.dup);
            self.send(&Packet::Publish(packet), now);
            if entry.qos == QoS::AtMostOnce {
                self.unwritten.push_back((self.written + self.out.len() as u64, entry));
                continue;
            }
            (entry.sent, entry.dup, entry.asked) = (true, true, now);
            entry.phase = Phase::Published;
            if entry.qos == QoS::ExactlyOnce {
                self.unreceived.push_back(entry.packet_id);
            }
            self.clock.push_back((now, entry.packet_id, Phase::Published));
            self.window.insert(entry.packet_id, entry);
        }
    }

    /// What may have been sent does not expire, and at QoS 2 that is what has its Packet Identifier: a start finds it
    /// committed, and could not know that what came after it has been sent instead.
    fn is_expired(&self, entry: &InFlight, now: Time) -> bool {
        let delivery = &entry.delivery;
        if entry.sent || entry.qos == QoS::ExactlyOnce && entry.packet_id != 0 {
            return false;
        }
        let age = now.saturating_sub(delivery.received_at);
        let expiry = delivery.message.properties.message_expiry.map(|secs| Duration::from_secs(secs.into()));
        [expiry, self.settings.max_age].into_iter().flatten().any(|limit| age >= limit)
    }

    /// It has passed too many bridges. What may have been sent is completed.
    fn has_gone_round(&self, entry: &InFlight) -> bool {
        let most = self.settings.max_hops().filter(|_| !entry.sent && entry.packet_id == 0);
        most.is_some_and(|most| hops::passed(&entry.delivery.message) > most)
    }

    pub(super) fn drop_delivery(&mut self, entry: &InFlight, reason: DropReason, now: Time) {
        let (seq, topic) = (entry.delivery.seq, entry.delivery.topic.clone());
        self.log(Notice::Dropped { seq, topic, reason });
        self.remove(entry, Outcome::Dropped(reason), free(entry), now);
    }

    fn retire(&mut self, entry: InFlight, why: Retiring, now: Time) {
        let packet_id = entry.packet_id;
        self.retiring.insert(packet_id, (entry, why));
        self.send_pubrel(packet_id, ReasonCode::SUCCESS, now);
    }

    /// The remote does not hold its Packet Identifier any more.
    pub(super) fn retired(&mut self, mut entry: InFlight, why: Retiring, now: Time) {
        entry.dup = false;
        match why {
            Retiring::GivenUp(reason) => self.give_up(entry, reason, now),
            Retiring::Lowered => {
                self.statistics.ambiguous += 1;
                self.requeue(&mut entry, now);
                self.head.insert(entry.delivery.seq, entry);
            }
        }
    }

    /// It waits again, without a Packet Identifier.
    pub(super) fn requeue(&mut self, entry: &mut InFlight, now: Time) {
        if entry.packet_id != 0 && entry.qos == QoS::ExactlyOnce {
            self.progress(entry.delivery.seq, Progress::Requeued, After::Free(entry.packet_id), now);
        } else if entry.packet_id != 0 {
            self.ids.free(entry.packet_id);
        }
        (entry.packet_id, entry.dup, entry.phase) = (0, false, Phase::Ready);
    }

    /// The remote will never take it.
    pub(super) fn give_up(&mut self, entry: InFlight, reason: ReasonCode, now: Time) {
        if entry.delivery.kept == Kept::Volatile {
            return self.drop_delivery(&entry, DropReason::Qos0Refused, now);
        }
        if entry.qos == QoS::ExactlyOnce && entry.dup {
            return self.retire(entry, Retiring::GivenUp(reason), now);
        }
        let (seq, topic) = (entry.delivery.seq, entry.delivery.topic.clone());
        self.log(Notice::Quarantined { seq, topic, reason });
        self.progress(seq, Progress::Quarantined(reason), free(&entry), now);
    }
}

/// Frees the entry's identifier once what is written with it is committed.
pub(super) fn free(entry: &InFlight) -> After {
    if entry.packet_id == 0 { After::Nothing } else { After::Free(entry.packet_id) }
}
