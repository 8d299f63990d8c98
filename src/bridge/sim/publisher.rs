//! A local publisher as the specification wants it: it sends what is not acknowledged again, in its order.
use std::collections::VecDeque;
use std::sync::Arc;

use super::plan::{PublisherPlan, Spec, TOPICS};
use crate::bridge::delivery::Time;
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::wire::{Ack, Connect, Packet, Publish, Version};

#[derive(Debug)]
struct InFlight {
    number: usize,
    packet_id: u16,
    qos: QoS,
    /// PUBREC has come.
    released: bool,
}

/// Its end of a connection.
#[derive(Debug)]
pub(super) struct LocalLink {
    pub(super) seat: u64,
    pub(super) up: VecDeque<(Time, Packet)>,
    /// `None`: closed.
    pub(super) down: VecDeque<(Time, Option<Packet>)>,
    /// CONNACK has come, and allows as much.
    window: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) plan: PublisherPlan,
    name: String,
    waiting: VecDeque<usize>,
    in_flight: VecDeque<InFlight>,
    last_id: u16,
    pub(super) link: Option<LocalLink>,
    pub(super) connect_at: Time,
    /// It was told of a session that is kept.
    pub(super) kept: bool,
    /// What it found wrong.
    pub(super) violation: Option<String>,
}

impl Publisher {
    pub(super) fn new(number: usize, plan: &PublisherPlan) -> Self {
        Self {
            plan: plan.clone(),
            name: format!("publisher-{number}"),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            last_id: 0,
            link: None,
            connect_at: Time::ZERO,
            kept: false,
            violation: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn submit(&mut self, number: usize, spec: &Spec) {
        // Nobody keeps QoS 0 for a better day.
        if spec.qos != QoS::AtMostOnce || self.link.is_some() {
            self.waiting.push_back(number);
        }
    }

    pub(super) fn connect(&mut self, seat: u64, now: Time) {
        let expiry = if self.plan.persistent { u32::MAX } else { 0 };
        let connect = Connect {
            clean_start: !self.plan.persistent,
            session_expiry: expiry,
            ..Connect::new(self.plan.version, &self.name)
        };
        let up = [(now, Packet::Connect(Box::new(connect)))].into();
        self.link = Some(LocalLink { seat, up, down: VecDeque::new(), window: None });
    }

    pub(super) fn lose_link(&mut self, connect_at: Time) {
        self.link = None;
        self.connect_at = connect_at;
    }

    fn send(&mut self, packet: Packet, at: Time) {
        if let Some(link) = &mut self.link {
            link.up.push_back((at, packet));
        }
    }

    /// What has come; its answers arrive `at`.
    pub(super) fn handle(&mut self, packet: &Packet, specs: &[Spec], at: Time) {
        match packet {
            Packet::Connack(connack) if !connack.reason.is_failure() => {
                let present = connack.session_present;
                if self.kept && !present || present && !self.plan.persistent {
                    self.violation = Some(format!("Session Present {present} for {}", self.name));
                }
                self.kept = self.plan.persistent;
                if let Some(link) = &mut self.link {
                    link.window = Some(self.plan.window.min(connack.receive_maximum.into()));
                }
                self.resend(present, specs, at);
            }
            Packet::Puback(ack) => {
                self.in_flight.retain(|it| it.packet_id != ack.packet_id || it.qos != QoS::AtLeastOnce)
            }
            Packet::Pubrec(ack) if ack.reason.is_failure() => {
                self.in_flight.retain(|it| it.packet_id != ack.packet_id);
            }
            Packet::Pubrec(ack) => {
                if let Some(it) = self.in_flight.iter_mut().find(|it| it.packet_id == ack.packet_id) {
                    it.released = true;
                }
                self.send(Packet::Pubrel(Ack::success(ack.packet_id)), at);
            }
            Packet::Pubcomp(ack) => self.in_flight.retain(|it| it.packet_id != ack.packet_id),
            _ => {}
        }
        self.go_on(specs, at);
    }

    fn resend(&mut self, present: bool, specs: &[Spec], at: Time) {
        if !present {
            self.in_flight.retain(|it| !it.released);
        }
        for it in std::mem::take(&mut self.in_flight) {
            let packet = match it.released {
                true => Packet::Pubrel(Ack::success(it.packet_id)),
                false => publish(&specs[it.number], it.number, it.packet_id, present),
            };
            self.send(packet, at);
            self.in_flight.push_back(it);
        }
    }

    /// Sends what the window allows.
    pub(super) fn go_on(&mut self, specs: &[Spec], at: Time) {
        let Some(window) = self.link.as_ref().and_then(|link| link.window) else { return };
        while let Some(number) = self.waiting.front().copied() {
            let qos = specs[number].qos;
            if qos != QoS::AtMostOnce && self.in_flight.len() >= window {
                return;
            }
            self.waiting.pop_front();
            let mut packet_id = 0;
            if qos != QoS::AtMostOnce {
                loop {
                    // Few of them, so that they are used again soon.
                    self.last_id = self.last_id % 40 + 1;
                    if !self.in_flight.iter().any(|it| it.packet_id == self.last_id) {
                        break;
                    }
                }
                packet_id = self.last_id;
                self.in_flight.push_back(InFlight { number, packet_id, qos, released: false });
            }
            self.send(publish(&specs[number], number, packet_id, false), at);
        }
    }

    pub(super) fn version(&self) -> Version {
        self.plan.version
    }
}

fn publish(spec: &Spec, number: usize, packet_id: u16, dup: bool) -> Packet {
    let mut payload = (number as u64).to_be_bytes().to_vec();
    payload.resize(spec.size, 0);
    let properties = Properties { message_expiry: spec.expiry, ..Properties::default() };
    let message = Message { properties, ..Message::new(TOPICS[spec.topic], payload, spec.qos) };
    Packet::Publish(Publish { dup, ..Publish::new(Arc::new(message), packet_id) })
}
