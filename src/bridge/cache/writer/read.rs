//! Requests that read what has been committed before them.
use tracing::warn;

use super::{RETRY, Writer};
use crate::bridge::cache::Cache;
use crate::bridge::delivery::{BridgeId, Seq};

impl<C: Cache + 'static> Writer<C> {
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
