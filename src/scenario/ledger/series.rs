//! What happened in each second of the timeline: what a chart needs, and no verdict.
use std::time::Duration;

use crate::scenario::counters::{self, Sample};
use crate::scenario::history::Role;

/// Seconds of the timeline at most: a history that was tampered with must not make it as long as its largest number.
pub(super) const MOST_SECONDS: u64 = 60 * 86_400;

/// A run, second by second; the first second first. A list ends with the last second in which there was anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    acknowledged: Vec<Vec<u32>>,
    received: Vec<Vec<u32>>,
    outstanding: Vec<u64>,
    cached: Vec<(Duration, u64)>,
    memory: Vec<(Duration, u64)>,
}

impl Series {
    pub(super) fn new(loads: usize) -> Self {
        Self { acknowledged: vec![Vec::new(); loads], received: vec![Vec::new(); loads], ..Self::default() }
    }

    /// Messages of a load acknowledged to their publisher in each second.
    pub fn acknowledged(&self, load: usize) -> &[u32] {
        self.acknowledged.get(load).map_or(&[], Vec::as_slice)
    }

    /// Whole copies of a load's messages received in each second.
    pub fn received(&self, load: usize) -> &[u32] {
        self.received.get(load).map_or(&[], Vec::as_slice)
    }

    /// Messages acknowledged of which nothing had arrived, at the end of each second; what is lost stays in it.
    pub fn outstanding(&self) -> &[u64] {
        &self.outstanding
    }

    /// Messages that the subject itself counted as queued or in flight, with the moments of the samples; empty where it
    /// does not count them.
    pub fn cached(&self) -> &[(Duration, u64)] {
        &self.cached
    }

    /// Memory of the subject in bytes, with the moments of the samples; empty where it was not measured.
    pub fn memory(&self) -> &[(Duration, u64)] {
        &self.memory
    }

    pub(super) fn count_acknowledged(&mut self, load: u16, t: u64) {
        count(self.acknowledged.get_mut(usize::from(load)), t);
    }

    pub(super) fn count_received(&mut self, load: u16, t: u64) {
        count(self.received.get_mut(usize::from(load)), t);
    }

    pub(super) fn stand(&mut self, at: Duration, outstanding: u64) {
        if at.as_secs() >= MOST_SECONDS {
            return;
        }
        let second = at.as_secs() as usize;
        if second >= self.outstanding.len() {
            // Seconds in which nothing happened are as the one before.
            let before = self.outstanding.last().copied().unwrap_or(0);
            self.outstanding.resize(second + 1, before);
        }
        self.outstanding[second] = outstanding;
    }

    pub(super) fn sampled(&mut self, at: Duration, values: &Sample) {
        let queued = counters::sum(values, "mqtt_bridge_messages_queued");
        let in_flight = counters::sum(values, "mqtt_bridge_messages_in_flight");
        if let Some(queued) = queued {
            self.cached.push((at, queued + in_flight.unwrap_or(0)));
        }
    }

    pub(super) fn used(&mut self, at: Duration, role: Role, memory_bytes: u64) {
        if role == Role::Subject {
            self.memory.push((at, memory_bytes));
        }
    }
}

fn count(seconds: Option<&mut Vec<u32>>, t: u64) {
    let second = t / 1_000_000;
    let Some(seconds) = seconds.filter(|_| second < MOST_SECONDS) else { return };
    if second as usize >= seconds.len() {
        seconds.resize(second as usize + 1, 0);
    }
    seconds[second as usize] += 1;
}

#[cfg(test)]
mod tests {
    use crate::scenario::history::{Event, Role};
    use crate::scenario::story::{Story, at, plan};

    #[test]
    fn a_cut_is_seen_second_by_second() {
        let scenario = "load:\n  - { topic: t, qps: 5 }\ntimeline:\n  - { at: 0s, do: publish, for: 4s }\n  \
            - { at: 1s, do: cut, for: 2s }\n";
        let counters = |queued, in_flight| Event::Counters {
            values: [
                ("mqtt_bridge_messages_queued{bridge=\"a\"}".to_owned(), queued),
                ("mqtt_bridge_messages_queued{bridge=\"b\"}".to_owned(), 1.0),
                ("mqtt_bridge_messages_in_flight{bridge=\"a\"}".to_owned(), in_flight),
            ]
            .into(),
        };
        let used = |role, memory_bytes| Event::Usage { role, memory_bytes, cpu_us: 0 };
        let story = Story::flawless(plan(scenario)).never_received(0, 6..=8).and(at(1900, counters(4.0, 2.0)));
        let story = story.and(at(500, used(Role::Subject, 7))).and(at(500, used(Role::Remote, 9)));
        let ledger = story.ledger();
        let series = ledger.series();
        assert_eq!(series.acknowledged(0), [5, 5, 5, 5]);
        assert_eq!(series.received(0), [5, 0, 0, 12]);
        assert_eq!(series.received(0), ledger.received_per_second());
        // The three that are lost stay outstanding, also in the seconds in which nothing happened.
        assert_eq!(series.outstanding(), [0, 5, 10, 3, 3, 3, 3]);
        assert_eq!(series.cached(), [(std::time::Duration::from_millis(1900), 7)]);
        assert_eq!(series.memory(), [(std::time::Duration::from_millis(500), 7)]);
        assert!(series.acknowledged(1).is_empty() && series.received(1).is_empty());
    }

    #[test]
    fn a_moment_far_beyond_every_run_takes_no_memory() {
        let story =
            Story::flawless(plan("load:\n  - { topic: t, qps: 1 }\ntimeline:\n  - { at: 0s, do: publish, for: 1s }\n"));
        let story = story.and(at(u64::MAX / 1000, Event::Received { load: 0, seq: 0 }));
        assert!(story.ledger().series().received(0).len() <= 2);
    }
}
