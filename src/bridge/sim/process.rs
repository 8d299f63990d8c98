//! The bridge's process: its writer, remote legs and local connections, without threads and sockets.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::ledger::Expected;
use super::ledger::account::Tap;
use super::plan::{Plan, RemotePlan, TOPICS};
use super::world::Sin;
use crate::bridge::cache::Cache;
use crate::bridge::cache::writer::stepped::{Line, Opening, Stepped};
use crate::bridge::cache::writer::{Outlet, Request, SharedRing};
use crate::bridge::config;
use crate::bridge::core::admission::Limits;
use crate::bridge::core::client::Client;
use crate::bridge::core::forwarder::{Forwarder, Settings};
use crate::bridge::core::intake::Ticket;
use crate::bridge::core::ring::Ring;
use crate::bridge::core::routes::Routes;
use crate::bridge::counters::{BridgeCounters, Shared};
use crate::bridge::delivery::{BridgeId, Seq, Time};
use crate::bridge::message::QoS;
use crate::bridge::wire::{Decoder, Packet};

pub(super) struct Connection {
    pub(super) link: usize,
    pub(super) decoder: Decoder,
    /// Reads what is written, as the remote will.
    pub(super) written: Decoder,
    pub(super) tap: Tap,
}

/// A remote leg.
pub(super) struct Leg {
    pub(super) bridge: BridgeId,
    pub(super) forwarder: Forwarder,
    pub(super) ring: SharedRing,
    pub(super) line: Line,
    /// The link was up at the last look.
    pub(super) up: bool,
    pub(super) connecting: Option<Time>,
    pub(super) connection: Option<Connection>,
    pub(super) delivering: VecDeque<(Time, Ticket)>,
}

/// A publisher's connection.
pub(super) struct Seat {
    pub(super) number: u64,
    pub(super) publisher: usize,
    pub(super) client: Client<()>,
    pub(super) line: Line,
    /// Waits until an earlier connection of the same client has ended.
    pub(super) wants: Option<(Arc<str>, bool, u32)>,
    pub(super) opening: Option<Opening>,
    pub(super) input: VecDeque<Packet>,
    pub(super) eof: bool,
    pub(super) released: bool,
    /// Reads what is written, as the publisher will.
    pub(super) written: Decoder,
    pub(super) expected: Expected,
    /// All is done but for the end of its session.
    pub(super) leaving: Option<Line>,
    pub(super) left: bool,
}

/// What the process takes for the time: the wall clock's at its start, monotonic from then on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessClock {
    base: Time,
    started: Time,
}

impl ProcessClock {
    pub(super) fn at(self, now: Time) -> Time {
        self.base + now.saturating_sub(self.started)
    }

    /// When in the world it will show this.
    pub(super) fn shows(self, time: Time) -> Time {
        self.started + time.saturating_sub(self.base)
    }

    pub(super) fn stand_still(&mut self, lasting: Duration) {
        self.started += lasting;
    }
}

pub(super) struct Process {
    pub(super) clock: ProcessClock,
    pub(super) counters: Shared,
    pub(super) writer: Stepped<Disk>,
    /// What waits for the writer.
    pub(super) requests: VecDeque<Request>,
    /// When its commit is made, and what came before.
    pub(super) commit_at: Time,
    pub(super) first_of_batch: Seq,
    pub(super) routes: Routes,
    pub(super) legs: Vec<Leg>,
    pub(super) seats: Vec<Seat>,
    pub(super) next_chores: Option<Time>,
}

impl Process {
    pub(super) fn start(plan: &Plan, mut disk: Disk, now: Time, wall: Time, sin: Option<Sin>) -> Self {
        let (_, latest) = disk.latest().unwrap();
        let clock = ProcessClock {
            base: if sin == Some(Sin::StartsAtTheWallClock) { wall } else { wall.max(latest) },
            started: now,
        };
        let (counters, mut routes) = (Shared::default(), Routes::default());
        let (mut outlets, mut legs) = (HashMap::new(), Vec::new());
        for (number, remote) in plan.remotes.iter().enumerate() {
            let config = config(remote, number, sin);
            let (bridge, restored) = disk.bridge(&config.name).unwrap();
            routes.add(bridge, &config);
            let (usage, held) = (disk.usage(bridge), restored.held.len() as u64);
            let columns = BridgeCounters {
                name: config.name.clone(),
                restored: usage.messages + usage.quarantined,
                queued: usage.messages - held,
                in_flight: held,
                quarantined: usage.quarantined,
                ..BridgeCounters::default()
            };
            counters.lock().bridges.insert(bridge, columns);
            let held = restored.held.iter().map(|held| held.delivery.seq);
            let ring = SharedRing::new(Ring::new(remote.ring.0, remote.ring.1, held));
            let limits = if sin == Some(Sin::IgnoresTheLimits) { Limits::NONE } else { remote.limits };
            outlets.insert(bridge, Outlet { limits, ring: ring.clone() });
            let max_age = remote.limits.max_age;
            let seed = plan.seed ^ number as u64;
            let settings = Settings { bridge, version: remote.version, config, max_age, seed };
            legs.push(Leg {
                bridge,
                forwarder: Forwarder::new(settings, restored, clock.at(now)),
                ring,
                line: Line::default(),
                up: false,
                connecting: None,
                connection: None,
                delivering: VecDeque::new(),
            });
        }
        let ages = plan.remotes.iter().any(|remote| remote.limits.max_age.is_some());
        Self {
            clock,
            writer: Stepped::new(disk, outlets, counters.clone(), plan.commit_after, clock.at(now)),
            counters,
            requests: VecDeque::new(),
            commit_at: now,
            first_of_batch: Seq::default(),
            routes,
            legs,
            seats: Vec::new(),
            next_chores: ages.then_some(now),
        }
    }

    pub(super) fn bridges(&self) -> Vec<BridgeId> {
        self.legs.iter().map(|leg| leg.bridge).collect()
    }
}

fn config(plan: &RemotePlan, number: usize, sin: Option<Sin>) -> config::Bridge {
    let forwards = plan.forwards.iter().zip(TOPICS).filter_map(|(forward, topic)| {
        let when_full = (*forward)?;
        let local = topic.to_owned();
        let (prefix, suffix) = (String::new(), String::new());
        Some(config::Forward {
            local,
            remote: None,
            strip_levels: 0,
            prefix,
            suffix,
            qos: None,
            retain: None,
            when_full,
        })
    });
    config::Bridge {
        name: format!("remote-{number}"),
        server: config::Server::tcp(format!("remote-{number}"), 1883),
        tls: None,
        protocol: 4,
        client_id: "bridge".into(),
        clean_start: false,
        session_expiry: Duration::from_secs(604_800),
        username: None,
        password: None,
        password_file: None,
        keep_alive: Duration::from_secs(3),
        connect_timeout: Duration::from_secs(2),
        ack_timeout: super::ACK_TIMEOUT,
        reconnect: config::Reconnect::default(),
        window: plan.window,
        cache_qos0: plan.limits.cache_qos0,
        drain: plan.drain.filter(|_| sin != Some(Sin::IgnoresTheRate)).map(|max_rate| config::Drain { max_rate }),
        forwards: forwards.collect(),
        subscriptions: vec![config::Subscription {
            remote: "from/remote".into(),
            local: None,
            strip_levels: 0,
            prefix: String::new(),
            suffix: String::new(),
            qos: QoS::ExactlyOnce,
        }],
    }
}
