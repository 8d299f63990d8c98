//! mosquitto as the remote, and its clients at our listener.
use std::net::TcpListener;
use std::process::Command;

use mqtt_bridge::bridge::message::QoS;

use crate::NAME;
use crate::authority::Authority;
use crate::common::has;
use crate::common::process::{Process, loopback};
use crate::world::{Broker, acknowledged, edge, message, publish, publisher, subscriber};

#[test]
fn mosquitto_is_a_remote_over_tls_and_over_websocket() {
    if !has("mosquitto", "mosquitto_is_a_remote_over_tls") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (server, client) = (authority.issue(&[NAME]), authority.issue(&["edge"]));
    let [secured, plain, websocket] =
        [(); 3].map(|()| TcpListener::bind((loopback(), 0)).unwrap().local_addr().unwrap());
    let file = folder.path().join("mosquitto.conf");
    let text = format!(
        "user root\nlog_dest stderr\nallow_anonymous true\nlistener {} {}\ncafile {}\ncertfile {}\nkeyfile {}\n\
         require_certificate true\nlistener {} {}\nlistener {} {}\nprotocol websockets\n",
        secured.port(),
        secured.ip(),
        authority.file().display(),
        server.certificate.display(),
        server.key.display(),
        plain.port(),
        plain.ip(),
        websocket.port(),
        websocket.ip(),
    );
    std::fs::write(&file, text).unwrap();
    let program =
        if std::path::Path::new("/usr/sbin/mosquitto").is_file() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let remote = Process::start(Command::new(program).arg("-c").arg(&file));
    assert!(remote.line(" running").is_some(), "mosquitto ended: {}", remote.log());
    let tls = format!(", tls: {{ ca: {}, server_name: {NAME}, {} }}", authority.file().display(), client.keys());
    for (server, keys) in [(format!("mqtts://{secured}"), tls.as_str()), (format!("ws://{websocket}"), "")] {
        let folder = tempfile::tempdir().unwrap();
        let edge = edge(folder.path(), &server, keys);
        let connected = edge.process.line("bridge b: connected to");
        assert!(connected.is_some(), "{}\n{}", edge.process.log(), remote.log());
        for (from, to, topic) in [(edge.address, plain, "up/t"), (plain, edge.address, "down/t")] {
            let mut receiver = subscriber(to, topic, QoS::ExactlyOnce);
            let mut publisher = publisher(from);
            for number in 1..=200_u16 {
                publish(&mut publisher, topic, number.to_be_bytes().to_vec(), QoS::ExactlyOnce, number);
                acknowledged(&mut publisher, QoS::ExactlyOnce, number);
                assert_eq!(&message(&mut receiver).unwrap().payload[..], number.to_be_bytes(), "{server} {topic}");
            }
        }
    }
}

#[test]
fn mosquittos_clients_are_served_over_tls() {
    if !has("mosquitto_pub", "mosquittos_clients_are_served_over_tls") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (server, client) = (authority.issue(&["localhost", NAME]), authority.issue(&["press-7"]));
    let listener = format!(", tls: {{ {}, client_ca: {} }}", server.keys(), authority.file().display());
    let broker = Broker::start(folder.path(), "broker", &listener, "");
    let mut receiver = subscriber(broker.plain, "t", QoS::AtLeastOnce);
    let publishes = |keys: bool| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", &broker.address.ip().to_string(), "-p", &broker.address.port().to_string()]);
        // It cannot be told a name of its own; the chain is verified all the same.
        command.args(["-t", "t", "-q", "1", "-m", "secured", "--insecure", "--cafile"]).arg(authority.file());
        if keys {
            command.arg("--cert").arg(&client.certificate).arg("--key").arg(&client.key);
        }
        command.output().unwrap().status.success()
    };
    assert!(!publishes(false), "without a certificate");
    let said = "presented no certificate, and client_certificates are required: give it one of client_ca";
    assert!(broker.process.line(said).is_some());
    assert!(publishes(true));
    assert_eq!(&message(&mut receiver).unwrap().payload[..], b"secured");
}
