//! `tls` and `websocket`: what secures and carries the connections of listeners and bridges.
pub(super) mod check;
pub mod credentials;
mod websocket;

use serde::{Deserialize, Serialize};

use super::file::File;
pub(in crate::bridge) use check::day;
pub use websocket::WebSocket;
pub(super) use websocket::websocket;

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// PEM: its certificate, then those between it and the CA.
    pub certificate: File,
    /// PEM: the private key of the certificate, not encrypted.
    pub key: File,
    /// PEM: the CAs whose client certificates are accepted; absent: clients are not asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<File>,
    /// Whether a client without a certificate is let in; absent: `required` where there is a `client_ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// Application protocols (ALPN) that are spoken, the preferred first; a client that names others only is refused,
    /// one that names none is let in. Empty: not negotiated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
}

/// What becomes of a client without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// It is refused.
    Required,
    /// It is let in.
    Optional,
}

/// TLS of a remote. The remote is always verified.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteTls {
    /// PEM: the CAs that the remote's certificate may come from; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<File>,
    /// PEM: our certificate, then those between it and its CA; for a remote that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<File>,
    /// PEM: the private key of the certificate, not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<File>,
    /// The name that is asked for (SNI) and that the remote's certificate must be for; absent: the host of `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Application protocols (ALPN) that are offered, the preferred first. Empty: not negotiated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
}
