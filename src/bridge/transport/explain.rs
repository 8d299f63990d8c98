//! What went wrong with a connection, in words: who, what, and what to do.
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use x509_parser::time::ASN1Time;

use crate::bridge::config::tls::day;

/// An error of a connection to or from `peer`, which is a remote such as `emqx:8883` or a client's address. What TLS
/// says in a word is explained; anything else is said as it is.
pub fn explain(error: &std::io::Error, peer: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(error) => tls(error, peer),
        None => error.to_string(),
    }
}

/// An error before there was a TLS connection.
pub(super) fn handshake(error: &std::io::Error, peer: &str) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => {
            format!("{peer} closed the connection during the TLS handshake: is it TLS that is spoken at this port?")
        }
        _ => explain(error, peer),
    }
}

fn tls(error: &TlsError, peer: &str) -> String {
    match error {
        TlsError::InvalidCertificate(why) => certificate(why, peer),
        TlsError::InvalidMessage(_) => format!(
            "what {peer} sends is no TLS: it speaks plainly here (mqtt:// or ws:// for a remote; for a client its \
             TLS options, or a listener without tls)"
        ),
        TlsError::NoCertificatesPresented => {
            format!("{peer} presented no certificate, and client_certificates are required: give it one of client_ca")
        }
        TlsError::AlertReceived(alert) => format!("{peer} refuses: {}", said(*alert)),
        TlsError::PeerIncompatible(why) => format!("{peer} speaks another TLS than ours, 1.2 and 1.3 ({why:?})"),
        TlsError::NoApplicationProtocol => format!("{peer} offers none of the application protocols in tls.alpn"),
        other => format!("TLS with {peer}: {other}"),
    }
}

fn date(time: rustls::pki_types::UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|secs| ASN1Time::from_timestamp(secs).ok());
    time.map_or_else(|| "at an unknown time".to_owned(), day)
}

/// Of `DnsName("emqx")`, as rustls says it.
fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, name)| name.trim_end_matches(')').trim_matches('"'))
}

fn certificate(why: &CertificateError, peer: &str) -> String {
    let of = format!("certificate of {peer}");
    match why {
        CertificateError::ExpiredContext { not_after, .. } => format!("{of} expired {}: renew it", date(*not_after)),
        CertificateError::Expired => format!("{of} has expired: renew it"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("{of} is not valid before {}: is the clock of this machine right?", date(*not_before))
        }
        CertificateError::NotValidYet => format!("{of} is not valid yet: is the clock of this machine right?"),
        CertificateError::UnknownIssuer => format!(
            "{of} comes from a CA that is not trusted here: name its CA (tls.ca for a remote, client_ca for clients)"
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() {
                "no name".to_owned()
            } else {
                presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ")
            };
            format!(
                "{of} is for {names}, and not for {}: correct the server, or say in tls.server_name which of them is meant",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => format!("{of} is for another name: say in tls.server_name which is meant"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "{of} is not made for this use (its Extended Key Usage): a server needs serverAuth, a client clientAuth"
            )
        }
        CertificateError::Revoked => format!("{of} was revoked"),
        CertificateError::BadSignature => format!("{of} is not signed by the CA that it names"),
        CertificateError::BadEncoding => format!("{of} is malformed"),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!("{of} is that of a CA: give it one that the CA has signed (basicConstraints CA:FALSE)")
        }
        other => format!("{of} cannot be verified: {other}"),
    }
}

/// What the peer says before it closes (RFC 8446, section 6.2).
fn said(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::CertificateRequired => "it requires a client certificate: tls.certificate and tls.key",
        AlertDescription::UnknownCA => "it does not know the CA of our certificate",
        AlertDescription::CertificateExpired => "our certificate has expired, it says",
        AlertDescription::CertificateRevoked => "our certificate was revoked, it says",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it does not accept our certificate",
        AlertDescription::HandshakeFailure => {
            "no common ground for a handshake; it may require a client certificate (tls.certificate and tls.key)"
        }
        AlertDescription::ProtocolVersion => "it speaks another version of TLS than 1.2 and 1.3",
        AlertDescription::UnrecognisedName => "it does not know the name that was asked for: tls.server_name",
        AlertDescription::NoApplicationProtocol => "it speaks none of the application protocols in tls.alpn",
        AlertDescription::AccessDenied => "access denied",
        _ => return format!("TLS alert {alert:?}"),
    };
    words.to_owned()
}

/// An error of the handshake of a WebSocket with `peer`.
pub(super) fn upgrade(error: &WsError, peer: &str) -> String {
    match error {
        WsError::Io(error) => explain(error, peer),
        WsError::Http(response) => {
            format!("{peer} answers {} instead of a WebSocket: is the path the right one?", response.status())
        }
        WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            format!("{peer} has a WebSocket there, and no MQTT in it (Sec-WebSocket-Protocol)")
        }
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            format!("{peer} closed the connection during the WebSocket handshake")
        }
        other => format!("{peer} speaks no WebSocket: {other}"),
    }
}
