//! Certificates and keys out of PEM files, read when the configuration is checked, at start, and at each reload.
use std::io::ErrorKind;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bridge::config::file::File;

/// Why certificates or keys cannot be used. No text of a file is in it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CredentialsError {
    #[error("{file} cannot be read: {source}{}", hint(.source))]
    Unreadable { file: File, source: std::io::Error },
    #[error("{file} holds no certificate: PEM is expected, with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate { file: File },
    #[error(
        "{file} holds no private key: PEM is expected, with `-----BEGIN PRIVATE KEY-----` (RSA and EC PRIVATE KEY as \
         well); an encrypted key cannot be used, `openssl pkey` decrypts it"
    )]
    NoKey { file: File },
    #[error("{file} is no valid PEM: {what}")]
    Pem { file: File, what: String },
    #[error("certificate {number} in {file} cannot be used: {what}")]
    Certificate { file: File, number: usize, what: String },
    #[error("the key in {file} cannot be used: {what}; RSA, ECDSA and Ed25519 can")]
    Key { file: File, what: String },
    #[error("the key in {key} does not belong to the (first) certificate in {certificate}: give both of one pair")]
    Mismatch { key: File, certificate: File },
    #[error("this system has no CA certificates{0}: name them (bridges[].tls.ca), or install ca-certificates")]
    NoSystemRoots(String),
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied => "; the user that the bridge runs as must be able to read it",
        _ => "",
    }
}

/// The one implementation of cryptography that is used.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a file, in its order; at least one.
///
/// # Errors
/// Where it cannot be read or holds none.
pub fn certificates(file: &File) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let text = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| CredentialsError::Pem { file: file.clone(), what: error.to_string() })?;
    for (index, certificate) in all.iter().enumerate() {
        let wrong = |error: x509_parser::nom::Err<x509_parser::error::X509Error>| CredentialsError::Certificate {
            file: file.clone(),
            number: index + 1,
            what: error.to_string(),
        };
        X509Certificate::from_der(certificate).map_err(wrong)?;
    }
    if all.is_empty() { Err(CredentialsError::NoCertificate { file: file.clone() }) } else { Ok(all) }
}

/// A certificate with its chain, and its private key, which belongs to it.
///
/// # Errors
/// Where one of the files cannot be used, or they do not belong together.
pub fn certified_key(certificate: &File, key: &File) -> Result<CertifiedKey, CredentialsError> {
    let chain = certificates(certificate)?;
    let text = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => CredentialsError::NoKey { file: key.clone() },
        // It is not said what stands there.
        _ => CredentialsError::Pem { file: key.clone(), what: "a section is cut short or not Base64".to_owned() },
    })?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            CredentialsError::Mismatch { key: key.clone(), certificate: certificate.clone() }
        }
        rustls::Error::General(what) => CredentialsError::Key { file: key.clone(), what },
        other => CredentialsError::Certificate { file: certificate.clone(), number: 1, what: other.to_string() },
    })
}

/// The CAs of a file.
///
/// # Errors
/// Where it cannot be read, holds none, or one of them cannot be used.
pub fn authorities(file: &File) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(file)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| CredentialsError::Certificate {
            file: file.clone(),
            number: index + 1,
            what: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// The CAs of the operating system.
///
/// # Errors
/// Where it has none.
pub fn system_authorities() -> Result<RootCertStore, CredentialsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry one or the other that no verifier takes; the others count.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(CredentialsError::NoSystemRoots(why));
    }
    Ok(roots)
}

fn read(file: &File) -> Result<Vec<u8>, CredentialsError> {
    std::fs::read(file.path()).map_err(|source| CredentialsError::Unreadable { file: file.clone(), source })
}
