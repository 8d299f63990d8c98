//! Reads values out of an object, with the types that NanoMQ takes, and remembers which keys nobody has read.
use std::time::Duration;

use super::hocon::{Entry, Node, Object, Value};
use crate::bridge::units;

/// A value that makes no sense: its line and key, and what would be right.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) what: String,
}

/// A value, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) line: usize,
    /// With its path.
    pub(super) key: String,
}

impl<T> Found<T> {
    pub(super) fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong { line: self.line, key: self.key.clone(), what: what.into() }
    }

    pub(super) fn with<U>(&self, value: U) -> Found<U> {
        Found { value, line: self.line, key: self.key.clone() }
    }
}

type Optional<T> = Result<Option<Found<T>>, Wrong>;

/// An object that is being read.
pub(super) struct Block<'a> {
    place: Found<()>,
    object: &'a Object,
    taken: Vec<&'a str>,
}

impl<'a> Block<'a> {
    pub(super) fn root(object: &'a Object) -> Self {
        Self { place: Found { value: (), line: 1, key: String::new() }, object, taken: Vec::new() }
    }

    pub(super) fn place(&self) -> &Found<()> {
        &self.place
    }

    fn found<T>(&self, entry: &Entry, value: T) -> Found<T> {
        let path = &self.place.key;
        let key = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        Found { value, line: entry.at.line, key }
    }

    /// NanoMQ does not tell upper from lower case in keys.
    fn take(&mut self, key: &str) -> Option<Found<&'a Node>> {
        let entry = self.object.entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key))?;
        self.taken.push(&entry.key);
        Some(self.found(entry, &entry.node))
    }

    /// Takes a value that may be anything.
    pub(super) fn anything(&mut self, key: &str) -> Option<Found<()>> {
        self.take(key).map(|found| found.with(()))
    }

    /// The keys that nobody has taken, each with its own name.
    pub(super) fn rest(&self) -> impl Iterator<Item = Found<&'a str>> {
        let left = self.object.entries.iter().filter(|entry| !self.taken.contains(&entry.key.as_str()));
        left.map(|entry| self.found(entry, entry.key.as_str()))
    }

    /// The keys that nobody has taken; where one of them is an `include`, nobody knows what it would say.
    pub(super) fn closed_rest(&self) -> Result<Vec<Found<&'a str>>, Wrong> {
        let entries = self.object.entries.iter();
        let include = entries.filter(|entry| entry.key == "include");
        for entry in include {
            if let Value::Unsupported(what) = entry.node.value {
                return Err(self.found(entry, ()).wrong(what));
            }
        }
        Ok(self.rest().collect())
    }

    pub(super) fn text(&mut self, key: &str) -> Optional<String> {
        self.take(key)
            .map(|found| match scalar(&found)? {
                Some((text, _)) => Ok(found.with(text.to_owned())),
                None => Err(found.wrong("a text is expected")),
            })
            .transpose()
    }

    /// A value without quotation marks, or in them as well, that is parsed.
    fn parsed<T>(&mut self, key: &str, quoted: bool, parse: impl Fn(&str) -> Option<T>, expected: &str) -> Optional<T> {
        let parsed = self.take(key).map(|found| {
            let value = match scalar(&found)? {
                Some((text, in_quotes)) if quoted || !in_quotes => parse(text),
                _ => None,
            };
            value.map(|value| found.with(value)).ok_or_else(|| found.wrong(format!("{expected} is expected")))
        });
        parsed.transpose()
    }

    pub(super) fn number(&mut self, key: &str) -> Optional<u64> {
        self.parsed(key, false, |text| text.parse().ok(), "a whole number from 0 on, without quotation marks,")
    }

    pub(super) fn boolean(&mut self, key: &str) -> Optional<bool> {
        self.parsed(key, false, |text| text.parse().ok(), "true or false, without quotation marks,")
    }

    pub(super) fn duration(&mut self, key: &str) -> Optional<Duration> {
        let parse = |text: &str| units::parse_duration(text).ok();
        self.parsed(key, true, parse, "a duration with its unit, as in \"10s\",")
    }

    /// Bytes. A kilobyte of NanoMQ has 1024.
    pub(super) fn size(&mut self, key: &str) -> Optional<u64> {
        let parse = |text: &str| {
            let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let number: u64 = text[..unit].parse().ok()?;
            let bytes: u64 = match text[unit..].trim().to_ascii_lowercase().as_str() {
                "" | "b" => 1,
                "k" | "kb" => 1 << 10,
                "m" | "mb" => 1 << 20,
                "g" | "gb" => 1 << 30,
                _ => return None,
            };
            number.checked_mul(bytes)
        };
        self.parsed(key, true, parse, "a size, as in 256MB,")
    }

    pub(super) fn block(&mut self, key: &str) -> Result<Option<Block<'a>>, Wrong> {
        self.take(key).map(|found| block(&found)).transpose()
    }

    /// A list of objects.
    pub(super) fn blocks(&mut self, key: &str) -> Optional<Vec<Block<'a>>> {
        let Some(found) = self.take(key) else { return Ok(None) };
        let Value::List(items) = &found.value.value else {
            scalar(&found)?;
            return Err(found.wrong("a list of objects is expected, as in [ { local_topic = \"a\" } ]"));
        };
        let item = |(index, node): (usize, &'a Node)| {
            block(&Found { value: node, line: node.at.line, key: format!("{}[{index}]", found.key) })
        };
        let blocks = items.iter().enumerate().map(item).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(found.with(blocks)))
    }
}

fn block<'a>(found: &Found<&'a Node>) -> Result<Block<'a>, Wrong> {
    match &found.value.value {
        Value::Object(object) => Ok(Block { place: found.with(()), object, taken: Vec::new() }),
        _ => {
            scalar(found)?;
            Err(found.wrong("an object in braces is expected"))
        }
    }
}

/// A text, and whether it stands in quotation marks; `None`: it is no text.
fn scalar<'a>(found: &Found<&'a Node>) -> Result<Option<(&'a str, bool)>, Wrong> {
    match &found.value.value {
        Value::Quoted(text) => Ok(Some((text, true))),
        Value::Bare(text) => Ok(Some((text, false))),
        Value::Unsupported(what) => Err(found.wrong(*what)),
        Value::Object(_) | Value::List(_) => Ok(None),
    }
}
