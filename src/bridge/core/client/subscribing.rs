//! SUBSCRIBE and UNSUBSCRIBE.
use super::*;
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
            if topic::check_filter(filter).is_err() {
                reasons.push(ReasonCode::TOPIC_FILTER_INVALID);
            } else if filter.starts_with("$share/") {
                reasons.push(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
            } else {
                let others = self.subscriptions.iter().filter(|known| known.filter != *filter).count();
                if let Some(reason) = self.guard.refuses_filter(filter, others) {
                    reasons.push(reason);
                    self.effects.push_back(Effect::Denied(Denied::Subscribe(filter.clone())));
                    continue;
                }
                reasons.push(ReasonCode(subscription.qos as u8));
                self.subscriptions.retain(|known| known.filter != *filter);
                self.subscriptions.push(subscription.clone());
                let client_id = self.client_id.clone();
                self.write_if_kept(Write::Subscribe { client_id, subscription });
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
            self.write_if_kept(Write::Unsubscribe { client_id, filter: filter.clone() });
        }
        self.resubscribed = true;
        self.send_after_commit(Packet::Unsuback(Suback { packet_id: unsubscribe.packet_id, reasons }));
        Ok(())
    }

    fn write_if_kept(&mut self, write: Write) {
        if self.expiry > 0 {
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
