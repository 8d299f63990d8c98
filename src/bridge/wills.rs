//! Publishes Wills whose delay has passed: waits for the deadlines that [`Delays`] keeps.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tracing::{debug, warn};

use super::cache::writer::{Answer, Request};
use super::cache::{Applied, Cache, CacheError};
use super::core::will::{Delayed, Delays, due_at, publication};
use super::delivery::{Time, Write};
use super::listener::{LocalLeg, told};
use super::message::Message;

/// Wills that wait, shared by the connections and by who publishes them.
#[derive(Debug, Clone, Default)]
pub struct Wills {
    delays: Arc<Mutex<Delays>>,
    changed: Arc<Notify>,
}

impl Wills {
    /// Those that are kept: what waited goes on waiting, and connections that the end of the process has ended are over
    /// from now on.
    ///
    /// # Errors
    /// Where the cache fails.
    pub fn restored(cache: &mut impl Cache, now: Time) -> Result<Self, CacheError> {
        let wills = Self::default();
        let mut writes = Vec::new();
        for kept in cache.wills()? {
            let due_at = kept.due_at.unwrap_or_else(|| due_at(&kept.will, u32::MAX, now));
            let delayed = Delayed { client_id: kept.client_id, will: kept.will, due_at };
            if kept.due_at.is_none() {
                writes.push(delayed.keep());
            }
            wills.lock().insert(delayed);
        }
        if !writes.is_empty() {
            cache.apply(&writes)?;
        }
        Ok(wills)
    }

    fn lock(&self) -> MutexGuard<'_, Delays> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has left one.
    pub(super) fn insert(&self, delayed: Delayed) {
        self.lock().insert(delayed);
        self.changed.notify_one();
    }

    /// A client is back before its Will was due: it is void if its session goes on ([MQTT-3.1.3-9]), and published now if
    /// the session has ended.
    pub(super) async fn handle_return(&self, client_id: &Arc<str>, present: bool, leg: &LocalLeg) {
        let Some(delayed) = self.lock().take(client_id) else { return };
        if present {
            let write = Write::EndWill { client_id: delayed.client_id, due_at: Some(delayed.due_at) };
            commit(vec![write], None, leg).await;
        } else {
            publish(delayed, leg).await;
        }
    }

    /// Publishes what comes due, until the bridge shuts down; what is left is kept for the next start.
    pub async fn run(self, mut leg: LocalLeg) {
        loop {
            // Taken first, so that a Will that becomes due while one is published is not waited for.
            let due = self.lock().due(leg.clock.now());
            if let Some(delayed) = due {
                publish(delayed, &leg).await;
                continue;
            }
            let deadline = self.lock().deadline().map(|deadline| leg.clock.instant(deadline));
            let timeout = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = timeout => {}
                () = told(&mut leg.shutdown) => return,
            }
        }
    }
}

async fn publish(delayed: Delayed, leg: &LocalLeg) {
    let Delayed { client_id, will, due_at } = delayed;
    debug!("client {client_id}: its Will is due");
    let writes = publication(&client_id, &will.message, Some(due_at), &leg.routes.load(), leg.clock.now());
    commit(writes.into(), Some((&client_id, &will.message)), leg).await;
}

/// Commits what a connection or its Will leaves, of which the first is the Will, if one is published now; then local
/// subscribers have it too.
pub(super) async fn commit(writes: Vec<Write>, will: Option<(&Arc<str>, &Arc<Message>)>, leg: &LocalLeg) {
    let (answer, mut committed) = Answer::channel();
    // Without a writer the process is ending, and what was committed last is there at the next start.
    if leg.requests.send(Request::Write { writes, answer, may_wait: false }).await.is_err() {
        return;
    }
    let Some(written) = committed.recv().await else { return };
    if let (Some((client_id, message)), Some(first)) = (will, written.first()) {
        match first {
            Ok(Applied::Done) => leg.hub.publish(message, Some(client_id), None),
            Ok(Applied::Repeated) => {}
            Err(reason) => warn!("client {client_id}: its Will could not be stored, and is lost: {reason}"),
        }
    }
}
