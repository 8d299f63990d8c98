//! YAML files that people write: an error names the file, the line, the key, and what would be right.
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}", .file.display())]
    Unreadable {
        /// The path as it was given.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file was read and something in it is wrong.
    #[error("{}{}: {}{what}", .file.display(), line_of(*.line), key_of(.key))]
    Wrong {
        /// The path as it was given.
        file: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// The key with its path, such as `bridges[0].forwards[1].qos`; empty where the whole file is meant.
        key: String,
        /// What is wrong and what would be right.
        what: String,
    },
}

fn line_of(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn key_of(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

/// A file's text, kept so that what is found wrong later can still be given its line.
#[derive(Debug, Clone)]
pub struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// [`YamlError::Unreadable`].
    pub fn read(file: &Path) -> Result<Self, YamlError> {
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(Self { file: file.to_owned(), text }),
            Err(source) => Err(YamlError::Unreadable { file: file.to_owned(), source }),
        }
    }

    /// A document that is no file; `name` stands where a path would.
    pub fn from_text(name: impl Into<PathBuf>, text: &str) -> Self {
        Self { file: name.into(), text: text.to_owned() }
    }

    /// The path as it was given.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A path that is written in this file, and is relative to it.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.file.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// Parses the text. Unknown keys are errors (`deny_unknown_fields` on `T`) that name the nearest known key.
    ///
    /// # Errors
    /// [`YamlError::Wrong`] with line and key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        let deserializer = serde_yaml::Deserializer::from_str(&self.text);
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let key = error.path().to_string();
            let inner = error.into_inner();
            YamlError::Wrong {
                file: self.file.clone(),
                line: inner.location().map(|location| location.line()),
                what: reworded(&inner.to_string()),
                key: if key == "." { String::new() } else { key },
            }
        })
    }

    /// An error about a value that parsed but makes no sense. `key` is its path, such as `timeline[2].at`;
    /// the line is found by walking the text along that path, as far as the path leads.
    pub fn wrong(&self, key: &str, what: impl Into<String>) -> YamlError {
        YamlError::Wrong { file: self.file.clone(), line: self.line_of(key), key: key.to_owned(), what: what.into() }
    }

    fn line_of(&self, key: &str) -> Option<usize> {
        let mut path: Vec<Segment> = segments(key);
        loop {
            let deserializer = serde_yaml::Deserializer::from_str(&self.text);
            match Walk(&path).deserialize(deserializer) {
                Err(reached) if reached.to_string().contains(REACHED) => {
                    return reached.location().map(|location| location.line());
                }
                _ => {}
            }
            // The key itself may be absent (a default): its parent is the next best place to point at.
            path.pop()?;
        }
    }
}

/// `unknown field` in words of the user, with the nearest known key; and without the location, which stands in front.
fn reworded(message: &str) -> String {
    // The parser puts its own path in front, sometimes one key short of ours; ours stands before the message anyway.
    let message = message.split_once(": ").filter(|(path, _)| !path.contains(' ')).map_or(message, |(_, what)| what);
    let message = message.rsplit_once(" at line ").map_or(message, |(what, _)| what);
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((unknown, known)) = quoted.split_first().filter(|_| message.starts_with("unknown ")) else {
        return in_words(message);
    };
    let nearest = nearest(unknown, known.iter().copied());
    let kind = if message.starts_with("unknown field") { "key" } else { "value" };
    let known = known.join(", ");
    match nearest {
        Some(nearest) => {
            format!("unknown {kind} `{unknown}`: did you mean `{nearest}`? (known: {known})")
        }
        None => format!("unknown {kind} `{unknown}` (known: {known})"),
    }
}

/// What was probably meant.
pub(super) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(unknown, known), known));
    let (distance, nearest) = distances.min()?;
    (distance <= nearest.len().max(unknown.len()) / 2).then_some(nearest)
}

/// Rust's names of types say nothing to a user. A text of another type than expected is not repeated in full: it may be a
/// whole file, with its passwords.
fn in_words(message: &str) -> String {
    if let Some((_, expected)) =
        message.strip_prefix("invalid type: string \"").and_then(|rest| rest.rsplit_once("\", "))
        && message.len() > 100
    {
        return format!("invalid type: a long text, {expected}");
    }
    let types = [
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 on"),
        ("expected u64", "expected a whole number from 0 on"),
        ("expected usize", "expected a whole number from 0 on"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
    ];
    types.iter().fold(message.to_owned(), |text, (name, words)| match text.strip_suffix(name) {
        Some(before) => format!("{before}{words}"),
        None => text,
    })
}

const REACHED: &str = "the walk has reached its end";

#[derive(Debug, PartialEq)]
enum Segment {
    Key(String),
    Index(usize),
}

fn segments(key: &str) -> Vec<Segment> {
    key.split(['.', '[', ']'])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().map_or_else(|_| Segment::Key(part.to_owned()), Segment::Index))
        .collect()
}

/// Fails on purpose where the path ends, so that the parser itself says on which line that is.
struct Walk<'a>(&'a [Segment]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0.first() {
            // Only a visitor's error is given a position by the parser, hence the detour through `deserialize_any`.
            None => deserializer.deserialize_any(self),
            Some(Segment::Key(_)) => deserializer.deserialize_map(self),
            Some(Segment::Index(_)) => deserializer.deserialize_seq(self),
        }
    }
}

macro_rules! reached {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, _: $type) -> Result<(), E> { Err(E::custom(REACHED)) })*
    };
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();
    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the path to exist")
    }
    reached!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(E::custom(REACHED))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(Segment::Key(wanted)) = self.0.first() else {
            return Err(A::Error::custom(REACHED));
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted {
                map.next_value_seed(Walk(&self.0[1..]))?;
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some(Segment::Index(wanted)) = self.0.first() else {
            return Err(A::Error::custom(REACHED));
        };
        for _ in 0..*wanted {
            if seq.next_element::<serde::de::IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        seq.next_element_seed(Walk(&self.0[1..]))?;
        Ok(())
    }
}

/// Reads any scalar as the text that was typed: what it means, and what was expected. Only an error within a visitor is
/// given its line.
pub struct Text<T>(pub fn(&str) -> Result<T, String>, pub &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;
    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.1)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<T, E> {
        self.visit_str(&truth.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct File {
        name: String,
        steps: Vec<Step>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Step {
        at: u32,
        #[serde(default)]
        kind: Option<Kind>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Cut,
        Reset,
    }

    fn error(text: &str) -> String {
        Document::from_text("some.yaml", text).parse::<File>().unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        let said = error("name: x\nsteps:\n  - at: 1\n  - att: 2\n");
        assert_eq!(said, "some.yaml:4: steps[1].att: unknown key `att`: did you mean `at`? (known: at, kind)");
    }

    #[test]
    fn an_unknown_value_and_a_wrong_type_are_named_too() {
        let said = error("name: x\nsteps:\n  - at: 1\n    kind: rest\n");
        assert!(said.starts_with("some.yaml:4: steps[0].kind: unknown value `rest`: did you mean `reset`?"), "{said}");
        let said = error("name: x\nsteps:\n  - at: soon\n");
        assert!(said.starts_with("some.yaml:3: steps[0].at: invalid type"), "{said}");
        let said = error(&format!("bridges.mqtt.emqx1 = {{\n  password = \"{}\"\n}}", "secret ".repeat(20)));
        assert_eq!(said, "some.yaml:1: invalid type: a long text, expected struct File");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_found_by_its_path() {
        let document =
            Document::from_text("some.yaml", "name: x\nsteps:\n  - at: 1\n  - { at: 2,\n      kind: cut }\n");
        assert_eq!(document.wrong("steps[1].kind", "no").to_string(), "some.yaml:5: steps[1].kind: no");
        assert_eq!(document.wrong("steps[1]", "no").to_string(), "some.yaml:4: steps[1]: no");
        // Absent keys point at their parent.
        assert_eq!(document.wrong("steps[0].kind", "no").to_string(), "some.yaml:3: steps[0].kind: no");
        assert_eq!(document.wrong("steps[1].other", "no").to_string(), "some.yaml:4: steps[1].other: no");
        assert_eq!(document.wrong("name", "no").to_string(), "some.yaml:1: name: no");
    }
}
