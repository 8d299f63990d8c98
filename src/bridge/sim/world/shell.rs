//! What surrounds a forwarder: it is told what happened, and what it asks for is done.
use super::super::ledger::account::id;
use super::*;
use crate::bridge::core::ring::Ring;

impl World {
    pub(super) fn hear(&mut self, number: usize, link: usize, chunk: Chunk) {
        let Some(process) = &mut self.process else { return };
        let now = process.clock.at(self.now);
        if process.legs[number].connection.as_ref().is_none_or(|connection| connection.link != link) {
            return;
        }
        let (why, in_order) = match chunk {
            Chunk::Bytes(bytes) => {
                let mut input = bytes.as_slice();
                loop {
                    let Some(process) = &mut self.process else { return };
                    let leg = &mut process.legs[number];
                    let Some(connection) = &mut leg.connection else { return };
                    match connection.decoder.decode(&mut input) {
                        Ok(None) => return,
                        Ok(Some(packet)) => {
                            self.ledger.accounts[number].heard(&mut connection.tap, &packet);
                            if let Packet::Connack(connack) = &packet {
                                let (session, said) = self.remotes[number].broker.session_of(link);
                                self.ledger.accounts[number].connected(connack.session_present, session, said);
                                connection.tap.receive_maximum = Some(connack.receive_maximum);
                            }
                            if self.verbose {
                                eprintln!("{:>9.3}   {number} <- {packet:?}", self.now.as_secs_f64());
                            }
                            leg.forwarder.handle_packet(packet, now);
                            self.drive(number);
                        }
                        Err(error) => return self.ledger.violate(format!("the simulated remote is broken: {error}")),
                    }
                }
            }
            Chunk::Fin => ("closed by the remote", true),
            Chunk::Reset => ("reset", false),
        };
        let connection = process.legs[number].connection.take();
        if let Some(connection) = connection.filter(|_| in_order) {
            self.ledger.accounts[number].closed(&connection.tap);
        }
        self.remotes[number].links[link].client_open = false;
        process.legs[number].forwarder.handle_closed(why, in_order, now);
        self.drive(number);
    }

    /// What the shell does after every event.
    pub(super) fn drive(&mut self, number: usize) {
        for _ in 0..100 {
            let Some(process) = &mut self.process else { return };
            let now = process.clock.at(self.now);
            let others_are_up = process.legs.iter().all(|leg| leg.forwarder.is_connected());
            let leg = &mut process.legs[number];
            while let Some(written) = leg.line.answered() {
                let outcomes: Vec<_> = written.iter().map(|written| written.map(|_| ())).collect();
                leg.forwarder.handle_committed(&outcomes, now);
            }
            while let Some((_, ticket)) = leg.delivering.pop_front_if(|(at, _)| *at <= self.now) {
                leg.forwarder.handle_delivered(ticket, Vec::new(), now);
            }
            if leg.connecting.is_some_and(|at| at <= self.now) {
                leg.connecting = None;
                self.connected(number);
            }
            let Some(process) = &mut self.process else { return };
            let leg = &mut process.legs[number];
            let before = leg.forwarder.taken();
            let page = if !others_are_up && self.sin == Some(Sin::WaitsForTheOther) {
                leg.forwarder.pump(&mut Ring::new(1, 1, []), now);
                None
            } else {
                let mut ring = leg.ring.lock();
                leg.forwarder.pump(&mut ring, now);
                ring.wants_page()
            };
            if let Some(columns) = process.counters.lock().bridges.get_mut(&leg.bridge) {
                columns.take(leg.forwarder.taken() - before);
            }
            if let Some((after, messages, bytes)) = page {
                process.requests.push_back(Request::Page { bridge: leg.bridge, after, messages, bytes });
            }
            let wrote = self.write(number);
            let effects = self.perform(number);
            self.tell_of_a_lost_link(number);
            if !wrote && !effects {
                return;
            }
        }
        self.ledger.violate("it spins: 100 effects without a pause".into());
    }

    /// After what the remote has acknowledged last.
    fn tell_of_a_lost_link(&mut self, number: usize) {
        let Some(process) = &mut self.process else { return };
        let leg = &mut process.legs[number];
        let was_up = std::mem::replace(&mut leg.up, leg.forwarder.is_connected());
        if was_up && !leg.up && self.plan.commit_after.is_some() {
            process.requests.push_back(Request::LinkLost { bridge: leg.bridge });
        }
    }

    fn write(&mut self, number: usize) -> bool {
        let Some(process) = &mut self.process else { return false };
        let leg = &mut process.legs[number];
        let Some(connection) = &leg.connection else { return false };
        let link = connection.link;
        let room = self.plan.remotes[number].socket.saturating_sub(self.remotes[number].links[link].up.len());
        let bytes = leg.forwarder.transmit();
        let bytes = bytes[..bytes.len().min(room)].to_vec();
        if bytes.is_empty() {
            return false;
        }
        leg.forwarder.handle_written(bytes.len(), process.clock.at(self.now));
        self.put(number, link, bytes);
        true
    }

    /// Bytes that a socket has taken.
    fn put(&mut self, number: usize, link: usize, bytes: Vec<u8>) {
        let Some(process) = &mut self.process else { return };
        let clock = process.clock.at(self.now);
        let leg = &mut process.legs[number];
        if let Some(connection) = leg.connection.as_mut().filter(|connection| connection.link == link) {
            let mut input = bytes.as_slice();
            while let Ok(Some(packet)) = connection.written.decode(&mut input) {
                if self.verbose {
                    eprintln!("{:>9.3} {number} -> {packet:?}", self.now.as_secs_f64());
                }
                self.ledger.accounts[number].transmitted(&mut connection.tap, &packet, clock, self.now);
                if let (Packet::Publish(publish), Some(Sin::RemovesWhenSent)) = (&packet, self.sin) {
                    let step = Progress::Removed(Outcome::Delivered);
                    for seq in self.ledger.accounts[number].seqs(publish) {
                        let removed = Write::Progress { bridge: leg.bridge, seq, step };
                        process.writer.cache().memory.apply(&[removed]).unwrap();
                    }
                }
            }
        }
        let at = self.now + millis(self.plan.remotes[number].latency);
        self.remotes[number].links[link].up.push(Chunk::Bytes(bytes), at);
    }

    fn connected(&mut self, number: usize) {
        let Some(process) = &mut self.process else { return };
        let now = process.clock.at(self.now);
        let (remote, leg) = (&mut self.remotes[number], &mut process.legs[number]);
        if remote.stalled.iter().any(|until| *until > self.now) {
            return leg.forwarder.handle_closed("connect: timed out", false, now);
        }
        if remote.refused_until > self.now {
            return leg.forwarder.handle_closed("connect: refused", false, now);
        }
        let link = remote.links.len();
        let held_until = remote.holds_back.take().map_or(Time::ZERO, |lasting| self.now + lasting);
        remote.links.push(Link { held_until, ..Link::established() });
        remote.broker.accept(link, self.now);
        leg.connection = Some(Connection {
            link,
            decoder: Decoder::client(self.plan.remotes[number].version, 1 << 20),
            written: Decoder::server(1 << 20),
            tap: Tap::default(),
        });
        leg.forwarder.handle_connected(now);
    }

    fn perform(&mut self, number: usize) -> bool {
        let mut performed = false;
        while let Some(process) = &mut self.process {
            let leg = &mut process.legs[number];
            let Some(effect) = leg.forwarder.poll_effect() else { break };
            performed = true;
            let remote = &mut self.remotes[number];
            match effect {
                Effect::Connect(_) => {
                    let cut = remote.stalled.iter().any(|until| *until > self.now);
                    let takes = if cut { 2_000 } else { 2 * self.plan.remotes[number].latency };
                    leg.connecting = Some(self.now + millis(takes));
                }
                // One server, and no source.
                Effect::Probe(_) | Effect::Resume => {}
                Effect::Close(last) => self.hang_up(number, last),
                Effect::Commit(writes) => process.requests.push_back(leg.line.write(writes, false)),
                Effect::Deliver(ticket, message) => {
                    *remote.received.entry(id(&message.payload)).or_default() += 1;
                    let at = self.now + millis(self.random.u64(0..20));
                    let at = leg.delivering.back().map_or(at, |(last, _)| at.max(*last));
                    leg.delivering.push_back((at, ticket));
                }
                Effect::Log(notice) => self.say(|| format!("{number}: {notice:?}")),
            }
        }
        performed
    }

    fn hang_up(&mut self, number: usize, last: Vec<u8>) {
        let leg = self.process.as_ref().map(|process| &process.legs[number]);
        let Some(link) = leg.and_then(|leg| leg.connection.as_ref()).map(|connection| connection.link) else { return };
        let plan = &self.plan.remotes[number];
        let (latency, linger) = (plan.latency, plan.linger);
        if !last.is_empty() && self.remotes[number].links[link].up.len() + last.len() <= plan.socket {
            self.put(number, link, last);
        }
        if let Some(process) = &mut self.process {
            process.legs[number].connection = None;
        }
        let link = &mut self.remotes[number].links[link];
        link.client_open = false;
        link.down.lose();
        // What the network holds back it keeps.
        let arrives = linger || link.held_until > self.now;
        if !arrives {
            link.up.lose();
        }
        link.up.push(if arrives { Chunk::Fin } else { Chunk::Reset }, self.now + millis(latency));
    }
}
