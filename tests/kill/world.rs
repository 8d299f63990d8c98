//! The bridge between its publishers and mosquitto, with a relay in its link.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::Bridge;
use crate::common::process::Process;
use crate::judge::{Verdict, judge};
use crate::mosquitto::Mosquitto;
use crate::publisher::{self, Orders, Said};
use crate::receiver::{self, Received};
use crate::relay::{Mode, Relay};

const PUBLISHERS: [&str; 3] = ["ada", "bob", "cyd"];
/// A named point that is not reached within this time is a test that tests nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// The whole backlog of a run.
const DRAIN: Duration = Duration::from_secs(180);

pub struct World {
    pub folder: tempfile::TempDir,
    pub mosquitto: Mosquitto,
    pub relay: Relay,
    pub orders: Arc<Orders>,
    pub sin: Option<&'static str>,
    /// What the bridge's configuration says besides.
    pub rest: &'static str,
    /// What its cache section says besides.
    pub durability: &'static str,
    publishers: Vec<JoinHandle<Said>>,
    receiver: Option<JoinHandle<Received>>,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self::recording("persistence false");
        world.receiver = Some(receiver::start(world.mosquitto.address));
        world
    }

    /// Without a receiver: judged on the wire.
    pub fn recording(persistence: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start(folder.path(), persistence);
        let relay = Relay::start(mosquitto.address);
        let orders = Arc::new(Orders::default());
        orders.size.store(64, Ordering::Relaxed);
        let publishers = PUBLISHERS.iter().map(|name| publisher::start(name, orders.clone())).collect();
        Self { folder, mosquitto, relay, orders, sin: None, rest: "", durability: "", publishers, receiver: None }
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache.db")
    }

    pub fn configuration(&self) -> String {
        format!(
            "cache: {{ path: {}{} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\nbridges:\n  - {{ name: b, server: \"mqtt://{}\", \
             client_id: bridge, reconnect: {{ min: 10ms, max: 50ms }}, window: 50, forwards: [{{ local: \"up/#\" }}]{} }}\n",
            self.cache().display(),
            self.durability,
            self.relay.address,
            self.rest,
        )
    }

    /// Starts the bridge, to end at a point where one is named. `None`: it has ended already.
    pub fn start(&self, crash: Option<&str>) -> Option<Bridge> {
        let environment: Vec<(&str, &str)> = [("MQTT_BRIDGE_CRASH", crash), ("MQTT_BRIDGE_SIN", self.sin)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        match Bridge::start_with(self.folder.path(), &self.configuration(), &environment) {
            Ok(bridge) => {
                self.orders.open(Some(bridge.address));
                Some(bridge)
            }
            Err(log) if crash.is_none() => panic!("the bridge ended: {log}"),
            Err(_) => None,
        }
    }

    /// Starts it and does not wait until it listens.
    pub fn spawn(&self) -> Process {
        Bridge::spawn(self.folder.path(), &self.configuration(), &[])
    }

    pub fn kill(&self, bridge: Bridge) {
        bridge.kill();
        self.orders.open(None);
    }

    /// One life that ends at the n-th passing of a point.
    pub fn crash_at(&self, point: &str, passing: u64) {
        let Some(mut bridge) = self.start(Some(&format!("{point}:{passing}"))) else { return };
        let ended = bridge.process.ended_within(PATIENCE);
        let counters = if ended.is_none() { bridge.page("/metrics") } else { String::new() };
        let log = bridge.process.log();
        let ended = ended.unwrap_or_else(|| panic!("{point} was not passed {passing} times: {log}\n{counters}"));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGKILL), "{log}");
        self.orders.open(None);
    }

    pub fn acknowledged(&self) -> u64 {
        self.orders.acknowledged.load(Ordering::Relaxed)
    }

    /// Everything heals, whatever is unfinished is finished; what the publishers say.
    pub fn settle(&mut self, running: Option<Bridge>) -> (Bridge, Vec<Said>) {
        self.relay.set(Mode::Whole);
        let bridge = running.or_else(|| self.start(None)).unwrap();
        self.orders.stop();
        let said = self.publishers.drain(..).map(|publisher| publisher.join().unwrap()).collect();
        let until = Instant::now() + DRAIN;
        while bridge.metric("messages_cached") > 0 {
            assert!(Instant::now() < until, "not drained: {}", bridge.page("/healthz"));
            // Only the counter says when the queue is empty.
            std::thread::sleep(Duration::from_millis(50));
        }
        (bridge, said)
    }

    /// What arrived, after the bridge that runs, or another, has sent all.
    pub fn judge(&mut self, running: Option<Bridge>) -> Verdict {
        let (bridge, said) = self.settle(running);
        let (status, log) = bridge.terminate();
        assert!(status.success(), "{log}");
        receiver::end(self.mosquitto.address);
        judge(&said, &self.receiver.take().unwrap().join().unwrap())
    }
}
