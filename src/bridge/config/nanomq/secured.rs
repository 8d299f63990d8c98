//! `ssl` blocks, and the listeners of TLS and WebSocket.
use std::net::SocketAddr;
use std::path::PathBuf;

use super::block::{Block, Found, Wrong};
use super::note::Sheet;
use super::reasons::note_rest;
use crate::bridge::config::{ClientCertificates, File, Listener, ListenerTls, RemoteTls, Server, WebSocket};

const READ: &[&str] =
    &["enable", "bind", "keyfile", "certfile", "cacertfile", "key_password", "verify_peer", "fail_if_no_peer_cert"];

/// What an `ssl` block names.
#[derive(Default)]
struct Ssl {
    certificate: Option<Found<String>>,
    key: Option<Found<String>>,
    ca: Option<Found<String>>,
    verify_peer: Option<Found<bool>>,
    fail_if_no_peer_cert: Option<Found<bool>>,
}

fn file(found: &Found<String>) -> File {
    PathBuf::from(&found.value).into()
}

fn ssl(block: &mut Block<'_>, sheet: &mut Sheet) -> Result<Ssl, Wrong> {
    if let Some(password) = block.anything("key_password") {
        let what = "an encrypted key cannot be used: decrypt it (openssl pkey -in KEY -out KEY.plain), keep it readable by \
                    its user alone, name it as keyfile, and leave key_password out";
        return Err(password.wrong(what));
    }
    let read = Ssl {
        certificate: block.text("certfile")?,
        key: block.text("keyfile")?,
        ca: block.text("cacertfile")?,
        verify_peer: block.boolean("verify_peer")?,
        fail_if_no_peer_cert: block.boolean("fail_if_no_peer_cert")?,
    };
    note_rest(block, &[], READ, sheet)?;
    Ok(read)
}

/// The `ssl` block of a bridge. To NanoMQ it is enabled by being there, and used where the URL says tls.
pub(super) fn remote(
    block: &mut Block<'_>,
    server: &Found<Server>,
    key: &str,
    sheet: &mut Sheet,
) -> Result<Option<RemoteTls>, Wrong> {
    let is_tls = server.value.scheme.is_tls();
    let system =
        "no cacertfile: NanoMQ would not verify the remote; ours does, with the CAs of the system (tls.ca for others)";
    let Some(mut block) = block.block("ssl")? else {
        if is_tls {
            sheet.different(server, system);
        }
        return Ok(None);
    };
    if let Some(enable) = block.boolean("enable")?.filter(|enable| !enable.value) {
        if is_tls {
            return Err(
                enable.wrong("the server's URL asks for TLS: true, or mqtt-tcp:// for a remote in a trusted network")
            );
        }
        sheet.ignored(&enable, "TLS is off, here as well");
        return Ok(None);
    }
    if !is_tls {
        let what = "there for a server without TLS, which NanoMQ would talk to plainly: \"tls+mqtt-tcp://host:port\" for TLS, \
                    or ssl { enable = false }";
        return Err(block.place().wrong(what));
    }
    sheet.origin(format!("{key}.tls"), block.place());
    let ssl = ssl(&mut block, sheet)?;
    let mut tls = RemoteTls::default();
    let files = [
        (&ssl.ca, &mut tls.ca, "ca"),
        (&ssl.certificate, &mut tls.certificate, "certificate"),
        (&ssl.key, &mut tls.key, "key"),
    ];
    for (found, to, name) in files {
        let Some(found) = found else { continue };
        sheet.origin(format!("{key}.tls.{name}"), found);
        sheet.mapped(found, format!("tls.{name}"));
        *to = Some(file(found));
    }
    if ssl.ca.is_none() {
        sheet.different(block.place(), system);
    }
    match &ssl.verify_peer {
        Some(verify) if !verify.value => sheet.different(verify, "not honoured: ours always verifies the remote"),
        Some(verify) => sheet.ignored(verify, "ours always verifies the remote"),
        None => {}
    }
    if let Some(fail) = &ssl.fail_if_no_peer_cert {
        sheet.ignored(fail, "a remote without a certificate is always refused");
    }
    Ok(Some(tls))
}

/// `listeners.ssl`, `.ws` and `.wss`, added to those that there are.
pub(super) fn listeners(block: &mut Block<'_>, all: &mut Vec<Listener>, sheet: &mut Sheet) -> Result<(), Wrong> {
    let mut shared = None;
    if let Some(mut block) = enabled(block, "ssl", sheet)? {
        let index = all.len();
        let (mut listener, _) = bound(&mut block, 8883, index, sheet)?;
        let tls = server(&mut block, index, sheet)?.ok_or_else(|| block.place().wrong(NO_CERTIFICATE))?;
        shared = Some(tls.clone());
        listener.tls = Some(tls);
        all.push(listener);
    }
    for (name, port) in [("ws", 8083), ("wss", 8084)] {
        let Some(mut block) = enabled(block, name, sheet)? else { continue };
        let index = all.len();
        let (mut listener, path) = bound(&mut block, port, index, sheet)?;
        listener.websocket = Some(WebSocket { path });
        if name == "wss" {
            // Where it names none, NanoMQ takes those of listeners.ssl.
            let tls = server(&mut block, index, sheet)?.or_else(|| shared.clone());
            listener.tls = Some(tls.ok_or_else(|| block.place().wrong(NO_CERTIFICATE))?);
        } else {
            note_rest(&block, &[], READ, sheet)?;
        }
        all.push(listener);
    }
    Ok(())
}

const NO_CERTIFICATE: &str = "no certfile and keyfile: write both, or enable = false";

fn enabled<'a>(block: &mut Block<'a>, name: &str, sheet: &mut Sheet) -> Result<Option<Block<'a>>, Wrong> {
    let Some(mut listener) = block.block(name)? else { return Ok(None) };
    if let Some(enable) = listener.boolean("enable")?.filter(|enable| !enable.value) {
        sheet.mapped(&enable, "the listener is left out");
        return Ok(None);
    }
    Ok(Some(listener))
}

/// A listener at `bind`, and the path behind it.
fn bound(block: &mut Block<'_>, port: u16, index: usize, sheet: &mut Sheet) -> Result<(Listener, String), Wrong> {
    let key = format!("listeners[{index}]");
    sheet.origin(&key, block.place());
    let Some(bind) = block.text("bind")? else {
        let address = SocketAddr::from(([0, 0, 0, 0], port));
        sheet.different(block.place(), format!("no bind: NanoMQ's default, {address}, is {key}.bind"));
        return Ok((Listener::at(address), "/mqtt".to_owned()));
    };
    let plain = bind.value.split_once("://").map_or(bind.value.as_str(), |(_, rest)| rest);
    let plain = plain.replace("localhost", "127.0.0.1");
    let (address, path) = plain.split_at(plain.find('/').unwrap_or(plain.len()));
    let wrong = |_| bind.wrong(format!("an address and a port are expected, as in \"0.0.0.0:{port}\""));
    let listener = Listener::at(address.parse().map_err(wrong)?);
    sheet.origin(format!("{key}.bind"), &bind);
    sheet.mapped(&bind, format!("{key}.bind"));
    Ok((listener, if path.is_empty() { "/mqtt".to_owned() } else { path.to_owned() }))
}

/// `None`: it names neither certificate nor key.
fn server(block: &mut Block<'_>, index: usize, sheet: &mut Sheet) -> Result<Option<ListenerTls>, Wrong> {
    let key = format!("listeners[{index}].tls");
    let ssl = ssl(block, sheet)?;
    let (certificate, private) = match (&ssl.certificate, &ssl.key) {
        (Some(certificate), Some(private)) => (certificate, private),
        (None, None) => return Ok(None),
        (Some(found), None) | (None, Some(found)) => return Err(found.wrong(NO_CERTIFICATE)),
    };
    for (found, name) in [(certificate, "certificate"), (private, "key")] {
        sheet.origin(format!("{key}.{name}"), found);
        sheet.mapped(found, format!("{key}.{name}"));
    }
    let mut tls = ListenerTls {
        certificate: file(certificate),
        key: file(private),
        client_ca: None,
        client_certificates: None,
        alpn: Vec::new(),
    };
    let verifies = ssl.verify_peer.as_ref().is_some_and(|verify| verify.value);
    match &ssl.ca {
        Some(ca) if verifies => {
            sheet.origin(format!("{key}.client_ca"), ca);
            sheet.mapped(ca, format!("{key}.client_ca"));
            tls.client_ca = Some(file(ca));
            let required = ssl.fail_if_no_peer_cert.as_ref().is_some_and(|fail| fail.value);
            let becomes = if required { ClientCertificates::Required } else { ClientCertificates::Optional };
            tls.client_certificates = Some(becomes);
        }
        Some(ca) => sheet.ignored(ca, "verify_peer is not true: clients are not asked for a certificate, here as well"),
        None => {
            if let Some(verify) = ssl.verify_peer.as_ref().filter(|_| verifies) {
                return Err(verify.wrong("clients are verified with a CA: write cacertfile, or false"));
            }
        }
    }
    for found in [&ssl.verify_peer, &ssl.fail_if_no_peer_cert].into_iter().flatten() {
        sheet.mapped(found, format!("{key}.client_certificates"));
    }
    Ok(Some(tls))
}
