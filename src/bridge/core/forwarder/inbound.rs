//! From the remote to local sessions.
use super::*;
use crate::bridge::core::intake::{Accepted, Release};
use crate::bridge::core::routes;
use crate::bridge::delivery::NewDelivery;
use crate::bridge::wire::{Ack, Publish};

impl Forwarder {
    pub(super) fn handle_publish(&mut self, publish: Publish, now: Time) {
        match self.intake.handle_publish(&publish) {
            Err(error) => self.violated(&error, now),
            Ok(Accepted::Repeated) => self.send_replies(now),
            Ok(Accepted::Submit(ticket)) => {
                let message = match routes::localized(&self.settings.config.subscriptions, &publish.message) {
                    Some((topic, qos)) => Arc::new(Message { topic, qos, ..Message::clone(&publish.message) }),
                    None => {
                        // A filter that is no longer configured lives on in the remote's session.
                        self.statistics.unrequested += 1;
                        self.log(Notice::Unrequested { topic: publish.topic });
                        self.intake.handle_stored(ticket, Ok(()));
                        return self.send_replies(now);
                    }
                };
                let packet_id = if publish.qos == QoS::ExactlyOnce { publish.packet_id } else { 0 };
                self.arriving.insert(ticket, (message.clone(), packet_id));
                self.effects.push_back(Effect::Deliver(ticket, message));
            }
        }
    }

    /// All local sessions that were connected have the message, but for those that are kept: these get it with its
    /// commit. `deliveries` are those to other remotes.
    pub fn handle_delivered(&mut self, ticket: Ticket, deliveries: Vec<NewDelivery>, now: Time) {
        let Some((message, packet_id)) = self.arriving.remove(&ticket) else { return };
        let origin = Origin::Remote(self.settings.bridge);
        let received_id = (packet_id != 0 && !self.intake.is_void(ticket)).then_some((origin, packet_id));
        let store = Store {
            seq: Seq::default(),
            message,
            received_at: now,
            deliveries,
            received_id,
            publisher: None,
            retained: false,
        };
        if self.settings.is_source {
            self.offer(ticket, Box::new(store), now);
            return self.send_replies(now);
        }
        self.write(Write::Store(Box::new(store)), After::Stored(ticket), now);
    }

    pub(super) fn handle_pubrel(&mut self, ack: Ack, now: Time) {
        match self.intake.handle_pubrel(ack.packet_id) {
            Err(error) => self.violated(&error, now),
            Ok(Release::Done) => self.send_replies(now),
            Ok(Release::Forget(packet_id)) => {
                let origin = Origin::Remote(self.settings.bridge);
                self.write(Write::Forget { origin, packet_id }, After::Forgotten(packet_id), now);
            }
        }
    }

    pub(super) fn send_replies(&mut self, now: Time) {
        while self.is_connected() {
            let Some(packet) = self.intake.poll_reply() else { return };
            self.send(&packet, now);
        }
    }
}
