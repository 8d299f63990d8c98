//! Requests that read what has been committed before them.
use std::sync::Arc;

use tracing::warn;

use super::{RETRY, Writer};
use crate::bridge::cache::Cache;
use crate::bridge::core::session::{self, Opened};
use crate::bridge::crash;
use crate::bridge::delivery::{BridgeId, Seq};
use crate::bridge::wire::ReasonCode;

impl<C: Cache + 'static> Writer<C> {
    pub(super) fn open(&mut self, client_id: &Arc<str>, clean_start: bool, expiry: u32) -> Result<Opened, ReasonCode> {
        let opened = self.cache.session(client_id).and_then(|kept| {
            let opened = session::open(client_id, kept, clean_start, expiry, self.clock.now());
            self.cache.apply(&opened.writes)?;
            crash::point("session_committed");
            Ok(opened)
        });
        opened.map_err(|error| {
            self.failed(&error);
            ReasonCode::SERVER_UNAVAILABLE
        })
    }

    pub(super) fn page(&mut self, bridge: BridgeId, after: Seq, messages: usize, bytes: usize) {
        let Some(outlet) = self.outlets.get(&bridge).cloned() else { return };
        match self.cache.page(bridge, after, messages, bytes) {
            Ok(page) => outlet.ring.lock().refill(page.deliveries, page.complete),
            Err(error) => {
                if error.is_corruption() {
                    self.failed(&error);
                } else {
                    warn!("reading the queue: {error}");
                }
                outlet.ring.lock().page_failed();
                std::thread::sleep(RETRY);
            }
        }
        outlet.ring.notify();
    }
}
