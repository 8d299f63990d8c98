//! Known lines, counted and dated.
use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{self, Entry, Known, Program};

/// How often a line was seen, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// When first.
    pub first: Duration,
    /// When last.
    pub last: Duration,
    /// Whose line it is.
    pub program: Program,
}

impl Seen {
    /// `658 times, 27.0 s to 83.2 s`.
    pub fn words(&self) -> String {
        let (first, last) = (self.first.as_secs_f64(), self.last.as_secs_f64());
        match self.count {
            1 => format!("once, at {first:.1} s"),
            count => format!("{count} times, {first:.1} s to {last:.1} s"),
        }
    }
}

/// A log, folded line by line; bounded, however long the log is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    seen: BTreeMap<Known, Seen>,
    link: Vec<(Duration, bool)>,
    settings: BTreeMap<String, String>,
    longest_wait: Option<Duration>,
    lines: u64,
}

/// More changes of the link than any run has.
const MOST_CHANGES: usize = 100_000;

impl Tally {
    /// Takes in a line; returns what it is, where it is known.
    pub fn fold(&mut self, at: Duration, line: &str) -> Option<&'static Entry> {
        self.lines += 1;
        self.settings(line);
        let entry = book::recognise(line)?;
        let seen = Seen { count: 0, first: at, last: at, program: entry.program };
        let seen = self.seen.entry(entry.known).or_insert(seen);
        seen.count += 1;
        seen.first = seen.first.min(at);
        seen.last = seen.last.max(at);
        match entry.known {
            Known::Connected => self.link(at, true),
            Known::Timeout | Known::Disconnected | Known::NoLink => self.link(at, false),
            // The first step opens the connection, the second one finds it open; older versions have one line.
            Known::Connecting => self.link(at, line.contains("(step 2)")),
            Known::Backoff => {
                let wait = line.rsplit_once(" in ").and_then(|(_, wait)| wait.split(' ').next()?.parse().ok());
                self.longest_wait = self.longest_wait.max(wait.map(Duration::from_millis));
            }
            _ => {}
        }
        Some(entry)
    }

    /// The link is up or down from now on.
    pub fn link(&mut self, at: Duration, up: bool) {
        let changed = self.link.last().is_none_or(|(_, is)| *is != up);
        if changed && self.link.len() < MOST_CHANGES {
            self.link.push((at, up));
        }
    }

    /// What NanoMQ says of its configuration when it starts.
    fn settings(&mut self, line: &str) {
        let Some((_, said)) = line.split_once("print_bridge_conf: ").or_else(|| line.split_once("print_conf: ")) else {
            return;
        };
        let Some((key, value)) = said.split_once(':') else { return };
        let key = key.trim().rsplit('.').next().unwrap_or_default();
        if SETTINGS.contains(&key) {
            self.settings.entry(key.to_owned()).or_insert_with(|| value.trim().to_owned());
        }
    }

    /// Settings from its configuration, which says more than the log.
    pub fn configured(&mut self, values: &BTreeMap<String, String>) {
        self.settings.extend(values.clone());
    }

    /// How often a line was seen; `None`: never.
    pub fn seen(&self, known: Known) -> Option<Seen> {
        self.seen.get(&known).copied()
    }

    /// Everything that was seen, the gravest first.
    pub fn all(&self) -> impl Iterator<Item = (&'static Entry, Seen)> + '_ {
        self.seen.iter().filter_map(|(known, seen)| Some((book::entry_of(*known, seen.program)?, *seen)))
    }

    /// How often a line was seen; 0: never.
    pub fn count(&self, known: Known) -> u64 {
        self.seen(known).map_or(0, |seen| seen.count)
    }

    /// When the link changed, and whether it was up then.
    pub fn link_changes(&self) -> &[(Duration, bool)] {
        &self.link
    }

    /// A setting, as the program itself printed it, by its last name.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// All settings it printed that matter here.
    pub fn all_settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// The longest wait before a reconnect that was announced.
    pub fn longest_wait(&self) -> Option<Duration> {
        self.longest_wait
    }

    /// Lines in all.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Whose log it is, from the lines that were seen.
    pub fn program(&self) -> Option<Program> {
        self.seen.values().map(|seen| seen.program).next()
    }
}

/// Settings that decide what is lost; no secret among them.
pub(crate) const SETTINGS: [&str; 9] = [
    "parallel",
    "keepalive",
    "backoff_max",
    "resend_interval",
    "resend_wait",
    "cancel_timeout",
    "disk_cache_size",
    "flush_mem_threshold",
    "max_send_queue_len",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_dated_and_the_link_is_followed() {
        let mut tally = Tally::default();
        let second = Duration::from_secs;
        let line = |text: &str| format!("2026-11-22 16:07:44 [1] WARN  /x/f.c:1 f: {text}");
        tally.fold(second(1), &line("Bridge [mqtt-tcp://emqx:1883] connected! RC [0]"));
        tally.fold(second(9), &line("MQTT Timeout and disconnect"));
        tally.fold(second(9), &line("bridge client disconnected! RC [139]"));
        for at in 10..15 {
            tally.fold(second(at), &line("Cached Message in ctx_msgs is lost!"));
        }
        tally.fold(second(16), &line("reconnect to emqx:1883 in 726 ms"));
        let overflow = tally.seen(Known::RingOverflow).unwrap();
        assert_eq!(overflow.words(), "5 times, 10.0 s to 14.0 s");
        assert_eq!(tally.link_changes(), [(second(1), true), (second(9), false)]);
        assert_eq!(tally.longest_wait(), Some(Duration::from_millis(726)));
        assert_eq!(tally.program(), Some(Program::Nanomq));
    }

    #[test]
    fn what_nanomq_prints_of_its_configuration_is_kept_and_no_secret_of_it() {
        let mut tally = Tally::default();
        let at = Duration::ZERO;
        tally.fold(at, "x INFO /x/conf.c:3736 print_bridge_conf: bridge.mqtt.emqx1.resend_interval:            50");
        tally.fold(at, "x INFO /x/conf.c:3728 print_bridge_conf: bridge.mqtt.emqx1.username:                   test");
        tally.fold(at, "x INFO /x/conf.c:3817 print_bridge_conf: bridge.sqlite.flush_mem_threshold: 100");
        tally.fold(at, "x INFO /x/conf.c:1400 print_conf: parallel:                 4");
        assert_eq!(tally.setting("resend_interval"), Some("50"));
        assert_eq!(tally.setting("flush_mem_threshold"), Some("100"));
        assert_eq!(tally.setting("parallel"), Some("4"));
        assert_eq!(tally.setting("username"), None);
    }
}
