//! All TLS configurations of a bridge.
use std::sync::Arc;

use super::{ClientIdentity, Identity, ServerIdentity, TlsError};
use crate::bridge::config::Config;

/// Of each listener and each bridge, in the order of the configuration, where it speaks TLS.
#[derive(Clone, Default)]
pub struct Identities {
    /// Of listeners.
    pub listeners: Vec<Option<Arc<ServerIdentity>>>,
    /// Of bridges.
    pub bridges: Vec<Option<Arc<ClientIdentity>>>,
}

impl Identities {
    /// Reads all files.
    ///
    /// # Errors
    /// At the first that cannot be used, with the key of its TLS configuration.
    pub fn read(config: &Config) -> Result<Self, (String, TlsError)> {
        let mut all = Self::default();
        for (index, listener) in config.listeners.iter().enumerate() {
            let read = listener.tls.clone().map(Identity::read).transpose();
            all.listeners.push(read.map_err(|error| (listener_key(index), error))?.map(Arc::new));
        }
        for (index, bridge) in config.bridges.iter().enumerate() {
            let tls = bridge.server.scheme.is_tls().then(|| bridge.tls.clone().unwrap_or_default());
            let read = tls.map(Identity::read).transpose();
            all.bridges.push(read.map_err(|error| (bridge_key(index), error))?.map(Arc::new));
        }
        Ok(all)
    }

    /// Reads all files again; gives the key of each TLS configuration that cannot be used, and why. Those go on with
    /// what they had, the others have the new files for connections that are made from now on.
    pub fn reload(&self) -> Vec<(String, TlsError)> {
        let listeners = self
            .listeners
            .iter()
            .enumerate()
            .filter_map(|(index, identity)| Some((listener_key(index), identity.as_ref()?.reload().err()?)));
        let bridges = self
            .bridges
            .iter()
            .enumerate()
            .filter_map(|(index, identity)| Some((bridge_key(index), identity.as_ref()?.reload().err()?)));
        listeners.chain(bridges).collect()
    }
}

fn listener_key(index: usize) -> String {
    format!("listeners[{index}].tls")
}

fn bridge_key(index: usize) -> String {
    format!("bridges[{index}].tls")
}
