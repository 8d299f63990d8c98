//! The remote broker, as far as it matters: a session per bridge, QoS 2 without duplicates while the session lasts, and
//! its own Keep Alive.
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::message::{Message, Packet};
use crate::bridge::config::nanomq::send_path::BridgeSendPath;

/// What the remote has of one bridge.
#[derive(Debug)]
pub(super) struct Session {
    /// It outlives the connection.
    kept: bool,
    /// Above this silence the remote closes the connection.
    patience: Duration,
    /// PUBLISHes of QoS 2 without their PUBREL.
    open: BTreeSet<u16>,
    /// The connection that is the client's now.
    tcp: Option<u32>,
    heard: Duration,
    /// Published at the remote, not yet with the bridge: load, sequence and QoS.
    pub(super) waiting: VecDeque<(u16, u64, u8)>,
}

/// What a packet of a bridge brings about.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Brought {
    /// Delivered to the subscribers of the remote.
    pub(super) delivered: Option<Message>,
    /// The answer.
    pub(super) answer: Option<Packet>,
}

impl Session {
    pub(super) fn new(settings: &BridgeSendPath) -> Self {
        let lasts = settings.protocol < 5 || !settings.session_expiry.is_zero();
        Self {
            kept: lasts && !settings.clean_start,
            patience: settings.keep_alive * 3 / 2,
            open: BTreeSet::new(),
            tcp: None,
            heard: Duration::ZERO,
            waiting: VecDeque::new(),
        }
    }

    /// A CONNECT; the client's connection before it, if there is one, is closed by the remote.
    pub(super) fn connected(&mut self, tcp: u32, now: Duration) -> Option<u32> {
        if !self.kept {
            self.forget();
        }
        self.heard = now;
        self.tcp.replace(tcp)
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, tcp: u32) {
        if self.tcp == Some(tcp) {
            self.tcp = None;
            self.waiting.retain(|(_, _, qos)| self.kept && *qos > 0);
        }
    }

    /// The session is lost.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.waiting.clear();
    }

    /// Whether a message for the bridge finds a session.
    pub(super) fn takes(&self, qos: u8) -> bool {
        self.tcp.is_some() || (self.kept && qos > 0)
    }

    /// The connection, if nothing was heard on it for too long; otherwise when to look again.
    pub(super) fn impatient(&self, tcp: u32, now: Duration) -> Result<u32, Option<Duration>> {
        match self.tcp {
            Some(current) if current == tcp && now >= self.heard + self.patience => Ok(current),
            Some(current) if current == tcp => Err(Some(self.heard + self.patience)),
            _ => Err(None),
        }
    }

    /// A packet of the bridge. A message of QoS 2 is delivered with its PUBLISH, as EMQX does.
    pub(super) fn received(&mut self, packet: Packet, now: Duration) -> Brought {
        self.heard = now;
        let (delivered, answer) = match packet {
            Packet::Publish(message) => match message.qos {
                0 => (Some(message), None),
                1 => (Some(message), Some(Packet::Puback(message.packet_id))),
                _ => {
                    let first = self.open.insert(message.packet_id);
                    (first.then_some(message), Some(Packet::Pubrec(message.packet_id)))
                }
            },
            Packet::Pubrel(packet_id) => {
                self.open.remove(&packet_id);
                (None, Some(Packet::Pubcomp(packet_id)))
            }
            Packet::Subscribe(packet_id) => (None, Some(Packet::Suback(packet_id))),
            Packet::Pingreq => (None, Some(Packet::Pingresp)),
            _ => (None, None),
        };
        Brought { delivered, answer }
    }
}
