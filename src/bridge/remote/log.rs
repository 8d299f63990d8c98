//! What the remote leg has to say, in words.
use tracing::{debug, info, warn};

use super::RemoteLeg;
use crate::bridge::core::forwarder::Notice;

impl RemoteLeg {
    pub(super) fn log(&self, notice: &Notice) {
        let name = self.name.as_str();
        self.note_error(notice);
        match notice {
            Notice::Connected { session_present, resumed } => {
                info!(
                    bridge = name,
                    event = "connected",
                    "bridge {name}: connected to {}, Session Present {session_present}, {resumed} to resume",
                    self.server
                );
            }
            // A long outage is one story, not a line every second.
            Notice::Lost { attempt, .. } if !attempt.is_power_of_two() => debug!("bridge {name}: {notice:?}"),
            Notice::Lost { why, pause, attempt } => {
                warn!(
                    bridge = name,
                    event = "lost",
                    "bridge {name}: no link to {} ({why}), attempt {attempt}, next in {pause:.1?}",
                    self.server
                );
            }
            Notice::Refused { reason, explanation } => {
                warn!(bridge = name, event = "refused", "bridge {name}: the remote says {reason} {explanation}")
            }
            Notice::SessionLost { ambiguous } => warn!(
                bridge = name,
                event = "session_lost",
                "bridge {name}: the remote has lost the session; {ambiguous} QoS 2 messages in flight are sent again \
                 and may arrive twice"
            ),
            Notice::ShorterSession { granted } => warn!(
                bridge = name,
                event = "shorter_session",
                "bridge {name}: the remote keeps the session for {granted} s only; after a longer outage QoS 2 is no \
                 longer exactly once"
            ),
            Notice::LowerQoS { maximum } => {
                warn!(
                    bridge = name,
                    event = "lower_qos",
                    "bridge {name}: the remote takes QoS {maximum} at most; what is above is sent with that"
                );
            }
            Notice::SubscriptionRefused { filter, reason } => {
                warn!(
                    bridge = name,
                    event = "subscription_refused",
                    "bridge {name}: the remote refuses the subscription `{filter}`: {reason}"
                );
            }
            Notice::UnsubscribeRefused { filter, reason } => {
                warn!(
                    bridge = name,
                    event = "unsubscribe_refused",
                    "bridge {name}: the remote does not end the subscription `{filter}`: {reason}"
                );
            }
            Notice::Quarantined { seq, topic, reason } => {
                warn!(
                    bridge = name,
                    event = "quarantined",
                    "bridge {name}: message {} on `{topic}` set aside, the remote refuses it: {reason}",
                    seq.0
                );
            }
            Notice::Dropped { seq, topic, reason } => {
                let mut counters = self.counters.lock();
                counters.bridges.entry(self.bridge).or_default().dropped_topics.count(*reason, topic);
                warn!(
                    bridge = name,
                    event = "dropped",
                    "bridge {name}: message {} on `{topic}` dropped: {}",
                    seq.0,
                    reason.label()
                );
            }
            Notice::Unrequested { topic } => debug!("bridge {name}: no subscription asks for `{topic}`"),
            Notice::Unexpected { packet, packet_id } => {
                debug!("bridge {name}: {packet} for packet id {packet_id}, which is not in flight");
            }
        }
    }

    /// What `$SYS/bridge/<name>/state` says.
    fn note_error(&self, notice: &Notice) {
        let error = match notice {
            Notice::Lost { why, .. } => why.clone(),
            Notice::Refused { reason, explanation } => format!("{reason} {explanation}").trim_end().to_owned(),
            _ => return,
        };
        let mut counters = self.counters.lock();
        let columns = counters.bridges.entry(self.bridge).or_default();
        if columns.last_error.as_ref() != Some(&error) {
            columns.last_error = Some(error);
            self.counters.link_has_changed();
        }
    }
}
