//! What the pure core and the cache say to each other: deliveries, and the changes that are committed.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::WhenFull;
use super::message::{Message, QoS};
use super::wire::{ReasonCode, Subscription, Will};

/// A moment: time since the Unix epoch on a clock that is set once at start and monotonic from then on, so that wall
/// clock jumps while running change nothing.
pub type Time = Duration;

/// A queue's key in the cache, stable across restarts: that of a bridge, or of a local session that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BridgeId(pub i64);

impl BridgeId {
    /// The least key of a session's queue.
    pub const FIRST_SESSION: Self = Self(1 << 32);

    /// The least key of what no row can have: of a session that ends with its connection.
    pub const FIRST_VOLATILE: Self = Self(1 << 48);

    /// Whether only memory keeps what is there.
    pub fn is_volatile(self) -> bool {
        self >= Self::FIRST_VOLATILE
    }

    /// Whether it is the queue of a local session.
    pub fn is_session(self) -> bool {
        self >= Self::FIRST_SESSION
    }
}

/// Subscription Identifiers of all subscriptions of a session that a message matches ([MQTT-3.3.4-3]); `None`: no one
/// has one.
pub type Identifiers = Option<Arc<[u32]>>;

/// A message's place in the one order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(pub i64);

/// A message on its way to one remote: immutable, cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Order of arrival.
    pub seq: Seq,
    /// Topic Name at the remote.
    pub topic: Arc<str>,
    /// Effective QoS.
    pub qos: QoS,
    /// RETAIN at the remote.
    pub retain: bool,
    /// When it arrived.
    pub received_at: Time,
    /// To a local session: Subscription Identifiers.
    pub identifiers: Identifiers,
    /// What keeps it until the remote has it.
    pub kept: Kept,
    /// Payload and properties.
    pub message: Arc<Message>,
}

/// What keeps a delivery until the remote has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A row of the cache.
    Row,
    /// Its publisher, who is not acknowledged before the remote has it or it is a row, and it becomes one about then at
    /// the latest (`durability: deferred`). Whatever becomes of it is said to the cache's writer as if it were a row.
    Deferred {
        /// About when.
        until: Time,
    },
    /// Nothing but memory: QoS 0 while the link is up.
    Volatile,
}

/// A delivery that a message asks for, before it has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// To which remote.
    pub bridge: BridgeId,
    /// Topic Name at the remote.
    pub topic: Arc<str>,
    /// Effective QoS.
    pub qos: QoS,
    /// RETAIN at the remote.
    pub retain: bool,
    /// What happens where it no longer fits; `None`: what the cache says.
    pub when_full: Option<WhenFull>,
    /// To a local session: Subscription Identifiers.
    pub identifiers: Identifiers,
}

/// A queued delivery, as far as it must be known to give it up: without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Order of arrival.
    pub seq: Seq,
    /// Topic Name at the remote.
    pub topic: Arc<str>,
    /// Effective QoS.
    pub qos: QoS,
    /// What it takes, as limits count it.
    pub bytes: u64,
    /// When it arrived.
    pub received_at: Time,
}

/// Which queued deliveries are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Those of QoS 0, which nobody was promised.
    AtMostOnce,
    /// Those of QoS 1 and 2.
    Acknowledged,
    /// All.
    Any,
}

impl Kind {
    /// Whether a delivery of this QoS is meant.
    pub fn holds(self, qos: QoS) -> bool {
        match self {
            Self::AtMostOnce => qos == QoS::AtMostOnce,
            Self::Acknowledged => qos != QoS::AtMostOnce,
            Self::Any => true,
        }
    }
}

/// A delivery that had a Packet Identifier when the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The delivery.
    pub delivery: Delivery,
    /// Its Packet Identifier in the session.
    pub packet_id: u16,
    /// How far its QoS 2 exchange had come.
    pub phase: HeldPhase,
}

/// How far a QoS 2 exchange had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldPhase {
    /// PUBLISH was about to be sent or had been; no PUBREC was committed.
    Sent,
    /// PUBREC had been received, as the n-th of all.
    Released(i64),
}

/// A step of a delivery that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// QoS 2: its PUBLISH is about to be sent under this Packet Identifier.
    Sent {
        /// Packet Identifier.
        packet_id: u16,
    },
    /// QoS 2: its PUBREC has come; `order` grows with every PUBREC.
    Released {
        /// Order of the PUBREC.
        order: i64,
    },
    /// QoS 2: the session or the attempt is void; it waits again without a Packet Identifier.
    Requeued,
    /// It leaves the cache.
    Removed(Outcome),
    /// The remote refuses it for good; it is set aside.
    Quarantined(ReasonCode),
}

/// Why a delivery left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The remote has it.
    Delivered,
    /// It was given up.
    Dropped(DropReason),
}

/// Why a delivery was given up; each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Message Expiry Interval or max_age ran out before it was first sent.
    Expired,
    /// It made room for a newer one (`when_full: drop_oldest`).
    Evicted,
    /// The cache was full (`when_full: drop_newest`, or another bridge of several took the message).
    Full,
    /// QoS 0 while the link was down and `cache_qos0` is off.
    Qos0Offline,
    /// It has passed as many bridges as it may (`max_hops`).
    Looped,
    /// QoS 0 that was larger than the remote's Maximum Packet Size or refused like that.
    Qos0Refused,
}

impl DropReason {
    /// All of them, for the counters.
    pub const ALL: [Self; 6] =
        [Self::Expired, Self::Evicted, Self::Full, Self::Qos0Offline, Self::Looped, Self::Qos0Refused];

    /// Its label in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Full => "full",
            Self::Qos0Offline => "qos0_offline",
            Self::Looped => "looped",
            Self::Qos0Refused => "qos0_refused",
        }
    }
}

/// Whose open inbound QoS 2 Packet Identifiers are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A local client, by its Client Identifier.
    Local(Arc<str>),
    /// A remote.
    Remote(BridgeId),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(client_id) => write!(formatter, "client {client_id}"),
            Self::Remote(bridge) => write!(formatter, "bridge {}", bridge.0),
        }
    }
}

/// One change of the cache. Changes given together are committed together, in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A message, its deliveries, and for QoS 2 its publisher's Packet Identifier. Where that identifier is there
    /// already the message is a repetition, and nothing of it is written.
    Store(Box<Store>),
    /// A step of a delivery.
    Progress {
        /// Of which bridge.
        bridge: BridgeId,
        /// Of which message.
        seq: Seq,
        /// Which step.
        step: Progress,
    },
    /// A delivery that is no row of the cache is done with; nothing is written.
    Count {
        /// Of which bridge.
        bridge: BridgeId,
        /// What became of it.
        outcome: Outcome,
    },
    /// PUBREL has come: the identifier is free for the next message.
    Forget {
        /// Whose.
        origin: Origin,
        /// Which.
        packet_id: u16,
    },
    /// All identifiers of an origin are void: its session has ended.
    ForgetAll {
        /// Whose.
        origin: Origin,
    },
    /// A remote has a session under this identity (server and client id) from now on, and no other has one.
    Established {
        /// Of which bridge.
        bridge: BridgeId,
        /// Server and client id.
        identity: String,
    },
    /// A local client's session is kept beyond its connection.
    KeepSession {
        /// Client Identifier.
        client_id: Arc<str>,
        /// When it ends; `None`: not before the client has been away for as long as it asked for.
        expires_at: Option<Time>,
        /// Session Expiry Interval in seconds; `u32::MAX`: never.
        expiry: u32,
    },
    /// A local client's session has ended, with its subscriptions and open identifiers; what waits for it is discarded,
    /// a little at a time.
    EndSession {
        /// Client Identifier.
        client_id: Arc<str>,
    },
    /// The oldest of what waits for a session that has ended is discarded, and with the last of it the queue.
    Discard {
        /// Its queue.
        queue: BridgeId,
    },
    /// A kept session subscribes, or changes the options of a subscription.
    Subscribe {
        /// Client Identifier.
        client_id: Arc<str>,
        /// Filter and options.
        subscription: Subscription,
    },
    /// A kept session unsubscribes.
    Unsubscribe {
        /// Client Identifier.
        client_id: Arc<str>,
        /// Filter.
        filter: String,
    },
    /// A connection has this Will, or had it and it is due then.
    KeepWill {
        /// Client Identifier.
        client_id: Arc<str>,
        /// The Will.
        will: Will,
        /// When it is to be published; `None`: its client is connected.
        due_at: Option<Time>,
    },
    /// A Will is void or published: the one that is due then, or whose client was connected. Another is left alone.
    EndWill {
        /// Client Identifier.
        client_id: Arc<str>,
        /// As it was kept.
        due_at: Option<Time>,
    },
}

/// A message to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// Its place in the order of arrival; given by the cache's writer.
    pub seq: Seq,
    /// The message.
    pub message: Arc<Message>,
    /// When it arrived.
    pub received_at: Time,
    /// Where it goes; with none of them, and no identifier to record, nothing is written.
    pub deliveries: Vec<NewDelivery>,
    /// QoS 2 of a session that outlives its connection: whose it is, and its Packet Identifier.
    pub received_id: Option<(Origin, u16)>,
    /// The local client that has published it.
    pub publisher: Option<Arc<str>>,
    /// Whether it is kept as the retained message of its topic; an empty one deletes that.
    pub retained: bool,
}

/// A Will as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptWill {
    /// Client Identifier.
    pub client_id: Arc<str>,
    /// The Will.
    pub will: Will,
    /// When it is to be published; `None`: its client was connected.
    pub due_at: Option<Time>,
}

/// A local client's session as it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// Session Expiry Interval in seconds.
    pub expiry: u32,
    /// When it ends; `None` while its client is connected.
    pub expires_at: Option<Time>,
    /// Open inbound QoS 2 Packet Identifiers.
    pub received_ids: Vec<u16>,
    /// Subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Where messages wait for it.
    pub queue: Option<BridgeId>,
}

impl Write {
    /// Whether it changes the cache at all: a transaction without such a write would sync for nothing, and proves
    /// nothing of the disk.
    pub fn changes_something(&self) -> bool {
        match self {
            Self::Store(store) => !store.deliveries.is_empty() || store.received_id.is_some() || store.retained,
            Self::Count { .. } => false,
            _ => true,
        }
    }
}
