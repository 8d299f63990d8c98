//! Who a client is according to its certificate.
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The subject of a client's certificate, which was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its (first) common name.
    pub common_name: Option<String>,
    /// The whole Distinguished Name in the order of the certificate, as in `C=DE, O=Plant, CN=press-7`.
    pub subject: String,
}

impl PeerIdentity {
    /// Of the first certificate of a chain.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
        Some(Self { common_name, subject: subject.to_string() })
    }
}
