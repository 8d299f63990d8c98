//! When a Will is published after the end of its connection, and what that changes in the cache (MQTT 5, section
//! 3.1.3.2.2).
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::routes::Routes;
use crate::bridge::delivery::{Seq, Store, Time, Write};
use crate::bridge::message::Message;
use crate::bridge::wire::Will;

/// The Will of a connection that has ended, until its delay has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delayed {
    /// Whose it is.
    pub client_id: Arc<str>,
    /// The Will.
    pub will: Will,
    /// When it is to be published; in whole milliseconds, as it is kept.
    pub due_at: Time,
}

impl Delayed {
    /// Keeps it.
    pub fn keep(&self) -> Write {
        Write::KeepWill { client_id: self.client_id.clone(), will: self.will.clone(), due_at: Some(self.due_at) }
    }
}

/// Wills whose delay has not passed.
#[derive(Debug, Default)]
pub struct Delays {
    by_client: HashMap<Arc<str>, Delayed>,
    order: BTreeSet<(Time, Arc<str>)>,
}

impl Delays {
    /// One more; a client has one at most.
    pub fn insert(&mut self, delayed: Delayed) {
        self.take(&delayed.client_id.clone());
        self.order.insert((delayed.due_at, delayed.client_id.clone()));
        self.by_client.insert(delayed.client_id.clone(), delayed);
    }

    /// A client is back: its Will does not wait any longer.
    pub fn take(&mut self, client_id: &Arc<str>) -> Option<Delayed> {
        let delayed = self.by_client.remove(client_id)?;
        self.order.remove(&(delayed.due_at, client_id.clone()));
        Some(delayed)
    }

    /// When the next one is due.
    pub fn deadline(&self) -> Option<Time> {
        self.order.first().map(|(due_at, _)| *due_at)
    }

    /// The next one that is due.
    pub fn due(&mut self, now: Time) -> Option<Delayed> {
        let (_, client_id) = self.order.first().filter(|(due_at, _)| *due_at <= now)?.clone();
        self.take(&client_id)
    }
}

/// When a Will is due whose connection ends now: after its delay, or with its session ([MQTT-3.1.3-9]).
pub fn due_at(will: &Will, session_expiry: u32, now: Time) -> Time {
    let due_at = now + Duration::from_secs(will.delay.min(session_expiry).into());
    Duration::from_millis(u64::try_from(due_at.as_millis()).unwrap_or(u64::MAX))
}

/// Publishes a Will and forgets it, in one transaction; `recorded` is when it was known to be due, if it was.
pub fn publication(
    client_id: &Arc<str>,
    message: &Arc<Message>,
    recorded: Option<Time>,
    routes: &Routes,
    now: Time,
) -> [Write; 2] {
    let store = Store {
        seq: Seq::default(),
        received_at: now,
        deliveries: routes.deliveries(message, None),
        received_id: None,
        publisher: Some(client_id.clone()),
        retained: false,
        message: message.clone(),
    };
    [Write::Store(Box::new(store)), Write::EndWill { client_id: client_id.clone(), due_at: recorded }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::QoS;

    const NOW: Time = Duration::from_secs(1000);

    fn will(delay: u32) -> Will {
        Will { delay, ..Will::new(Message::new("gone", "x", QoS::AtLeastOnce)) }
    }

    fn delayed(client_id: &str, secs: u64) -> Delayed {
        Delayed { client_id: client_id.into(), will: will(0), due_at: Duration::from_secs(secs) }
    }

    #[test]
    fn a_will_waits_for_its_delay_or_the_end_of_its_session() {
        for (delay, expiry, secs) in [(0, 60, 1000), (5, 60, 1005), (90, 60, 1060), (5, 0, 1000), (5, u32::MAX, 1005)] {
            assert_eq!(due_at(&will(delay), expiry, NOW), Duration::from_secs(secs), "{delay} {expiry}");
        }
        let odd = Duration::from_nanos(1_234_567);
        assert_eq!(due_at(&will(0), 0, odd), Duration::from_millis(1), "as the cache keeps it");
    }

    #[test]
    fn wills_come_due_in_their_order_unless_their_client_is_back() {
        let mut delays = Delays::default();
        for (client_id, secs) in [("b", 20), ("a", 10), ("c", 30), ("a", 25)] {
            delays.insert(delayed(client_id, secs));
        }
        assert_eq!(delays.deadline(), Some(Duration::from_secs(20)), "a client has one Will");
        assert_eq!(delays.due(Duration::from_secs(19)), None);
        assert_eq!(delays.take(&"b".into()), Some(delayed("b", 20)));
        assert_eq!(delays.take(&"b".into()), None);
        let due: Vec<_> = std::iter::from_fn(|| delays.due(Duration::from_secs(30))).map(|due| due.client_id).collect();
        assert_eq!(due, ["a".into(), "c".into()]);
        assert_eq!(delays.deadline(), None);
    }
}
