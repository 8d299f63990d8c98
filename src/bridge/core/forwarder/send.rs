//! From the head and the ring onto the wire.
use super::link::publish;
use super::*;
use crate::bridge::delivery::DropReason;
use crate::bridge::topic;

/// Closes in order with the same message first in flight, after which it is sent alone.
const CLOSES_BEFORE_ALONE: u32 = 3;

impl Forwarder {
    /// Sends in order of sequence as far as the window and the socket allow.
    pub(super) fn send_what_waits(&mut self, ring: &mut Ring, now: Time) {
        while self.again.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, entry)) = self.again.pop_front() {
                self.head.insert(entry.delivery.seq, entry);
            }
        }
        while self.out.len() < HIGH_WATER {
            let Some(entry) = self.next(ring) else { break };
            self.start(entry, now);
        }
        self.flush_outbox(now);
    }

    /// Takes what is next, if there is room for it in the window.
    fn next(&mut self, ring: &mut Ring) -> Option<InFlight> {
        let first = self.head.iter().find(|(_, entry)| !self.is_in_outbox(entry)).map(|(seq, _)| *seq);
        let from_head = match (first, ring.near()) {
            (Some(head), Near::Delivery(near)) => head < near,
            (Some(_), Near::Nothing) => true,
            // A row that is still to be read may be older than the head, once, after a restart.
            (Some(_), Near::Unread) | (None, Near::Unread | Near::Nothing) => false,
            (None, Near::Delivery(_)) => false,
        };
        if !self.has_room(if from_head { first } else { None }) {
            return None;
        }
        if from_head {
            return first.and_then(|seq| self.head.remove(&seq));
        }
        let delivery = ring.take()?;
        self.taken += 1;
        let qos = delivery.qos;
        Some(InFlight { delivery, qos, packet_id: 0, phase: Phase::Ready, sent: false, dup: false })
    }

    fn is_in_outbox(&self, entry: &InFlight) -> bool {
        // QoS 0 alone stays in the head until it is encoded; there are few between two flushes.
        entry.qos == QoS::AtMostOnce
            && self.outbox.iter().any(|out| matches!(out, Out::AtMostOnce(seq) if *seq == entry.delivery.seq))
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

    fn start(&mut self, mut entry: InFlight, now: Time) {
        let State::Connected(link) = &self.state else { return };
        let (maximum_qos, maximum_packet_size) = (link.maximum_qos, link.maximum_packet_size);
        let suspect = self.suspect.filter(|suspect| suspect.seq == entry.delivery.seq);
        if suspect.is_some_and(|suspect| suspect.closes > CLOSES_BEFORE_ALONE) {
            self.suspect = None;
            return self.give_up(entry, ReasonCode::UNSPECIFIED_ERROR, now);
        }
        if !entry.sent && self.is_expired(&entry.delivery, now) {
            return self.drop_delivery(&entry, DropReason::Expired, now);
        }
        if entry.packet_id == 0 {
            entry.qos = entry.delivery.qos.min(maximum_qos);
        }
        if publish(&entry, true, now).encoded_len(self.settings.version) > maximum_packet_size {
            return self.give_up(entry, ReasonCode::PACKET_TOO_LARGE, now);
        }
        if topic::check_name(&entry.delivery.topic).is_err() {
            return self.give_up(entry, ReasonCode::TOPIC_NAME_INVALID, now);
        }
        let seq = entry.delivery.seq;
        if entry.qos == QoS::AtMostOnce {
            self.outbox.push_back(Out::AtMostOnce(seq));
            self.head.insert(seq, entry);
            return;
        }
        if entry.packet_id == 0 {
            let Some(packet_id) = self.ids.take() else {
                // The window is far smaller than the identifiers: they wait for commits, and so does this.
                self.head.insert(seq, entry);
                return;
            };
            entry.packet_id = packet_id;
            if entry.qos == QoS::ExactlyOnce {
                entry.phase = Phase::Recording;
                self.progress(seq, Progress::Sent { packet_id }, After::Recorded { seq, packet_id }, now);
            }
        }
        self.outbox.push_back(Out::Acknowledged(entry.packet_id));
        self.window.insert(entry.packet_id, entry);
    }

    pub(super) fn recorded(&mut self, seq: Seq, packet_id: u16) {
        // The connection may have been lost meanwhile, and the identifier with the session.
        let entry = self.window.get_mut(&packet_id).or_else(|| self.head.get_mut(&seq));
        if let Some(entry) = entry.filter(|entry| entry.packet_id == packet_id && entry.phase == Phase::Recording) {
            entry.phase = Phase::Ready;
        }
    }

    fn flush_outbox(&mut self, now: Time) {
        while let Some(out) = self.outbox.front() {
            let entry = match out {
                Out::Acknowledged(packet_id) => self.window.remove(packet_id),
                Out::AtMostOnce(seq) => self.head.remove(seq),
            };
            let Some(mut entry) = entry else {
                self.outbox.pop_front();
                continue;
            };
            if entry.phase == Phase::Recording {
                self.window.insert(entry.packet_id, entry);
                return;
            }
            self.outbox.pop_front();
            let State::Connected(link) = &self.state else { return };
            let packet = publish(&entry, link.retain_available, now);
            self.statistics.repeated += u64::from(packet.dup);
            self.send(&Packet::Publish(packet), now);
            if entry.qos == QoS::AtMostOnce {
                self.unwritten.push_back((self.written + self.out.len() as u64, entry));
                continue;
            }
            (entry.sent, entry.dup) = (true, true);
            entry.phase = Phase::Published;
            self.clock.push_back((now, entry.packet_id, Phase::Published));
            self.window.insert(entry.packet_id, entry);
        }
    }

    fn is_expired(&self, delivery: &Delivery, now: Time) -> bool {
        let age = now.saturating_sub(delivery.received_at);
        let expiry = delivery.message.properties.message_expiry.map(|secs| Duration::from_secs(secs.into()));
        [expiry, self.settings.max_age].into_iter().flatten().any(|limit| age >= limit)
    }

    pub(super) fn drop_delivery(&mut self, entry: &InFlight, reason: DropReason, now: Time) {
        let (seq, topic) = (entry.delivery.seq, entry.delivery.topic.clone());
        self.log(Notice::Dropped { seq, topic, reason });
        self.remove(entry, Outcome::Dropped(reason), free(entry), now);
    }

    /// The remote will never take it.
    pub(super) fn give_up(&mut self, entry: InFlight, reason: ReasonCode, now: Time) {
        if !entry.delivery.stored {
            return self.drop_delivery(&entry, DropReason::Qos0Refused, now);
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
