-- The schema of version 1, as it was.
PRAGMA auto_vacuum = 2;
PRAGMA journal_mode = wal;
-- An Application Message, once, in order of arrival. Times are milliseconds since the Unix epoch.
CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    topic TEXT NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    message_expiry INTEGER,
    properties BLOB,
    payload BLOB NOT NULL
) STRICT;
-- A remote. Its counters are kept up with every change, so that a start needs no scan.
CREATE TABLE bridge (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    established TEXT,
    messages INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0
) STRICT;
-- A message on its way to one remote. topic: NULL where it is the message's own.
-- state: 0 queued, 1 sent under packet_id (QoS 2), 2 released as the n-th (PUBREC came), 3 quarantined for reason.
CREATE TABLE delivery (
    bridge INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    topic TEXT,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    packet_id INTEGER,
    released INTEGER,
    reason INTEGER,
    PRIMARY KEY (bridge, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX delivery_packet_id ON delivery (bridge, packet_id) WHERE packet_id IS NOT NULL;
-- Open inbound QoS 2 Packet Identifiers; bridge 0: of the local client.
CREATE TABLE received_id (
    bridge INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (bridge, client_id, packet_id)
) STRICT, WITHOUT ROWID;
-- Local sessions that outlive their connection. expires_at: NULL while the client is connected.
CREATE TABLE session (
    client_id TEXT PRIMARY KEY,
    expiry INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE subscription (
    client_id TEXT NOT NULL,
    filter TEXT NOT NULL,
    qos INTEGER NOT NULL,
    no_local INTEGER NOT NULL,
    retain_as_published INTEGER NOT NULL,
    retain_handling INTEGER NOT NULL,
    PRIMARY KEY (client_id, filter)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_qos0 ON delivery (bridge, seq) WHERE qos = 0 AND state = 0;
PRAGMA application_id = 1297171026;
PRAGMA user_version = 1;
