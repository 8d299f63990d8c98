//! NanoMQ's `mqtt_client.db`: looked at, brought into a cache of ours, delivered.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscribe, Subscription, Version};

use crate::common::{Bridge, Client, has};
use crate::mosquitto::Mosquitto;

/// Written by NanoMQ 0.24.6 while its remote was down: 60 at QoS 1 and 60 at QoS 2 from MQTT 5 clients, 80 at QoS 1 from a
/// 3.1.1 client, for its bridge `b`.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nanomq/mqtt_client-200rows.db");

fn cache(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_mqtt-bridge")).arg("cache").args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn fine(arguments: &[&str]) -> String {
    let (code, out, error) = cache(arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{error}");
    out
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&fine(arguments)).unwrap()
}

/// A copy that may be changed.
fn copied(folder: &Path) -> (PathBuf, String) {
    let path = folder.join("mqtt_client.db");
    std::fs::copy(FIXTURE, &path).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (path, name)
}

/// A row of the fixture, read without a line of the code under test.
struct Row {
    topic: String,
    qos: QoS,
    properties: Vec<u8>,
    payload: Vec<u8>,
}

/// All rows in order. The first 60 and the next 60 are as they were published; NanoMQ's workers have changed the order of
/// seven of the others before it stored them.
fn rows() -> Vec<Row> {
    let uri = format!("file:{FIXTURE}?immutable=1");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI;
    let connection = rusqlite::Connection::open_with_flags(uri, flags).unwrap();
    let mut statement = connection.prepare("SELECT data FROM t_client_offline_msg ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap().map(|data| {
        let data = data.unwrap();
        // Fixed header of two bytes, Topic Name, Packet Identifier, Property Length of one byte.
        let topic = usize::from(data[11]);
        let properties = usize::from(data[12 + topic + 2]);
        let begin = 12 + topic + 3;
        Row {
            topic: String::from_utf8(data[12..12 + topic].to_vec()).unwrap(),
            qos: QoS::try_from((data[4] >> 1) & 3).unwrap(),
            properties: data[begin..begin + properties].to_vec(),
            payload: data[begin + properties..data.len() - 16].to_vec(),
        }
    });
    rows.collect()
}

#[test]
fn it_is_read_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = copied(folder.path());
    let stats = json(&["stats", &file, "--format", "json"]);
    let bridge = &stats["bridges"][0];
    assert_eq!((&bridge["bridge"], &bridge["queued"], &stats["messages"]), (&"b".into(), &200.into(), &200.into()));
    assert_eq!(stats["kind"], "nanomq");
    let topics: Vec<_> = stats["topics"].as_array().unwrap().iter().map(|topic| topic["queued"].as_u64()).collect();
    assert_eq!(topics, [Some(80), Some(60), Some(60)]);
    assert!(fine(&["stats", &file]).contains("NanoMQ's, not in use"));
    let listed = fine(&["list", &file, "--limit", "0", "--format", "json"]);
    assert_eq!(listed.lines().count(), 200);
    for (line, (id, Row { topic, qos, .. })) in listed.lines().zip((1..).zip(rows())) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&row["seq"], &row["topic"], &row["qos"]), (&id.into(), &topic.into(), &(qos as u8).into()));
        // 2026-11-22 16:53:33 UTC, which is all that NanoMQ keeps of it.
        assert_eq!(row["received_at"], 1_795_366_413_000_u64);
    }
    assert_eq!(fine(&["list", &file, "--topic", "load2/#", "--limit", "0"]).lines().count(), 61);
    let shown = fine(&["show", &file, "61"]);
    for part in
        ["Content Type: application/json", "User Property site: plant-7", "\"temperature\": 21.5", "QoS 2, queued"]
    {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert!(fine(&["verify", &file]).contains("sound"));
    for command in [&["purge", &file, "--topic", "#", "--yes"][..], &["requeue", &file]] {
        let (code, _, error) = cache(command);
        assert!(code == 2 && error.contains("is NanoMQ's: it is read here and never changed"), "{error}");
    }
    let (code, _, error) = cache(&["import", &file, FIXTURE]);
    assert!(code == 2 && error.contains("another program"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(FIXTURE).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "it left a trace");
}

#[test]
fn an_export_of_it_is_what_an_import_of_it_brings() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fine(&["import", &path("ours.db"), FIXTURE]);
    fine(&["export", FIXTURE, "--out", &path("lines")]);
    fine(&["import", &path("lines.db"), &path("lines")]);
    let lines = fine(&["export", FIXTURE]);
    assert_eq!(fine(&["export", &path("ours.db")]), lines);
    assert_eq!(fine(&["export", &path("lines.db")]), lines);
    assert!(fine(&["verify", &path("ours.db")]).contains("sound"));
}

#[test]
fn what_nanomq_left_is_delivered_once_and_in_order_with_its_properties() {
    if !has("mosquitto", "what_nanomq_left_is_delivered") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(folder.path(), "");
    let (mut receiver, _) = Client::connect(broker.address, Connect::new(Version::V5, "receiver"));
    let everything = Subscription {
        filter: "#".to_owned(),
        qos: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: true,
        retain_handling: 0,
        identifier: None,
    };
    receiver.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![everything], identifier: None }));
    assert!(matches!(receiver.receive(), Some(Packet::Suback(_))));

    // Our cache has been in use for another bridge; where NanoMQ's messages go is not guessed.
    let rest = format!(
        "cache: {{ path: {}/cache.db }}\nmetrics: {{ bind: \"127.0.0.1:0\" }}\nbridges: [{{ name: emqx1, server: \
         \"mqtt://{}\", client_id: emqx1, forwards: [{{ local: \"other/#\" }}] }}]\n",
        folder.path().display(),
        broker.address
    );
    let (status, log) = Bridge::start(folder.path(), &rest).terminate();
    assert!(status.success(), "{log}");
    let ours = folder.path().join("cache.db").to_str().unwrap().to_owned();
    let (code, _, error) = cache(&["import", &ours, FIXTURE]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("200 messages of bridge b") && error.contains("--bridge b=NAME"), "{error}");
    let (code, _, error) = cache(&["import", &ours, FIXTURE, "--bridge", "emqx1"]);
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("200 messages with 200 deliveries imported"), "{error}");

    let bridge = Bridge::start(folder.path(), &rest);
    let mut received = Vec::new();
    let mut take = |receiver: &mut Client| {
        match receiver.receive().unwrap() {
            Packet::Publish(publish) => {
                let ack = Ack::success(publish.packet_id);
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => receiver.send(&Packet::Puback(ack)),
                    QoS::ExactlyOnce => receiver.send(&Packet::Pubrec(ack)),
                }
                received.push(publish);
            }
            Packet::Pubrel(ack) => receiver.send(&Packet::Pubcomp(ack)),
            other => panic!("{other:?}"),
        }
        received.last().is_some_and(|publish| &*publish.topic == "the/end")
    };
    bridge.until_metric("messages_delivered_total", 200);
    // Whatever came of them twice or late would be before this.
    let (mut last, _) = Client::connect(broker.address, Connect::new(Version::V5, "last"));
    let end = Arc::new(Message::new("the/end", "", QoS::AtMostOnce));
    last.send(&Packet::Publish(Publish::new(end, 0)));
    while !take(&mut receiver) {}

    received.pop();
    assert_eq!(received.len(), 200);
    // Each topic in its order. (A broker hands on QoS 2 when PUBREL comes, and lets QoS 1 overtake it until then.)
    received.sort_by_key(|publish| publish.topic.clone());
    let mut rows = rows();
    rows.sort_by_key(|row| row.topic.clone());
    for (publish, row) in received.iter().zip(rows) {
        assert_eq!((&*publish.topic, publish.qos, publish.retain), (row.topic.as_str(), row.qos, false));
        assert_eq!(publish.message.payload, row.payload);
        assert_eq!(publish.message.properties.other, row.properties);
    }
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(json(&["stats", &ours, "--format", "json"])["messages"], 0);
}

/// Two bridges, and a row of a third that nobody names; some rows are damaged.
fn damaged(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "INSERT INTO t_client_info (config_name, proto_name, proto_ver) VALUES ('c', 'MQTT', 5);
         UPDATE t_client_offline_msg SET info_id = 2 WHERE id BETWEEN 101 AND 110;
         UPDATE t_client_offline_msg SET info_id = 9 WHERE id = 111;
         UPDATE t_client_offline_msg SET data = substr(data, 1, 30) WHERE id = 3;
         UPDATE t_client_offline_msg SET data = NULL WHERE id = 4;
         UPDATE t_client_offline_msg SET data = 'text' WHERE id = 5;
         UPDATE t_client_offline_msg SET proto_ver = 9 WHERE id = 6;
         UPDATE t_client_offline_msg SET ts = 'yesterday' WHERE id = 7;
         INSERT INTO t_client_msg (packet_id, pipe_id, data, info_id, proto_ver, ts)
             SELECT 77, 0, data, 1, 5, ts FROM t_client_offline_msg WHERE id = 10;";
    connection.execute_batch(sql).unwrap();
}

#[test]
fn damaged_rows_are_named_and_counted_and_the_others_come() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = copied(folder.path());
    damaged(&path);
    let (code, out, _) = cache(&["verify", &file]);
    assert_eq!(code, 1, "{out}");
    for part in [
        "t_client_offline_msg 3: 30 bytes end within its packet",
        "t_client_offline_msg 4: 0 bytes end within its fixed header",
        "t_client_offline_msg 5: ",
        "t_client_offline_msg 6: protocol version 9",
        "t_client_offline_msg 111: of bridge 9, which t_client_info does not name",
    ] {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    let row = |name: &str| out.lines().rfind(|line| line.starts_with(name)).unwrap().split_whitespace().skip(1).take(2);
    assert_eq!(row("t_client_offline_msg").collect::<Vec<_>>(), ["196", "4"], "{out}");
    let (code, out, error) = cache(&["list", &file, "--limit", "0"]);
    assert_eq!((code, out.lines().count()), (1, 198), "{error}");
    assert!(error.contains("4 rows cannot be read"), "{error}");
    assert!(out.lines().nth(1).unwrap().contains("in-flight"), "what was sent came first: {out}");
    assert!(fine(&["show", &file, "-1"]).contains("load/sensor-1"));
    let (code, _, error) = cache(&["show", &file, "6"]);
    assert!(code == 2 && error.contains("protocol version 9"), "{error}");

    let ours = folder.path().join("ours.db").to_str().unwrap().to_owned();
    let (code, _, error) = cache(&["import", &ours, &file]);
    assert!(code == 2 && error.contains("--bridge ?=NAME"), "{error}");
    assert!(!Path::new(&ours).exists(), "nothing is created before it is clear what comes into it");
    let routes = ["--bridge", "b", "--bridge", "c=other", "--bridge", "?=b"];
    let (code, _, error) = cache(&[&["import", &ours, &file][..], &routes].concat());
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("197 messages with 197 deliveries imported"), "{error}");
    assert!(error.contains("4 messages cannot be read: 3 (30 bytes end within its packet), 4 ("), "{error}");
    assert!(error.contains("1 had been in flight"), "{error}");
    let stats = json(&["stats", &ours, "--format", "json"]);
    let queued = |index: usize| stats["bridges"][index]["queued"].as_u64();
    assert_eq!((queued(0), queued(1)), (Some(187), Some(10)), "{stats}");
    assert!(fine(&["verify", &ours]).contains("sound"));

    let some = folder.path().join("some.db").to_str().unwrap().to_owned();
    let (_, _, error) = cache(&["import", &some, &file, "--bridge", "c"]);
    assert!(
        error.contains("10 messages with 10 deliveries imported") && error.contains("187 deliveries left out"),
        "{error}"
    );
    let (code, _, error) = cache(&["import", &some, &file, "--bridge", "x"]);
    assert!(code == 2 && error.contains("--bridge FROM=x"), "{error}");
}

#[test]
fn the_wal_that_a_killed_nanomq_left_is_read_and_a_running_one_keeps_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = copied(folder.path());
    let nanomq = rusqlite::Connection::open(&path).unwrap();
    nanomq.pragma_update(None, "journal_mode", "wal").unwrap();
    nanomq.execute("DELETE FROM t_client_offline_msg WHERE id > 150", []).unwrap();
    assert!(fine(&["stats", &file]).contains("150 messages"), "while it runs");
    assert!(fine(&["stats", &file]).contains("NanoMQ's, which runs on it"));
    let ours = folder.path().join("ours.db").to_str().unwrap().to_owned();
    let (code, _, error) = cache(&["import", &ours, &file]);
    assert!(code == 4 && error.contains("stop it first"), "{error}");
    // It still can write: nobody holds it up.
    nanomq.execute("DELETE FROM t_client_offline_msg WHERE id > 140", []).unwrap();

    let killed = tempfile::tempdir().unwrap();
    for name in ["mqtt_client.db", "mqtt_client.db-wal"] {
        std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    drop(nanomq);
    let file = killed.path().join("mqtt_client.db").to_str().unwrap().to_owned();
    let (code, _, error) = cache(&["import", &ours, &file]);
    assert!(code == 0 && error.contains("140 messages"), "{error}");
}
