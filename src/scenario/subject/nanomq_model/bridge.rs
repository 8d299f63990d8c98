//! One bridge of NanoMQ, from the publish at the broker to the acknowledgement of the remote.
//!
//! Functions are named after what they do; the comment behind each is the function of NanoMQ 0.24.6 that does it
//! (`nanomq/bridge.c`, `nng/src/mqtt/protocol/mqtt/mqtt_client.c`).
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::disk::Disk;
use super::message::{Holder, Message, Packet};
use super::net::Net;
use crate::bridge::config::nanomq::send_path::BridgeSendPath;

/// NNG_MAX_SEND_LMQ: of `send_messages`, whatever the configuration says.
const SEND_MESSAGES: usize = 64;
/// From one tick to the next, besides `resend_interval`: the timer's own millisecond.
const TICK: Duration = Duration::from_millis(1);
/// Reading and deleting a row, which the next tick waits for (measured: 19.1 rows a second at 50 ms).
const ROW: Duration = Duration::from_micros(1_300);

/// What a bridge asks of its surroundings.
#[derive(Debug, PartialEq)]
pub(super) enum Ask {
    /// A packet was written to the socket.
    Sent(u32, Packet),
    /// The next tick of a connection.
    Tick(u32, Duration),
    /// `cancel_timeout` of a send, by its number.
    Cancel(u64, Duration),
    /// The connection was closed.
    Closed(u32),
    /// The process is gone.
    Crashed,
    /// A line of the log.
    Log(Line),
}

/// What NanoMQ logs about its send path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    CtxMsgsLost,
    QosZeroLost,
    Canceled(u16),
    Duplicated(u16),
    Resending(u16),
    AckFailed(u16),
    PipeBusy,
    IntoSqlite,
    Offline,
    CtxCached,
    Timeout,
}

/// What a bridge may use while it handles something.
pub(super) struct Io<'a> {
    pub(super) now: Duration,
    /// Its index.
    pub(super) bridge: usize,
    pub(super) net: &'a Net,
    pub(super) disk: Option<&'a mut Disk>,
    pub(super) asks: &'a mut Vec<Ask>,
}

impl Io<'_> {
    fn log(&mut self, line: Line) {
        self.asks.push(Ask::Log(line));
    }
}

/// The state of one bridge; it dies with the process.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) settings: BridgeSendPath,
    /// `offline_cache` is written to SQLite at this length.
    flush_at: usize,
    /// Whether the slot test also asks if the bridge is connected (0.24.14, 0.25.1 to 0.25.6).
    tests_connected: bool,
    /// `nng_aio_busy(bridge_aio[i])`.
    slots: Vec<bool>,
    /// `node->busy`.
    resending: bool,
    ctx_msgs: VecDeque<Message>,
    /// By packet identifier; outlives the connection.
    sent_unack: BTreeMap<u16, InFlight>,
    /// Without SQLite: the one context that may wait for a connection.
    send_queue: Option<(Holder, Packet)>,
    offline_cache: VecDeque<Message>,
    pipe: Option<Pipe>,
    next_packet_id: u16,
    sends: u64,
    /// Aios that have ended and whose callbacks are still to be run.
    ended: VecDeque<Holder>,
}

#[derive(Debug)]
struct InFlight {
    packet: Packet,
    holder: Holder,
    sent: Duration,
    number: u64,
}

/// A connection after its CONNACK.
#[derive(Debug)]
struct Pipe {
    tcp: u32,
    /// A write that the socket did not take yet.
    blocked: Option<Packet>,
    send_messages: VecDeque<Packet>,
    /// PINGREQs without an answer.
    pings: u8,
    /// Until the next PINGREQ.
    left: Duration,
}

/// How much stands where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depths {
    /// Worker slots that are busy.
    pub slots_busy: usize,
    /// `ctx_msgs`.
    pub ctx_msgs: usize,
    /// `sent_unack`.
    pub sent_unack: usize,
    /// `send_messages`.
    pub send_messages: usize,
    /// `offline_cache`.
    pub offline_cache: usize,
}

impl Bridge {
    pub(super) fn new(settings: BridgeSendPath, workers: usize, flush_at: usize, tests_connected: bool) -> Self {
        Self {
            settings,
            flush_at,
            tests_connected,
            slots: vec![false; workers],
            resending: false,
            ctx_msgs: VecDeque::new(),
            sent_unack: BTreeMap::new(),
            send_queue: None,
            offline_cache: VecDeque::new(),
            pipe: None,
            next_packet_id: 1,
            sends: 0,
            ended: VecDeque::new(),
        }
    }

    pub(super) fn depths(&self) -> Depths {
        Depths {
            slots_busy: self.slots.iter().filter(|busy| **busy).count(),
            ctx_msgs: self.ctx_msgs.len(),
            sent_unack: self.sent_unack.len(),
            send_messages: self.pipe.as_ref().map_or(0, |pipe| pipe.send_messages.len()),
            offline_cache: self.offline_cache.len(),
        }
    }

    pub(super) fn tcp(&self) -> Option<u32> {
        self.pipe.as_ref().map(|pipe| pipe.tcp)
    }

    /// A worker has a publish for this bridge (`bridge_pub_handler`).
    pub(super) fn publish(&mut self, worker: usize, message: Message, io: &mut Io<'_>) {
        let Some(busy) = self.slots.get(worker).copied() else { return };
        if busy || (self.tests_connected && self.pipe.is_none()) {
            if message.qos == 0 {
                return io.log(Line::QosZeroLost);
            }
            // Without a length the queue has a capacity of 0, and what is thrown out of it is no message.
            let Some(length) = self.settings.max_send_queue_len else { return io.asks.push(Ask::Crashed) };
            if self.ctx_msgs.len() >= length {
                io.log(Line::CtxMsgsLost);
                self.ctx_msgs.pop_front();
            }
            return self.ctx_msgs.push_back(message);
        }
        self.send(Holder::Slot(worker), Packet::Publish(message), io);
        self.run_callbacks(io);
    }

    /// Gives a packet to the client (`mqtt_ctx_send`).
    fn send(&mut self, holder: Holder, mut packet: Packet, io: &mut Io<'_>) {
        match holder {
            Holder::Slot(worker) => self.slots[worker] = true,
            Holder::Resend => self.resending = true,
            Holder::Subscribe => {}
        }
        match &mut packet {
            Packet::Publish(message) if message.qos > 0 => message.packet_id = self.packet_id(),
            Packet::Subscribe(packet_id) => *packet_id = self.packet_id(),
            _ => {}
        }
        if self.pipe.is_some() {
            return self.send_on_pipe(holder, packet, io);
        }
        let cached = |message: &Message| message.qos > 0 || self.settings.retry_qos_0;
        match packet {
            Packet::Publish(message) if io.disk.is_some() && cached(&message) => {
                self.offline_cache.push_back(message);
                if self.offline_cache.len() >= self.flush_at {
                    self.flush(io);
                }
                self.ended.push_back(holder);
            }
            // The aio waits with its context, without a timer.
            _ if self.send_queue.is_none() => {
                io.log(Line::Offline);
                self.send_queue = Some((holder, packet));
            }
            _ => {
                io.log(Line::CtxCached);
                self.ended.push_back(holder);
            }
        }
    }

    fn packet_id(&mut self) -> u16 {
        let packet_id = self.next_packet_id;
        self.next_packet_id = packet_id.checked_add(1).unwrap_or(1);
        packet_id
    }

    /// `sqlite_flush_offline_cache`.
    fn flush(&mut self, io: &mut Io<'_>) {
        if let Some(disk) = io.disk.as_deref_mut() {
            disk.flush(io.bridge, self.offline_cache.drain(..), io.now);
        }
    }

    /// `mqtt_send_msg`: above QoS 0 the aio does not end here, but with the acknowledgement.
    fn send_on_pipe(&mut self, holder: Holder, packet: Packet, io: &mut Io<'_>) {
        let (qos, packet_id) = match packet {
            Packet::Publish(message) => (message.qos, message.packet_id),
            Packet::Subscribe(packet_id) => (1, packet_id),
            _ => (0, 0),
        };
        if qos > 0 {
            self.sends += 1;
            let in_flight = InFlight { packet, holder, sent: io.now, number: self.sends };
            if let Some(earlier) = self.sent_unack.insert(packet_id, in_flight) {
                io.log(Line::Duplicated(packet_id));
                self.ended.push_back(earlier.holder);
            }
            io.asks.push(Ask::Cancel(self.sends, self.settings.cancel_timeout));
        }
        let Some(pipe) = &mut self.pipe else { return };
        if pipe.blocked.is_none() {
            pipe.write(packet, io);
        } else if qos > 0 || self.settings.retry_qos_0 {
            if pipe.send_messages.len() >= SEND_MESSAGES {
                io.log(Line::PipeBusy);
                pipe.send_messages.pop_front();
            }
            pipe.send_messages.push_back(packet);
        }
        if qos == 0 {
            self.ended.push_back(holder);
        }
    }

    /// The callbacks of the aios that have ended (`bridge_send_cb`, `bridge_resend_cb`): each sends one message of
    /// `ctx_msgs`. Nothing else ever does.
    fn run_callbacks(&mut self, io: &mut Io<'_>) {
        while let Some(holder) = self.ended.pop_front() {
            match holder {
                Holder::Slot(worker) => self.slots[worker] = false,
                Holder::Resend => self.resending = false,
                Holder::Subscribe => continue,
            }
            if !self.resending
                && let Some(message) = self.ctx_msgs.pop_front()
            {
                self.send(Holder::Resend, Packet::Publish(message), io);
            }
        }
    }

    /// `cancel_timeout` of a send is over (`mqtt_ctx_cancel_send`). Without a connection it does nothing, and it never
    /// comes again: the aio stays busy.
    pub(super) fn cancel(&mut self, number: u64, io: &mut Io<'_>) {
        let found = self.sent_unack.iter().find(|(_, in_flight)| in_flight.number == number);
        let Some(packet_id) = found.map(|(packet_id, _)| *packet_id).filter(|_| self.pipe.is_some()) else { return };
        if let Some(in_flight) = self.sent_unack.remove(&packet_id) {
            io.log(Line::Canceled(packet_id));
            self.ended.push_back(in_flight.holder);
        }
        self.run_callbacks(io);
    }

    /// The CONNACK is there (`mqtt_pipe_start`, `bridge_tcp_connect_cb`). `ctx_msgs` is not looked at.
    pub(super) fn connected(&mut self, tcp: u32, io: &mut Io<'_>) {
        let left = self.settings.keep_alive;
        self.pipe = Some(Pipe { tcp, blocked: None, send_messages: VecDeque::new(), pings: 0, left });
        io.asks.push(Ask::Tick(tcp, self.settings.resend_interval + TICK));
        if let Some((holder, packet)) = self.send_queue.take() {
            self.send_on_pipe(holder, packet, io);
        }
        if !self.settings.subscriptions.is_empty() {
            self.send(Holder::Subscribe, Packet::Subscribe(0), io);
        }
        self.run_callbacks(io);
    }

    /// `mqtt_pipe_close`: `sent_unack` is kept, and with it every slot that waits there.
    pub(super) fn close(&mut self, io: &mut Io<'_>) {
        let Some(pipe) = self.pipe.take() else { return };
        let unsent = pipe.send_messages.iter().filter_map(|packet| match packet {
            Packet::Publish(message) => Some(*message),
            _ => None,
        });
        if !pipe.send_messages.is_empty()
            && let Some(disk) = io.disk.as_deref_mut()
        {
            disk.flush(io.bridge, unsent, io.now);
            io.log(Line::IntoSqlite);
        }
        io.asks.push(Ask::Closed(pipe.tcp));
    }

    /// `mqtt_timer_cb`: the one tick does at most one thing.
    pub(super) fn tick(&mut self, tcp: u32, io: &mut Io<'_>) {
        let interval = self.settings.resend_interval;
        let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.tcp == tcp) else { return };
        if pipe.pings > 0 {
            io.log(Line::Timeout);
            return self.close(io);
        }
        pipe.left = pipe.left.saturating_sub(interval);
        let next = Ask::Tick(tcp, interval + TICK);
        // Where the socket takes nothing any more there is no PINGREQ, and so nobody finds out.
        if pipe.blocked.is_none() && pipe.left.is_zero() {
            pipe.left = self.settings.keep_alive;
            pipe.pings += 1;
            pipe.write(Packet::Pingreq, io);
            return io.asks.push(next);
        }
        if let Some((packet_id, in_flight)) = self.sent_unack.iter_mut().next()
            && io.now.saturating_sub(in_flight.sent) > self.settings.resend_wait
        {
            if pipe.blocked.is_none() {
                in_flight.sent = io.now;
                io.log(Line::Resending(*packet_id));
                pipe.write(in_flight.packet, io);
                return io.asks.push(next);
            } else if pipe.send_messages.len() < SEND_MESSAGES {
                pipe.send_messages.push_back(in_flight.packet);
            }
        }
        if pipe.blocked.is_none() && io.disk.is_some() {
            if !self.offline_cache.is_empty() {
                self.flush(io);
            }
            let row = io.disk.as_deref_mut().and_then(|disk| disk.take_oldest(io.bridge));
            if let (Some(message), Some(pipe)) = (row, &mut self.pipe) {
                pipe.write(Packet::Publish(message), io);
                return io.asks.push(Ask::Tick(tcp, interval + TICK + ROW));
            }
        }
        io.asks.push(next);
    }

    /// The socket takes more again (`mqtt_send_cb`).
    pub(super) fn writable(&mut self, tcp: u32, io: &mut Io<'_>) {
        let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.tcp == tcp) else { return };
        let blocked = pipe.blocked.take();
        if let Some(packet) = blocked {
            pipe.write(packet, io);
        }
        while pipe.blocked.is_none()
            && let Some(packet) = pipe.send_messages.pop_front()
        {
            pipe.write(packet, io);
        }
    }

    /// A packet of the remote (`mqtt_recv_cb`).
    pub(super) fn received(&mut self, tcp: u32, packet: Packet, io: &mut Io<'_>) {
        let keep_alive = self.settings.keep_alive;
        let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.tcp == tcp) else { return };
        if packet == Packet::Gone {
            return self.close(io);
        }
        (pipe.pings, pipe.left) = (0, keep_alive);
        match packet {
            Packet::Pubrec(packet_id) if pipe.blocked.is_none() => pipe.write(Packet::Pubrel(packet_id), io),
            Packet::Pubrec(packet_id) if pipe.send_messages.len() < SEND_MESSAGES => {
                pipe.send_messages.push_back(Packet::Pubrel(packet_id));
            }
            Packet::Puback(packet_id) | Packet::Pubcomp(packet_id) | Packet::Suback(packet_id) => {
                match self.sent_unack.remove(&packet_id) {
                    Some(in_flight) => self.ended.push_back(in_flight.holder),
                    // Of every row of SQLite: nobody waits for it.
                    None => io.log(Line::AckFailed(packet_id)),
                }
                self.run_callbacks(io);
            }
            _ => {}
        }
    }
}

impl Pipe {
    /// `nni_pipe_send`, while nothing is blocked.
    fn write(&mut self, packet: Packet, io: &mut Io<'_>) {
        if io.net.has_room(self.tcp) {
            io.asks.push(Ask::Sent(self.tcp, packet));
        } else {
            self.blocked = Some(packet);
        }
    }
}
