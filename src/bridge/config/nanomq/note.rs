//! What became of each key, and which key a value came from.
use std::fmt;

use super::block::{Found, Wrong};
use crate::bridge::config::check::Complaint;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It says the same in bridge.yaml.
    Mapped,
    /// Nothing that arrives depends on it.
    Ignored,
    /// NanoMQ would do something else.
    Different,
}

/// What became of a key, for `check` and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What became of it.
    pub kind: Kind,
    /// Its line, from 1.
    pub line: usize,
    /// The key with its path, as in `bridges.mqtt.emqx1.server`.
    pub key: String,
    /// What it becomes, or why it does not.
    pub what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        write!(formatter, "line {}: {key}{}", self.line, self.what)
    }
}

/// What a translation writes down on its way.
#[derive(Default)]
pub(super) struct Sheet {
    notes: Vec<Note>,
    /// A key in bridge.yaml, and where its value stands in nanomq.conf.
    origins: Origins,
}

/// Where values of bridge.yaml stand in nanomq.conf: key there, line and key here.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Origins(Vec<(String, usize, String)>);

impl Sheet {
    pub(super) fn note(&mut self, kind: Kind, line: usize, key: impl Into<String>, what: impl Into<String>) {
        self.notes.push(Note { kind, line, key: key.into(), what: what.into() });
    }

    /// `becomes` is what it says in bridge.yaml.
    pub(super) fn mapped<T>(&mut self, found: &Found<T>, becomes: impl Into<String>) {
        self.note(Kind::Mapped, found.line, &found.key, becomes);
    }

    pub(super) fn ignored<T>(&mut self, found: &Found<T>, why: impl Into<String>) {
        self.note(Kind::Ignored, found.line, &found.key, why);
    }

    pub(super) fn different<T>(&mut self, found: &Found<T>, what: impl Into<String>) {
        self.note(Kind::Different, found.line, &found.key, what);
    }

    /// Remembers where the value of a key of bridge.yaml came from.
    pub(super) fn origin<T>(&mut self, becomes: impl Into<String>, found: &Found<T>) {
        self.origins.0.push((becomes.into(), found.line, found.key.clone()));
    }

    pub(super) fn located(&self, complaint: Complaint) -> Wrong {
        self.origins.located(complaint)
    }

    pub(super) fn finish(mut self) -> (Vec<Note>, Origins) {
        self.notes.sort_by_key(|note| note.line);
        (self.notes, self.origins)
    }
}

impl Origins {
    /// A complaint about the configuration as one about the file. Where the value is a default, the block that it
    /// belongs to is pointed at.
    pub(super) fn located(&self, complaint: Complaint) -> Wrong {
        let mut key = complaint.key.as_str();
        loop {
            if let Some((_, line, from)) = self.0.iter().find(|(becomes, ..)| becomes == key) {
                return Wrong { line: *line, key: from.clone(), what: complaint.what };
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => return Wrong { line: 1, key: complaint.key, what: complaint.what },
            }
        }
    }
}
