//! What of `tls` and `websocket` makes no sense or cannot be read, and what of it will not do for long.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::credentials::{self, CredentialsError};
use super::{ClientCertificates, ListenerTls, RemoteTls, WebSocket};
use crate::bridge::config::check::Complaint;
use crate::bridge::config::file::File;
use crate::bridge::config::server::{Server, is_in_path};
use crate::bridge::config::{Bridge, Config};

/// How long before its end a certificate is warned of.
const SOON: Duration = Duration::from_secs(14 * 86_400);

pub(in crate::bridge::config) fn listener_tls(tls: &ListenerTls, key: &str) -> Result<(), Complaint> {
    if tls.client_certificates.is_some() && tls.client_ca.is_none() {
        let what = "client certificates are verified with a client_ca, and there is none: name its file";
        return Err(Complaint { key: format!("{key}.client_certificates"), what: what.to_owned() });
    }
    protocols(&tls.alpn, key)
}

pub(in crate::bridge::config) fn websocket(websocket: &WebSocket, key: &str) -> Result<(), Complaint> {
    let path = &websocket.path;
    if path.starts_with('/') && path.chars().all(|c| is_in_path(c) && c != '?') {
        return Ok(());
    }
    Err(Complaint { key: format!("{key}.path"), what: format!("`{path}` is no path: write one as in /mqtt") })
}

pub(in crate::bridge::config) fn remote_tls(tls: &RemoteTls, server: &Server, key: &str) -> Result<(), Complaint> {
    let wrong = |leaf: &str, what: String| Err(Complaint { key: format!("{key}{leaf}"), what });
    if !server.scheme.is_tls() {
        return wrong("", format!("the server is {server}, which is not TLS: write mqtts:// or wss://, or no tls"));
    }
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => return wrong(".certificate", "a certificate needs its key".to_owned()),
        (None, Some(_)) => return wrong(".key", "a key needs its certificate".to_owned()),
        _ => {}
    }
    if let Some(name) = &tls.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        return wrong(".server_name", format!("`{name}` is neither a host name nor an address"));
    }
    protocols(&tls.alpn, key)
}

/// The name that a remote's certificate must be for.
pub(in crate::bridge::config) fn remote_name(server: &Server, key: &str) -> Result<(), Complaint> {
    if server.scheme.is_tls() && ServerName::try_from(server.host.as_str()).is_err() {
        let what = format!("no certificate can be for `{}`: a host name or an address is needed for TLS", server.host);
        return Err(Complaint { key: key.to_owned(), what });
    }
    Ok(())
}

fn protocols(alpn: &[String], key: &str) -> Result<(), Complaint> {
    match alpn.iter().find(|protocol| protocol.is_empty() || protocol.len() > 255) {
        Some(protocol) => Err(Complaint {
            key: format!("{key}.alpn"),
            what: format!("`{protocol}`: from 1 to 255 bytes, as in mqtt"),
        }),
        None => Ok(()),
    }
}

/// Says of each file where it is, and reads them all: what cannot be used is found before anything starts.
pub(in crate::bridge::config) fn read_files(
    config: &mut Config,
    configuration: Option<&std::path::Path>,
) -> Result<(), Complaint> {
    for (index, listener) in config.listeners.iter_mut().enumerate() {
        let Some(tls) = &mut listener.tls else { continue };
        if let Some(configuration) = configuration {
            tls.certificate.beside(configuration);
            tls.key.beside(configuration);
            tls.client_ca.iter_mut().for_each(|file| file.beside(configuration));
        }
        if tls.client_ca.is_some() {
            tls.client_certificates.get_or_insert(ClientCertificates::Required);
        }
        let key = format!("listeners[{index}].tls");
        pair(&tls.certificate, &tls.key, &key)?;
        if let Some(file) = &tls.client_ca {
            credentials::authorities(file).map_err(|error| complaint(format!("{key}.client_ca"), &error))?;
        }
    }
    for (index, bridge) in config.bridges.iter_mut().enumerate() {
        if let (Some(tls), Some(configuration)) = (&mut bridge.tls, configuration) {
            let files = [&mut tls.ca, &mut tls.certificate, &mut tls.key];
            files.into_iter().flatten().for_each(|file| file.beside(configuration));
        }
        if uses_tls(bridge) {
            remote_files(bridge.tls.as_ref(), &format!("bridges[{index}].tls"))?;
        }
    }
    Ok(())
}

fn uses_tls(bridge: &Bridge) -> bool {
    bridge.server.scheme.is_tls()
}

fn remote_files(tls: Option<&RemoteTls>, key: &str) -> Result<(), Complaint> {
    let roots = match tls.and_then(|tls| tls.ca.as_ref()) {
        Some(file) => credentials::authorities(file),
        None => credentials::system_authorities(),
    };
    roots.map_err(|error| complaint(format!("{key}.ca"), &error))?;
    match tls {
        Some(RemoteTls { certificate: Some(certificate), key: Some(private), .. }) => pair(certificate, private, key),
        _ => Ok(()),
    }
}

fn pair(certificate: &File, private: &File, key: &str) -> Result<(), Complaint> {
    credentials::certified_key(certificate, private).map(drop).map_err(|error| {
        let leaf = match &error {
            CredentialsError::Mismatch { .. } | CredentialsError::NoKey { .. } | CredentialsError::Key { .. } => "key",
            CredentialsError::Unreadable { file, .. } | CredentialsError::Pem { file, .. } if file == private => "key",
            _ => "certificate",
        };
        complaint(format!("{key}.{leaf}"), &error)
    })
}

fn complaint(key: String, error: &CredentialsError) -> Complaint {
    Complaint { key, what: error.to_string() }
}

/// Keys that others can read; certificates of our own that are not valid, or not for long. They do not keep the bridge
/// from starting: a device without a battery begins its days in 1970, and what is cached must go on being cached.
pub(in crate::bridge::config) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let now = SystemTime::now();
    let of_listeners = config.listeners.iter().filter_map(|listener| {
        let tls = listener.tls.as_ref()?;
        Some((format!("listener {}: tls", listener.bind), &tls.certificate, &tls.key))
    });
    let of_bridges = config.bridges.iter().filter_map(|bridge| {
        let tls = bridge.tls.as_ref()?;
        Some((format!("bridge {}: tls", bridge.name), tls.certificate.as_ref()?, tls.key.as_ref()?))
    });
    for (key, certificate, private) in of_listeners.chain(of_bridges) {
        warnings.extend(open_to_others(private).map(|what| format!("{key}.key: {what}")));
        warnings.extend(validity(certificate, now).map(|what| format!("{key}.certificate: {what}")));
    }
    warnings
}

fn open_to_others(key: &File) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    // Whether it can be read at all is said elsewhere.
    let mode = std::fs::metadata(key.path()).ok()?.permissions().mode() & 0o777;
    (mode & 0o066 != 0)
        .then(|| format!("{key} can be read or written by others than its owner ({mode:04o}): chmod 600 {key}"))
}

fn validity(file: &File, now: SystemTime) -> Option<String> {
    let chain = credentials::certificates(file).ok()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    if now > until.timestamp() {
        return Some(format!("{file} expired {}: whoever verifies it refuses it; renew it", day(until)));
    }
    if now < from.timestamp() {
        let what = "whoever verifies it refuses it; is the clock of this machine right?";
        return Some(format!("{file} is not valid before {}: {what}", day(from)));
    }
    let soon = until.timestamp() - now < SOON.as_secs() as i64;
    soon.then(|| format!("{file} expires {}: renew it", day(until)))
}

/// As in 2026-01-01.
pub(in crate::bridge) fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}
