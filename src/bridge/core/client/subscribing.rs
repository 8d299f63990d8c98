//! SUBSCRIBE and UNSUBSCRIBE.
use super::*;
use crate::bridge::core::subscriptions::{is_shared, shared};
use crate::bridge::topic;

impl<R> Client<R> {
    pub(super) fn handle_subscribe(&mut self, subscribe: Subscribe) {
        let mut reasons = Vec::new();
        // Each is compared with all that there are.
        let too_many = subscribe.filters.len() > self.guard.limits.max_subscriptions;
        for subscription in subscribe.filters {
            if too_many {
                reasons.push(ReasonCode::QUOTA_EXCEEDED);
                continue;
            }
            let filter = &subscription.filter;
            if is_shared(filter) && subscription.no_local {
                let what = "SUBSCRIBE with No Local on a Shared Subscription"; // [MQTT-3.8.3-4]
                return self.handle_violation(&WireError::new(ReasonCode::PROTOCOL_ERROR, what));
            }
            if topic::check_filter(filter).is_err() || (is_shared(filter) && shared(filter).is_none()) {
                reasons.push(ReasonCode::TOPIC_FILTER_INVALID);
            } else {
                let others = self.subscriptions.iter().filter(|known| known.filter != *filter).count();
                if let Some(reason) = self.guard.refuses_filter(filter, others) {
                    reasons.push(reason);
                    self.effects.push_back(Effect::Denied(Denied::Subscribe(filter.clone())));
                    continue;
                }
                reasons.push(ReasonCode(subscription.qos as u8));
                let known = self.subscriptions.len();
                self.subscriptions.retain(|known| known.filter != *filter);
                let is_new = self.subscriptions.len() == known;
                self.subscriptions.push(subscription.clone());
                let is_shared = is_shared(filter);
                if is_shared && self.queue.is_none() && !std::mem::replace(&mut self.shares, true) {
                    self.effects.push_back(Effect::Share);
                }
                let gets_retained = subscription.retain_handling == 0 || (subscription.retain_handling == 1 && is_new);
                if self.queue.is_none() && !is_shared && gets_retained {
                    self.wanting.push(subscription.clone());
                }
                let client_id = self.client_id.clone();
                self.write_if_kept(is_shared, Write::Subscribe { client_id, subscription });
            }
        }
        self.resubscribed = true;
        let packet_id = subscribe.packet_id;
        self.send_after_commit(Packet::Suback(Suback { packet_id, reasons }));
    }

    pub(super) fn handle_unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), WireError> {
        if unsubscribe.filters.len() > self.guard.limits.max_subscriptions {
            let what = "UNSUBSCRIBE with more filters than limits.max_subscriptions";
            return Err(WireError::new(ReasonCode::QUOTA_EXCEEDED, what));
        }
        let mut reasons = Vec::new();
        for filter in &unsubscribe.filters {
            let before = self.subscriptions.len();
            self.subscriptions.retain(|known| known.filter != *filter);
            let existed = self.subscriptions.len() < before;
            reasons.push(if existed { ReasonCode::SUCCESS } else { ReasonCode::NO_SUBSCRIPTION_EXISTED });
            let client_id = self.client_id.clone();
            self.write_if_kept(is_shared(filter), Write::Unsubscribe { client_id, filter: filter.clone() });
        }
        self.resubscribed = true;
        self.send_after_commit(Packet::Unsuback(Suback { packet_id: unsubscribe.packet_id, reasons }));
        Ok(())
    }

    /// What the hub hands to this connection. A session that is kept gets the rest from its queue, and what the bridge says
    /// about itself is never stored: it waits for nobody, so it comes at QoS 0.
    pub(super) fn tell_subscriptions(&mut self) {
        let own = self.subscriptions.iter().filter(|known| !is_shared(&known.filter));
        let own: Vec<Subscription> = match self.queue {
            None => own.cloned().collect(),
            Some(_) => own
                .filter(|known| known.filter.starts_with(topic::SYS))
                .map(|known| Subscription { qos: QoS::AtMostOnce, ..known.clone() })
                .collect(),
        };
        if self.queue.is_none() || own != self.told {
            self.told.clone_from(&own);
            self.effects.push_back(Effect::Subscriptions(own));
        }
    }

    /// Of a session that ends with the connection too, where it is a member of a group: who gets what is decided there.
    pub(super) fn write_if_kept(&mut self, is_shared: bool, write: Write) {
        if self.queue.is_some() || is_shared {
            self.write(write, After::Nothing);
        }
    }

    /// Sends a packet once what has been written before it is committed.
    fn send_after_commit(&mut self, packet: Packet) {
        match self.after.last_mut() {
            Some(after @ After::Nothing) => *after = After::Send(packet),
            _ => self.send(&packet),
        }
    }
}
