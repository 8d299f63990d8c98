//! Connecting, the session, Keep Alive, and the end of a connection.
use super::*;
use crate::bridge::wire::{Connect, Disconnect, Publish, WireError};

impl Forwarder {
    /// The TCP connection stands: CONNECT.
    pub fn handle_connected(&mut self, now: Time) {
        if !matches!(self.state, State::Connecting) {
            return;
        }
        let config = &self.settings.config;
        // Without state of our own, the remote's would take our Packet Identifiers for repetitions.
        let clean_start = config.clean_start || !self.has_state;
        // Connect twice, first to wipe, with a session that ends with its connection (in 3.1.1 Clean Session is that
        // anyway): a CONNECT that a network holds back must not put an empty session in the place of one that is in use
        // when it arrives.
        let wipe = clean_start && !config.clean_start;
        let session_expiry = if wipe { 0 } else { config.session_expiry.as_secs() };
        let connect = Connect {
            clean_start,
            keep_alive: config.keep_alive.as_secs() as u16,
            username: config.username.clone(),
            password: config.password.as_ref().map(|password| password.reveal().as_bytes().to_vec()),
            session_expiry: u32::try_from(session_expiry).unwrap_or(u32::MAX),
            receive_maximum: config.window,
            ..Connect::new(self.settings.version, &config.client_id)
        };
        self.out.clear();
        self.written = 0;
        self.state = State::Handshake { until: now + config.connect_timeout, wipe, clean_start };
        self.send(&Packet::Connect(Box::new(connect)), now);
    }

    /// The connection, or the attempt at one, has ended; `closed_by_peer` where the remote closed it in order (FIN).
    pub fn handle_closed(&mut self, why: &str, closed_by_peer: bool, now: Time) {
        if matches!(self.state, State::Stopped | State::Waiting(_)) {
            return;
        }
        if closed_by_peer {
            self.suspect_the_first();
        }
        let pause = self.backoff.pause();
        self.attempts += 1;
        self.log(Notice::Lost { why: why.to_owned(), pause, attempt: self.attempts });
        if let State::Connected(link) = &self.state {
            let asked = link.subscribing.keys().chain(link.unsubscribing.keys());
            asked.for_each(|packet_id| self.ids.free(*packet_id));
        }
        self.state = State::Waiting(now + pause);
        self.intake.handle_closed();
        self.out.clear();
        self.clock.clear();
        self.unreceived.clear();
        self.had_gap = false;
        let unwritten = std::mem::take(&mut self.unwritten).into_iter().map(|(_, entry)| entry);
        let outbox = std::mem::take(&mut self.outbox).into_iter().filter_map(|out| match out {
            Out::Acknowledged(_) => None,
            Out::AtMostOnce(entry) => Some(entry),
        });
        self.head.extend(unwritten.chain(outbox).map(|entry| (entry.delivery.seq, entry)));
        // PUBRELs stay where they are; PUBLISHes stand before the ring again, in their order.
        let (released, published): (Vec<_>, Vec<_>) = std::mem::take(&mut self.window)
            .into_iter()
            .partition(|(_, entry)| matches!(entry.phase, Phase::Releasing(_) | Phase::Released(_)));
        self.window = released.into_iter().collect();
        for (_, mut entry) in published {
            if entry.phase == Phase::Published {
                entry.phase = Phase::Ready;
            }
            self.head.insert(entry.delivery.seq, entry);
        }
    }

    /// A packet has come.
    pub fn handle_packet(&mut self, packet: Packet, now: Time) {
        if let State::Connected(link) = &mut self.state {
            link.heard = now;
            link.pinged = None;
            link.gathers_until = matches!(packet, Packet::Puback(_)).then_some(now + GATHER);
            if !link.proven && !matches!(packet, Packet::Disconnect(_)) {
                link.proven = true;
                self.attempts = 0;
                self.refusal = None;
                self.backoff.reset();
            }
        }
        match (&self.state, packet) {
            (State::Handshake { wipe, clean_start, .. }, Packet::Connack(connack)) => {
                let (wipe, clean_start) = (*wipe, *clean_start);
                self.handle_connack(&connack, wipe, clean_start, now);
            }
            (State::Connected(_), packet) => self.handle_connected_packet(packet, now),
            (State::Handshake { .. }, packet) => {
                let what = format!("{} instead of CONNACK", packet.name());
                self.violated(&WireError::new(ReasonCode::PROTOCOL_ERROR, what), now);
            }
            _ => {}
        }
    }

    fn handle_connected_packet(&mut self, packet: Packet, now: Time) {
        match packet {
            Packet::Puback(ack) => self.handle_puback(ack, now),
            Packet::Pubrec(ack) => self.handle_pubrec(ack, now),
            Packet::Pubcomp(ack) => self.handle_pubcomp(ack, now),
            Packet::Publish(publish) => self.handle_publish(publish, now),
            Packet::Pubrel(ack) => self.handle_pubrel(ack, now),
            Packet::Suback(suback) => {
                let State::Connected(link) = &mut self.state else { return };
                let Some(filters) = link.subscribing.remove(&suback.packet_id) else {
                    return self.unexpected("SUBACK", suback.packet_id);
                };
                self.ids.free(suback.packet_id);
                for (filter, reason) in filters.into_iter().zip(suback.reasons) {
                    if reason.is_failure() {
                        self.log(Notice::SubscriptionRefused { filter, reason });
                    }
                }
            }
            Packet::Unsuback(unsuback) => self.handle_unsuback(unsuback.packet_id, &unsuback.reasons),
            Packet::Disconnect(disconnect) => {
                let explanation = explained(&disconnect.server_reference, &disconnect.reason_string);
                self.refused_service(disconnect.reason, explanation);
                self.close(&format!("DISCONNECT from the remote: {}", disconnect.reason), now);
            }
            Packet::Pingresp => {}
            other => {
                let what = format!("{} from a server", other.name());
                self.violated(&WireError::new(ReasonCode::PROTOCOL_ERROR, what), now);
            }
        }
    }

    /// Said once, not at every attempt: a wrong password stays wrong for days.
    fn refused_service(&mut self, reason: ReasonCode, explanation: String) {
        let notice = Notice::Refused { reason, explanation };
        if self.refusal.as_ref() != Some(&notice) {
            self.refusal = Some(notice.clone());
            self.log(notice);
        }
    }

    /// The remote has violated the protocol: say so where the version can, and close.
    pub fn violated(&mut self, error: &WireError, now: Time) {
        if self.is_connected() && self.settings.version == Version::V5 {
            self.send(&Packet::Disconnect(Disconnect::new(error.reason)), now);
        }
        self.close_after_writing();
        self.handle_closed(&error.to_string(), false, now);
    }

    pub(super) fn close(&mut self, why: &str, now: Time) {
        self.effects.push_back(Effect::Close(Vec::new()));
        self.handle_closed(why, false, now);
    }

    fn handle_connack(&mut self, connack: &Connack, wipe: bool, clean_start: bool, now: Time) {
        if connack.reason.is_failure() {
            let explanation = explained(&connack.server_reference, &connack.reason_string);
            self.refused_service(connack.reason, explanation);
            return self.close(&format!("CONNACK: {}", connack.reason), now);
        }
        if connack.session_present && clean_start {
            let what = "CONNACK: Session Present although Clean Start was asked for"; // [MQTT-3.2.2-2]
            return self.violated(&WireError::new(ReasonCode::PROTOCOL_ERROR, what), now);
        }
        if !connack.session_present {
            self.session_lost(now);
        }
        if !self.has_state && !self.settings.config.clean_start {
            let identity = self.settings.identity();
            self.write(Write::Established { bridge: self.settings.bridge, identity }, After::Established, now);
            self.has_state = true;
        }
        if wipe {
            self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)), now);
            self.close_after_writing();
            self.state = State::Waiting(now);
            return;
        }
        self.connected(connack, now);
    }

    fn connected(&mut self, connack: &Connack, now: Time) {
        let config = &self.settings.config;
        let asked = config.session_expiry.as_secs();
        let keep_alive = connack.server_keep_alive.map_or(config.keep_alive, |secs| Duration::from_secs(secs.into()));
        self.state = State::Connected(Link {
            heard: now,
            said: now,
            pinged: None,
            keep_alive: Some(keep_alive).filter(|keep_alive| !keep_alive.is_zero()),
            receive_maximum: usize::from(connack.receive_maximum.max(1)),
            maximum_qos: connack.maximum_qos,
            maximum_packet_size: connack.maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize),
            retain_available: connack.retain_available,
            proven: false,
            gathers_until: None,
            subscribing: HashMap::new(),
            unsubscribing: HashMap::new(),
        });
        self.statistics.connections += 1;
        if let Some(governor) = &mut self.governor {
            governor.handle_connected(now);
        }
        let resumed = self.window.len() + self.head.len();
        self.log(Notice::Connected { session_present: connack.session_present, resumed });
        if let Some(granted) = connack.session_expiry.filter(|granted| u64::from(*granted) < asked) {
            self.log(Notice::ShorterSession { granted });
        }
        if connack.maximum_qos != QoS::ExactlyOnce {
            self.log(Notice::LowerQoS { maximum: connack.maximum_qos });
        }
        self.release_again(now);
        if self.established || self.settings.config.clean_start {
            self.subscribe(now);
        }
    }

    /// PUBRELs first, in the order of their PUBRECs ([MQTT-4.6.0-4]).
    fn release_again(&mut self, now: Time) {
        let released = self.window.values().filter_map(|entry| match entry.phase {
            Phase::Released(order) => Some((order, entry.packet_id)),
            _ => None,
        });
        let mut released: Vec<_> = released.collect();
        released.sort_unstable();
        let retired: Vec<u16> = self.retiring.keys().copied().collect();
        for packet_id in released.into_iter().map(|(_, packet_id)| packet_id).chain(retired) {
            self.send_pubrel(packet_id, ReasonCode::SUCCESS, now);
        }
    }

    pub(super) fn established(&mut self, now: Time) {
        self.established = true;
        if self.is_connected() {
            self.subscribe(now);
        }
    }

    /// The remote has no session of ours: all that was in flight waits again, without an identifier.
    fn session_lost(&mut self, now: Time) {
        self.intake.handle_session_lost();
        self.unwanted.clear();
        self.write(Write::ForgetAll { origin: Origin::Remote(self.settings.bridge) }, After::Nothing, now);
        let mut ambiguous = 0;
        let window = std::mem::take(&mut self.window).into_values();
        let head = std::mem::take(&mut self.head).into_values();
        let retiring = std::mem::take(&mut self.retiring).into_values().map(|(entry, _)| entry);
        for mut entry in window.chain(head).chain(retiring).collect::<Vec<_>>() {
            ambiguous += usize::from(entry.dup && entry.qos == QoS::ExactlyOnce);
            self.requeue(&mut entry, now);
            self.head.insert(entry.delivery.seq, entry);
        }
        self.statistics.ambiguous += ambiguous as u64;
        if ambiguous > 0 {
            self.log(Notice::SessionLost { ambiguous });
        }
    }

    pub(super) fn handle_timers(&mut self, now: Time) {
        match &self.state {
            State::Waiting(until) if *until <= now => {
                self.state = State::Connecting;
                self.effects.push_back(Effect::Connect);
            }
            State::Handshake { until, .. } if *until <= now => self.close("no CONNACK within connect_timeout", now),
            State::Connected(link) => {
                if let Some(why) = self.given_up(link, now) {
                    return self.close(&why, now);
                }
                let pings = self.ping_at(link).is_some_and(|at| at <= now);
                if let State::Connected(link) = &mut self.state {
                    link.gathers_until = link.gathers_until.filter(|until| now < *until);
                    link.pinged = if pings { Some(now) } else { link.pinged };
                }
                if pings {
                    self.send(&Packet::Pingreq, now);
                }
            }
            _ => {}
        }
    }

    /// PINGREQ when the remote has been silent for half of Keep Alive, or we for three quarters ([MQTT-3.1.2-20]).
    fn ping_at(&self, link: &Link) -> Option<Time> {
        let keep_alive = link.keep_alive.filter(|_| link.pinged.is_none())?;
        Some((link.heard + keep_alive / 2).min(link.said + keep_alive * 3 / 4))
    }

    fn silent_at(&self, link: &Link) -> Option<Time> {
        link.pinged.and_then(|pinged| link.keep_alive.map(|keep_alive| pinged + keep_alive))
    }

    fn unacknowledged_at(&self) -> Option<Time> {
        self.clock.front().map(|(sent, ..)| *sent + self.settings.config.ack_timeout)
    }

    fn stalled_at(&self) -> Option<Time> {
        (!self.out.is_empty()).then(|| self.progressed + self.settings.config.ack_timeout)
    }

    pub(super) fn link_deadline(&self, link: &Link) -> Option<Time> {
        let deadlines = [self.ping_at(link), self.silent_at(link), self.unacknowledged_at(), self.stalled_at()];
        deadlines.into_iter().flatten().min()
    }

    fn given_up(&self, link: &Link, now: Time) -> Option<String> {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.silent_at(link)) {
            let silence = now.saturating_sub(link.heard);
            return Some(format!("Keep Alive: not a byte from the remote for {:.1} s", silence.as_secs_f64()));
        }
        if due(self.unacknowledged_at()) {
            return Some("a PUBLISH or PUBREL was not acknowledged within ack_timeout".to_owned());
        }
        due(self.stalled_at()).then(|| "the remote has taken no byte within ack_timeout".to_owned())
    }

    /// The socket has taken so many bytes of [`transmit`](Self::transmit).
    pub fn handle_written(&mut self, bytes: usize, now: Time) {
        let bytes = bytes.min(self.out.len());
        self.out.drain(..bytes);
        self.written += bytes as u64;
        self.progressed = now;
        while self.unwritten.front().is_some_and(|(end, _)| *end <= self.written) {
            if let Some((_, entry)) = self.unwritten.pop_front() {
                self.remove(&entry, Outcome::Delivered, After::Nothing, now);
            }
        }
    }

    /// A 3.1.1 remote refuses a message by closing the connection. After three closes in order with the same message
    /// first in flight it is sent alone; after three more it is quarantined.
    fn suspect_the_first(&mut self) {
        let published = self.window.values().filter(|entry| entry.phase == Phase::Published);
        let first = published.map(|entry| entry.delivery.seq).min();
        let Some(seq) = first.filter(|_| self.settings.version == Version::V4) else { return };
        let closes = self.suspect.filter(|suspect| suspect.seq == seq).map_or(0, |suspect| suspect.closes);
        self.suspect = Some(Suspect { seq, closes: closes + 1 });
    }
}

fn explained(server_reference: &Option<String>, reason_string: &Option<String>) -> String {
    let reference = server_reference.as_ref().map(|server| format!("the server names {server}"));
    [reason_string.clone(), reference].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// How long a PUBLISH of this delivery would be.
pub(super) fn publish(entry: &InFlight, retain_available: bool, now: Time) -> Publish {
    let delivery = &entry.delivery;
    let waited = now.saturating_sub(delivery.received_at).as_secs();
    let left = |expiry: u32| expiry.saturating_sub(u32::try_from(waited).unwrap_or(u32::MAX)).max(1);
    Publish {
        dup: entry.dup,
        qos: entry.qos,
        retain: delivery.retain && retain_available,
        topic: delivery.topic.clone(),
        topic_alias: None,
        subscription_ids: Vec::new(),
        packet_id: entry.packet_id,
        message_expiry: delivery.message.properties.message_expiry.map(left),
        message: delivery.message.clone(),
    }
}
