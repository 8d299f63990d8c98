//! The bridge's process: what the shells around the core will do, without threads and sockets.
use std::collections::VecDeque;

use super::ledger::Tap;
use super::plan::Plan;
use super::world::NAME;
use crate::bridge::cache::Cache;
use crate::bridge::cache::memory::Memory;
use crate::bridge::config;
use crate::bridge::core::forwarder::{Forwarder, Settings};
use crate::bridge::core::intake::Ticket;
use crate::bridge::core::ring::Ring;
use crate::bridge::delivery::{BridgeId, Delivery, Time, Write};
use crate::bridge::message::QoS;
use crate::bridge::wire::Decoder;

/// What waits for the cache's writer.
pub(super) enum Job {
    /// A publisher's message, by its number.
    Store(usize),
    Forwarder(Vec<Write>),
}

pub(super) struct Connection {
    pub(super) link: usize,
    pub(super) decoder: Decoder,
    /// Reads what is written, as the remote will.
    pub(super) written: Decoder,
    pub(super) tap: Tap,
}

pub(super) struct Process {
    pub(super) bridge: BridgeId,
    pub(super) forwarder: Forwarder,
    pub(super) ring: Ring,
    pub(super) jobs: VecDeque<(Time, Job)>,
    pub(super) connecting: Option<Time>,
    pub(super) connection: Option<Connection>,
    /// A page that is asked for, until then; then one that has been read and is on its way.
    pub(super) asked: Option<(Time, crate::bridge::delivery::Seq, usize, usize)>,
    pub(super) page: Option<(Time, Vec<Delivery>, bool)>,
    pub(super) delivering: VecDeque<(Time, Ticket)>,
}

impl Process {
    pub(super) fn start(plan: &Plan, cache: &mut Memory, now: Time) -> Self {
        let (bridge, restored) = cache.bridge(NAME).unwrap();
        let ring = Ring::new(plan.ring.0, plan.ring.1, restored.held.iter().map(|held| held.delivery.seq));
        let settings = Settings { bridge, version: plan.version, config: config(plan), max_age: None, seed: plan.seed };
        Self {
            bridge,
            forwarder: Forwarder::new(settings, restored, now),
            ring,
            jobs: VecDeque::new(),
            connecting: None,
            connection: None,
            asked: None,
            page: None,
            delivering: VecDeque::new(),
        }
    }
}

fn config(plan: &Plan) -> config::Bridge {
    config::Bridge {
        name: NAME.into(),
        server: config::Server { host: "remote".into(), port: 1883 },
        protocol: 4,
        client_id: "bridge".into(),
        clean_start: false,
        session_expiry: std::time::Duration::from_secs(604_800),
        username: None,
        password: None,
        password_file: None,
        keep_alive: std::time::Duration::from_secs(3),
        connect_timeout: std::time::Duration::from_secs(2),
        ack_timeout: super::ACK_TIMEOUT,
        reconnect: config::Reconnect::default(),
        window: plan.window,
        cache_qos0: plan.cache_qos0,
        drain: None,
        forwards: Vec::new(),
        subscriptions: vec![config::Subscription {
            remote: "from/remote".into(),
            local: None,
            prefix: String::new(),
            qos: QoS::ExactlyOnce,
        }],
    }
}
