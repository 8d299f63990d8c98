//! A cache of version 1 is brought up to this one whole or not at all, and loses nothing.
use std::path::Path;

use mqtt_bridge::bridge::message::QoS;
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Version};

use crate::common::{Bridge, Client, PATIENCE};
use crate::parties::kept;
use crate::{next, publish};

const CONTENT: &str = "
INSERT INTO bridge (id, name, messages, bytes) VALUES (1, 'b', 2, 6);
INSERT INTO message (seq, received_at, topic, qos, retain, payload) VALUES (5, 1000, 'a', 1, 0, X'7831'), (6, 1001, 'a', 2, 0, X'7832');
INSERT INTO delivery (bridge, seq, qos, retain, bytes) VALUES (1, 5, 1, 0, 3), (1, 6, 2, 0, 3);
INSERT INTO session (client_id, expiry, expires_at) VALUES ('s', 4294967295, NULL), ('t', 4294967295, NULL);
INSERT INTO subscription VALUES ('s', 't/#', 1, 0, 0, 0);
";

fn number(path: &Path, sql: &str) -> i64 {
    rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_cache_of_version_1_is_taken_over_wherever_that_is_cut_short() {
    let mut points = vec![None];
    // Release builds have no points to be killed at.
    if cfg!(debug_assertions) {
        points.extend([Some("migration_uncommitted"), Some("migration_committed")]);
    }
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(include_str!("version_1.sql")).unwrap();
        old.execute_batch(CONTENT).unwrap();
        drop(old);
        let rest = format!(
            "cache: {{ path: {} }}\nbridges: [{{ name: b, server: mqtt://127.0.0.1:1, client_id: b, \
             forwards: [{{ local: \"a\" }}] }}]\n",
            path.display()
        );
        if let Some(point) = point {
            let mut process = Bridge::spawn(folder.path(), &rest, &[("MQTT_BRIDGE_CRASH", point)]);
            assert!(process.ended_within(PATIENCE * 2).is_some(), "{point}: {}", process.log());
            let version = if point == "migration_committed" { 2 } else { 1 };
            assert_eq!(number(&path, "PRAGMA user_version"), version, "{point}");
        }
        let bridge = Bridge::start(folder.path(), &rest);
        let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
        publisher.send(&publish("t/1", "for the old session", QoS::AtLeastOnce, 1));
        assert_eq!(publisher.receive(), Some(Packet::Puback(Ack::success(1))));
        let (mut old, connack) = Client::connect(bridge.address, kept("s"));
        assert!(connack.session_present);
        assert_eq!(next(&mut old).0, "for the old session");
        let (status, log) = bridge.terminate();
        assert!(status.success(), "{log}");
        assert_eq!(number(&path, "PRAGMA user_version"), 2);
        assert_eq!(number(&path, "SELECT count(*) FROM delivery WHERE bridge = 1"), 2);
        assert_eq!(number(&path, "SELECT messages FROM bridge WHERE name = 'b'"), 2);
        assert_eq!(number(&path, "SELECT count(*) FROM bridge WHERE id >= 4294967296"), 2);
    }
}
