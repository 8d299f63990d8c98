//! What the bridge says about itself: handed on like any message, and the latest to whoever subscribes later.
use super::*;

impl Hub {
    /// Hands a state to whoever subscribes to it, and keeps it in memory in place of the former one.
    pub fn publish_state(&self, message: &Arc<Message>) {
        self.states().insert(message.topic.clone(), message.clone());
        self.distribute(message, None, None);
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Message>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The states that match a subscription which the session has not had yet.
    pub(super) fn hand_states(&self, seat: &Seat, subscriptions: &[Subscription]) {
        let is_new = |wanted: &&Subscription| {
            // [MQTT-3.3.1-11]: Retain Handling 2 wants none.
            wanted.retain_handling < 2 && !seat.subscriptions.iter().any(|known| known.filter == wanted.filter)
        };
        let new: Vec<&Subscription> = subscriptions.iter().filter(is_new).collect();
        if new.is_empty() {
            return;
        }
        for (name, message) in &*self.states() {
            let matching: Vec<_> = new.iter().filter(|wanted| topic::matches(&wanted.filter, name)).collect();
            if let Some(qos) = matching.iter().map(|wanted| wanted.qos).max() {
                let bytes = message.size() + PARCEL_OVERHEAD;
                seat.queued.fetch_add(bytes, Ordering::Relaxed);
                self.memory.fetch_add(bytes, Ordering::Relaxed);
                let (queued, memory) = (seat.queued.clone(), self.memory.clone());
                let receipt = Receipt { queued, memory, bytes, _all: None };
                let parcel = Parcel {
                    message: message.clone(),
                    qos: qos.min(message.qos),
                    retain: true,
                    subscription_ids: matching.iter().filter_map(|wanted| wanted.identifier).collect(),
                    expires_at: None,
                    receipt: Some(receipt),
                };
                // A connection that has just ended drops it.
                let _ = seat.parcels.send(parcel);
            }
        }
    }
}
