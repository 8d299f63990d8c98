//! Publishers, and the bridge's end of their connections: what the listener's shell does.
use std::collections::VecDeque;

use super::*;
use crate::bridge::cache::Applied;
use crate::bridge::cache::writer::stepped::{Line, Opening};
use crate::bridge::core::client::{Client, Effect};
use crate::bridge::sim::ledger::Expected;
use crate::bridge::wire::ReasonCode;

/// One way, on the local network.
const LATENCY: u64 = 3;
const RECEIVE_MAXIMUM: u16 = 16;

impl World {
    /// Publishers do what they can.
    pub(super) fn publish(&mut self) {
        while let Some(spec) = self.plan.messages.get(self.next_message).filter(|spec| spec.at <= self.now) {
            self.publishers[spec.publisher].submit(self.next_message, spec);
            self.next_message += 1;
        }
        let (now, at) = (self.now, self.now + millis(LATENCY));
        let awake = self.is_awake();
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            if publisher.link.is_none()
                && publisher.connect_at <= now
                && awake
                && let Some(process) = &mut self.process
            {
                self.next_seat += 1;
                publisher.connect(self.next_seat, at);
                process.seats.push(Seat::new(self.next_seat, number, publisher, process.clock.at(now)));
            }
            while let Some(link) = &mut publisher.link
                && let Some((_, packet)) = link.down.pop_front_if(|(at, _)| *at <= now)
            {
                match packet {
                    Some(packet) => publisher.handle(&packet, &self.plan.messages, at),
                    None => publisher.lose_link(now + millis(self.random.u64(50..500))),
                }
            }
            publisher.go_on(&self.plan.messages, at);
        }
    }

    /// A publisher's connection breaks.
    pub(super) fn break_local(&mut self, number: usize) {
        let publisher = &mut self.publishers[number];
        let Some(link) = publisher.link.take() else { return };
        publisher.connect_at = self.now + millis(self.random.u64(1..2_000));
        let seats = self.process.iter_mut().flat_map(|process| &mut process.seats);
        if let Some(seat) = seats.into_iter().find(|seat| seat.number == link.seat) {
            // What has arrived is read before the end is.
            seat.input.extend(link.up.into_iter().filter(|(at, _)| *at <= self.now).map(|(_, packet)| packet));
            seat.eof = true;
        }
    }

    pub(super) fn drive_seats(&mut self) {
        let Some(process) = &mut self.process else { return };
        let mut seats = std::mem::take(&mut process.seats);
        let mut ends = false;
        for position in 0..seats.len() {
            let publisher = seats[position].publisher;
            let link = self.publishers[publisher].link.as_mut().filter(|link| link.seat == seats[position].number);
            if let Some(link) = link {
                while let Some((_, packet)) = link.up.pop_front_if(|(at, _)| *at <= self.now) {
                    seats[position].input.push_back(packet);
                }
            }
            // An earlier connection of the same client ends before a later one has its session.
            let (earlier, later) = seats.split_at_mut(position);
            let seat = &mut later[0];
            let mut has_turn = true;
            for other in earlier.iter_mut().filter(|other| other.publisher == publisher && !other.left) {
                has_turn = false;
                if seat.wants.is_some() {
                    ends |= !other.client.is_closing();
                    other.client.handle_close(ReasonCode::SESSION_TAKEN_OVER);
                }
            }
            self.drive_seat(seat, has_turn);
        }
        seats.retain(|seat| !seat.left);
        for link in self.publishers.iter_mut().filter_map(|publisher| publisher.link.as_mut()) {
            if !seats.iter().any(|seat| seat.number == link.seat) {
                // Nobody reads it any more.
                link.up.clear();
            }
        }
        if let Some(process) = &mut self.process {
            process.seats = seats;
        }
        if ends {
            // Nothing else need happen for that.
            self.drive_seats();
        }
    }

    fn drive_seat(&mut self, seat: &mut Seat, has_turn: bool) {
        let Some(process) = &mut self.process else { return };
        let now = process.clock.at(self.now);
        if let Some(leaving) = &mut seat.leaving {
            seat.left |= leaving.answered().is_some();
            return;
        }
        seat.client.handle_timeout(now);
        while let Some(written) = seat.line.answered() {
            if self.sin != Some(Sin::AcknowledgesBeforeCommit) {
                let first = |written: &Result<Applied, ReasonCode>| written.map(|applied| applied == Applied::Done);
                seat.client.handle_committed(&written.iter().map(first).collect::<Vec<_>>());
            }
        }
        match seat.opening.as_mut().and_then(Opening::opened) {
            Some(Ok(seated)) => seat.client.handle_opened(seated.opened, now),
            Some(Err(reason)) => seat.client.handle_not_opened(reason),
            None => {}
        }
        for _ in 0..50 {
            while seat.client.wants_read()
                && let Some(packet) = seat.input.pop_front()
            {
                if self.verbose {
                    eprintln!("{:>9.3} publisher {} -> {packet:?}", self.now.as_secs_f64(), seat.publisher);
                }
                self.ledger.published(&mut seat.expected, &packet);
                seat.client.handle_packet(packet, &process.routes, now);
            }
            if seat.eof && seat.input.is_empty() {
                seat.client.handle_eof();
            }
            seat.client.flush(now);
            while let Some(effect) = seat.client.poll_effect() {
                match effect {
                    Effect::Open { client_id, clean_start, expiry } => {
                        seat.wants = Some((client_id, clean_start, expiry));
                    }
                    Effect::Commit(writes) => {
                        let number = writes.len();
                        if seat.client.ends_with_a_refusal() && self.sin != Some(Sin::TakesWhatFollows) {
                            seat.line.end_with_a_refusal();
                        }
                        process.requests.push_back(seat.line.write(writes, true));
                        if self.sin == Some(Sin::AcknowledgesBeforeCommit) {
                            seat.client.handle_committed(&vec![Ok(true); number]);
                        }
                    }
                    _ => {}
                }
            }
            if seat.client.is_closing() && seat.client.awaits_commit() && !seat.released {
                seat.released = true;
                process.requests.push_back(seat.line.release());
            }
            seat.client.flush(now);
            let open = matches!(&self.publishers[seat.publisher].link, Some(link) if link.seat == seat.number);
            let bytes = seat.client.transmit().to_vec();
            seat.client.handle_written(bytes.len());
            let mut input = bytes.as_slice();
            let mut packets = Vec::new();
            while let Ok(Some(packet)) = seat.written.decode(&mut input) {
                packets.push(packet);
            }
            if self.sin == Some(Sin::AcknowledgesOutOfOrder) {
                packets.reverse();
            }
            for packet in packets {
                if self.verbose {
                    eprintln!("{:>9.3} publisher {} <- {packet:?}", self.now.as_secs_f64(), seat.publisher);
                }
                self.ledger.answered(&mut seat.expected, &packet);
                if open && let Some(link) = &mut self.publishers[seat.publisher].link {
                    link.down.push_back((self.now + millis(LATENCY), Some(packet)));
                }
            }
            let goes_on = (seat.client.wants_read() && !seat.input.is_empty()) || seat.client.has_effects();
            if !goes_on {
                break;
            }
        }
        if has_turn && let Some((client_id, clean_start, expiry)) = seat.wants.take() {
            let (request, opening) = Opening::new(client_id, clean_start, expiry);
            process.requests.push_back(request);
            seat.opening = Some(opening);
        }
        if seat.client.is_finished() {
            if let Some(link) = self.publishers[seat.publisher].link.as_mut().filter(|link| link.seat == seat.number) {
                link.down.push_back((self.now + millis(LATENCY), None));
            }
            let writes = seat.client.ending(&process.routes, now).writes;
            if writes.is_empty() {
                seat.left = true;
            } else {
                let line = Line::default();
                process.requests.push_back(line.write(writes, false));
                seat.leaving = Some(line);
            }
        }
    }
}

impl Seat {
    fn new(number: u64, publisher: usize, of: &Publisher, now: Time) -> Self {
        Self {
            number,
            publisher,
            client: Client::new(RECEIVE_MAXIMUM, 1 << 20, now),
            line: Line::default(),
            wants: None,
            opening: None,
            input: VecDeque::new(),
            eof: false,
            released: false,
            written: Decoder::client(of.version(), 1 << 20),
            expected: Expected::default(),
            leaving: None,
            left: false,
        }
    }
}
