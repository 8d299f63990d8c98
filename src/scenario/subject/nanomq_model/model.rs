//! The model as a whole: a queue of events in virtual time, and whom each of them concerns.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use super::backoff::Backoff;
use super::bridge::{Ask, Bridge, Io, Line};
use super::disk::Disk;
use super::message::{Message, Packet};
use super::net::{Dialled, Net, Way};
use super::remote::Session;
use super::{Inputs, Outage};
use crate::bridge::config::nanomq::send_path::SendPath;
use crate::bridge::topic;
use crate::scenario::counters::Sample;

/// From the start of the process to the first connect.
const STARTUP: Duration = Duration::from_millis(100);
/// So long before the timeline the broker is started: below any Keep Alive.
const LEAD: Duration = Duration::from_secs(1);
/// A SYN is repeated so often, the wait doubling from a second, before the kernel gives up.
const SYN_RETRIES: u32 = 6;
/// Bytes of a PUBLISH besides topic and payload.
const HEADER: usize = 10;

/// What the model reports, in the order it happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A publish reached the broker, which acknowledges it there and then.
    Published(u16, u64),
    /// A message arrived at the other side.
    Received(u16, u64),
    /// A line of the log.
    Log(String),
    /// The broker was started.
    Started,
    /// It has ended: how, and whether it was wanted.
    Ended(&'static str, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Start,
    Dialler { bridge: usize },
    Dial { bridge: usize },
    Syn { bridge: usize, tries: u32 },
    Connected { bridge: usize },
    Tick { bridge: usize, tcp: u32 },
    Cancel { bridge: usize, number: u64 },
    Arrival { tcp: u32, to_remote: bool, number: u64 },
    Retransmission { tcp: u32, to_remote: bool },
    Patience { bridge: usize, tcp: u32 },
    Waiting { bridge: usize },
}

/// NanoMQ, the link and the remote, in virtual time. The timeline begins at zero; the broker is started before it.
#[derive(Debug)]
pub struct Model {
    settings: SendPath,
    inputs: Inputs,
    topics: Vec<(String, usize)>,
    now: Duration,
    agenda: BinaryHeap<Reverse<(Duration, u64, u32, Timer)>>,
    order: u64,
    /// The process, counted: what was set for an earlier one is void.
    life: u32,
    running: bool,
    net: Net,
    disk: Option<Disk>,
    bridges: Vec<Bridge>,
    backoffs: Vec<Backoff>,
    sessions: Vec<Session>,
    in_the_air: BTreeMap<u64, (Packet, Duration)>,
    next_worker: usize,
    /// Published while nobody listened.
    waiting: VecDeque<(u16, u64, u8)>,
    remote_down: u32,
    happened: Vec<(Duration, Happening)>,
    lost: BTreeMap<&'static str, u64>,
}

impl Model {
    /// A broker with this configuration; `topics` are the Topic Name and the payload size of each load.
    pub fn new(settings: SendPath, topics: Vec<(String, usize)>, inputs: Inputs) -> Self {
        let mut rng = fastrand::Rng::with_seed(inputs.seed);
        let mut phase = |below: Duration| Duration::from_micros(rng.u64(..below.as_micros().max(1) as u64));
        let disk = settings.cache.map(|cache| Disk::new(cache.disk_cache_size, phase(Duration::from_secs(1))));
        let tick = settings.bridges.iter().map(|bridge| bridge.resend_interval).max().unwrap_or_default();
        let start = phase(tick.min(LEAD));
        let sessions = settings.bridges.iter().map(Session::new).collect();
        let mut model = Self {
            settings,
            topics,
            now: Duration::ZERO,
            agenda: BinaryHeap::new(),
            order: 0,
            life: 0,
            running: false,
            net: Net::default(),
            disk,
            bridges: Vec::new(),
            backoffs: Vec::new(),
            sessions,
            in_the_air: BTreeMap::new(),
            next_worker: 0,
            waiting: VecDeque::new(),
            remote_down: 0,
            happened: Vec::new(),
            lost: BTreeMap::new(),
            inputs,
        };
        model.at(start, Timer::Start);
        while model.next().is_some_and(|at| at <= LEAD * 2) {
            model.step();
        }
        model.now = LEAD * 2;
        model
    }

    /// When the next thing happens of itself, on the timeline.
    pub fn due(&self) -> Option<Duration> {
        self.next().map(|at| at.saturating_sub(LEAD * 2))
    }

    fn next(&self) -> Option<Duration> {
        self.agenda.peek().map(|Reverse((at, ..))| *at)
    }

    /// What has happened since the last call, with its moment on the timeline.
    pub fn happened(&mut self) -> Vec<(Duration, Happening)> {
        std::mem::take(&mut self.happened)
    }

    fn tell(&mut self, happening: Happening) {
        self.happened.push((self.now.saturating_sub(LEAD * 2), happening));
    }

    fn at(&mut self, at: Duration, timer: Timer) {
        self.order += 1;
        self.agenda.push(Reverse((at, self.order, self.life, timer)));
    }

    fn after(&mut self, wait: Duration, timer: Timer) {
        self.at(self.now + wait, timer);
    }

    /// Takes what is due next.
    pub fn step(&mut self) {
        let Some(Reverse((at, _, life, timer))) = self.agenda.pop() else { return };
        self.now = self.now.max(at);
        match timer {
            // What is on the wire does not end with the process.
            Timer::Arrival { tcp, to_remote, number } => return self.arrival(tcp, way(to_remote), number),
            Timer::Retransmission { tcp, to_remote } => return self.retransmission(tcp, way(to_remote)),
            Timer::Patience { bridge, tcp } => return self.patience(bridge, tcp),
            Timer::Start => return self.start(),
            _ if life != self.life || !self.running => return,
            _ => {}
        }
        match timer {
            Timer::Dialler { bridge } => self.dialler(bridge),
            Timer::Dial { bridge } => self.dial(bridge, 0),
            Timer::Syn { bridge, tries } => self.dial(bridge, tries),
            Timer::Connected { bridge } => self.connected(bridge),
            Timer::Tick { bridge, tcp } => self.with(bridge, |bridge, io| bridge.tick(tcp, io)),
            Timer::Cancel { bridge, number } => self.with(bridge, |bridge, io| bridge.cancel(number, io)),
            Timer::Waiting { bridge } => self.bring_waiting(bridge),
            _ => {}
        }
    }

    /// Lets a bridge handle something, and does what it asks for.
    fn with(&mut self, index: usize, handle: impl FnOnce(&mut Bridge, &mut Io<'_>)) {
        let mut asks = Vec::new();
        let Some(bridge) = self.bridges.get_mut(index) else { return };
        let disk = self.disk.as_mut();
        handle(bridge, &mut Io { now: self.now, bridge: index, net: &self.net, disk, asks: &mut asks });
        for ask in asks {
            match ask {
                Ask::Sent(tcp, packet) => self.send(tcp, Way::ToRemote, packet),
                Ask::Tick(tcp, wait) => self.after(wait, Timer::Tick { bridge: index, tcp }),
                Ask::Cancel(number, wait) => self.after(wait, Timer::Cancel { bridge: index, number }),
                Ask::Log(line) => self.log(index, line),
                Ask::Closed(tcp) => {
                    self.close_local(tcp);
                    self.redial(index);
                }
                Ask::Crashed => return self.end("signal 11 (SIGSEGV)", false),
            }
        }
    }

    fn start(&mut self) {
        if self.running {
            return;
        }
        self.running = true;
        self.life += 1;
        self.tell(Happening::Started);
        let flush_at = self.settings.cache.map_or(usize::MAX, |cache| cache.flush_mem_threshold);
        let inputs = self.inputs;
        let fresh = |settings: &crate::bridge::config::nanomq::send_path::BridgeSendPath| {
            Bridge::new(settings.clone(), inputs.workers, flush_at, inputs.tests_connected)
        };
        self.bridges = self.settings.bridges.iter().map(fresh).collect();
        let seed = inputs.seed.wrapping_mul(31).wrapping_add(u64::from(self.life) << 8);
        let settings = self.settings.bridges.iter().zip(seed..);
        self.backoffs = settings.map(|(settings, seed)| Backoff::new(settings.backoff_max, seed)).collect();
        self.next_worker = 0;
        for bridge in 0..self.bridges.len() {
            self.after(STARTUP, Timer::Dialler { bridge });
        }
        while let Some((load, seq, qos)) = self.waiting.pop_front() {
            self.publish(load, seq, qos);
        }
    }

    fn redial(&mut self, bridge: usize) {
        let pause = self.backoffs[bridge].pause();
        self.after(pause, Timer::Dialler { bridge });
    }

    fn dialler(&mut self, bridge: usize) {
        let wait = self.backoffs[bridge].wait();
        if let Some(wait) = wait {
            let server = &self.settings.bridges[bridge].server;
            let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
            let text = format!(
                "WARN  mqtt_tcp.c:1610 mqtt_tcptran_ep_connect: reconnect to {host} in {} ms",
                wait.as_millis()
            );
            self.tell(Happening::Log(text));
        }
        self.after(wait.unwrap_or_default(), Timer::Dial { bridge });
    }

    fn dial(&mut self, bridge: usize, tries: u32) {
        let why = match self.net.link.dialled() {
            Dialled::Connects => return self.after(self.inputs.round_trip * 2, Timer::Connected { bridge }),
            Dialled::Silence if tries < SYN_RETRIES => {
                return self.after(Duration::from_secs(1 << tries), Timer::Syn { bridge, tries: tries + 1 });
            }
            Dialled::Silence if tries == SYN_RETRIES => {
                // The last SYN is waited for as well.
                return self.after(Duration::from_secs(1 << tries), Timer::Syn { bridge, tries: tries + 1 });
            }
            Dialled::Silence => "Timed out",
            Dialled::NoName => "Try again",
            Dialled::Refused => "Connection refused",
        };
        self.tell(Happening::Log(format!("INFO  mqtt_tcp.c:1436 mqtt_tcptran_dial_cb: aio result {why}")));
        self.redial(bridge);
    }

    fn connected(&mut self, bridge: usize) {
        if self.net.link.dialled() != Dialled::Connects {
            return self.redial(bridge);
        }
        let tcp = self.net.open(bridge);
        if let Some(earlier) = self.sessions[bridge].connected(tcp, self.now)
            && let Some(earlier) = self.net.tcp(earlier)
        {
            earlier.remote_open = false;
        }
        self.net.sweep();
        self.after(self.settings.bridges[bridge].keep_alive, Timer::Patience { bridge, tcp });
        let server = &self.settings.bridges[bridge].server;
        let text = format!("INFO  bridge.c:1099 bridge_tcp_connect_cb: Bridge [mqtt-tcp://{server}] connected! RC [0]");
        self.tell(Happening::Log(text));
        self.with(bridge, |bridge, io| bridge.connected(tcp, io));
        self.after(self.inputs.round_trip, Timer::Waiting { bridge });
    }

    /// The remote's Keep Alive.
    fn patience(&mut self, bridge: usize, tcp: u32) {
        match self.sessions[bridge].impatient(tcp, self.now) {
            Ok(tcp) => self.close_remote(tcp),
            Err(Some(at)) => self.at(at, Timer::Patience { bridge, tcp }),
            Err(None) => {}
        }
    }

    fn close_local(&mut self, id: u32) {
        if let Some(tcp) = self.net.tcp(id) {
            tcp.local_open = false;
            self.send(id, Way::ToRemote, Packet::Gone);
        }
    }

    fn close_remote(&mut self, id: u32) {
        if let Some(tcp) = self.net.tcp(id).filter(|tcp| tcp.remote_open) {
            tcp.remote_open = false;
            let bridge = tcp.bridge;
            self.sessions[bridge].disconnected(id);
            self.send(id, Way::ToBridge, Packet::Gone);
        }
    }

    fn send(&mut self, tcp: u32, to: Way, packet: Packet) {
        self.order += 1;
        let number = self.order;
        self.in_the_air.insert(number, (packet, self.now));
        self.after(self.inputs.round_trip / 2, Timer::Arrival { tcp, to_remote: to == Way::ToRemote, number });
    }

    fn arrival(&mut self, tcp: u32, to: Way, number: u64) {
        let Some((packet, sent)) = self.in_the_air.remove(&number) else { return };
        if let Some(packet) = self.net.arrives(tcp, to, packet, sent) {
            self.handed_over(tcp, to, packet);
        }
    }

    fn retransmission(&mut self, tcp: u32, to: Way) {
        for packet in self.net.retransmit(tcp, to, self.now) {
            self.handed_over(tcp, to, packet);
        }
        if let Some(bridge) = self.net.tcp(tcp).map(|tcp| tcp.bridge)
            && to == Way::ToRemote
            && self.running
        {
            self.with(bridge, |bridge, io| bridge.writable(tcp, io));
        }
    }

    fn handed_over(&mut self, id: u32, to: Way, packet: Packet) {
        let Some(tcp) = self.net.tcp(id) else { return };
        let (bridge, local_open, remote_open) = (tcp.bridge, tcp.local_open, tcp.remote_open);
        match to {
            Way::ToBridge if local_open && self.running => {
                self.with(bridge, |bridge, io| bridge.received(id, packet, io));
            }
            Way::ToBridge => {}
            Way::ToRemote if packet == Packet::Gone => {
                if let Some(tcp) = self.net.tcp(id) {
                    tcp.remote_open = false;
                }
                self.sessions[bridge].disconnected(id);
            }
            Way::ToRemote if remote_open => {
                let brought = self.sessions[bridge].received(packet, self.now);
                if let Some(message) = brought.delivered {
                    self.tell(Happening::Received(message.load, message.seq));
                }
                if let Some(answer) = brought.answer {
                    self.send(id, Way::ToBridge, answer);
                }
            }
            // RST.
            Way::ToRemote => self.send(id, Way::ToBridge, Packet::Gone),
        }
    }

    /// A publish at the broker, which acknowledges it before it does anything else with it.
    pub fn publish(&mut self, load: u16, seq: u64, qos: u8) {
        if !self.running {
            return self.waiting.push_back((load, seq, qos));
        }
        self.tell(Happening::Published(load, seq));
        let worker = self.next_worker;
        self.next_worker = (worker + 1) % self.inputs.workers.max(1);
        let Some((topic, payload)) = self.topics.get(usize::from(load)).cloned() else { return };
        for index in 0..self.bridges.len() {
            let forwards = self.settings.bridges[index].forwards.clone();
            for (filter, forced) in forwards {
                if topic::matches(&filter, &topic) {
                    let qos = forced.unwrap_or(qos);
                    let bytes = payload + topic.len() + HEADER;
                    let message = Message { load, seq, qos, bytes, packet_id: 0 };
                    self.with(index, |bridge, io| bridge.publish(worker, message, io));
                }
            }
        }
    }

    /// Moves the clock; what is due before has to be taken first.
    pub fn advance(&mut self, to: Duration) {
        self.now = self.now.max(to + LEAD * 2);
    }

    /// A publish at the remote, for the bridge; whether the remote is there to take it.
    pub fn publish_at_remote(&mut self, load: u16, seq: u64, qos: u8) -> bool {
        if self.remote_down > 0 {
            return false;
        }
        self.tell(Happening::Published(load, seq));
        let Some((topic, _)) = self.topics.get(usize::from(load)).cloned() else { return true };
        for bridge in 0..self.sessions.len() {
            let filters = &self.settings.bridges[bridge].subscriptions;
            if filters.iter().any(|filter| topic::matches(filter, &topic)) && self.sessions[bridge].takes(qos) {
                self.sessions[bridge].waiting.push_back((load, seq, qos));
                self.after(self.inputs.round_trip / 2, Timer::Waiting { bridge });
            }
        }
        true
    }

    /// What waits at the remote comes to the bridge, where the link and both ends let it.
    fn bring_waiting(&mut self, bridge: usize) {
        let connected = self.bridges.get(bridge).is_some_and(|bridge| bridge.tcp().is_some());
        if connected && self.net.link.passes(Way::ToBridge) && self.net.link.passes(Way::ToRemote) {
            for (load, seq, _) in std::mem::take(&mut self.sessions[bridge].waiting) {
                self.tell(Happening::Received(load, seq));
            }
        }
    }

    /// Something is done to the link or to a process, or, `over`, comes to its end.
    pub(super) fn outage(&mut self, outage: Outage, over: bool) {
        let change = |figure: &mut u32| *figure = if over { figure.saturating_sub(1) } else { *figure + 1 };
        match outage {
            Outage::Silent { named, to_remote, to_bridge } => {
                let link = &mut self.net.link;
                if !named {
                    change(&mut link.nameless);
                }
                if to_remote {
                    change(&mut link.silent_to_remote);
                }
                if to_bridge {
                    change(&mut link.silent_to_bridge);
                }
                if over {
                    self.healed();
                }
            }
            Outage::Refusing { resets } => {
                change(&mut self.net.link.refusing);
                if resets && !over {
                    self.close_all();
                }
            }
            Outage::Remote { forgets } => {
                change(&mut self.net.link.refusing);
                change(&mut self.remote_down);
                if !over {
                    self.close_all();
                    self.sessions.iter_mut().filter(|_| forgets).for_each(Session::forget);
                }
            }
            Outage::Process { signal } if !over => self.end(signal, true),
            Outage::Process { .. } => self.at(self.now, Timer::Start),
        }
    }

    /// Both ends of every connection know at once.
    fn close_all(&mut self) {
        for id in self.net.ids() {
            let Some(tcp) = self.net.tcp(id) else { continue };
            tcp.remote_open = false;
            let bridge = tcp.bridge;
            self.sessions[bridge].disconnected(id);
            if self.running {
                self.with(bridge, |bridge, io| bridge.received(id, Packet::Gone, io));
            }
        }
    }

    fn healed(&mut self) {
        for tcp in self.net.ids() {
            for to_remote in [true, false] {
                if let Some(at) = self.net.retransmission(tcp, way(to_remote), self.now) {
                    self.at(at, Timer::Retransmission { tcp, to_remote });
                }
            }
        }
        for bridge in 0..self.sessions.len() {
            self.after(self.inputs.round_trip, Timer::Waiting { bridge });
        }
    }

    /// The process ends, however it ends: nothing in memory is written (the handler of SIGTERM calls `exit`).
    fn end(&mut self, how: &'static str, wanted: bool) {
        if !self.running {
            return;
        }
        self.running = false;
        self.tell(Happening::Ended(how, wanted));
        let tcps: Vec<u32> = self.bridges.iter().filter_map(Bridge::tcp).collect();
        self.bridges.clear();
        for tcp in tcps {
            self.close_local(tcp);
        }
    }

    /// Whether no message stands anywhere: none can arrive any more.
    pub fn is_empty(&self) -> bool {
        let nothing = |bridge: &Bridge| bridge.depths() == super::Depths::default();
        self.bridges.iter().all(nothing)
            && self.in_the_air.is_empty()
            && self.waiting.is_empty()
            && self.sessions.iter().all(|session| session.waiting.is_empty())
            && self.net.is_quiet()
            && self.disk.as_ref().is_none_or(Disk::is_empty)
    }

    /// How much stands where, under names as a bridge would serve them.
    pub fn counters(&self) -> Sample {
        let mut sample = Sample::new();
        for (index, settings) in self.settings.bridges.iter().enumerate() {
            let bridge = self.bridges.get(index);
            let depths = bridge.map(Bridge::depths).unwrap_or_default();
            let connected = bridge.is_some_and(|bridge| bridge.tcp().is_some());
            let rows = self.disk.as_ref().map_or(0, |disk| disk.rows_of(index));
            for (name, value) in [
                ("connected", usize::from(connected)),
                ("slots_busy", depths.slots_busy),
                ("ctx_msgs", depths.ctx_msgs),
                ("sent_unack", depths.sent_unack),
                ("send_messages", depths.send_messages),
                ("offline_cache", depths.offline_cache),
                ("sqlite_rows", rows),
            ] {
                sample.insert(format!("nanomq_{name}{{bridge=\"{}\"}}", settings.name), value as f64);
            }
        }
        for (reason, count) in &self.lost {
            sample.insert(format!("nanomq_messages_lost_total{{reason=\"{reason}\"}}"), *count as f64);
        }
        sample
    }

    fn log(&mut self, bridge: usize, line: Line) {
        let server = &self.settings.bridges[bridge].server;
        let mut lost = |reason| *self.lost.entry(reason).or_default() += 1;
        let text = match line {
            Line::CtxMsgsLost => {
                lost("ctx_msgs");
                "WARN  bridge.c:1861 bridge_pub_handler: Cached Message in ctx_msgs is lost!".to_owned()
            }
            Line::QosZeroLost => {
                lost("qos0_busy");
                format!(
                    "WARN  bridge.c:1855 bridge_pub_handler: bridging to mqtt-tcp://{server} aio busy! msg lost! Ctx: 0 drop qos 0 msg"
                )
            }
            Line::Canceled(packet_id) => format!(
                "WARN  mqtt_client.c:1341 mqtt_ctx_cancel_send: Warning : QoS action of msg {packet_id} is canceled due to timeout!"
            ),
            Line::Duplicated(packet_id) => {
                format!(
                    "WARN  mqtt_client.c:540 mqtt_send_msg: Warning : msg {packet_id} lost due to packetID duplicated!"
                )
            }
            Line::Resending(packet_id) => {
                format!("INFO  mqtt_client.c:808 mqtt_timer_cb: resending QoS msg {packet_id}")
            }
            Line::AckFailed(packet_id) => {
                format!("WARN  mqtt_client.c:1131 mqtt_recv_cb: QoS msg ack failed {packet_id}")
            }
            Line::PipeBusy => {
                lost("send_messages");
                "WARN  mqtt_client.c:606 mqtt_send_msg: Cached Message lost! pipe is busy and lmq is full".to_owned()
            }
            Line::IntoSqlite => "INFO  mqtt_client.c:693 mqtt_pipe_close: cached msg into sqlite".to_owned(),
            Line::Offline => {
                "WARN  mqtt_client.c:1456 mqtt_ctx_send: client sending msg while disconnected! cached".to_owned()
            }
            Line::CtxCached => {
                lost("send_queue");
                "WARN  mqtt_client.c:1465 mqtt_ctx_send: ctx is already cached! drop msg".to_owned()
            }
            Line::Timeout => "WARN  mqtt_client.c:762 mqtt_timer_cb: MQTT Timeout and disconnect".to_owned(),
        };
        self.tell(Happening::Log(text));
    }
}

fn way(to_remote: bool) -> Way {
    if to_remote { Way::ToRemote } else { Way::ToBridge }
}
