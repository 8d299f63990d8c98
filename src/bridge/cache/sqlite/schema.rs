//! The schema, and its version. Costly to change later: `application_id` and `user_version` name it.
use rusqlite::Connection;

use super::will;
use crate::bridge::crash;

/// "MQBR", in the header of every cache file (<https://www.sqlite.org/fileformat2.html#application_id>).
pub(super) const APPLICATION_ID: i64 = 0x4D51_4252;
/// Counts the changes of the schema.
pub(super) const VERSION: i64 = 2;

/// `delivery.state`.
pub(super) mod state {
    pub(in super::super) const QUEUED: i64 = 0;
    pub(in super::super) const SENT: i64 = 1;
    pub(in super::super) const RELEASED: i64 = 2;
    pub(in super::super) const QUARANTINED: i64 = 3;
}

/// What evictions look for; in a statement of its own, since files without it are given it when they are opened.
const QOS0_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS delivery_qos0 ON delivery (bridge, seq) WHERE qos = 0 AND state = 0;";

const SCHEMA: &str = "
BEGIN IMMEDIATE;
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
-- A queue: that of a remote, or with an id from 4294967296 on that of a local session: `session:` and its client id, or
-- `ended:` and its id once that has ended. Its counters are kept up with every change, so that a start needs no scan.
CREATE TABLE bridge (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    established TEXT,
    messages INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0
) STRICT;
-- A message on its way to one remote or session. topic: NULL where it is the message's own. identifiers: Subscription
-- Identifiers, of four bytes each, the lowest first.
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
    identifiers BLOB,
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
    identifier INTEGER,
    PRIMARY KEY (client_id, filter)
) STRICT, WITHOUT ROWID;
-- Retained messages. bytes: of topic, properties and payload.
CREATE TABLE retained (
    topic TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    message_expiry INTEGER,
    properties BLOB,
    payload BLOB NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
";

/// Which sessions want a message. There may be many, so they are not asked in turn, as the bridges are.
const SESSION_INDEX: &str = "CREATE INDEX IF NOT EXISTS delivery_session ON delivery (seq) WHERE bridge >= 4294967296;";

/// From version 1 to 2: sessions have queues, and messages can be retained.
const TO_2: &str = "
ALTER TABLE subscription ADD COLUMN identifier INTEGER;
ALTER TABLE delivery ADD COLUMN identifiers BLOB;
CREATE TABLE retained (
    topic TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    message_expiry INTEGER,
    properties BLOB,
    payload BLOB NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO bridge (id, name)
    SELECT 4294967295 + row_number() OVER (ORDER BY client_id), 'session:' || client_id FROM session;
";

/// Creates everything in an empty database, in one transaction, and moves it from the WAL into the file, so that the
/// file alone says whose it is.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    create_in_wal(connection)?;
    crash::point("schema_in_wal");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

pub(super) fn create_in_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("{SCHEMA} {} {QOS0_INDEX} {SESSION_INDEX}", will::SCHEMA))?;
    crash::point("schema_uncommitted");
    connection
        .execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"))
}

/// Brings a file of an older version up to this one, in one transaction. An index changes nothing of what a file means, so
/// it does not count as a version.
pub(super) fn complete(connection: &Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version < 2 {
        let transaction = connection.unchecked_transaction()?;
        connection.execute_batch(&format!("{TO_2} {}", will::SCHEMA))?;
        crash::point("migration_uncommitted");
        connection.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
        crash::point("migration_committed");
    }
    connection.execute_batch(&format!("{QOS0_INDEX} {SESSION_INDEX}"))
}
