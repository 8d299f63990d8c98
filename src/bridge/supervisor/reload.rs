//! A configuration that was read again: what of it is put in force while the bridge runs. The one place for that.
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::limits;
use crate::bridge::cache::writer::Request;
use crate::bridge::config::reload::{Change, changes, merged};
use crate::bridge::config::{self, Config};
use crate::bridge::core::routes::{Routes, SharedRoutes};
use crate::bridge::counters::Shared;
use crate::bridge::delivery::BridgeId;
use crate::bridge::log::UNLIMITED;
use crate::bridge::remote::Configured;
use crate::bridge::transport::tls::Identities;

/// A configuration that has been read and checked.
#[derive(Debug)]
pub struct Reload {
    /// All of it.
    pub config: Config,
    /// Dropped once what can be applied is.
    pub done: oneshot::Sender<()>,
}

/// A remote leg that may be told what its configuration has become.
pub(super) struct Leg {
    pub(super) bridge: BridgeId,
    pub(super) name: String,
    pub(super) configured: mpsc::UnboundedSender<Configured>,
}

/// Whatever a configuration may change while the bridge runs.
pub(super) struct Running {
    pub(super) identities: Identities,
    pub(super) config: Config,
    pub(super) requests: mpsc::WeakSender<Request>,
    pub(super) routes: SharedRoutes,
    pub(super) legs: Vec<Leg>,
    pub(super) counters: Shared,
    pub(super) state_interval: watch::Sender<Duration>,
    pub(super) listeners: Vec<watch::Sender<config::Listener>>,
}

impl Running {
    /// Puts in force what needs no restart, and says in the log what was and what was not. No connection is closed.
    pub(super) async fn apply(&mut self, new: &Config) {
        let changes = changes(&self.config, new);
        for change in &changes {
            match change {
                Change::Applied(key) => info!(target: UNLIMITED, event = "reload", "reload: {key}: applied"),
                Change::NeedsRestart(key) => {
                    warn!(target: UNLIMITED, event = "reload", "reload: {key}: needs a restart; as before")
                }
            }
        }
        self.config = merged(&self.config, new);
        self.put_in_force().await;
        for (key, error) in self.identities.reload() {
            warn!(event = "reload", "reload: {key}: {error}; as before");
        }
        self.counters.lock().reloads += 1;
        info!(target: UNLIMITED, event = "reload", "reload: done, {} changes", changes.len());
    }

    async fn put_in_force(&self) {
        self.state_interval.send_replace(self.config.state_interval);
        let max_age = self.config.cache.as_ref().and_then(|cache| cache.max_age);
        let mut routes = Routes::default();
        for (leg, bridge) in self.legs() {
            // Limits first: what new forwards bring is judged by them.
            if let Some(requests) = self.requests.upgrade() {
                let request = Request::Limits { bridge: leg.bridge, limits: limits(&self.config, bridge) };
                // Without a writer the process is ending.
                let _ = requests.send(request).await;
            }
            routes.add(leg.bridge, bridge);
            let limits = self.config.cache.as_ref().map(|cache| (cache.max_messages, cache.max_bytes));
            self.counters.lock().bridges.entry(leg.bridge).or_default().limits = limits;
        }
        self.routes.store(routes);
        for (leg, bridge) in self.legs() {
            // A leg that has ended is ending with the process.
            let _ = leg.configured.send(Configured { config: Box::new(bridge.clone()), max_age });
        }
        for (listener, config) in self.listeners.iter().zip(&self.config.listeners) {
            listener.send_replace(config.clone());
        }
    }

    fn legs(&self) -> impl Iterator<Item = (&Leg, &config::Bridge)> {
        let of = |leg: &Leg| self.config.bridges.iter().find(|bridge| bridge.name == leg.name);
        self.legs.iter().filter_map(move |leg| Some((leg, of(leg)?)))
    }
}
