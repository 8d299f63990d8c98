//! What of a bridge's configuration may change while it runs.
use super::*;
use crate::bridge::wire::{Subscribe, Subscription, Unsubscribe};

impl Forwarder {
    /// These are the configuration and `max_age` from now on, as far as they need no restart. The remote is asked for
    /// the difference of the subscriptions; messages of those that are gone are acknowledged and go nowhere.
    pub fn handle_config(&mut self, new: &config::Bridge, max_age: Option<Duration>, now: Time) {
        self.settings.max_age = max_age;
        let config = &mut self.settings.config;
        config.username = new.username.clone();
        config.password = new.password.clone();
        config.connect_timeout = new.connect_timeout;
        config.ack_timeout = new.ack_timeout;
        config.forwards = new.forwards.clone();
        if config.reconnect != new.reconnect {
            config.reconnect = new.reconnect;
            self.backoff.limit(new.reconnect.min, new.reconnect.max);
        }
        if config.drain != new.drain {
            config.drain = new.drain;
            self.governor = new.drain.map(|drain| Governor::new(drain.max_rate.interval()));
            self.governed = None;
        }
        let former = std::mem::replace(&mut config.subscriptions, new.subscriptions.clone());
        let wanted = |filter: &String| new.subscriptions.iter().any(|subscription| subscription.remote == *filter);
        self.unwanted.extend(former.iter().map(|subscription| subscription.remote.clone()));
        self.unwanted.retain(|filter| !wanted(filter));
        let had = |new: &config::Subscription| {
            former.iter().any(|former| (&former.remote, former.qos) == (&new.remote, new.qos))
        };
        let added: Vec<_> = new.subscriptions.iter().filter(|subscription| !had(subscription)).cloned().collect();
        if self.is_connected() && self.established {
            self.unsubscribe(now);
            self.subscribe_to(&added, now);
        }
    }

    /// Asks for what is configured, and not any more for what no longer is.
    pub(super) fn subscribe(&mut self, now: Time) {
        self.unsubscribe(now);
        self.subscribe_to(&self.settings.config.subscriptions.clone(), now);
    }

    fn subscribe_to(&mut self, subscriptions: &[config::Subscription], now: Time) {
        if subscriptions.is_empty() {
            return;
        }
        let filters: Vec<Subscription> = subscriptions
            .iter()
            .map(|subscription| Subscription {
                filter: subscription.remote.clone(),
                qos: subscription.qos,
                // What we forward must not come back, and retained messages not at every reconnect.
                no_local: true,
                retain_as_published: true,
                retain_handling: 1,
                identifier: None,
            })
            .collect();
        // All identifiers are in use by exchanges that complete first; the next connection subscribes.
        let Some(packet_id) = self.ids.take() else { return };
        if let State::Connected(link) = &mut self.state {
            link.subscribing.insert(packet_id, filters.iter().map(|wanted| wanted.filter.clone()).collect());
        }
        self.send(&Packet::Subscribe(Subscribe { packet_id, filters, identifier: None }), now);
    }

    /// The remote's session keeps them until it has been told otherwise: what is not answered is said again on the next
    /// connection.
    fn unsubscribe(&mut self, now: Time) {
        let State::Connected(link) = &mut self.state else { return };
        let asked = |filter: &&String| !link.unsubscribing.values().flatten().any(|asked| asked == *filter);
        let filters: Vec<String> = self.unwanted.iter().filter(asked).cloned().collect();
        if filters.is_empty() {
            return;
        }
        let Some(packet_id) = self.ids.take() else { return };
        link.unsubscribing.insert(packet_id, filters.clone());
        self.send(&Packet::Unsubscribe(Unsubscribe { packet_id, filters }), now);
    }

    /// UNSUBACK; MQTT 3.1.1 has no reasons in it.
    pub(super) fn handle_unsuback(&mut self, packet_id: u16, reasons: &[ReasonCode]) {
        let State::Connected(link) = &mut self.state else { return };
        let Some(filters) = link.unsubscribing.remove(&packet_id) else {
            return self.unexpected("UNSUBACK", packet_id);
        };
        self.ids.free(packet_id);
        for (index, filter) in filters.into_iter().enumerate() {
            match reasons.get(index).filter(|reason| reason.is_failure()) {
                Some(reason) => self.log(Notice::UnsubscribeRefused { filter, reason: *reason }),
                None => {
                    self.unwanted.remove(&filter);
                }
            }
        }
    }
}
