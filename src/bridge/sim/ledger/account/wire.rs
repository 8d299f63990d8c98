//! What goes over the wire: order of first transmissions, Packet Identifiers, the window, ages.
use super::*;

impl Account {
    /// A whole packet went into a socket; `age` is what the process takes for now.
    pub(in crate::bridge::sim) fn transmitted(&mut self, tap: &mut Tap, packet: &Packet, clock: Time, now: Time) {
        self.session.said(packet);
        match packet {
            Packet::Publish(publish) => {
                self.published(tap, publish, clock);
                self.count_rate(now);
            }
            Packet::Pubrel(ack) if self.strict => {
                // One that is given back keeps its row, as it was, until the PUBCOMP.
                let refused = |key: &Key| {
                    let closes = |record: &Record| record.closes >= CLOSES_BEFORE_QUARANTINE;
                    self.records.iter().any(|record| record.keys.contains(key) && closes(record))
                };
                let released = |(key, released): &(Key, bool)| *released || self.retires || refused(key);
                let committed = self.holders.get(&ack.packet_id).is_none_or(released);
                self.require(committed, || format!("PUBREL {} before its PUBREC is committed", ack.packet_id));
            }
            _ => {}
        }
    }

    /// Never more in any second than the rate, its burst of 50 ms, and what a commit has held back meanwhile.
    fn count_rate(&mut self, now: Time) {
        let Some(rate) = self.rate else { return };
        self.sent.push_back(now);
        while self.sent.front().is_some_and(|sent| now.saturating_sub(*sent) >= Duration::from_secs(1)) {
            self.sent.pop_front();
        }
        let (sent, limit) = (self.sent.len(), rate * 1.15 + 2.0);
        self.require(sent as f64 <= limit, || format!("drain.max_rate: {sent} within a second, {rate} allowed"));
    }

    fn published(&mut self, tap: &mut Tap, publish: &Publish, clock: Time) {
        let (id, packet_id) = (id(&publish.message.payload), publish.packet_id);
        let seqs = self.records[id].keys.clone();
        if publish.qos != QoS::AtMostOnce {
            let new = tap.outstanding.insert(packet_id, id).is_none();
            self.require(new, || format!("Packet Identifier {packet_id} is sent twice on one connection"));
            let limit = tap.receive_maximum.unwrap_or(u16::MAX).min(self.window);
            let unacknowledged = tap.outstanding.len();
            self.require(unacknowledged <= limit.into(), || format!("G4: {unacknowledged} PUBLISHes, {limit} allowed"));
        }
        if self.strict && publish.qos != QoS::AtMostOnce {
            match self.holders.get(&packet_id) {
                Some((holder, _)) if !seqs.contains(holder) => {
                    self.violate(format!("Packet Identifier {packet_id} of {seqs:?} belongs to the row of {holder:?}"));
                }
                None if publish.qos == QoS::ExactlyOnce => {
                    self.violate(format!("PUBLISH {packet_id} of message {id} before its commit"));
                }
                _ => {}
            }
        }
        let given_up = !seqs.is_empty() && seqs.iter().all(|seq| self.is_given_up(*seq));
        self.require(!given_up, || format!("message {id} is sent, and was dropped"));
        if !self.records[id].transmitted {
            self.first_sent(id, &seqs, clock);
        }
        self.records[id].transmitted = true;
        self.records[id].lowered |= publish.qos < self.specs[id].qos;
    }

    fn first_sent(&mut self, id: usize, seqs: &[Key], clock: Time) {
        let topic = self.specs[id].topic;
        let last = self.last_first[topic];
        // Which of several it is cannot be seen.
        let seq = seqs.iter().copied().find(|seq| Some(*seq) > last);
        // One that had been too old is not, where a kill takes back its removal and somebody sets back the clock.
        let ages = self.specs[id].expiry.is_some() || self.max_age.is_some();
        let is_younger = ages && self.kills && self.sets_the_clock;
        self.require(seq.is_some() || is_younger, || format!("G3: message {id} ({seqs:?}) first sent after {last:?}"));
        self.last_first[topic] = seq.or(last);
        // What has left the cache says nothing of the time to a process that starts.
        let waiting = || seqs.iter().filter_map(|key| self.deliveries.get(key)).filter(|it| it.ended.is_none());
        let latest = waiting().map(|delivery| delivery.received_at).max();
        let held = waiting().any(|delivery| delivery.held);
        let Some(received_at) = latest else { return };
        let in_time = !self.prompt || held || self.is_in_time(id, received_at, clock);
        let (age, limit) = (clock.saturating_sub(received_at), self.limit(id));
        self.require(in_time, || format!("message {id} was first sent {age:?} after it came, for {limit:?}"));
        self.require(clock >= received_at, || format!("message {id} comes from the future"));
    }

    /// The process hears an answer.
    pub(in crate::bridge::sim) fn heard(&mut self, tap: &mut Tap, packet: &Packet) {
        self.session.heard(packet);
        match packet {
            Packet::Puback(ack) => {
                let id = tap.outstanding.remove(&ack.packet_id).filter(|_| !ack.reason.is_failure());
                id.into_iter().for_each(|id| self.records[id].acknowledged = true);
            }
            Packet::Pubcomp(ack) => {
                tap.outstanding.remove(&ack.packet_id);
            }
            Packet::Pubrec(ack) if ack.reason.is_failure() => {
                tap.outstanding.remove(&ack.packet_id);
            }
            _ => {}
        }
    }

    /// The remote has closed in order.
    pub(in crate::bridge::sim) fn closed(&mut self, tap: &Tap) {
        if self.version == Version::V4 {
            tap.outstanding.values().for_each(|id| self.records[*id].closes += 1);
        }
    }

    /// CONNACK is heard: of which of the remote's sessions, and whether it has said to somebody that this one is new.
    pub(in crate::bridge::sim) fn connected(&mut self, present: bool, session: u64, said: bool) {
        if self.session.connack(present, session, said) {
            self.in_doubt += self.holders.len() as u64;
        }
    }
}
