//! Accounts, access rules and secrets, as a user meets them: the real binary, its files and its answers.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use common::{Bridge, Client};
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{
    Ack, Connect, Packet, Publish, ReasonCode, Suback, Subscribe, Subscription, Version, Will,
};

/// What must stand in no output.
const SECRET: &str = "s3cr3t-w0rd";

fn bridge_command(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn passwd(file: &Path, user: &str, password: &str) {
    let output = bridge_command(&["passwd", file.to_str().unwrap(), user], &format!("{password}\n"));
    assert!(output.status.success(), "{output:?}");
    assert!(!format!("{output:?}").contains(password));
}

fn by(version: Version, client_id: &str, user: &str, password: &str) -> Connect {
    let (username, password) = (Some(user.to_owned()), Some(password.as_bytes().to_vec()));
    Connect { username, password, ..Connect::new(version, client_id) }
}

fn publish(topic: &str, qos: QoS, packet_id: u16) -> Packet {
    Packet::Publish(Publish::new(Arc::new(Message::new(topic, "x", qos)), packet_id))
}

fn subscribe(filters: &[&str]) -> Packet {
    let wanted = |filter: &&str| Subscription {
        filter: filter.to_string(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    Packet::Subscribe(Subscribe { packet_id: 1, filters: filters.iter().map(wanted).collect(), identifier: None })
}

#[test]
fn passwd_writes_a_file_that_nobody_else_may_read_and_takes_a_user_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    passwd(&file, "alice", SECRET);
    passwd(&file, "bob", "other");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("alice:$argon2id$v=19$m=19456,t=2,p=1$") && text.lines().count() == 2, "{text}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let name = file.to_str().unwrap();
    assert!(bridge_command(&["passwd", name, "alice", "--delete"], "").status.success());
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("bob:"));
    for (arguments, input, code, said) in [
        (["passwd", name, "alice", "--delete"].as_slice(), "", 2, "there is no user `alice`"),
        (&["passwd", name, "a:b"], "x\n", 2, "no `:`"),
        (&["passwd", name, "alice"], "", 2, "no password came from stdin"),
        (&["passwd", name, "alice"], "\n", 2, "a password has from 1"),
        (&["passwd", "/nonexistent/users", "alice"], "x\n", 4, "/nonexistent/users"),
    ] {
        let output = bridge_command(arguments, input);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && stderr.contains(said), "{arguments:?}: {stderr}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn who_has_no_account_is_told_so_in_either_version() {
    let folder = tempfile::tempdir().unwrap();
    passwd(&folder.path().join("users"), "alice", SECRET);
    let bridge = Bridge::start(folder.path(), "accounts: { password_file: users }\nmetrics: { bind: 127.0.0.1:0 }\n");
    for version in [Version::V4, Version::V5] {
        for (connect, reason) in [
            (by(version, "c", "alice", SECRET), ReasonCode::SUCCESS),
            (by(version, "c", "alice", "wrong"), ReasonCode::BAD_USER_NAME_OR_PASSWORD),
            (by(version, "c", "nobody", SECRET), ReasonCode::BAD_USER_NAME_OR_PASSWORD),
            (Connect::new(version, "c"), ReasonCode::NOT_AUTHORIZED),
        ] {
            let (mut client, connack) = Client::connect(bridge.address, connect);
            assert_eq!(connack.reason, reason);
            if reason != ReasonCode::SUCCESS {
                assert_eq!(client.receive(), None, "the connection is closed");
            }
        }
    }
    assert_eq!(bridge.metric("logins_refused_total"), 6);
    let (_, log) = bridge.terminate();
    assert_eq!(log.matches("is not let in").count(), 1, "one line in ten seconds: {log}");
    assert!(!log.contains(SECRET) && !log.contains("wrong"), "{log}");
}

#[test]
fn rules_are_kept_for_publishers_and_subscribers_and_what_they_deny_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    passwd(&folder.path().join("users"), "alice", SECRET);
    let rest = "accounts: { password_file: users, anonymous: true }\nmetrics: { bind: 127.0.0.1:0 }\n\
                access:\n  - { user: alice, allow: publish, topics: [\"plant/%u/#\", \"cmd/%c/+\"] }\n  \
                - { user: alice, allow: subscribe, topics: [\"plant/#\"] }\n  \
                - { user: anonymous, allow: subscribe, topics: [open] }\n";
    let bridge = Bridge::start(folder.path(), rest);
    let denied = |packet_id| Ack { packet_id, reason: ReasonCode::NOT_AUTHORIZED };

    let (mut alice, _) = Client::connect(bridge.address, by(Version::V5, "dev-1", "alice", SECRET));
    alice.send(&subscribe(&["plant/+/t", "#", "cmd/dev-1/x", "$SYS/#"]));
    let (no, yes) = (ReasonCode::NOT_AUTHORIZED, ReasonCode(1));
    let reasons = vec![yes, no, no, no];
    assert_eq!(alice.receive(), Some(Packet::Suback(Suback { packet_id: 1, reasons })));
    alice.send(&publish("plant/bob/t", QoS::AtMostOnce, 0));
    alice.send(&publish("plant/bob/t", QoS::AtLeastOnce, 2));
    alice.send(&publish("plant/bob/t", QoS::ExactlyOnce, 3));
    alice.send(&publish("$SYS/x", QoS::AtLeastOnce, 4));
    alice.send(&publish("cmd/dev-1/x", QoS::AtLeastOnce, 5));
    alice.send(&publish("plant/alice/t", QoS::AtMostOnce, 0));
    let mut received: Vec<_> = (0..5).map(|_| alice.receive().unwrap()).collect();
    let message = received.iter().position(|packet| matches!(packet, Packet::Publish(_))).unwrap();
    let Packet::Publish(message) = received.remove(message) else { unreachable!() };
    assert_eq!(&*message.topic, "plant/alice/t");
    let acks = [
        Packet::Puback(denied(2)),
        Packet::Pubrec(denied(3)),
        Packet::Puback(denied(4)),
        Packet::Puback(Ack::success(5)),
    ];
    assert_eq!(received, acks);

    // 3.1.1 knows no refusal: acknowledged, and dropped.
    let (mut old, _) = Client::connect(bridge.address, by(Version::V4, "dev-2", "alice", SECRET));
    old.send(&publish("plant/bob/t", QoS::AtLeastOnce, 7));
    old.send(&publish("plant/bob/t", QoS::ExactlyOnce, 8));
    old.send(&Packet::Pubrel(Ack::success(8)));
    let acks = [Packet::Puback(Ack::success(7)), Packet::Pubrec(Ack::success(8)), Packet::Pubcomp(Ack::success(8))];
    assert_eq!([(); 3].map(|()| old.receive().unwrap()), acks);
    old.send(&subscribe(&["other"]));
    let reasons = vec![ReasonCode::UNSPECIFIED_ERROR];
    assert_eq!(old.receive(), Some(Packet::Suback(Suback { packet_id: 1, reasons })));

    let (mut anonymous, _) = Client::connect(bridge.address, Connect::new(Version::V5, "dev-1x"));
    anonymous.send(&subscribe(&["open", "plant/a"]));
    let reasons = vec![yes, no];
    assert_eq!(anonymous.receive(), Some(Packet::Suback(Suback { packet_id: 1, reasons })));
    assert_eq!((bridge.metric("publishes_denied_total"), bridge.metric("subscriptions_denied_total")), (6, 5));
    let (_, log) = bridge.terminate();
    assert!(log.contains("client \"dev-1\" may not publish to \"plant/bob/t\""), "{log}");
    assert_eq!(log.matches("may not publish").count(), 1, "one line in ten seconds: {log}");
}

#[test]
fn a_will_is_refused_where_its_client_may_not_publish_it() {
    let folder = tempfile::tempdir().unwrap();
    passwd(&folder.path().join("users"), "alice", SECRET);
    let rest = "accounts: { password_file: users }\nmetrics: { bind: 127.0.0.1:0 }\n\
                access: [{ allow: publish, topics: [\"will/%u\"] }, { allow: subscribe, topics: [\"#\"] }]\n";
    let bridge = Bridge::start(folder.path(), rest);
    let (mut subscriber, _) = Client::connect(bridge.address, by(Version::V5, "s", "alice", SECRET));
    subscriber.send(&subscribe(&["#"]));
    assert!(matches!(subscriber.receive(), Some(Packet::Suback(_))));
    for version in [Version::V4, Version::V5] {
        for (topic, reason) in [("will/bob", ReasonCode::NOT_AUTHORIZED), ("will/alice", ReasonCode::SUCCESS)] {
            let will = Some(Will::new(Message::new(topic, "x", QoS::AtLeastOnce)));
            let connect = Connect { will, ..by(version, "c", "alice", SECRET) };
            let (client, connack) = Client::connect(bridge.address, connect);
            assert_eq!(connack.reason, reason, "{version:?} {topic}");
            drop(client);
        }
        let Some(Packet::Publish(will)) = subscriber.receive() else { panic!("no Will") };
        assert_eq!(&*will.topic, "will/alice", "that of a client that was not let in is void");
        subscriber.send(&Packet::Puback(Ack::success(will.packet_id)));
    }
    assert_eq!(bridge.metric("publishes_denied_total"), 2);
    let (_, log) = bridge.terminate();
    assert!(log.contains("client \"c\" may not publish to \"will/bob\""), "{log}");
}

#[test]
fn accounts_and_rules_that_are_read_again_hold_for_who_comes_then() {
    let folder = tempfile::tempdir().unwrap();
    let (users, file) = (folder.path().join("users"), folder.path().join("bridge.yaml"));
    passwd(&users, "alice", SECRET);
    let rest = "accounts: { password_file: users }\naccess: [{ allow: publish, topics: [old] }]\n";
    let bridge = Bridge::start(folder.path(), rest);
    let connect = |user: &str, client_id: &str| {
        let (client, connack) = Client::connect(bridge.address, by(Version::V5, client_id, user, SECRET));
        (client, connack.reason)
    };
    let answer = |client: &mut Client, topic: &str| {
        client.send(&publish(topic, QoS::AtLeastOnce, 1));
        match client.receive() {
            Some(Packet::Puback(ack)) => ack.reason,
            other => panic!("{other:?} instead of PUBACK"),
        }
    };
    let (mut alice, _) = connect("alice", "a");
    assert_eq!(connect("bob", "b").1, ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    passwd(&users, "bob", SECRET);
    assert!(bridge_command(&["passwd", users.to_str().unwrap(), "alice", "--delete"], "").status.success());
    let text = std::fs::read_to_string(&file).unwrap().replace("[old]", "[new]");
    std::fs::write(&file, text).unwrap();
    bridge.process.signal(libc::SIGHUP);
    for said in ["reload: access: applied", "reload: accounts: applied", "reload: done, 2 changes"] {
        assert!(bridge.process.line(said).is_some(), "{said}");
    }
    assert_eq!(connect("alice", "c").1, ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    let (mut bob, reason) = connect("bob", "b");
    assert_eq!(reason, ReasonCode::SUCCESS);
    assert_eq!([answer(&mut bob, "old"), answer(&mut bob, "new")], [ReasonCode::NOT_AUTHORIZED, ReasonCode::SUCCESS]);
    // Who was there keeps the rules by which it was let in.
    assert_eq!(
        [answer(&mut alice, "old"), answer(&mut alice, "new")],
        [ReasonCode::SUCCESS, ReasonCode::NOT_AUTHORIZED]
    );
}

#[test]
fn a_session_of_another_user_brings_no_subscription_that_one_may_not_have() {
    let folder = tempfile::tempdir().unwrap();
    for user in ["alice", "bob"] {
        passwd(&folder.path().join("users"), user, SECRET);
    }
    let rest = "accounts: { password_file: users }\naccess:\n  \
                - { user: alice, allow: both, topics: [\"#\"] }\n  - { user: bob, allow: both, topics: [b] }\n";
    let bridge = Bridge::start(folder.path(), rest);
    let kept =
        |user: &str| Connect { clean_start: false, session_expiry: 3600, ..by(Version::V5, "shared-id", user, SECRET) };
    let (mut alice, _) = Client::connect(bridge.address, kept("alice"));
    alice.send(&subscribe(&["#"]));
    assert!(matches!(alice.receive(), Some(Packet::Suback(_))));
    let (mut bob, connack) = Client::connect(bridge.address, kept("bob"));
    assert!(connack.session_present);
    bob.send(&subscribe(&["b"]));
    assert!(matches!(bob.receive(), Some(Packet::Suback(_))));
    let (mut publisher, _) = Client::connect(bridge.address, by(Version::V5, "p", "alice", SECRET));
    publisher.send(&publish("secret", QoS::AtLeastOnce, 1));
    publisher.send(&publish("b", QoS::AtLeastOnce, 2));
    let Some(Packet::Publish(first)) = bob.receive() else { panic!("no PUBLISH") };
    assert_eq!(&*first.topic, "b");
}

#[test]
fn an_open_listener_is_warned_of_and_a_configuration_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    let check = |listener: &str, rest: &str| {
        std::fs::write(&file, format!("listeners: [{{ bind: \"{listener}\" }}]\n{rest}")).unwrap();
        let output = bridge_command(&["check", "--config", file.to_str().unwrap()], "");
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (output.status.code(), stdout + &stderr)
    };
    let (code, said) = check("0.0.0.0:1883", "");
    assert!(code == Some(0) && said.contains("# warning: listener 0.0.0.0:1883: NO ACCOUNTS"), "{said}");
    assert!(said.contains("max_connections: 10000"), "{said}");
    assert!(!check("127.0.0.1:1883", "").1.contains("NO ACCOUNTS"));
    assert!(check("127.0.0.1:1883", "accounts: { anonymous: true }\n").1.contains("warning: accounts.anonymous"));
    std::fs::write(folder.path().join("bad"), format!("alice:{SECRET}\n")).unwrap();
    for (rest, wanted) in [
        ("accounts: {}\n", "bridge.yaml:2: accounts: nobody could connect"),
        ("accounts: { certificate_user: subject }\n", "accounts.certificate_user: no listener asks"),
        ("accounts: { password_file: bad }\n", "bad:1: no argon2id hash behind the user"),
        ("accounts: { password_file: none }\n", "bridge.yaml:2: accounts.password_file:"),
        ("access:\n  - { topics: [a] }\n", "access[0]: `allow` or `deny`"),
        ("access:\n  - { allow: both, topics: [\"a/%d\"] }\n", "bridge.yaml:3: access[0].topics[0]:"),
        ("access:\n  - { allow: both, topics: [\"a/#/b\"] }\n", "`#` must be the last level"),
        ("limits: { publish_burst: 3 }\n", "limits.publish_burst"),
        ("limits: { max_conections: 3 }\n", "did you mean `max_connections`?"),
    ] {
        let (code, said) = check("127.0.0.1:1883", rest);
        assert!(code == Some(2) && said.contains(wanted), "{rest}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

/// Each way to give the password of a remote; whatever is said, everywhere, the password is not in it.
#[test]
fn a_secret_is_in_no_output() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), format!("{SECRET}\n")).unwrap();
    let credentials = folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("remote"), SECRET).unwrap();
    let environment = [
        ("THE_SECRET", SECRET),
        ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()),
        ("MQTT_BRIDGE_LOG", "trace"),
    ];
    for (given, shown) in [
        (format!("password: {SECRET}"), "password: '***'"),
        ("password_file: file".to_owned(), "password_file: file"),
        ("password: { env: THE_SECRET }".to_owned(), "env: THE_SECRET"),
        ("password: { credential: remote }".to_owned(), "credential: remote"),
    ] {
        // A remote that takes the CONNECT and says nothing.
        let remote = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = remote.local_addr().unwrap();
        let rest = format!(
            "cache: {{ path: {} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges: [{{ name: b, server: \
             mqtt://{server}, client_id: b, username: u, {given}, forwards: [{{ local: t }}] }}]\n",
            folder.path().join("cache.db").display()
        );
        let bridge = Bridge::start_with(folder.path(), &rest, &environment).unwrap_or_else(|log| panic!("{log}"));
        let (mut stream, _) = remote.accept().unwrap();
        let mut connect = [0; 256];
        let read = std::io::Read::read(&mut stream, &mut connect).unwrap();
        let sent = String::from_utf8_lossy(&connect[..read]).into_owned();
        assert!(sent.contains(SECRET), "{given}: the remote got another password");
        let mut said = bridge.page("/metrics") + &bridge.page("/healthz");
        said += &std::fs::read_to_string(format!("/proc/{}/cmdline", bridge.process.id())).unwrap();
        let (_, log) = bridge.terminate();
        let file = folder.path().join("bridge.yaml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
        let checked = command.args(["check", "--config"]).arg(&file).envs(environment).output().unwrap();
        let printed = String::from_utf8(checked.stdout).unwrap();
        assert!(printed.contains(shown), "{given}: {printed}");
        said += &(log + &printed + &String::from_utf8(checked.stderr).unwrap());
        assert!(!said.contains(SECRET), "{given}: {said}");
        // Without its surroundings it says what is missing, by key and line.
        if given.contains("env") || given.contains("credential") {
            let output = bridge_command(&["check", "--config", file.to_str().unwrap()], "");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("bridge.yaml:4: bridges[0].password: ") && said.contains("is not set"), "{said}");
        }
    }
}
