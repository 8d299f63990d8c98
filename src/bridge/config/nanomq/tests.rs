//! Real files, every key, and what cannot be honoured.
use std::time::Duration;

use super::*;
use crate::bridge::config::{Bridge, Document, WhenFull};
use crate::bridge::message::QoS;

const REPORT: &str = include_str!("../../../../scenarios/silent-cut-100s/nanomq.conf");
const ISSUE_2432: &str = include_str!("../../../../tests/nanomq/issue-2432.conf");

fn translated(text: &str) -> Translation {
    translate(Path::new("nanomq.conf"), text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn error(text: &str) -> String {
    translate(Path::new("nanomq.conf"), text).unwrap_err().to_string()
}

/// A bridge that needs nothing else; `lines` follow from line 5 on.
fn with(lines: &str) -> String {
    format!(
        "listeners.tcp.bind = \"0.0.0.0:1883\"\nbridges.mqtt.b {{\n  server = \"mqtt-tcp://h:1884\"\n  clientid = c\n{lines}\n}}\n"
    )
}

fn bridge(lines: &str) -> Bridge {
    translated(&with(lines)).config.bridges.remove(0)
}

/// The notes that are not merely mapped.
fn said(text: &str) -> String {
    let notes = translated(text).notes.into_iter().filter(|note| note.kind != Kind::Mapped);
    notes.map(|note| format!("{:?} {note}\n", note.kind)).collect()
}

#[test]
fn the_reports_own_file_becomes_what_it_meant() {
    let Translation { config, notes, .. } = translated(REPORT);
    let bridge = &config.bridges[0];
    assert_eq!((bridge.name.as_str(), bridge.server.to_string().as_str()), ("emqx1", "mqtt://emqx:1883"));
    assert_eq!((bridge.protocol, bridge.client_id.as_str(), bridge.clean_start), (5, "bridge_client_123", false));
    assert_eq!((bridge.keep_alive, bridge.reconnect.max), (Duration::from_secs(3), Duration::from_secs(10)));
    assert_eq!(bridge.password.as_ref().map(|password| password.reveal()), Some("password123"));
    let qos: Vec<_> = bridge.forwards.iter().map(|forward| forward.qos.map(u8::from)).collect();
    assert_eq!(qos, [Some(1), Some(1), Some(2), Some(2), Some(2)]);
    assert_eq!(bridge.subscriptions[0].qos, QoS::ExactlyOnce);
    assert!(bridge.cache_qos0);
    let cache = config.cache.as_ref().unwrap();
    assert_eq!((cache.max_messages, cache.when_full), (102_400, WhenFull::Reject));
    assert_eq!(cache.path, Path::new("/tmp/bridge_cache/mqtt-bridge.db"));
    assert_eq!(config.listeners[0].max_packet_size, 256 << 20);
    assert!(!format!("{config:?}{notes:?}").contains("password123"));
}

#[test]
fn the_file_of_issue_2432_keeps_its_topics() {
    let bridge = translated(ISSUE_2432).config.bridges.remove(0);
    let (forward, subscription) = (&bridge.forwards[0], &bridge.subscriptions[0]);
    assert_eq!((forward.local.as_str(), forward.remote.as_deref(), forward.prefix.as_str()), ("evt/#", None, "site/"));
    assert_eq!((subscription.remote.as_str(), subscription.local.as_deref()), ("site/cmd/#", None));
    assert_eq!(subscription.strip_levels, 1);
}

#[test]
fn what_is_shown_is_a_bridge_yaml_that_says_the_same() {
    for text in [REPORT, ISSUE_2432] {
        let translation = translated(text);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bridge.yaml");
        let shown = translation.with_password_files();
        std::fs::write(&file, serde_yaml::to_string(&shown).unwrap()).unwrap();
        for (bridge, shown) in translation.config.bridges.iter().zip(&shown.bridges) {
            if let (Some(password), Some(file)) = (&bridge.password, &shown.password_file) {
                std::fs::write(folder.path().join(file), format!("{}\n", password.reveal())).unwrap();
            }
        }
        let mut read = Config::from_document(&Document::read(&file).unwrap()).unwrap();
        read.bridges.iter_mut().for_each(|bridge| bridge.password_file = None);
        assert_eq!(read, translation.config);
    }
}

#[test]
fn every_form_says_the_same() {
    let expected = translated(&with("  keepalive = \"3s\"")).config;
    for text in [
        "listeners.tcp = { bind = \"0.0.0.0:1883\" }\nbridges.mqtt.b = {\nserver : \"mqtt-tcp://h:1884\"\nCLIENTID=c, keepalive=3s }",
        "{ listeners { tcp { bind: 0.0.0.0:1883 } }, bridges: { mqtt: { b: { server: \"mqtt-tcp://h:1884\", clientid: \"c\" } } } \n bridges.mqtt.b.keepalive = 3s }",
    ] {
        assert_eq!(translated(text).config, expected, "{text}");
    }
}

#[test]
fn rules_rename_as_nanomq_renames() {
    let forward = |rule: &str| bridge(&format!("  forwards = [ {{ {rule} }} ]")).forwards.remove(0);
    let plain = forward("local_topic = \"a/#\", remote_topic = \"\", suffix = \"/s\", retain = 0");
    assert_eq!((plain.remote, plain.strip_levels, plain.suffix.as_str()), (None, 0, "/s"));
    assert_eq!((plain.qos, plain.retain), (None, Some(false)));
    assert_eq!(forward("local_topic = \"a/#\", remote_topic = \"a/#\"").strip_levels, 0);
    assert_eq!(forward("local_topic = \"x/+/a/#\", remote_topic = \"a/#\"").strip_levels, 2);
    assert_eq!(forward("local_topic = a, remote_topic = b, retain = 1").remote.as_deref(), Some("b"));
    let subscription =
        bridge("  subscription = [\n{ remote_topic = a, local_topic = \"\" }\n]").subscriptions.remove(0);
    assert_eq!((subscription.local, subscription.qos), (None, QoS::AtMostOnce));
}

#[test]
fn sessions_last_as_nanomqs_would_or_it_is_said() {
    let of = |lines: &str| {
        let bridge = bridge(lines);
        (bridge.protocol, bridge.clean_start, bridge.session_expiry.as_secs(), bridge.window)
    };
    let week = 7 * 86_400;
    assert_eq!(of(""), (4, true, week, 100));
    assert_eq!(of("proto_ver = 5"), (5, true, 0, 100));
    assert_eq!(of("proto_ver = 5\nclean_start = false"), (5, false, week, 100));
    let asked =
        "proto_ver = 5\nclean_start = false\nconn_properties = { session_expiry_interval = 0, receive_maximum = 7 }";
    assert_eq!(of(asked), (5, false, 0, 7));
    assert_eq!(of(&asked.replace("= 0", "= 4294967295")).2, u64::from(u32::MAX));
}

#[test]
fn what_is_not_translated_is_named_with_its_reason() {
    insta::assert_snapshot!(said(&format!(
        "{}\n{}",
        with(
            "  keep_alive = 3s\n  clean_start = false\n  will { topic = t }\n  tcp { nodelay = true, bind_interface = eth1 }\n  quic_0rtt = true\n  \
             conn_properties { user_property { k = v } }\n  forwards = [\n  { local_topic = a, remote_topic = b, qos = 1 }\n  \
             { local_topic = x }\n  { local_topic = \"+\", remote_topic = \"\" }\n  ]\n  subscription = [ { remote_topic = r, \
             local_topic = l, retain_handling = 2, stream_id = 1 } ]"
        ),
        "auth { allow_anonymous = true, password = {include \"/etc/nanomq_pwd.conf\"} }\nlisteners.ws.bind = \
         \"0.0.0.0:8083/mqtt\"\nbridges.aws.c { server = x }\nbridges.mqtt.off { enable = false }\nlogs { to = [file] }"
    )), @r#"
    Different line 2: bridges.mqtt: no cache: NanoMQ would keep what waits in memory; ours always keeps it on disk, here in ./mqtt-bridge.db
    Ignored line 5: bridges.mqtt.b.keep_alive: unknown, and ignored as NanoMQ ignores it; did you mean `keepalive`?
    Different line 7: bridges.mqtt.b.will: not honoured: the bridge has no Will yet
    Ignored line 8: bridges.mqtt.b.tcp.nodelay: ours always sets TCP_NODELAY
    Different line 8: bridges.mqtt.b.tcp.bind_interface: not honoured: the kernel's routes choose the interface
    Ignored line 9: bridges.mqtt.b.quic_0rtt: of QUIC alone; this remote is reached over TCP
    Different line 10: bridges.mqtt.b.conn_properties.user_property: not honoured: CONNECT carries no User Property
    Ignored line 13: bridges.mqtt.b.forwards[1]: no remote_topic: left out, as NanoMQ leaves it out ("" keeps the topic)
    Different line 14: bridges.mqtt.b.forwards[2]: what `a` matches as well goes by that forward alone, the first; NanoMQ sends it by each
    Different line 16: bridges.mqtt.b.subscription[0].retain_handling: not honoured: ours asks for retained messages when the subscription is new (1), not at every reconnect
    Ignored line 16: bridges.mqtt.b.subscription[0].stream_id: of QUIC alone; this remote is reached over TCP
    Ignored line 19: auth.allow_anonymous: ours lets every client in
    Different line 19: auth.password: not honoured: every client is let in; `accounts` of a bridge.yaml asks for passwords
    Different line 21: bridges.aws: not honoured: write it as bridges.mqtt.<name> with tls+mqtt-tcp:// and ssl
    Ignored line 23: logs: unknown, and ignored as NanoMQ ignores it; did you mean `log`?
    "#);
}

#[test]
fn what_cannot_be_honoured_is_an_error_with_its_line() {
    let rule = |rule: &str| with(&format!("  forwards = [\n    {{ {rule} }}\n  ]"));
    let cases = [
        (with("  ssl { keyfile = \"k\" }"), ":5: bridges.mqtt.b.ssl: there for a server without TLS"),
        (
            with("  ssl { enable = false }").replace("mqtt-tcp", "tls+mqtt-tcp"),
            ":5: bridges.mqtt.b.ssl.enable: the server's URL asks for TLS",
        ),
        (
            with("  ssl { key_password = geheim }").replace("mqtt-tcp", "tls+mqtt-tcp"),
            ":5: bridges.mqtt.b.ssl.key_password: an encrypted key cannot be used",
        ),
        (
            with("  ssl { certfile = c }").replace("mqtt-tcp", "tls+mqtt-tcp"),
            ":5: bridges.mqtt.b.ssl.certfile: a certificate needs its key",
        ),
        (with("").replace("mqtt-tcp", "mqtt-quic"), ":3: bridges.mqtt.b.server: QUIC is not available"),
        (
            with("").replace("mqtt-tcp://h", "mqtt-tcp://u:secret@h"),
            ":3: bridges.mqtt.b.server: host and port are expected",
        ),
        (with("  transparent = true"), ":5: bridges.mqtt.b.transparent: true cannot be honoured"),
        (with("  proto_ver = 3"), ":5: bridges.mqtt.b.proto_ver: MQTT 3.1 is not spoken"),
        (with("  proto_ver = 6"), ":5: bridges.mqtt.b.proto_ver: 6 does not exist: 4 (MQTT 3.1.1) or 5"),
        (
            with("  proto_ver = \"5\""),
            ":5: bridges.mqtt.b.proto_ver: a whole number from 0 on, without quotation marks, is",
        ),
        (
            with("  keepalive = 60"),
            ":5: bridges.mqtt.b.keepalive: a duration with its unit, as in \"10s\", is expected",
        ),
        (with("  keepalive = 500ms"), ":5: bridges.mqtt.b.keepalive: whole seconds, from 1s to 65535s"),
        (with("  backoff_max = 0s"), ":5: bridges.mqtt.b.backoff_max: max 0s is below min 100ms"),
        (
            with("  clean_start = no"),
            ":5: bridges.mqtt.b.clean_start: true or false, without quotation marks, is expected",
        ),
        (with("  password = \"secret\""), ":2: bridges.mqtt.b: a password needs a username"),
        (with("  password = { a = secret }"), ":5: bridges.mqtt.b.password: a text is expected"),
        (with("  username = ${MQTT_USER}"), ":5: bridges.mqtt.b.username: `${}` is not replaced"),
        (with("  include \"more.conf\""), ":5: bridges.mqtt.b.include: `include` is not followed"),
        (with("  forwards = [ a ]"), ":5: bridges.mqtt.b.forwards[0]: an object in braces is expected"),
        (with("  forwards = a"), ":5: bridges.mqtt.b.forwards: a list of objects is expected"),
        (
            rule("local_topic = \"a/#\", remote_topic = b"),
            ":6: bridges.mqtt.b.forwards[0].remote_topic: it would put every",
        ),
        (
            rule("local_topic = \"a/#\", remote_topic = \"b/#\""),
            ":6: bridges.mqtt.b.forwards[0].remote_topic: wildcards mean",
        ),
        (
            rule("local_topic = \"ab/#\", remote_topic = \"b/#\""),
            ":6: bridges.mqtt.b.forwards[0].remote_topic: wildcards mean",
        ),
        (rule("local_topic = \"a/#/b\", remote_topic = \"\""), ":6: bridges.mqtt.b.forwards[0]: Topic Filter `a/#/b`"),
        (
            rule("local_topic = a, remote_topic = b, qos = 3"),
            ":6: bridges.mqtt.b.forwards[0].qos: 0, 1 or 2 is expected",
        ),
        (
            rule("local_topic = a, remote_topic = b, retain = 2"),
            ":6: bridges.mqtt.b.forwards[0].retain: 0 or 1 is expected",
        ),
        (with("").replace("  clientid = c\n", ""), ":2: bridges.mqtt.b: no clientid"),
        (with("").replace("server", "sever"), ":2: bridges.mqtt.b: no server"),
        (
            with("").replace("bridges.mqtt.b {", "bridges.mqtt.b {\nserver = \"mqtt-tcp://x\"").replace("}", ""),
            ":2:16: this `{`",
        ),
        ("auth.allow_anonymous = false".to_owned(), ":1: auth.allow_anonymous: false cannot be honoured"),
        ("mqtt.max_packet_size = 1".to_owned(), ":1: mqtt.max_packet_size: from 64B to 256MiB"),
        (
            "listeners.tcp.bind = \"broker:1883\"".to_owned(),
            ":1: listeners.tcp.bind: an address and a port are expected",
        ),
        ("listeners.tcp { enable = false }".to_owned(), ":1: listeners: there is no listener"),
        ("listeners.ssl {}".to_owned(), ":1: listeners.ssl: no certfile and keyfile"),
        ("listeners.quic {}".to_owned(), ":1: listeners: there is no listener"),
        ("bridge.mqtt.address = x".to_owned(), ":1: bridge: the configuration of NanoMQ before 0.14"),
        ("bridges.mqtt.nodes = []".to_owned(), ":1: bridges.mqtt.nodes: the configuration of NanoMQ 0.14 to 0.18"),
        ("include \"nanomq_bridge.conf\"".to_owned(), ":1: include: `include` is not followed"),
        (
            format!("{}bridges.mqtt.cache.disk_cache_size = -1", with("")),
            ":7: bridges.mqtt.cache.disk_cache_size: a whole",
        ),
    ];
    for (text, expected) in cases {
        let said = error(&text);
        assert!(said.starts_with(&format!("nanomq.conf{expected}")), "{expected}\nin\n{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn without_bridges_it_is_a_small_broker_and_two_bridges_are_two() {
    let Translation { config, notes, .. } = translated("mqtt { property_size = 32 }");
    assert_eq!((config.bridges.len(), config.cache), (0, None));
    assert!(notes.iter().any(|note| note.what.starts_with("no bridges.mqtt.<name>")));
    let two = format!("{}bridges.mqtt.b2 {{ server = \"mqtt-tcp://h2\", clientid = c }}", with(""));
    let servers: Vec<_> = translated(&two).config.bridges.iter().map(|bridge| bridge.server.to_string()).collect();
    assert_eq!(servers, ["mqtt://h:1884", "mqtt://h2:1883"]);
    let same = two.replace("h2", "h:1884");
    assert!(error(&same).starts_with("nanomq.conf:7: bridges.mqtt.b2.clientid: another bridge has this client_id"));
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(text in r#"((bridges\.mqtt\.|b|cache|mqtt|forwards|server|clientid|qos|"mqtt-tcp://h"|[a-z={}\[\],0-9"/# \n])=?)*"#) {
        let _ = translate(Path::new("nanomq.conf"), &text);
    }

    #[test]
    fn the_reports_file_cut_anywhere_inside_a_block_is_an_error(cut in 0usize..2_000) {
        let text = &REPORT[..cut.min(REPORT.len())];
        let open = text.matches(['{', '[']).count() > text.matches(['}', ']']).count();
        proptest::prop_assert!(!open || translate(Path::new("nanomq.conf"), text).is_err());
    }
}

#[test]
fn tls_and_websocket_are_translated() {
    let text = format!(
        "{}\nlisteners.tcp.bind = \"0.0.0.0:1883\"\nlisteners.ssl {{ bind = \"0.0.0.0:8883\", certfile = c, keyfile = k, cacertfile \
         = a, verify_peer = true }}\nlisteners.ws.bind = \"0.0.0.0:8083/mqtt\"\nlisteners.wss.bind = \"0.0.0.0:8084/x\"\n",
        with("  ssl { cacertfile = \"ca.pem\", certfile = \"c.pem\", keyfile = \"k.pem\", verify_peer = false }")
            .replace("mqtt-tcp", "tls+mqtt-tcp")
    );
    let translation = translated(&text);
    let config = serde_yaml::to_string(&translation.config).unwrap();
    let tls = "  tls:\n    certificate: c\n    key: k\n    client_ca: a\n    client_certificates: optional\n";
    for part in [
        "- bind: 0.0.0.0:1883\n  max".to_owned(),
        format!("- bind: 0.0.0.0:8883\n{tls}  max"),
        "- bind: 0.0.0.0:8083\n  websocket:\n    path: /mqtt\n  max".to_owned(),
        format!("- bind: 0.0.0.0:8084\n{tls}  websocket:\n    path: /x\n  max"),
        "  server: mqtts://h:".to_owned(),
        "  tls:\n    ca: ca.pem\n    certificate: c.pem\n    key: k.pem\n".to_owned(),
    ] {
        assert!(config.contains(&part), "{part}\n{config}");
    }
    let unverified = "verify_peer: not honoured: ours always verifies the remote";
    assert!(translation.notes.iter().any(|note| note.to_string().contains(unverified)));
    let ours = translated(&with("").replace("mqtt-tcp", "tls+mqtt-tcp"));
    assert!(ours.notes.iter().any(|note| note.to_string().contains("line 3: bridges.mqtt.b.server: no cacertfile")));
}
