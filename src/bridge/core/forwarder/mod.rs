//! The remote leg's state machine: connects, keeps the session, sends what waits and removes it from the cache when
//! the remote has it.
//!
//! # Order
//! There is one queue. Its far end is the cache, its near end the [`Ring`]; what has been in flight and must be sent
//! again stands before it (the head). What is sent next is always what has the lowest sequence, so a
//! message that was cached for a week and one that has just been committed are the same to it (G3).
//!
//! # Order of writes
//! QoS 2: commit the Packet Identifier, then PUBLISH; on PUBREC commit that, then PUBREL; on PUBCOMP remove the row,
//! and free the identifier once that is committed. QoS 1: PUBLISH; on PUBACK remove the row. Removals wait for other
//! commits or for [`REMOVAL_DELAY`]: losing one repeats a PUBREL, or a PUBLISH at QoS 1.
//!
//! # Use
//! Call a `handle_*` method for whatever happened, then [`pump`](Forwarder::pump), then write
//! [`transmit`](Forwarder::transmit) and perform each [`Effect`], and wait until the socket, the ring, the cache, or
//! [`deadline`](Forwarder::deadline).
mod acks;
mod effect;
mod inbound;
mod link;
mod reconfigure;
mod send;
#[cfg(test)]
mod tests;

pub use effect::{Effect, Notice, Statistics};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::governor::Governor;
use super::intake::{Intake, Ticket};
use super::packet_ids::PacketIds;
use super::ring::{Near, Ring};
use crate::bridge::config;
use crate::bridge::delivery::{BridgeId, Delivery, Held, HeldPhase, Kept, Origin, Outcome, Progress, Seq, Time, Write};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{Connack, Packet, ReasonCode, Version, encode};

/// How long a removal may wait for another commit to share.
pub const REMOVAL_DELAY: Duration = Duration::from_millis(100);
/// Removals that are committed without waiting.
const REMOVALS_AT_ONCE: usize = 512;
/// Unsent bytes above which no further PUBLISH is encoded.
const HIGH_WATER: usize = 64 * 1024;
/// How long PUBACKs may lie in the socket while many are to come: a remote sends each as a segment of its own, and read
/// together they cost one wake-up and make room for PUBLISHes that are written together.
const GATHER: Duration = Duration::from_millis(2);
/// PUBLISHes in flight from which on PUBACKs are gathered: with fewer the next may be all that is waited for.
const GATHERED_FROM: usize = 16;
/// Bytes of a PUBACK without a Reason Code.
const PUBACK_BYTES: usize = 4;
/// PUBLISHes that may wait for the commit of one before them; QoS 0 among them takes no room in the window.
const OUTBOX: usize = 1024;

/// What a forwarder works with; [`Forwarder::handle_config`] changes what of it may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its key in the cache.
    pub bridge: BridgeId,
    /// Protocol version.
    pub version: Version,
    /// Its configuration.
    pub config: config::Bridge,
    /// A message that has not been sent once by this age is dropped.
    pub max_age: Option<Duration>,
    /// What the jitter of the back-off follows from.
    pub seed: u64,
}

impl Settings {
    /// Names the session that the remote keeps: state under one identity says nothing about another.
    pub fn identity(&self) -> String {
        format!("{} {}", self.config.server, self.config.client_id)
    }
}

/// What the cache knows of a bridge at start.
#[derive(Debug, Default)]
pub struct Restored {
    /// The identity under which the remote has a session of ours.
    pub established: Option<String>,
    /// Deliveries that have a Packet Identifier in that session.
    pub held: Vec<Held>,
    /// Open inbound QoS 2 Packet Identifiers of that session.
    pub received_ids: Vec<u16>,
}

/// Where the connection stands.
#[derive(Debug)]
enum State {
    /// No connection until then.
    Waiting(Time),
    /// TCP.
    Connecting,
    /// CONNECT is sent; CONNACK must come until then.
    Handshake { until: Time, wipe: bool, clean_start: bool },
    /// CONNACK has come.
    Connected(Link),
    /// Shut down.
    Stopped,
}

/// One MQTT connection after its CONNACK.
#[derive(Debug)]
struct Link {
    heard: Time,
    said: Time,
    pinged: Option<Time>,
    keep_alive: Option<Duration>,
    receive_maximum: usize,
    maximum_qos: QoS,
    maximum_packet_size: usize,
    retain_available: bool,
    /// Something after CONNACK came: the link is of use.
    proven: bool,
    /// What came last was a PUBACK: until when others may lie in the socket.
    gathers_until: Option<Time>,
    /// Packet Identifiers of SUBSCRIBEs and what they ask for.
    subscribing: HashMap<u16, Vec<String>>,
    /// Packet Identifiers of UNSUBSCRIBEs and what they ask for.
    unsubscribing: HashMap<u16, Vec<String>>,
}

/// How far a transmission has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// May be sent as soon as it is its turn.
    Ready,
    /// QoS 2: its Packet Identifier is being committed.
    Recording,
    /// PUBLISH is sent.
    Published,
    /// QoS 2: PUBREC has come and is being committed.
    Releasing(i64),
    /// QoS 2: PUBREL is sent, or to be sent on the next connection.
    Released(i64),
}

/// A delivery that has left the ring.
#[derive(Debug)]
struct InFlight {
    delivery: Delivery,
    /// The lower of its own and the remote's maximum.
    qos: QoS,
    /// 0: none.
    packet_id: u16,
    phase: Phase,
    /// Whether a PUBLISH of it may have reached the remote at any time: it does not expire any more.
    sent: bool,
    /// Whether a PUBLISH of it was sent under its Packet Identifier.
    dup: bool,
    /// When what it now waits for an answer to was sent; tells it from an earlier holder of its Packet Identifier.
    asked: Time,
}

/// What becomes of a delivery whose Packet Identifier is given back.
#[derive(Debug, Clone, Copy)]
enum Retiring {
    /// The remote will never take it.
    GivenUp(ReasonCode),
    /// It is sent again at a lower QoS.
    Lowered,
}

/// What a commit makes possible.
#[derive(Debug)]
enum After {
    Recorded { seq: Seq, packet_id: u16 },
    Released { seq: Seq, packet_id: u16 },
    Free(u16),
    Established,
    Forgotten(u16),
    Stored(Ticket),
    Nothing,
}

/// The remote leg of one bridge.
#[derive(Debug)]
pub struct Forwarder {
    settings: Settings,
    state: State,
    backoff: Backoff,
    /// `None`: as fast as the window allows.
    governor: Option<Governor>,
    /// The governor holds back what could be sent, until then.
    governed: Option<Time>,
    /// The remote has a session of ours.
    has_state: bool,
    /// That is committed. Before, nothing is subscribed: a start that knew of no session would wipe what it has queued.
    established: bool,
    ids: PacketIds,
    /// Has a Packet Identifier in use on this connection, by that identifier.
    window: HashMap<u16, InFlight>,
    /// To be sent before anything from the ring that is younger.
    head: BTreeMap<Seq, InFlight>,
    /// To be sent on this connection, in this order, as soon as each is ready.
    outbox: VecDeque<Out>,
    /// QoS 0 that is encoded but not written: the stream offset at which each ends.
    unwritten: VecDeque<(u64, InFlight)>,
    /// Refused for a passing reason: again at that time.
    again: VecDeque<(Time, InFlight)>,
    /// When each PUBLISH or PUBREL of this connection was sent, oldest first; entries outlive their exchange.
    clock: VecDeque<(Time, u16, Phase)>,
    /// QoS 2 whose PUBLISH was sent on this connection and whose PUBREC has not come, in that order.
    unreceived: VecDeque<u16>,
    /// The last connection was closed since a PUBREC was missing: a remote that leaves one out again has another order.
    had_gap: bool,
    release_order: i64,
    /// QoS 2 that cannot be completed under its Packet Identifier, which the remote may hold: it waits for the PUBCOMP
    /// that frees the identifier there, and keeps its row until then. Another message under it would vanish.
    retiring: BTreeMap<u16, (InFlight, Retiring)>,
    writes: Vec<Write>,
    after: Vec<After>,
    /// Commits that are under way, oldest first.
    committing: VecDeque<Vec<After>>,
    /// When the writes must be committed at the latest; now where they are urgent.
    commit_at: Option<Time>,
    intake: Intake,
    /// Messages from the remote on their way to local sessions.
    arriving: HashMap<Ticket, (Arc<Message>, u16)>,
    out: Vec<u8>,
    /// Bytes of this connection that the socket has taken, and when it last took some.
    written: u64,
    progressed: Time,
    /// Connections and attempts that have ended since one was of use.
    attempts: u32,
    /// What the remote has said last instead of serving, until it serves.
    refusal: Option<Notice>,
    effects: VecDeque<Effect>,
    suspect: Option<Suspect>,
    /// Topic Filters that the remote's session may still have, and that are no longer configured.
    unwanted: BTreeSet<String>,
    taken: u64,
    /// What has been counted.
    pub statistics: Statistics,
}

/// A message at which a 3.1.1 remote keeps closing the connection, which has no other way to refuse it.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    seq: Seq,
    closes: u32,
}

#[derive(Debug)]
enum Out {
    /// By its Packet Identifier, in the window.
    Acknowledged(u16),
    /// QoS 0.
    AtMostOnce(InFlight),
}

impl Forwarder {
    /// A bridge as it was left; connects at once.
    pub fn new(settings: Settings, restored: Restored, now: Time) -> Self {
        let config = &settings.config;
        let has_state = restored.established.as_ref() == Some(&settings.identity());
        let mut ids = PacketIds::default();
        let mut window = HashMap::new();
        let mut head = BTreeMap::new();
        let mut release_order = 0;
        for held in restored.held {
            let qos = held.delivery.qos;
            let (phase, packet_id) = match held.phase {
                HeldPhase::Sent => (Phase::Ready, held.packet_id),
                HeldPhase::Released(order) => (Phase::Released(order), held.packet_id),
            };
            ids.reserve(packet_id);
            let entry = InFlight { delivery: held.delivery, qos, packet_id, phase, sent: true, dup: true, asked: now };
            if let Phase::Released(order) = phase {
                release_order = release_order.max(order);
                window.insert(packet_id, entry);
            } else {
                head.insert(entry.delivery.seq, entry);
            }
        }
        Self {
            state: State::Waiting(now),
            backoff: Backoff::new(config.reconnect.min, config.reconnect.max, settings.seed),
            governor: config.drain.map(|drain| Governor::new(drain.max_rate.interval())),
            governed: None,
            has_state,
            established: has_state,
            ids,
            window,
            head,
            outbox: VecDeque::new(),
            unwritten: VecDeque::new(),
            again: VecDeque::new(),
            clock: VecDeque::new(),
            unreceived: VecDeque::new(),
            had_gap: false,
            release_order,
            retiring: BTreeMap::new(),
            writes: Vec::new(),
            after: Vec::new(),
            committing: VecDeque::new(),
            commit_at: None,
            intake: Intake::new(config.window, restored.received_ids),
            arriving: HashMap::new(),
            out: Vec::new(),
            written: 0,
            progressed: now,
            attempts: 0,
            refusal: None,
            effects: VecDeque::new(),
            suspect: None,
            unwanted: BTreeSet::new(),
            taken: 0,
            statistics: Statistics::default(),
            settings,
        }
    }

    /// Sequences of the deliveries that have left the ring and are not done with.
    pub fn held(&self) -> impl Iterator<Item = Seq> {
        let entries = self.window.values().chain(self.head.values());
        let entries = entries.chain(self.retiring.values().map(|(entry, _)| entry));
        let entries = entries.chain(self.again.iter().map(|(_, entry)| entry));
        let entries = entries.chain(self.unwritten.iter().map(|(_, entry)| entry)).chain(self.outbox_at_most_once());
        entries.map(|entry| entry.delivery.seq)
    }

    /// Deliveries that have left the ring and are not done with.
    pub fn in_flight(&self) -> usize {
        self.window.len()
            + self.head.len()
            + self.again.len()
            + self.unwritten.len()
            + self.retiring.len()
            + self.outbox_at_most_once().count()
    }

    fn outbox_at_most_once(&self) -> impl Iterator<Item = &InFlight> {
        self.outbox.iter().filter_map(|out| match out {
            Out::Acknowledged(_) => None,
            Out::AtMostOnce(entry) => Some(entry),
        })
    }

    /// Deliveries taken from the ring so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether a TCP connection is in use.
    pub fn has_connection(&self) -> bool {
        matches!(self.state, State::Handshake { .. } | State::Connected(_))
    }

    /// Whether a CONNACK with success stands.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Whether it is shut down and nothing is left to commit.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped) && self.committing.is_empty() && self.writes.is_empty()
    }

    /// Bytes to be written to the socket.
    pub fn transmit(&self) -> &[u8] {
        &self.out
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Bytes from the remote that are worth a wake-up (SO_RCVLOWAT): of many PUBACKs that are to come, half, so that the
    /// remote has the other half to work on while we read, send and sleep again.
    pub fn receive_low_water(&self) -> usize {
        self.gathers_until().map_or(1, |_| self.window.len() / 2 * PUBACK_BYTES)
    }

    fn gathers_until(&self) -> Option<Time> {
        let State::Connected(link) = &self.state else { return None };
        link.gathers_until.filter(|_| self.window.len() >= GATHERED_FROM)
    }

    /// When [`pump`](Self::pump) must be called at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let state = match &self.state {
            State::Waiting(until) | State::Handshake { until, .. } => Some(*until),
            State::Connected(link) => self.link_deadline(link),
            State::Connecting | State::Stopped => None,
        };
        let again = self.again.front().map(|(due, _)| *due).filter(|_| self.is_connected());
        let governed = self.governed.filter(|_| self.is_connected());
        [state, again, governed, self.gathers_until(), self.commit_at].into_iter().flatten().min()
    }

    /// Does what has become due or possible: timers, sending from the head and the ring, commits.
    pub fn pump(&mut self, ring: &mut Ring, now: Time) {
        self.handle_timers(now);
        if self.is_connected() {
            self.send_what_waits(ring, now);
        }
        ring.set_link_up(self.is_connected());
        if self.commit_at.is_some_and(|at| at <= now) || self.writes.len() >= REMOVALS_AT_ONCE {
            self.commit();
        }
    }

    /// A commit has been made; `outcomes` as its writes were given.
    pub fn handle_committed(&mut self, outcomes: &[Result<(), ReasonCode>], now: Time) {
        let after = self.committing.pop_front().unwrap_or_default();
        for (after, outcome) in after.into_iter().zip(outcomes) {
            match after {
                After::Recorded { seq, packet_id } => self.recorded(seq, packet_id),
                After::Released { seq, packet_id } => self.released(seq, packet_id, now),
                After::Free(packet_id) => self.ids.free(packet_id),
                After::Established => self.established(now),
                After::Forgotten(packet_id) => self.intake.handle_forgotten(packet_id),
                After::Stored(ticket) => self.intake.handle_stored(ticket, *outcome),
                After::Nothing => {}
            }
        }
        self.send_replies(now);
    }

    /// Begins a shutdown: DISCONNECT, then everything that is still to be committed.
    pub fn handle_shutdown(&mut self, now: Time) {
        if self.is_connected() {
            let disconnect = crate::bridge::wire::Disconnect::new(ReasonCode::SUCCESS);
            self.send(&Packet::Disconnect(disconnect), now);
        }
        if !matches!(self.state, State::Waiting(_) | State::Stopped) {
            self.close_after_writing();
        }
        self.state = State::Stopped;
        self.commit_at = Some(now);
    }

    fn commit(&mut self) {
        self.commit_at = None;
        if self.writes.is_empty() {
            return;
        }
        self.committing.push_back(std::mem::take(&mut self.after));
        self.effects.push_back(Effect::Commit(std::mem::take(&mut self.writes)));
    }

    fn write(&mut self, write: Write, after: After, at: Time) {
        self.writes.push(write);
        self.after.push(after);
        self.commit_at = Some(self.commit_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn progress(&mut self, seq: Seq, step: Progress, after: After, at: Time) {
        self.write(Write::Progress { bridge: self.settings.bridge, seq, step }, after, at);
    }

    /// The delivery is done with: its row goes with the next commit; one that never was to be one is only counted.
    fn remove(&mut self, entry: &InFlight, outcome: Outcome, after: After, now: Time) {
        let (bridge, seq) = (self.settings.bridge, entry.delivery.seq);
        let write = match entry.delivery.kept {
            Kept::Row | Kept::Deferred { .. } => Write::Progress { bridge, seq, step: Progress::Removed(outcome) },
            Kept::Volatile => Write::Count { bridge, outcome },
        };
        let at = match entry.delivery.kept {
            // Its publisher waits for this; one that has become a row meanwhile costs a commit too many.
            Kept::Deferred { until } if now < until => now,
            _ => now + REMOVAL_DELAY,
        };
        self.write(write, after, at);
    }

    fn close_after_writing(&mut self) {
        let last = std::mem::take(&mut self.out);
        self.effects.push_back(Effect::Close(last));
    }

    fn send(&mut self, packet: &Packet, now: Time) {
        if self.out.is_empty() {
            self.progressed = now;
        }
        encode(packet, self.settings.version, &mut self.out);
        if let State::Connected(link) = &mut self.state {
            link.said = now;
        }
    }

    fn log(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Log(notice));
    }
}
