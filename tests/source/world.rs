//! A bridge between two mosquittos, with a relay in each of its links.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Version};

use crate::common::wire::Wire;
use crate::common::{Bridge, PATIENCE};
use crate::judge::{Verdict, judge};
use crate::mosquitto::Mosquitto;
use crate::publisher::{self, Orders, Said};
use crate::receiver::{self, Received};
use crate::relay::{Mode, Relay};

const PUBLISHERS: [&str; 3] = ["ada", "bob", "cyd"];

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the source to the remote.
    Up,
    /// From the remote to the source.
    Down,
}

pub struct World {
    folder: tempfile::TempDir,
    direction: Direction,
    local: Mosquitto,
    remote: Mosquitto,
    near: Relay,
    far: Relay,
    pub orders: Arc<Orders>,
    sin: Option<&'static str>,
    bridge: Option<Bridge>,
    publishers: Vec<JoinHandle<Said>>,
    receiver: Option<JoinHandle<Received>>,
}

/// A mosquitto in a folder of its own.
pub fn mosquitto(folder: &std::path::Path, name: &str) -> Mosquitto {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    Mosquitto::start(&folder, "persistence false")
}

/// Waits for what nothing else says.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE * 2;
    while !holds() {
        assert!(Instant::now() < end, "not within {:?}: {what}", PATIENCE * 2);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether so many SUBACKs have passed.
pub fn subscribed(relay: &Relay, count: usize) -> bool {
    relay.passed().iter().filter(|passed| matches!(passed.packet, Packet::Suback(_))).count() >= count
}

impl World {
    /// Everything runs, and the bridge has subscribed where messages come from.
    pub fn new(direction: Direction, sin: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (local, remote) = (mosquitto(folder.path(), "local"), mosquitto(folder.path(), "remote"));
        let (near, far) = (Relay::start(local.address), Relay::start(remote.address));
        let orders = Arc::new(Orders::default());
        orders.size.store(64, Ordering::Relaxed);
        // mosquitto answers faster than a debug build commits; the backlog is not what is tested.
        orders.pause.store(1000, Ordering::Relaxed);
        let receiver = receiver::start(if direction == Direction::Up { remote.address } else { local.address });
        let publishers = PUBLISHERS.iter().map(|name| publisher::start(name, orders.clone())).collect();
        let receiver = Some(receiver);
        let mut world =
            Self { folder, direction, local, remote, near, far, orders, sin, bridge: None, publishers, receiver };
        world.start();
        until("the bridge subscribes", || subscribed(world.link(direction == Direction::Up), 1));
        world.orders.open(Some(world.publishes_at()));
        world
    }

    fn publishes_at(&self) -> std::net::SocketAddr {
        if self.direction == Direction::Up { self.local.address } else { self.remote.address }
    }

    /// The bridge's link to the source (`near`) or to the remote.
    pub fn link(&self, near: bool) -> &Relay {
        if near { &self.near } else { &self.far }
    }

    fn configuration(&self) -> String {
        let rules = match self.direction {
            Direction::Up => "forwards: [{ local: \"up/#\" }]",
            Direction::Down => "subscriptions: [{ remote: \"up/#\", qos: 2 }]",
        };
        let link = "reconnect: { min: 10ms, max: 50ms }, window: 50, ack_timeout: 1s";
        format!(
            "source: {{ server: \"mqtt://{}\", {link} }}\ncache: {{ path: {} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  \
             - {{ name: b, server: \"mqtt://{}\", client_id: bridge, {link}, {rules} }}\n",
            self.near.address,
            self.folder.path().join("cache.db").display(),
            self.far.address,
        )
    }

    pub fn start(&mut self) {
        let sin: Vec<_> = self.sin.iter().map(|sin| ("MQTT_BRIDGE_SIN", *sin)).collect();
        self.bridge = Some(Bridge::without_listener(self.folder.path(), &self.configuration(), &sin));
    }

    pub fn kill(&mut self) {
        if let Some(bridge) = self.bridge.take() {
            bridge.kill();
        }
    }

    /// A life that ends at the n-th passing of a point, and the next one. A point that lies in the other direction may
    /// not be passed as often: then the life just ends.
    pub fn crash_at(&mut self, point: &str, passing: u64) {
        self.kill();
        let crash = format!("{point}:{passing}");
        let environment = [("MQTT_BRIDGE_CRASH", Some(crash.as_str())), ("MQTT_BRIDGE_SIN", self.sin)];
        let environment: Vec<_> = environment.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let mut process = Bridge::run(self.folder.path(), &self.configuration(), &environment);
        if process.ended_within(Duration::from_secs(2)).is_none() {
            process.kill();
        }
        self.start();
    }

    pub fn acknowledged(&self) -> u64 {
        self.orders.acknowledged.load(Ordering::Relaxed)
    }

    /// What arrived, after everything has healed and the last message has come the whole way.
    pub fn judge(&mut self) -> Verdict {
        self.near.set(Mode::Whole);
        self.far.set(Mode::Whole);
        self.sin = None;
        self.kill();
        self.start();
        self.orders.stop();
        let said: Vec<Said> = self.publishers.drain(..).map(|publisher| publisher.join().unwrap()).collect();
        self.last();
        let received = self.receiver.take().unwrap().join().unwrap();
        let (status, log) = self.bridge.take().unwrap().terminate();
        assert!(status.success(), "{log}");
        judge(&said, &received)
    }

    /// Messages that the broker where they were published has itself sent behind a later one of their topic, on one
    /// connection: mosquitto 2.0 does so when it resumes a session. The bridge keeps the order in which they come.
    pub fn disordered_by_the_broker(&self) -> HashSet<(String, usize)> {
        let mut highest: HashMap<(u32, String), usize> = HashMap::new();
        let mut disordered = HashSet::new();
        for passed in self.link(self.direction == Direction::Up).passed() {
            let Packet::Publish(publish) = passed.packet else { continue };
            if passed.from_bridge || &*publish.topic == "up/last" {
                continue;
            }
            let number = receiver::number(&publish.message.payload);
            let highest = highest.entry((passed.connection, publish.topic.to_string())).or_default();
            if number < *highest {
                disordered.insert((publish.topic.to_string(), number));
            }
            *highest = number.max(*highest);
        }
        disordered
    }

    /// At QoS 2 it is behind everything else: what is released overtakes nothing.
    fn last(&self) {
        let (mut wire, _) = Wire::connect(self.publishes_at(), Connect::new(Version::V5, "last"), PATIENCE).unwrap();
        let last = Message::new("up/last", "", QoS::ExactlyOnce);
        wire.send(&Packet::Publish(Publish::new(last.into(), 1)));
        assert!(matches!(wire.receive().unwrap(), Packet::Pubrec(_)));
        wire.send(&Packet::Pubrel(Ack::success(1)));
        assert!(matches!(wire.receive().unwrap(), Packet::Pubcomp(_)));
    }
}
