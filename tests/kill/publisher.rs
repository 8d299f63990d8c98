//! A publisher with a kept session, which it resumes as the specification says: what is not acknowledged is sent again
//! with DUP, in its order, and what has its PUBREC gets its PUBREL.
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Disconnect, Packet, Publish, ReasonCode, Version};

use crate::common::wire::Wire;

/// Unacknowledged PUBLISHes of one publisher.
const WINDOW: usize = 20;
/// A bridge that answers nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the publishers are told, and what they tell.
#[derive(Default)]
pub struct Orders {
    /// Where the bridge is now.
    door: Mutex<(Option<SocketAddr>, bool)>,
    changed: Condvar,
    /// Of payloads, in bytes.
    pub size: AtomicUsize,
    /// One message in so many is of QoS 2; below two, every second.
    pub qos_2_every: AtomicUsize,
    /// Between two new PUBLISHes of a publisher, in microseconds: without it they publish as fast as they are answered,
    /// and a backlog that a life has found may stand for all of it.
    pub pause: AtomicU64,
    /// The number of the cycle.
    pub cycle: AtomicU32,
    /// Acknowledgements so far.
    pub acknowledged: AtomicU64,
    /// Topic and number of what is acknowledged, in order.
    accepted: Mutex<Vec<(String, usize)>>,
}

impl Orders {
    pub fn open(&self, address: Option<SocketAddr>) {
        self.door.lock().unwrap().0 = address;
        self.changed.notify_all();
    }

    /// Nothing new any more.
    pub fn stop(&self) {
        self.door.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn stopped(&self) -> bool {
        self.door.lock().unwrap().1
    }

    fn address(&self, last: Option<SocketAddr>) -> SocketAddr {
        let door = self.door.lock().unwrap();
        // The same process may take the connection again, so a known address is tried again too.
        let same = |door: &mut (Option<SocketAddr>, bool)| door.0.is_none() || door.0 == last;
        let (mut door, _) = self.changed.wait_timeout_while(door, Duration::from_millis(20), same).unwrap();
        while door.0.is_none() {
            door = self.changed.wait(door).unwrap();
        }
        door.0.unwrap()
    }

    /// Waits until so many more are acknowledged than at `since`.
    pub fn until_acknowledged(&self, count: u64) {
        let until = std::time::Instant::now() + PATIENCE;
        let mut door = self.door.lock().unwrap();
        while self.acknowledged.load(Ordering::Relaxed) < count {
            assert!(std::time::Instant::now() < until, "{:?} of {count} acknowledged", self.acknowledged);
            door = self.changed.wait_timeout(door, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// What is acknowledged by now.
    pub fn accepted(&self) -> Vec<(String, usize)> {
        self.accepted.lock().unwrap().clone()
    }

    fn count(&self, topic: &str, number: usize) {
        self.accepted.lock().unwrap().push((topic.to_owned(), number));
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }
}

/// What one publisher has said and heard: by QoS (1, 2), of each message in order the cycle of its acknowledgement.
#[derive(Debug, Default)]
pub struct Said {
    pub name: String,
    pub acknowledged: [Vec<Option<u32>>; 2],
}

struct Unfinished {
    qos: QoS,
    number: usize,
    packet_id: u16,
    message: Arc<Message>,
    released: bool,
}

struct Publisher {
    orders: Arc<Orders>,
    said: Said,
    unfinished: VecDeque<Unfinished>,
    next_id: u16,
    turn: usize,
}

pub fn start(name: &str, orders: Arc<Orders>) -> JoinHandle<Said> {
    let said = Said { name: name.to_owned(), ..Said::default() };
    let publisher = Publisher { orders, said, unfinished: VecDeque::new(), next_id: 0, turn: 0 };
    std::thread::Builder::new().name(name.to_owned()).spawn(move || publisher.run()).unwrap()
}

impl Publisher {
    fn run(mut self) -> Said {
        let (mut established, mut last) = (false, None);
        loop {
            let address = self.orders.address(last);
            last = Some(address);
            let connect = Connect {
                clean_start: !established,
                session_expiry: u32::MAX,
                ..Connect::new(Version::V5, &self.said.name)
            };
            let Ok((wire, connack)) = Wire::connect(address, connect, PATIENCE) else { continue };
            assert_eq!(connack.reason, ReasonCode::SUCCESS);
            assert_eq!(connack.session_present, established, "{}: the session is kept", self.said.name);
            established = true;
            match self.talk(wire) {
                Ok(()) => return self.said,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("{}: nothing came within {PATIENCE:?}", self.said.name)
                }
                Err(_) => {}
            }
        }
    }

    /// Until everything is acknowledged after a stop, or the connection ends.
    fn talk(&mut self, mut wire: Wire) -> std::io::Result<()> {
        for entry in &self.unfinished {
            if entry.released {
                wire.send(&Packet::Pubrel(Ack::success(entry.packet_id)));
            } else {
                let publish = Publish::new(entry.message.clone(), entry.packet_id);
                wire.send(&Packet::Publish(Publish { dup: true, ..publish }));
            }
        }
        loop {
            while self.unfinished.len() < WINDOW && !self.orders.stopped() {
                std::thread::sleep(Duration::from_micros(self.orders.pause.load(Ordering::Relaxed)));
                let entry = self.next();
                wire.send(&Packet::Publish(Publish::new(entry.message.clone(), entry.packet_id)));
                self.unfinished.push_back(entry);
            }
            if self.unfinished.is_empty() {
                wire.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)));
                return wire.flush();
            }
            match wire.receive()? {
                Packet::Puback(ack) => {
                    self.acknowledged(ack);
                    self.unfinished.retain(|entry| entry.packet_id != ack.packet_id);
                }
                Packet::Pubrec(ack) => {
                    self.acknowledged(ack);
                    wire.send(&Packet::Pubrel(Ack::success(ack.packet_id)));
                }
                Packet::Pubcomp(ack) => self.unfinished.retain(|entry| entry.packet_id != ack.packet_id),
                Packet::Disconnect(_) => {}
                other => panic!("{} to a publisher", other.name()),
            }
        }
    }

    fn acknowledged(&mut self, ack: Ack) {
        assert!(!ack.reason.is_failure(), "refused: {}", ack.reason);
        let entry = self.unfinished.iter_mut().find(|entry| entry.packet_id == ack.packet_id).unwrap();
        entry.released = true;
        let of = &mut self.said.acknowledged[entry.qos as usize - 1][entry.number];
        if of.is_none() {
            *of = Some(self.orders.cycle.load(Ordering::Relaxed));
            self.orders.count(&entry.message.topic, entry.number);
        }
    }

    fn next(&mut self) -> Unfinished {
        self.turn += 1;
        let every = self.orders.qos_2_every.load(Ordering::Relaxed).max(2);
        let qos = if self.turn % every == 1 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let of = &mut self.said.acknowledged[qos as usize - 1];
        let number = of.len();
        of.push(None);
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.unfinished.iter().any(|entry| entry.packet_id == self.next_id) {
                break;
            }
        }
        let topic = format!("up/{}/{}", self.said.name, qos as u8);
        let mut payload = number.to_string();
        payload.push(' ');
        payload.extend(std::iter::repeat_n('.', self.orders.size.load(Ordering::Relaxed)));
        let message = Arc::new(Message::new(&topic, payload, qos));
        Unfinished { qos, number, packet_id: self.next_id, message, released: false }
    }
}
