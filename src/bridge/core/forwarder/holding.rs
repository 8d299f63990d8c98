//! What the source sends and the cache does not take: it is not acknowledged, so that the source keeps it, and offered
//! again in its order. A refusal would be an answer to the broker, and its publisher has had the broker's long ago.
use std::collections::VecDeque;

use super::*;
use crate::bridge::delivery::Store;

/// Messages of the source between their arrival and their commit. At QoS 1 and 2 there are never more than the window.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// Something was refused: nothing is offered any more, until all that was offered is answered and some time has passed.
    stopped: bool,
    /// Offered to the cache, and not answered.
    offered: usize,
    /// Refused, in order.
    refused: VecDeque<(Ticket, Box<Store>)>,
    /// Arrived since the first refusal.
    behind: VecDeque<(Ticket, Box<Store>)>,
    /// When they are offered again.
    again: Time,
}

impl Holding {
    /// When [`Forwarder::offer_again`] has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        (self.stopped && self.offered == 0).then_some(self.again)
    }
}

impl Forwarder {
    /// A message of the source with all that it needs: offered to the cache, behind those that were refused.
    pub(super) fn offer(&mut self, ticket: Ticket, store: Box<Store>, now: Time) {
        if store.message.qos == QoS::AtMostOnce {
            // Nobody keeps it for us.
            return self.write(Write::Store(store), After::Stored(ticket), now);
        }
        if self.holding.stopped {
            if self.intake.is_awaited(ticket) {
                self.holding.behind.push_back((ticket, store));
            } else {
                self.intake.handle_stored(ticket, Err(ReasonCode::QUOTA_EXCEEDED));
            }
            return;
        }
        self.holding.offered += 1;
        self.write(Write::Store(store.clone()), After::Offered(ticket, store), now);
    }

    pub(super) fn answered(&mut self, ticket: Ticket, store: Box<Store>, outcome: Result<(), ReasonCode>, now: Time) {
        self.holding.offered = self.holding.offered.saturating_sub(1);
        let Err(reason) = outcome else {
            self.held_back = false;
            return self.intake.handle_stored(ticket, Ok(()));
        };
        if !std::mem::replace(&mut self.holding.stopped, true) {
            self.holding.again = now + self.settings.config.reconnect.max;
        }
        if !self.intake.is_awaited(ticket) {
            // Its connection has ended: the source sends it again.
            return self.intake.handle_stored(ticket, Err(reason));
        }
        self.statistics.held_back += 1;
        if !std::mem::replace(&mut self.held_back, true) {
            self.log(Notice::HeldBack { reason });
        }
        self.holding.refused.push_back((ticket, store));
    }

    pub(super) fn offer_again(&mut self, now: Time) {
        if self.holding.deadline().is_none_or(|again| again > now) {
            return;
        }
        // What follows the first refusal was refused because of it; from here on that is over.
        self.holding.stopped = false;
        self.effects.push_back(Effect::Resume);
        let behind = std::mem::take(&mut self.holding.behind);
        for (ticket, store) in std::mem::take(&mut self.holding.refused).into_iter().chain(behind) {
            self.offer(ticket, store, now);
        }
    }

    /// The connection has ended: the source sends all of it again.
    pub(super) fn stop_holding(&mut self) {
        let Holding { refused, behind, .. } = &mut self.holding;
        let held = std::mem::take(refused).into_iter().chain(std::mem::take(behind));
        for (ticket, _) in held.collect::<Vec<_>>() {
            self.intake.handle_stored(ticket, Err(ReasonCode::QUOTA_EXCEEDED));
        }
        self.holding.again = Time::ZERO;
    }
}
