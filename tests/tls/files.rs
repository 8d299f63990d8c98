//! Certificates and keys as files: what is wrong with them is said before anything starts, and new ones are taken while
//! it runs.
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mqtt_bridge::bridge::config::{Config, Server};
use mqtt_bridge::bridge::transport::accept::Acceptor;
use mqtt_bridge::bridge::transport::connect::Connector;
use mqtt_bridge::bridge::transport::tls::{ClientIdentity, Identities};
use mqtt_bridge::bridge::transport::{PeerIdentity, Stream};
use mqtt_bridge::bridge::yaml::Document;
use tokio::net::TcpListener;

use crate::NAME;
use crate::authority::{Authority, Pair, write_private};
use crate::common::PATIENCE;

fn check(file: &Path) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_mqtt-bridge")).args(["check", "--config"]).arg(file).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said)
}

#[test]
fn files_that_cannot_be_used_are_named_with_line_and_key_and_nothing_of_what_is_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (pair, other) = (authority.issue(&[NAME]), authority.issue(&[NAME]));
    let here = |name: &str| folder.path().join(name);
    std::fs::copy(&pair.certificate, here("good.pem")).unwrap();
    std::fs::copy(&pair.key, here("good.key")).unwrap();
    std::fs::write(here("empty.pem"), "").unwrap();
    write_private(&here("secret.key"), "geheim");
    write_private(&here("cut.key"), "-----BEGIN PRIVATE KEY-----\ngeheim!\n-----END PRIVATE KEY-----\n");
    std::fs::copy(&other.key, here("other.key")).unwrap();
    std::fs::write(here("bad.pem"), "-----BEGIN CERTIFICATE-----\nZ2VoZWlt\n-----END CERTIFICATE-----\n").unwrap();
    let listener = |tls: &str| format!("listeners:\n  - bind: 127.0.0.1:0\n    tls:\n{tls}");
    let pair =
        |certificate: &str, key: &str| listener(&format!("      certificate: {certificate}\n      key: {key}\n"));
    let bridge = |server: &str, tls: &str| {
        format!(
            "listeners: [{{ bind: 127.0.0.1:0 }}]\nbridges:\n  - name: b\n    server: {server}\n    client_id: c\n    tls: {{ \
             {tls} }}\n"
        )
    };
    let cases = [
        (pair("none.pem", "good.key"), ":4: listeners[0].tls.certificate: ", "none.pem cannot be read: No such file"),
        (pair("good.pem", "none.key"), ":5: listeners[0].tls.key: ", "none.key cannot be read: No such file"),
        (pair("empty.pem", "good.key"), ":4: listeners[0].tls.certificate: ", "empty.pem holds no certificate"),
        (pair("bad.pem", "good.key"), ":4: listeners[0].tls.certificate: ", "certificate 1 in "),
        (pair("good.pem", "secret.key"), ":5: listeners[0].tls.key: ", "secret.key holds no private key"),
        (pair("good.pem", "cut.key"), ":5: listeners[0].tls.key: ", "cut.key is no valid PEM"),
        (pair("good.pem", "other.key"), ":5: listeners[0].tls.key: ", "does not belong to the (first) certificate"),
        (
            listener("      certificate: good.pem\n      key: good.key\n      client_ca: empty.pem\n"),
            ":6: listeners[0].tls.client_ca: ",
            "empty.pem holds no certificate",
        ),
        (
            listener("      certificate: good.pem\n      key: good.key\n      client_certificates: required\n"),
            ":6: listeners[0].tls.client_certificates: ",
            "there is none",
        ),
        (bridge("mqtts://h", "ca: none.pem"), ":6: bridges[0].tls.ca: ", "none.pem cannot be read"),
        (bridge("mqtts://h", "certificate: good.pem"), ":6: bridges[0].tls.certificate: ", "needs its key"),
        (bridge("mqtt://h", "ca: good.pem"), ":6: bridges[0].tls: ", "the server is mqtt://h:1883, which is not TLS"),
        (
            bridge("wss://h", "server_name: a b"),
            ":6: bridges[0].tls.server_name: ",
            "neither a host name nor an address",
        ),
        (bridge("wss://h", "verify: false"), ":6: bridges[0].tls.verify: unknown key", ""),
    ];
    for (text, place, what) in cases {
        std::fs::write(here("bridge.yaml"), &text).unwrap();
        let (good, said) = check(&here("bridge.yaml"));
        assert!(!good && said.contains(place) && said.contains(what), "{place}{what}\n{said}");
        assert!(!said.contains("geheim") && !said.contains("Z2VoZWlt") && said.trim().lines().count() == 1, "{said}");
    }
}

#[test]
fn a_key_that_others_can_read_and_a_certificate_that_has_ended_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let of = |pair: &Pair| {
        let file = folder.path().join("bridge.yaml");
        let tls = format!("{}, client_ca: {}", pair.keys(), authority.file().display());
        std::fs::write(&file, format!("listeners: [{{ bind: 127.0.0.1:0, websocket: true, tls: {{ {tls} }} }}]\n"))
            .unwrap();
        let (good, said) = check(&file);
        assert!(good, "{said}");
        assert!(said.contains("client_certificates: required") && said.contains("path: /mqtt"), "{said}");
        said
    };
    let mut pair = authority.issue(&[NAME]);
    assert!(!of(&pair).contains("warning"), "{}", of(&pair));
    std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(of(&pair).contains("warning: listener 127.0.0.1:0: tls.key: "), "{}", of(&pair));
    pair = authority.issue_valid(&[NAME], (2020, 2021));
    assert!(of(&pair).contains("expired 2021-01-01"), "{}", of(&pair));
    pair = authority.issue_valid(&[NAME], (2090, 2091));
    assert!(of(&pair).contains("is not valid before 2090-01-01"), "{}", of(&pair));
}

/// A listener and a bridge of one configuration, in this process.
struct Ends {
    identities: Identities,
    acceptor: Acceptor,
    listener: TcpListener,
    server: Server,
}

impl Ends {
    async fn new(folder: &Path, pair: &Pair, authority: &Authority, client: &Pair) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ca = authority.file();
        let server = format!("mqtts://{}", listener.local_addr().unwrap());
        let text = format!(
            "listeners: [{{ bind: 127.0.0.1:0, tls: {{ {}, client_ca: {}, client_certificates: optional }} }}]\nbridges: [{{ \
             name: b, server: \"{server}\", client_id: c, tls: {{ ca: {}, server_name: {NAME}, {} }} }}]\n",
            pair.keys(),
            ca.display(),
            ca.display(),
            client.keys(),
        );
        let config = Config::from_document(&Document::from_text(folder.join("bridge.yaml"), &text)).unwrap();
        let identities = Identities::read(&config).map_err(|(key, error)| format!("{key}: {error}")).unwrap();
        let acceptor = Acceptor::new(&config.listeners[0], identities.listeners[0].clone());
        Self { identities, acceptor, listener, server: config.bridges[0].server.clone() }
    }

    /// Both ends of a new connection.
    async fn connect(&self, tls: Option<Arc<ClientIdentity>>) -> (Result<Stream, String>, Result<Stream, String>) {
        let limit = PATIENCE;
        let connector = Connector { tls, limit, ack_timeout: Duration::from_secs(5), max_packet_size: 1024 };
        let accept = async {
            let (stream, client) = self.listener.accept().await.unwrap();
            self.acceptor.accept(stream, client).await
        };
        tokio::join!(connector.connect(&self.server), accept)
    }
}

fn replace(pair: &Pair, by: &Pair) {
    std::fs::copy(&by.certificate, &pair.certificate).unwrap();
    std::fs::copy(&by.key, &pair.key).unwrap();
}

#[tokio::test]
async fn new_files_are_taken_for_new_connections_and_bad_ones_never() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (pair, client) = (authority.issue(&[NAME]), authority.issue(&["press-7"]));
    let ends = Ends::new(folder.path(), &pair, &authority, &client).await;
    let ours = ends.identities.bridges[0].clone();
    let identity = |stream: Result<Stream, String>| stream.unwrap().peer_identity().cloned().unwrap();
    let (connected, accepted) = ends.connect(ours.clone()).await;
    assert!(connected.unwrap().peer_identity().is_none(), "of clients alone");
    let subject = "O=Plant, CN=press-7".to_owned();
    assert_eq!(identity(accepted), PeerIdentity { common_name: Some("press-7".to_owned()), subject });

    // A key of another certificate: what was there goes on.
    std::fs::copy(&client.key, &pair.key).unwrap();
    let wrong = ends.identities.reload();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].0, "listeners[0].tls");
    assert!(wrong[0].1.to_string().contains("does not belong to"), "{}", wrong[0].1);
    ends.connect(ours.clone()).await.0.unwrap();

    // Both ends have new certificates; that of the listener is for another name.
    replace(&pair, &authority.issue(&["renewed.test"]));
    replace(&client, &authority.issue(&["press-8"]));
    assert_eq!(identity(ends.connect(ours.clone()).await.1).common_name.as_deref(), Some("press-7"), "before");
    assert_eq!(ends.identities.reload().len(), 0);
    let refused = ends.connect(ours.clone()).await.0.err().unwrap();
    assert!(refused.contains("is for renewed.test, and not for broker.test"), "{refused}");
    replace(&pair, &authority.issue(&[NAME]));
    assert_eq!(ends.identities.reload().len(), 0);
    assert_eq!(identity(ends.connect(ours).await.1).common_name.as_deref(), Some("press-8"), "after");
}
