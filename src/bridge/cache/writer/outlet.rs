//! What the writer and the remote legs share.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Writer;
use crate::bridge::core::admission::Limits;
use crate::bridge::core::ring::Ring;
use crate::bridge::delivery::BridgeId;

/// A bridge's ring, shared by the writer, which fills it, and the remote leg, which takes from it.
#[derive(Debug, Clone)]
pub struct SharedRing {
    ring: Arc<Mutex<Ring>>,
    filled: Arc<Notify>,
}

impl SharedRing {
    /// Shares a ring.
    pub fn new(ring: Ring) -> Self {
        Self { ring: Arc::new(Mutex::new(ring)), filled: Arc::new(Notify::new()) }
    }

    /// Locks it.
    pub fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has been put in.
    pub(super) fn notify(&self) {
        self.filled.notify_one();
    }

    /// Waits until something has been put in.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}

/// What the writer needs to know of a bridge.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Its limits.
    pub limits: Limits,
    /// Its ring.
    pub ring: SharedRing,
}

impl<C> Writer<C> {
    /// These are the limits of a bridge from now on; what waits for room may have it by them.
    pub(super) fn limit(&mut self, bridge: BridgeId, limits: Limits) {
        if let Some(outlet) = self.outlets.get_mut(&bridge) {
            outlet.limits = limits;
            self.freed = true;
        }
    }
}
