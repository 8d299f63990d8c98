//! The same from outside: Paho's clients, of both versions.
use std::io::Write;
use std::process::Command;

use crate::check;
use crate::pending::patience;

/// Whether Paho's library for Python is installed. On CI it must be.
fn installed(test: &str) -> bool {
    let found =
        Command::new("python3").args(["-c", "import paho.mqtt.client"]).output().is_ok_and(|o| o.status.success());
    assert!(found || std::env::var_os("CI").is_none(), "{test}: paho-mqtt for Python is missing on CI");
    if !found {
        let skipped = format!("SKIPPED {test}: paho-mqtt for Python is not installed\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    found
}

fn scenario(name: &str) {
    let broker = crate::broker::shared();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/paho_clients.py");
    let (host, port) = (broker.ip().to_string(), broker.port().to_string());
    let seconds = patience().as_secs().to_string();
    let output = Command::new("python3").args([script, &host, &port, name, &seconds]).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pahos_clients_exchange_messages_of_every_qos() {
    if installed("pahos_clients_exchange") {
        check(|| scenario("every_qos"));
    }
}

#[test]
fn pahos_clients_get_what_is_retained() {
    if installed("pahos_clients_get_what_is_retained") {
        check(|| scenario("retained"));
    }
}

#[test]
fn a_will_of_pahos_client_is_published() {
    if installed("a_will_of_pahos_client") {
        check(|| scenario("will"));
    }
}

#[test]
fn pahos_clients_share_a_subscription() {
    if installed("pahos_clients_share") {
        check(|| scenario("shared"));
    }
}
