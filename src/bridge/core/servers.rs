//! Which server of several is connected to: they are tried in order, and the first is returned to.
//!
//! Another server knows nothing of our session, so a change makes what is in flight ambiguous (G5): a link that is lost
//! once is tried again where it was, and the return to the first waits until nothing is in flight.
use std::time::Duration;

use crate::bridge::delivery::Time;

/// Connections or attempts at one server that fail in a row before the next is tried.
const FAILURES: u32 = 2;
/// A connection that has lasted for so long was no failure, however it ended.
const STABLE: Duration = Duration::from_secs(10);
/// The most by which the time between probes grows while returns fail.
const MOST_PATIENCE: u32 = 16;

/// The way back to the first server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Return {
    /// Nothing to be done: on the first, not connected, or never.
    No,
    /// To be probed then.
    At(Time),
    /// It is being probed.
    Probing,
    /// It answers: this connection ends as soon as nothing is in flight on it, or is kept if that takes longer.
    Leaving { until: Time },
}

/// Which server is in use.
#[derive(Debug)]
pub struct Servers {
    count: usize,
    current: usize,
    failures: u32,
    connected_at: Option<Time>,
    failback: Option<Duration>,
    /// Factor on `failback`: a first server that answers and then fails is asked less often.
    patience: u32,
    back: Return,
}

impl Servers {
    /// So many, one of which is where the session is; the first is probed that long after a connect to another (`None`:
    /// never).
    pub fn new(count: usize, current: usize, failback: Option<Duration>) -> Self {
        let back = Return::No;
        Self { count, current, failures: 0, connected_at: None, failback, patience: 1, back }
    }

    /// Index of the one in use.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Its CONNACK has come.
    pub fn handle_connected(&mut self, now: Time) {
        self.connected_at = Some(now);
        self.back = match self.failback {
            Some(failback) if self.current != 0 => Return::At(now + failback * self.patience),
            _ => Return::No,
        };
    }

    /// The connection, or the attempt at one, has ended; whether another server is next.
    pub fn handle_closed(&mut self, now: Time) -> bool {
        if matches!(self.back, Return::Leaving { .. }) {
            return self.leave();
        }
        self.back = Return::No;
        let lasted = self.connected_at.take().map(|at| now.saturating_sub(at));
        if lasted.is_some_and(|lasted| lasted >= STABLE) {
            self.failures = 0;
            if self.current == 0 {
                self.patience = 1;
            }
        }
        self.failures += 1;
        if self.count < 2 || self.failures < FAILURES {
            return false;
        }
        if self.current == 0 {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        }
        self.current = (self.current + 1) % self.count;
        self.failures = 0;
        true
    }

    /// When something is to be done without anything having happened.
    pub fn deadline(&self) -> Option<Time> {
        match self.back {
            Return::At(at) | Return::Leaving { until: at } => Some(at),
            Return::No | Return::Probing => None,
        }
    }

    /// Whether the first server is to be probed now.
    pub fn handle_timers(&mut self, now: Time) -> bool {
        match self.back {
            Return::At(at) if at <= now => {
                self.back = Return::Probing;
                true
            }
            Return::Leaving { until } if until <= now => {
                self.handle_connected(now);
                false
            }
            _ => false,
        }
    }

    /// The first server has answered the probe, or not; `patience`: how long it may take until nothing is in flight.
    pub fn handle_probed(&mut self, answers: bool, patience: Duration, now: Time) {
        if self.back != Return::Probing {
            return;
        }
        self.back = match self.failback {
            _ if answers => Return::Leaving { until: now + patience },
            Some(failback) => Return::At(now + failback * self.patience),
            None => Return::No,
        };
    }

    /// Whether nothing new is to be sent on this connection, which is about to be left.
    pub fn is_leaving(&self) -> bool {
        matches!(self.back, Return::Leaving { .. })
    }

    /// The first is next, if this one is not it.
    pub fn leave(&mut self) -> bool {
        let moved = self.current != 0;
        (self.current, self.failures, self.connected_at, self.back) = (0, 0, None, Return::No);
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_server_that_fails_twice_is_left_and_after_the_last_comes_the_first() {
        let mut servers = Servers::new(3, 0, None);
        let visited: Vec<_> = (0..8)
            .map(|_| {
                servers.handle_closed(SECOND);
                servers.current()
            })
            .collect();
        assert_eq!(visited, [0, 1, 1, 2, 2, 0, 0, 1]);
    }

    #[test]
    fn a_single_server_is_never_left() {
        let mut servers = Servers::new(1, 0, Some(SECOND));
        assert!((0..9).all(|_| !servers.handle_closed(SECOND)));
        servers.handle_connected(SECOND);
        assert_eq!(servers.deadline(), None);
    }

    #[test]
    fn links_that_die_young_are_failures_and_those_that_lasted_are_not() {
        let mut servers = Servers::new(2, 0, None);
        servers.handle_connected(SECOND);
        assert!(!servers.handle_closed(SECOND * 2));
        servers.handle_connected(SECOND * 3);
        assert!(servers.handle_closed(SECOND * 4), "it died repeatedly");
        let mut servers = Servers::new(2, 0, None);
        for hour in 1..9 {
            servers.handle_connected(SECOND * 3600 * hour);
            assert!(!servers.handle_closed(SECOND * 3600 * hour + STABLE));
        }
    }

    #[test]
    fn the_first_is_probed_until_it_answers_and_then_returned_to() {
        let mut servers = Servers::new(2, 1, Some(SECOND * 60));
        servers.handle_connected(SECOND);
        assert_eq!(servers.deadline(), Some(SECOND * 61));
        assert!(!servers.handle_timers(SECOND * 60) && servers.handle_timers(SECOND * 61));
        servers.handle_probed(false, SECOND, SECOND * 63);
        assert!(!servers.is_leaving() && servers.handle_timers(SECOND * 123));
        servers.handle_probed(true, SECOND, SECOND * 124);
        assert!(servers.is_leaving() && servers.leave() && servers.current() == 0);
    }

    #[test]
    fn what_does_not_drain_in_time_stays_where_it_is() {
        let mut servers = Servers::new(2, 1, Some(SECOND * 60));
        servers.handle_connected(SECOND);
        servers.handle_timers(SECOND * 61);
        servers.handle_probed(true, SECOND * 20, SECOND * 61);
        assert!(!servers.handle_timers(SECOND * 81) && !servers.is_leaving());
        assert_eq!((servers.current(), servers.deadline()), (1, Some(SECOND * 141)));
    }

    #[test]
    fn a_first_that_answers_and_then_fails_is_asked_less_and_less_often() {
        let mut servers = Servers::new(2, 0, Some(SECOND));
        let mut now = SECOND;
        let mut waits = Vec::new();
        for _ in 0..6 {
            while !servers.handle_closed(now) {}
            assert_eq!(servers.current(), 1);
            servers.handle_connected(now);
            let at = servers.deadline().unwrap();
            waits.push((at - now).as_secs());
            now = at;
            assert!(servers.handle_timers(now));
            servers.handle_probed(true, SECOND, now);
            servers.leave();
        }
        assert_eq!(waits, [2, 4, 8, 16, 16, 16]);
    }

    #[test]
    fn a_probe_that_ends_after_its_connection_means_nothing() {
        let mut servers = Servers::new(2, 1, Some(SECOND));
        servers.handle_connected(SECOND);
        assert!(servers.handle_timers(SECOND * 2));
        servers.handle_closed(SECOND * 3);
        servers.handle_probed(true, SECOND, SECOND * 4);
        assert!(!servers.is_leaving());
    }
}
