//! What a service manager hears on NOTIFY_SOCKET: readiness, state, signs of life, the end.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::process::{Process, loopback};
use common::{Client, PATIENCE};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Connect, Packet, Publish, Version};

/// After so long without a sign of life the service manager would end it.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A service manager that listens, and the bridge that it has started.
struct Service {
    heard: UnixDatagram,
    process: Process,
    folder: tempfile::TempDir,
}

impl Service {
    fn start(sin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("notify");
        let heard = UnixDatagram::bind(&socket).unwrap();
        heard.set_read_timeout(Some(PATIENCE)).unwrap();
        let cache = folder.path().join("cache.db");
        let config = format!(
            "listeners: [{{ bind: \"{}:0\" }}]\ncache: {{ path: {} }}\nbridges: [{{ name: b, server: \
             mqtt://127.0.0.1:1, client_id: b, forwards: [{{ local: \"#\" }}] }}]\n",
            loopback(),
            cache.display()
        );
        let file = folder.path().join("bridge.yaml");
        std::fs::write(&file, config).unwrap();
        // The id that the service manager would know is that of the shell, which becomes the bridge.
        let mut command = Command::new("sh");
        command.args(["-c", "WATCHDOG_PID=$$ exec \"$0\" run --config \"$1\"", env!("CARGO_BIN_EXE_mqtt-bridge")]);
        command.arg(Path::new(&file)).env("NOTIFY_SOCKET", &socket).env("MQTT_BRIDGE_SIN", sin);
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Self { heard, process: Process::start(&mut command), folder }
    }

    /// The next word; `None`: nothing for as long as anything may take.
    fn word(&self) -> Option<String> {
        let mut bytes = [0; 4096];
        let length = self.heard.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Waits for a word with this line.
    fn hears(&self, line: &str) -> String {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(word) = self.word().filter(|word| word.lines().any(|found| found == line)) {
                return word;
            }
        }
        panic!("{line} was not heard: {}", self.process.log());
    }

    /// A client of its listener.
    fn client(&self) -> Client {
        let line = self.process.line("listening on ").unwrap();
        let address = line.rsplit(' ').next().unwrap().parse().unwrap();
        Client::connect(address, Connect::new(Version::V5, "p")).0
    }
}

fn publish() -> Packet {
    Packet::Publish(Publish::new(Message::new("t", "x", QoS::AtLeastOnce).into(), 1))
}

#[test]
fn it_says_when_it_is_ready_how_it_is_that_it_lives_and_that_it_stops() {
    let service = Service::start("");
    let first = service.word().expect("a first word");
    assert_eq!(first, "READY=1\nSTATUS=b: link down, 0 queued; 0 clients\n");
    let line = service.process.line("listening on ").unwrap();
    TcpStream::connect(line.rsplit(' ').next().unwrap()).expect("ready is when clients can connect");
    for _ in 0..3 {
        service.hears("WATCHDOG=1");
    }
    let mut client = service.client();
    client.send(&publish());
    assert!(matches!(client.receive(), Some(Packet::Puback(_))));
    service.hears("STATUS=b: link down, 1 queued; 1 clients");
    drop(client);
    service.process.signal(libc::SIGTERM);
    service.hears("STOPPING=1");
    let (status, log) = service.process.terminate();
    assert!(status.success(), "{log}");
}

#[test]
fn a_thread_of_the_cache_that_stands_still_is_no_sign_of_life_though_the_event_loop_turns() {
    let service = Service::start("stand_still");
    service.hears("WATCHDOG=1");
    let mut client = service.client();
    client.send(&publish());
    // The event loop still says what it sees, and pings no more.
    service.process.line("the thread of the cache has not moved").expect("an error in the log");
    let since = Instant::now();
    service.heard.set_nonblocking(true).unwrap();
    while service.word().is_some() {}
    service.heard.set_nonblocking(false).unwrap();
    service.heard.set_read_timeout(Some(WATCHDOG)).unwrap();
    while since.elapsed() < WATCHDOG {
        let word = service.word().unwrap_or_default();
        assert!(!word.contains("WATCHDOG=1"), "{word}");
    }
    assert!(TcpStream::connect(service.process.line("listening on ").unwrap().rsplit(' ').next().unwrap()).is_ok());
}

#[test]
fn without_a_service_manager_it_runs_and_what_cannot_be_told_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let environment = [("NOTIFY_SOCKET", nowhere.to_str().unwrap())];
    let bridge = common::Bridge::start_with(folder.path(), "", &environment).unwrap();
    bridge.process.line("telling the service manager through NOTIFY_SOCKET").expect("a warning");
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
}

#[test]
fn a_reload_is_told_when_it_begins_and_when_it_is_done_or_refused() {
    let service = Service::start("");
    service.hears("READY=1");
    for text in [None, Some("listeners: []")] {
        if let Some(text) = text {
            std::fs::write(service.folder.path().join("bridge.yaml"), text).unwrap();
        }
        service.process.signal(libc::SIGHUP);
        // Type=notify-reload of sd_notify(3) compares it with its own clock.
        let word = service.hears("RELOADING=1");
        let began = word.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(began.parse::<u64>().unwrap() > 0, "{word}");
        service.hears("READY=1");
    }
    service.process.line("reload: done, 0 changes").unwrap();
    service.process.line("reload: refused").unwrap();
}
