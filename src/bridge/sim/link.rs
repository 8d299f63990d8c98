//! One TCP connection: bytes that take their time, and the ways in which they stop.
use std::collections::VecDeque;

use crate::bridge::delivery::Time;

#[derive(Debug, PartialEq)]
pub(super) enum Chunk {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    queue: VecDeque<(Time, Chunk)>,
    last: Time,
}

impl Pipe {
    pub(super) fn push(&mut self, chunk: Chunk, at: Time) {
        self.last = self.last.max(at);
        self.queue.push_back((self.last, chunk));
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.queue.front().map(|(at, _)| *at)
    }

    pub(super) fn take(&mut self, now: Time) -> Option<Chunk> {
        if self.due()? > now {
            return None;
        }
        self.queue.pop_front().map(|(_, chunk)| chunk)
    }

    /// Bytes that the other end has not taken.
    pub(super) fn len(&self) -> usize {
        let bytes = |chunk: &Chunk| if let Chunk::Bytes(bytes) = chunk { bytes.len() } else { 0 };
        self.queue.iter().map(|(_, chunk)| bytes(chunk)).sum()
    }

    pub(super) fn lose(&mut self) {
        self.queue.clear();
    }
}

#[derive(Debug, Default)]
pub(super) struct Link {
    /// To the remote.
    pub(super) up: Pipe,
    /// From the remote.
    pub(super) down: Pipe,
    pub(super) client_open: bool,
    pub(super) server_open: bool,
    /// Until then the network keeps what goes up.
    pub(super) held_until: Time,
}

impl Link {
    pub(super) fn established() -> Self {
        Self { client_open: true, server_open: true, ..Self::default() }
    }
}
