//! A log, folded: known lines, and what their order tells.
use std::time::Duration;

use crate::scenario::log::{Known, Program, Tally, moment};

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) tally: Tally,
    /// Outages: when the link was seen to go, and when it was back.
    pub(super) outages: Vec<Outage>,
    /// The process was started, or stopped, while the link was down.
    pub(super) ended_offline: Vec<Duration>,
    /// Links that died while rows of the cache were on their way.
    pub(super) broken_drains: Vec<Drain>,
    looks_like: Option<Program>,
    first: Option<Duration>,
    now: Duration,
    last_row: Option<(Duration, u64)>,
    /// mosquitto said that it ends.
    terminating: bool,
}

/// A time without a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    pub(super) from: Duration,
    pub(super) to: Option<Duration>,
}

/// A drain that was broken off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    /// The last row that was acknowledged, and its packet id.
    pub(super) last_row: (Duration, u64),
    /// When the link was seen to be dead.
    pub(super) noticed: Duration,
    /// The packet id of the next row that was acknowledged.
    pub(super) next: Option<u64>,
}

/// More is not told one by one.
const MOST: usize = 10_000;
/// A row that was acknowledged so long before is not of the same drain.
const SAME_DRAIN: Duration = Duration::from_secs(120);

impl Past {
    pub(super) fn fold(&mut self, line: &str) {
        if let Some(at) = moment::of(line) {
            self.first.get_or_insert(at);
            self.now = at;
            self.looks_like = self.looks_like.or_else(|| looks_like(line));
        }
        let now = self.now;
        let Some(entry) = self.tally.fold(now, line) else {
            self.terminating |= line.contains("mosquitto version") && line.ends_with("terminating");
            return;
        };
        match entry.known {
            Known::Signal | Known::Started if self.tally.count(entry.known) > 1 || entry.known == Known::Signal => {
                self.ended(entry.known);
            }
            Known::AckFailed => {
                let packet_id = line.trim_end().rsplit(' ').next().and_then(|id| id.parse().ok()).unwrap_or(0);
                if let Some(drain) = self.broken_drains.last_mut().filter(|drain| drain.next.is_none()) {
                    drain.next = Some(packet_id);
                }
                self.last_row = Some((now, packet_id));
            }
            Known::Timeout => {
                if let Some(last_row) = self.last_row.take().filter(|(at, _)| now.saturating_sub(*at) < SAME_DRAIN)
                    && self.broken_drains.len() < MOST
                {
                    self.broken_drains.push(Drain { last_row, noticed: now, next: None });
                }
            }
            _ => {}
        }
        self.follow();
    }

    /// Keeps the outages in step with the link.
    fn follow(&mut self) {
        let Some((at, up)) = self.tally.link_changes().last().copied() else { return };
        let room = self.outages.len() < MOST;
        match (self.outages.last_mut().filter(|outage| outage.to.is_none()), up) {
            (Some(outage), true) => outage.to = Some(at),
            (None, false) if room => self.outages.push(Outage { from: at, to: None }),
            _ => {}
        }
    }

    fn ended(&mut self, known: Known) {
        let offline = self.outages.last().is_some_and(|outage| outage.to.is_none());
        let clean = std::mem::take(&mut self.terminating);
        if offline && !clean && self.ended_offline.len() < MOST {
            self.ended_offline.push(self.now);
        }
        // Whatever it was, what comes now is another process; a start after a signal is the same end.
        if known == Known::Signal {
            self.terminating = true;
        }
    }

    pub(super) fn program(&self) -> Option<Program> {
        match self.tally.program() {
            Some(Program::MqttBridge) | None => self.looks_like,
            known => known,
        }
    }

    pub(super) fn span(&self) -> Option<[Duration; 2]> {
        Some([self.first?, self.now])
    }

    /// The longest time without a link.
    pub(super) fn longest_outage(&self) -> Option<(Outage, Duration)> {
        let length = |outage: &Outage| (*outage, outage.to.unwrap_or(self.now).saturating_sub(outage.from));
        self.outages.iter().map(length).max_by_key(|(_, length)| *length)
    }
}

/// Whose a dated line is, though it says nothing that is known.
fn looks_like(line: &str) -> Option<Program> {
    let of_nanomq = ["/nanomq/", "/nng/", "nanomq", "NanoMQ"].iter().any(|word| line.contains(word));
    let level = [" INFO ", " WARN ", " ERROR ", " DEBUG ", " TRACE ", " FATAL "].iter().any(|word| line.contains(word));
    if of_nanomq && level && line.contains(".c:") {
        return Some(Program::Nanomq);
    }
    let client = ["New connection from ", "New client connected from ", "mosquitto version ", "Received PUBLISH from "];
    client.iter().any(|word| line.contains(word)).then_some(Program::Mosquitto)
}
