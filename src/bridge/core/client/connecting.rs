//! CONNECT, and what answers it (MQTT 5, sections 3.1.4 and 3.2).
use super::*;
use crate::bridge::core::subscriptions::is_shared;
use crate::bridge::wire::is_payload_valid;

impl<R> Client<R> {
    /// Longer than that no client may be silent (Server Keep Alive, in seconds), or away without the end of its session
    /// (Session Expiry Interval, in seconds).
    pub fn limited(self, max_keep_alive: Option<u16>, max_session_expiry: Option<u32>) -> Self {
        Self { max_keep_alive, longest_expiry: max_session_expiry.unwrap_or(u32::MAX), ..self }
    }

    pub(super) fn handle_connect(&mut self, mut connect: Box<Connect>) {
        self.version = connect.version;
        self.explains = connect.request_problem_information;
        self.peer_maximum = connect.maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize);
        if let Some(method) = &connect.authentication_method {
            let why = format!("Authentication Method `{method}`: there is none here"); // [MQTT-4.12.0-1]
            return self.refuse(ReasonCode::BAD_AUTHENTICATION_METHOD, &why);
        }
        let is_valid = |will: &Will| is_payload_valid(&will.message.properties.other, &will.message.payload);
        if !connect.will.as_ref().is_none_or(is_valid) {
            let why = "the Will Payload is not the UTF-8 that its Payload Format Indicator says";
            return self.refuse(ReasonCode::PAYLOAD_FORMAT_INVALID, why);
        }
        if connect.client_id.is_empty() {
            if connect.version == Version::V4 && !connect.clean_start {
                let why = "no Client Identifier, and no Clean Session"; // [MQTT-3.1.3-8]
                return self.refuse(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, why);
            }
            connect.client_id = format!("auto-{:016x}", fastrand::u64(..));
            self.assigned = true;
        }
        self.client_id = connect.client_id.as_str().into();
        match self.state {
            State::Expecting(until) if self.guard.authenticates => {
                let (username, password) = (connect.username.take(), connect.password.take());
                let credentials = Credentials { client_id: connect.client_id.clone(), username, password };
                self.effects.push_back(Effect::Authenticate(credentials));
                self.state = State::Authenticating(connect, until);
            }
            _ => self.let_in(connect, None),
        }
    }

    /// It is known who the client is, if it has a user; or it is not let in.
    pub fn handle_authenticated(&mut self, user: Result<Option<&str>, ReasonCode>) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Authenticating(connect, until) => {
                self.state = State::Expecting(until);
                match user {
                    Ok(user) => self.let_in(connect, user),
                    Err(reason) => self.refuse(reason, "not let in"),
                }
            }
            other => self.state = other,
        }
    }

    fn let_in(&mut self, connect: Box<Connect>, user: Option<&str>) {
        self.guard.let_in(user, &connect.client_id);
        if let Some(will) = &connect.will
            && let Some(reason) = self.guard.refuses(&will.message.topic)
        {
            self.effects.push_back(Effect::Denied(Denied::Publish(will.message.topic.clone())));
            return self.refuse(reason, "its Will may not be published to this topic");
        }
        let (clean_start, expiry) = (connect.clean_start, connect.session_expiry.min(self.longest_expiry));
        self.effects.push_back(Effect::Open { client_id: self.client_id.clone(), clean_start, expiry });
        self.state = State::Opening(connect);
    }

    /// The session is open and what had to be committed is.
    pub fn handle_opened(&mut self, opened: Opened, now: Time) {
        let State::Opening(mut connect) = std::mem::replace(&mut self.state, State::Open) else { return };
        let assigned = self.assigned.then(|| connect.client_id.clone());
        let (granted, longest) = opened.expiry;
        self.longest_expiry = self.longest_expiry.min(longest);
        self.expiry = granted.min(self.longest_expiry);
        self.may_keep = connect.session_expiry > 0;
        let keep_alive = match (connect.keep_alive, self.max_keep_alive) {
            (0, Some(limit)) => limit,
            (wanted, limit) => limit.map_or(wanted, |limit| wanted.min(limit)),
        };
        self.keep_alive = (keep_alive > 0).then(|| Duration::from_secs(keep_alive.into()));
        self.heard = now;
        self.intake = Intake::new(self.receive_maximum, opened.session.received_ids);
        let window = if self.version == Version::V4 { RECEIVE_MAXIMUM_V4 } else { connect.receive_maximum };
        let maximum_packet_size = connect.maximum_packet_size;
        self.outgoing = Outgoing::new(window, maximum_packet_size);
        self.queue = opened.queue.map(|(queue, held)| SessionQueue::new(queue, held, window, maximum_packet_size, now));
        self.aliases = TopicAliases::new(connect.topic_alias_maximum);
        self.subscriptions = opened.session.subscriptions;
        // Another user may have made them, or other rules have allowed them.
        let access = &self.guard.access;
        let denied = self.subscriptions.extract_if(.., |subscription| !access.may_subscribe(&subscription.filter));
        let denied: Vec<String> = denied.map(|subscription| subscription.filter).collect();
        for filter in denied {
            let client_id = self.client_id.clone();
            self.write_if_kept(is_shared(&filter), Write::Unsubscribe { client_id, filter });
        }
        if !self.subscriptions.is_empty() {
            self.tell_subscriptions();
        }
        let connack = Connack {
            receive_maximum: self.receive_maximum,
            maximum_packet_size: Some(self.maximum_packet_size),
            topic_alias_maximum: TOPIC_ALIAS_MAXIMUM,
            assigned_client_id: assigned,
            session_expiry: (self.expiry != connect.session_expiry).then_some(self.expiry), // section 3.2.2.3.2
            server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),    // [MQTT-3.1.2-21]
            ..Connack::new(ReasonCode::SUCCESS, opened.present)
        };
        self.arm(connect.will.take(), connack);
    }

    /// The session could not be opened.
    pub fn handle_not_opened(&mut self, reason: ReasonCode) {
        self.refuse(reason, "its session could not be opened");
    }

    /// The client violates the protocol, or its packet could not be decoded.
    pub fn handle_violation(&mut self, error: &WireError) {
        if !matches!(self.state, State::Expecting(_)) {
            return self.close(error.reason, Some(&error.what));
        }
        if error.reason == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION {
            // In the form of 3.1.1, which every version understands ([MQTT-3.1.2-1]).
            encode(&Packet::Connack(Box::new(Connack::new(error.reason, false))), Version::V4, &mut self.out);
        } else if error.connect == Some(Version::V5) {
            return self.refuse(error.reason, &error.what);
        }
        self.close_at_once(&error.to_string());
    }

    /// Answers CONNECT with a failure and closes the connection ([MQTT-3.2.2-7]).
    pub(super) fn refuse(&mut self, reason: ReasonCode, why: &str) {
        if !self.is_closed() {
            let reason_string = self.explains.then(|| why.to_owned());
            self.send(&Packet::Connack(Box::new(Connack { reason_string, ..Connack::new(reason, false) })));
            self.close_at_once(&format!("{why}: {reason}"));
        }
    }
}
