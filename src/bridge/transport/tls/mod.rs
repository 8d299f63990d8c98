//! TLS configurations that are read from files, and can be read again while the bridge runs.
mod identities;
mod swap;

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};

use crate::bridge::config::tls::credentials::{self, CredentialsError};
use crate::bridge::config::{ClientCertificates, ListenerTls, RemoteTls};
pub use identities::Identities;
use swap::Swap;

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Certificates or keys cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// They can be read, and TLS cannot be spoken with them.
    #[error("TLS cannot be spoken with these certificates: {0}")]
    Unusable(String),
}

/// What TLS configurations are made from.
pub trait Source {
    /// What rustls works with.
    type Made;

    /// Reads the files.
    ///
    /// # Errors
    /// Where they cannot be used.
    fn make(&self) -> Result<Self::Made, TlsError>;
}

/// Certificates, keys and CAs of a listener or a remote as they were read last. Connections that are open keep what
/// they began with.
pub struct Identity<S: Source> {
    source: S,
    made: Swap<S::Made>,
}

/// Of a listener.
pub type ServerIdentity = Identity<ListenerTls>;
/// Of a remote.
pub type ClientIdentity = Identity<RemoteTls>;

impl<S: Source> Identity<S> {
    /// Reads the files.
    ///
    /// # Errors
    /// Where they cannot be used.
    pub fn read(source: S) -> Result<Self, TlsError> {
        Ok(Self { made: Swap::new(source.make()?), source })
    }

    /// Reads the files again, for connections that are made from now on.
    ///
    /// # Errors
    /// Where they cannot be used; then what was read before goes on being used.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.made.set(self.source.make()?);
        Ok(())
    }

    /// What was read last.
    pub fn current(&self) -> Arc<S::Made> {
        self.made.get()
    }

    /// What it is made from.
    pub fn source(&self) -> &S {
        &self.source
    }
}

fn unusable(error: impl std::fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}

fn protocols(alpn: &[String]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect()
}

impl Source for ListenerTls {
    type Made = ServerConfig;

    fn make(&self) -> Result<ServerConfig, TlsError> {
        let provider = credentials::provider();
        let key = credentials::certified_key(&self.certificate, &self.key)?;
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(credentials::authorities(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match self.client_certificates {
                    Some(ClientCertificates::Optional) => verifier.allow_unauthenticated(),
                    Some(ClientCertificates::Required) | None => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
        config.alpn_protocols = protocols(&self.alpn);
        Ok(config)
    }
}

impl Source for RemoteTls {
    type Made = ClientConfig;

    fn make(&self) -> Result<ClientConfig, TlsError> {
        let roots = match &self.ca {
            Some(file) => credentials::authorities(file)?,
            None => credentials::system_authorities()?,
        };
        let builder = ClientConfig::builder_with_provider(credentials::provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?.with_root_certificates(roots);
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let key = credentials::certified_key(certificate, key)?;
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols(&self.alpn);
        Ok(config)
    }
}
