//! A `nanomq.conf` as it is, with the real binary: `check` shows what it becomes, `run` runs it; and what NanoMQ left in
//! its cache.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod cache;
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, unreachable_pub)] // The process is held.
#[path = "../kill/mosquitto.rs"]
mod mosquitto;

use std::path::Path;
use std::process::{Command, Output};

use common::process::{Process, loopback};

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/silent-cut-100s/nanomq.conf");

fn ours(subcommand: &str, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
    command.args([subcommand, "--config"]).arg(file);
    command
}

fn check(file: &Path) -> (Output, String) {
    let output = ours("check", file).output().unwrap();
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    (output, printed)
}

/// The report's file with its listener and its cache where a test may have them.
fn moved(folder: &Path) -> String {
    let text = std::fs::read_to_string(REPORT).unwrap();
    let text = text.replace("0.0.0.0:1883", &format!("{}:0", loopback())).replace("emqx:1883", "127.0.0.1:1");
    text.replace("/tmp/bridge_cache/", folder.to_str().unwrap())
}

#[test]
fn check_says_what_the_reports_file_becomes() {
    let (output, printed) = check(Path::new(REPORT));
    assert!(output.status.success());
    insta::assert_snapshot!(printed, @r#"
    listeners:
    - bind: 0.0.0.0:1883
      max_packet_size: 256MiB
      receive_maximum: 256
      max_queued_bytes: 8MiB
    limits:
      max_connections: 10000
      max_half_open: 1000
      connect_timeout: 10s
      max_connect_size: 64KiB
      max_topic_levels: 128
      max_topic_length: 4KiB
      max_subscriptions: 1000
      max_memory: 512MiB
    cache:
      path: /tmp/bridge_cache/mqtt-bridge.db
      max_messages: 102400
      max_bytes: 1GiB
      when_full: reject
      on_corruption: refuse
      synchronous: full
      durability: immediate
      commit_after: 200ms
    sessions:
      max_messages: 100000
      max_bytes: 64MiB
      when_full: drop_newest
    retained:
      max_messages: 100000
      max_bytes: 256MiB
    bridges:
    - name: emqx1
      server: mqtt://emqx:1883
      failback: 60s
      protocol: 5
      client_id: bridge_client_123
      clean_start: false
      session_expiry: 7d
      username: test
      password_file: emqx1.password
      keep_alive: 3s
      connect_timeout: 2s
      ack_timeout: 20s
      reconnect:
        min: 100ms
        max: 10s
      window: 100
      cache_qos0: true
      max_hops: 8
      forwards:
      - local: test1
        remote: test1
        qos: 1
      - local: test2
        remote: test2
        qos: 1
      - local: test3
        remote: test3
        qos: 2
      - local: test4
        remote: test4
        qos: 2
      - local: test5
        remote: test5
        qos: 2
      subscriptions:
      - remote: test6
        local: test6
        qos: 2
    log:
      format: text
      level: info
    state_interval: 10s

    # What it survives:
    # - a crash or kill of the process at any moment: nothing acknowledged is lost
    # - a power loss, if the disk keeps what it has synced: nothing acknowledged is lost
    # - bridge emqx1: an outage until 102400 messages or 1GiB wait, 2 h 50 min at 10 a second of 200 bytes (cache.max_messages); then publishes are refused
    # - bridge emqx1: a silent cut is noticed within 4.5s, a heal within 12s
    # - bridge emqx1: QoS 2 stays exactly once while mqtt://emqx:1883 keeps the session and its packet ids (EMQX forgets packet ids after await_rel_timeout, 300 s by default); beyond, messages in flight may arrive twice
    # warning: listener 0.0.0.0:1883: NO ACCOUNTS: whoever reaches it is let in, and may publish and subscribe to everything; an `accounts` section asks for passwords

    # What the keys of nanomq.conf become:
    # - line 1: mqtt.max_packet_size: listeners[].max_packet_size
    # - line 2: listeners.tcp.bind: listeners[0].bind
    # - line 7: bridges.mqtt.emqx1.server: server: mqtt://emqx:1883
    # - line 8: bridges.mqtt.emqx1.proto_ver: protocol: 5
    # - line 9: bridges.mqtt.emqx1.clientid: client_id
    # - line 10: bridges.mqtt.emqx1.clean_start: clean_start: false
    # - line 11: bridges.mqtt.emqx1.username: username
    # - line 12: bridges.mqtt.emqx1.password: password
    # - line 13: bridges.mqtt.emqx1.forwards: forwards: 5
    # - line 20: bridges.mqtt.emqx1.subscription: subscriptions: 1
    # - line 23: bridges.mqtt.emqx1.keepalive: keep_alive; a dead connection is noticed after 1.5 times this
    # - line 24: bridges.mqtt.emqx1.backoff_max: reconnect.max
    # - line 31: bridges.mqtt.emqx1.retry_qos_0: cache_qos0: true
    # - line 34: bridges.mqtt.cache.disk_cache_size: cache.max_messages: 102400, of each bridge
    # - line 35: bridges.mqtt.cache.mounted_file_path: cache.path: /tmp/bridge_cache/mqtt-bridge.db

    # Ignored, with the reason:
    # - line 1: mqtt.property_size: properties are limited by max_packet_size alone
    # - line 1: mqtt.max_mqueue_len: what waits for a subscriber is limited by listeners[].max_queued_bytes
    # - line 1: mqtt.retry_interval: ours sends a subscriber again what is open when it reconnects, as MQTT 5 says
    # - line 1: mqtt.keepalive_multiplier: ours waits 1.5 Keep Alives for a client, as MQTT says
    # - line 3: log: ours logs to stderr; MQTT_BRIDGE_LOG=debug says more
    # - line 4: auth.allow_anonymous: ours lets every client in
    # - line 4: auth.no_match: ours allows every topic
    # - line 4: auth.deny_action: there is no access list that could deny
    # - line 25: bridges.mqtt.emqx1.max_parallel_processes: ours has `window` messages in flight, whatever the number of workers
    # - line 26: bridges.mqtt.emqx1.max_send_queue_len: the queue in memory that drops the oldest when it is full; ours is the cache, on disk, up to cache.max_messages
    # - line 27: bridges.mqtt.emqx1.max_recv_queue_len: NanoMQ uses it for QUIC alone; ours acknowledges as fast as it can commit
    # - line 28: bridges.mqtt.emqx1.resend_interval: a tick on which NanoMQ pings, sends again, or sends one row of its cache; ours sends as soon as the window has room
    # - line 29: bridges.mqtt.emqx1.resend_wait: MQTT 5 forbids sending again on the same connection: after ack_timeout ours reconnects and sends again there
    # - line 30: bridges.mqtt.emqx1.cancel_timeout: after it NanoMQ frees a message that is not acknowledged; ours never gives up a message
    # - line 36: bridges.mqtt.cache.flush_mem_threshold: ours holds nothing back in memory: every message is committed before its acknowledgement
    # - line 37: bridges.mqtt.cache.resend_interval: NanoMQ reads it and does not use it; ours drains as fast as the window allows (drain: slower)

    # What NanoMQ would do otherwise:
    # - line 6: bridges.mqtt.emqx1: no conn_properties.session_expiry_interval: by NanoMQ's default, 0, the remote would forget the session at each cut, in spite of clean_start = false; ours asks it to keep it for session_expiry, 7d
    # - line 34: bridges.mqtt.cache.disk_cache_size: when it is full NanoMQ deletes the oldest, of any bridge; ours refuses the publish, and its publisher keeps it (cache.when_full: drop_oldest for the other)
    # - line 35: bridges.mqtt.cache.mounted_file_path: what waits in NanoMQ's mqtt_client.db in this folder is not taken over by itself: `mqtt-bridge cache import` brings it into ours

    # NanoMQ 0.24.6 with this file, as modelled: of 10 messages a second, the remote silent for 1m: 391 to 395 (of all 391 to 402) lost with -n 4, 0 lost with -n 32

    # To save this as bridge.yaml, write the password of emqx1 into emqx1.password beside it.
    "#);
}

#[test]
fn what_check_prints_can_be_saved_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let (conf, yaml) = (folder.path().join("nanomq.conf"), folder.path().join("bridge.yaml"));
    std::fs::write(&conf, moved(folder.path())).unwrap();
    let (_, printed) = check(&conf);
    assert!(!printed.contains("password123"), "{printed}");
    std::fs::write(&yaml, &printed).unwrap();
    let (output, _) = check(&yaml);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("bridges[0].password_file: ") && said.contains("emqx1.password cannot be read"), "{said}");

    std::fs::write(folder.path().join("emqx1.password"), "password123\n").unwrap();
    let (output, again) = check(&yaml);
    assert!(output.status.success());
    // The notes aside, and the password that was read.
    let until_notes = |text: &str| text.split("\n# What the keys").next().unwrap().trim_end().to_owned();
    assert_eq!(until_notes(&again.replace("  password: '***'\n", "")), until_notes(&printed));

    let bridge = Process::start(&mut ours("run", &yaml));
    assert!(bridge.line("listening on ").is_some(), "{}", bridge.log());
}

#[test]
fn run_takes_it_as_it_is_and_warns_of_what_is_not_honoured() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing in its name says what it is.
    let file = folder.path().join("nanomq");
    std::fs::write(&file, moved(folder.path())).unwrap();
    let bridge = Process::start(&mut ours("run", &file));
    assert!(bridge.line("listening on ").is_some(), "{}", bridge.log());
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    for expected in [
        "line 30: bridges.mqtt.emqx1.cancel_timeout: after it NanoMQ frees",
        "line 36: bridges.mqtt.cache.flush_mem_threshold: ours holds nothing back in memory",
        "line 34: bridges.mqtt.cache.disk_cache_size: when it is full NanoMQ deletes the oldest",
    ] {
        assert!(log.contains(expected), "{expected}\nin\n{log}");
    }
    assert!(!log.contains("password123") && !log.contains("clientid: client_id"), "{log}");
    assert!(folder.path().join("mqtt-bridge.db").is_file());
}

#[test]
fn a_truncated_file_is_an_error_with_the_line_of_what_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nanomq.conf");
    let whole = moved(folder.path());
    std::fs::write(&file, &whole[..whole.find("    keepalive").unwrap()]).unwrap();
    for subcommand in ["run", "check"] {
        let output = ours(subcommand, &file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("nanomq.conf:6:22: this `{` is never closed: the file is truncated"), "{said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is written");
    }
}
