//! The offline cache: what has been accepted and not yet been taken by every remote that it goes to.
//!
//! [`Cache`] is the contract. [`sqlite`] keeps it across crashes and power loss; [`memory`] is the reference, and serves
//! brokers without a cache file. One suite runs on both. [`writer`] is the one thread that owns it.
pub mod memory;
pub mod sqlite;
#[cfg(test)]
mod suite;
pub mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use super::core::forwarder::Restored;
use super::core::retained::Entry;
use super::delivery::{BridgeId, Delivery, Held, KeptWill, Kind, Seq, Session, Time, Waiting, Write};
use super::message::Message;

/// What may happen to a cache.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CacheError {
    #[error("cache {}: cannot be opened: {what}", .path.display())]
    Unusable { path: PathBuf, what: String },
    #[error("cache {}: in use by another process: one bridge, one cache file; stop the other or name another path", .path.display())]
    Locked { path: PathBuf },
    #[error("cache {}: not a cache of mqtt-bridge: {what}; it was not touched. Name another path, or move the file away", .path.display())]
    Foreign { path: PathBuf, what: String },
    #[error(
        "cache {}: written by a newer version (schema {found}, this one knows {known}); it was not touched. \
         Use the newer version, or name another path", .path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "cache {}: corrupted: {what}; it was not touched. Restore it, name another path, or set \
         `on_corruption: set_aside` to start with a fresh one", .path.display()
    )]
    Corrupted { path: PathBuf, what: String },
    #[error("cache: PRAGMA {pragma} is {found} after it was set to {wanted}: the guarantees cannot be kept")]
    Pragma { pragma: &'static str, wanted: String, found: String },
    #[error("cache {}: message {seq} cannot be read: {what}", .path.display())]
    Row { path: PathBuf, seq: i64, what: String },
    #[error(
        "cache {}: removed or replaced while it was in use: what is written now would be lost; put it back, or restart",
        .path.display()
    )]
    Gone { path: PathBuf },
    #[error(
        "cache {}: cut short while it was in use: what was in it is lost, and what is written now would be; restart",
        .path.display()
    )]
    WalCut { path: PathBuf },
    #[error(
        "cache: found to be corrupted: {what}; stop the bridge, see `mqtt-bridge cache verify`, save what can be read with \
         `cache export`, and import it into a fresh file"
    )]
    Broken { what: String },
    #[error("cache: the disk is full")]
    Full,
    #[error("cache: disk I/O error {code}: {os}")]
    Io { code: i32, os: std::io::Error },
    #[error("cache: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl CacheError {
    /// Whether it says that the file itself is damaged: it does not pass, however long one waits.
    pub fn is_corruption(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Corrupted { .. } => true,
            Self::Sqlite(error) => matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)),
            _ => false,
        }
    }

    /// Whether the surroundings are at fault, and not the file that was named.
    pub fn is_environment(&self) -> bool {
        !matches!(
            self,
            Self::Foreign { .. }
                | Self::Newer { .. }
                | Self::Corrupted { .. }
                | Self::Unusable { .. }
                | Self::Row { .. }
        )
    }
}

/// What became of one [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is done; doing it again would have changed nothing.
    Done,
    /// A [`Write::Store`] of a publisher's Packet Identifier that is there already: nothing of it was written.
    Repeated,
}

/// What waits for one bridge: queued and in flight together, and set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Deliveries that wait or are in flight.
    pub messages: u64,
    /// Their topics, properties and payloads, in bytes.
    pub bytes: u64,
    /// Deliveries in quarantine, which count towards no limit.
    pub quarantined: u64,
}

/// Rows of a bridge's queue.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// In order of arrival.
    pub deliveries: Vec<Delivery>,
    /// Whether no row is behind them.
    pub complete: bool,
}

/// A store of messages, deliveries, sessions and Packet Identifiers.
///
/// # Contract
/// * [`apply`](Self::apply) is atomic and durable: after `Ok` every write is kept, in its order, whatever happens to
///   the process (and, with `synchronous: full`, to the power); after `Err` none of them is, and the same call may be
///   made again. No other method changes anything that was applied.
/// * Every write but [`Write::Store`] is idempotent: a step of a delivery that is gone, or a session that is not there,
///   is `Done`. Out of quarantine there are two ways, `Requeued` and `Removed`; other steps leave it there.
/// * The caller gives every stored message a sequence of its own, higher than that of any that was stored before it for
///   one of its bridges, and a Packet Identifier to one delivery of a bridge at a time. Both survive: what violates this
///   may be refused, and is never merged.
/// * Times are kept in whole milliseconds.
/// * A message is kept as long as one of its deliveries is; its payload is kept once.
/// * [`page`](Self::page) reads queued deliveries (not those in flight or in quarantine) in order of arrival, as of the
///   last `apply`.
/// * [`waiting`](Self::waiting) reads the same deliveries in the same order; what it costs depends on how many it gives,
///   not on how many wait.
/// * [`usage`](Self::usage) costs no scan; it always equals what a scan would count.
/// * Memory does not grow with what is stored.
pub trait Cache: Send {
    /// Registers a bridge by its name and says what is there of it. The same name is given the same key for ever.
    ///
    /// # Errors
    /// Where the store fails.
    fn bridge(&mut self, name: &str) -> Result<(BridgeId, Restored), CacheError>;

    /// Applies writes, all or none.
    ///
    /// # Errors
    /// Where the store fails; [`CacheError::Full`] where there is no room, or where what is stored would leave too little
    /// for the removal of what is kept.
    fn apply_each(&mut self, writes: &[&Write]) -> Result<Vec<Applied>, CacheError>;

    /// [`apply_each`](Self::apply_each) for writes that stand in a row.
    ///
    /// # Errors
    /// As there.
    fn apply(&mut self, writes: &[Write]) -> Result<Vec<Applied>, CacheError> {
        self.apply_each(&writes.iter().collect::<Vec<_>>())
    }

    /// Reads queued deliveries after a sequence: at least one if there is one, at most so many messages, and no further
    /// once `bytes` are exceeded.
    ///
    /// # Errors
    /// Where the store fails.
    fn page(&mut self, bridge: BridgeId, after: Seq, messages: usize, bytes: usize) -> Result<Page, CacheError>;

    /// Reads queued deliveries of a kind after a sequence, without their payloads, at most so many.
    ///
    /// # Errors
    /// Where the store fails.
    fn waiting(&mut self, bridge: BridgeId, kind: Kind, after: Seq, limit: usize) -> Result<Vec<Waiting>, CacheError>;

    /// When the first message of a bridge arrived that waits or is in flight; none in quarantine. One look into an index.
    ///
    /// # Errors
    /// Where the store fails.
    fn oldest(&mut self, bridge: BridgeId) -> Result<Option<Time>, CacheError>;

    /// Gives a little of what nothing needs any more back to the file system, where that is much; says whether there is
    /// more to give. A step takes a few milliseconds.
    ///
    /// # Errors
    /// Where the store fails.
    fn shrink(&mut self) -> Result<bool, CacheError> {
        Ok(false)
    }

    /// Whether the next message would find room, and the removal of what is kept as well.
    fn has_room(&self) -> bool {
        true
    }

    /// What waits for a bridge; nothing for an unknown one.
    fn usage(&self, bridge: BridgeId) -> Usage;

    /// A local client's session; `None`: it has none.
    ///
    /// # Errors
    /// Where the store fails.
    fn session(&mut self, client_id: &str) -> Result<Option<Session>, CacheError>;

    /// The client ids of all local sessions.
    ///
    /// # Errors
    /// Where the store fails.
    fn sessions(&mut self) -> Result<Vec<Arc<str>>, CacheError>;

    /// The topics that have a retained message, without the messages.
    ///
    /// # Errors
    /// Where the store fails.
    fn retained_topics(&mut self) -> Result<Vec<(Arc<str>, Entry)>, CacheError>;

    /// The retained message of a topic, and when it arrived; `None`: it has none.
    ///
    /// # Errors
    /// Where the store fails.
    fn retained(&mut self, topic: &str) -> Result<Option<(Seq, Arc<Message>, Time)>, CacheError>;

    /// What of a queue has a Packet Identifier, in order of arrival.
    ///
    /// # Errors
    /// Where the store fails.
    fn held(&mut self, queue: BridgeId) -> Result<Vec<Held>, CacheError>;

    /// The queue of a session that has ended and is not empty, if there is one: to be discarded, step by step.
    ///
    /// # Errors
    /// Where the store fails.
    fn ended(&mut self) -> Result<Option<BridgeId>, CacheError>;

    /// Every Will that is kept.
    ///
    /// # Errors
    /// Where the store fails.
    fn wills(&mut self) -> Result<Vec<KeptWill>, CacheError>;

    /// The highest sequence among the messages that are kept, and the latest arrival among the last thousand of them or
    /// more: whoever waited for room is given a place behind messages that arrived later.
    ///
    /// # Errors
    /// Where the store fails.
    fn latest(&mut self) -> Result<(Seq, Time), CacheError>;

    /// Makes the store as small and as quick to open as it can be; the last call.
    ///
    /// # Errors
    /// Where the store fails; nothing that was applied is lost by it.
    fn close(&mut self) -> Result<(), CacheError>;
}
