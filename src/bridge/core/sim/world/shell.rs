//! What surrounds the forwarder: it is told what happened, and what it asks for is done.
use super::super::ledger::id;
use super::*;

impl World {
    pub(super) fn hear(&mut self, link: usize, chunk: Chunk) {
        let Some(process) = &mut self.process else { return };
        if process.connection.as_ref().is_none_or(|connection| connection.link != link) {
            return;
        }
        let (why, in_order) = match chunk {
            Chunk::Bytes(bytes) => {
                let mut input = bytes.as_slice();
                loop {
                    let Some(process) = &mut self.process else { return };
                    let Some(connection) = &mut process.connection else { return };
                    match connection.decoder.decode(&mut input) {
                        Ok(None) => return,
                        Ok(Some(packet)) => {
                            self.ledger.heard(&mut connection.tap, &packet);
                            if let Packet::Connack(connack) = &packet {
                                self.broker.unheard.remove(&link);
                                connection.tap.receive_maximum = Some(connack.receive_maximum);
                            }
                            if self.verbose {
                                eprintln!("{:>9.3}   <- {packet:?}", self.now.as_secs_f64());
                            }
                            process.forwarder.handle_packet(packet, self.now);
                            self.drive();
                        }
                        Err(error) => return self.ledger.violate(format!("the simulated remote is broken: {error}")),
                    }
                }
            }
            Chunk::Fin => ("closed by the remote", true),
            Chunk::Reset => ("reset", false),
        };
        process.connection = None;
        self.links[link].client_open = false;
        process.forwarder.handle_closed(why, in_order, self.now);
        self.drive();
    }

    /// What the shell does after every event.
    pub(super) fn drive(&mut self) {
        for _ in 0..100 {
            let Some(process) = &mut self.process else { return };
            while process.delivering.front().is_some_and(|(at, _)| *at <= self.now) {
                if let Some((_, ticket)) = process.delivering.pop_front() {
                    process.forwarder.handle_delivered(ticket, Vec::new(), self.now);
                }
            }
            if process.connecting.is_some_and(|at| at <= self.now) {
                process.connecting = None;
                self.connected();
            }
            let Some(process) = &mut self.process else { return };
            process.forwarder.pump(&mut process.ring, self.now);
            if process.asked.is_none() && process.page.is_none() {
                let at = self.now + millis(self.random.u64(0..self.plan.commit));
                process.asked = process.ring.wants_page().map(|(after, messages, bytes)| (at, after, messages, bytes));
            }
            let wrote = self.write();
            let effects = self.perform();
            if !wrote && !effects {
                return;
            }
        }
        self.ledger.violate("it spins: 100 effects without a pause".into());
    }

    pub(super) fn write(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let Some(connection) = &process.connection else { return false };
        let link = connection.link;
        let room = self.plan.socket.saturating_sub(self.links[link].up.len());
        let bytes = process.forwarder.transmit();
        let bytes = bytes[..bytes.len().min(room)].to_vec();
        if bytes.is_empty() {
            return false;
        }
        process.forwarder.handle_written(bytes.len(), self.now);
        self.put(link, bytes);
        true
    }

    /// Bytes that a socket has taken.
    pub(super) fn put(&mut self, link: usize, bytes: Vec<u8>) {
        let Some(process) = &mut self.process else { return };
        if let Some(connection) = process.connection.as_mut().filter(|connection| connection.link == link) {
            let mut input = bytes.as_slice();
            while let Ok(Some(packet)) = connection.written.decode(&mut input) {
                if self.verbose {
                    eprintln!("{:>9.3} -> {packet:?}", self.now.as_secs_f64());
                }
                self.ledger.transmitted(&mut connection.tap, &packet, self.now);
                if let (Packet::Publish(publish), Some(Sin::RemovesWhenSent)) = (&packet, self.sin) {
                    let removed = Progress::Removed(Outcome::Delivered);
                    let seq = self.ledger.seq(publish);
                    self.cache.apply(&[Write::Progress { bridge: process.bridge, seq, step: removed }]).unwrap();
                }
            }
        }
        let at = self.now + millis(self.plan.latency);
        self.links[link].up.push(Chunk::Bytes(bytes), at);
    }

    pub(super) fn connected(&mut self) {
        let Some(process) = &mut self.process else { return };
        if self.stalled.iter().any(|until| *until > self.now) {
            return process.forwarder.handle_closed("connect: timed out", false, self.now);
        }
        if self.refused_until > self.now {
            return process.forwarder.handle_closed("connect: refused", false, self.now);
        }
        let link = self.links.len();
        self.links.push(Link::established());
        self.broker.accept(link, self.now);
        process.connection = Some(Connection {
            link,
            decoder: Decoder::client(self.plan.version, 1 << 20),
            written: Decoder::server(1 << 20),
            tap: Tap::default(),
        });
        process.forwarder.handle_connected(self.now);
    }

    pub(super) fn perform(&mut self) -> bool {
        let mut performed = false;
        while let Some(effect) = self.process.as_mut().and_then(|process| process.forwarder.poll_effect()) {
            performed = true;
            let Some(process) = &mut self.process else { break };
            match effect {
                Effect::Connect => {
                    let cut = self.stalled.iter().any(|until| *until > self.now);
                    let takes = if cut { 2_000 } else { 2 * self.plan.latency };
                    process.connecting = Some(self.now + millis(takes));
                }
                Effect::Close(last) => self.hang_up(last),
                Effect::Commit(writes) => {
                    let at = self.now + millis(self.random.u64(0..self.plan.commit));
                    let at = process.jobs.back().map_or(at, |(last, _)| at.max(*last));
                    process.jobs.push_back((at, Job::Forwarder(writes)));
                }
                Effect::Deliver(ticket, message) => {
                    let number = id(&message.payload);
                    *self.received.entry(number).or_default() += 1;
                    let at = self.now + millis(self.random.u64(0..20));
                    let at = process.delivering.back().map_or(at, |(last, _)| at.max(*last));
                    process.delivering.push_back((at, ticket));
                }
                Effect::Log(notice) => self.say(|| format!("{notice:?}")),
            }
        }
        performed
    }

    pub(super) fn hang_up(&mut self, last: Vec<u8>) {
        let Some(link) = self.process.as_ref().and_then(|process| process.connection.as_ref()).map(|c| c.link) else {
            return;
        };
        if !last.is_empty() && self.links[link].up.len() + last.len() <= self.plan.socket {
            self.put(link, last);
        }
        if let Some(process) = &mut self.process {
            process.connection = None;
        }
        let link = &mut self.links[link];
        link.client_open = false;
        link.down.lose();
        if !self.plan.linger {
            link.up.lose();
        }
        let at = self.now + millis(self.plan.latency);
        link.up.push(if self.plan.linger { Chunk::Fin } else { Chunk::Reset }, at);
    }
}
