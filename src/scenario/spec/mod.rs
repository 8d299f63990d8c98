//! The scenario file: what was typed ([`typed`]), and its translation into what it means, a [`Plan`].
//!
//! Everything that can be wrong with a scenario is found here, before anything is started, and said with file, line
//! and key. Every key that a scenario may have, with what its absence means, is documented at its field in [`typed`].
mod faults;
mod images;
mod meaning;
mod moments;
mod publish;
mod remote;
mod scalar;
mod subjects;
pub mod typed;

use std::path::Path;

pub use self::images::replace as replace_images;
use super::plan::Plan;
use crate::bridge::yaml::{Document, YamlError};

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The scenario file is unreadable or something in it is wrong.
    #[error(transparent)]
    File(#[from] YamlError),
    /// `--subject` named nothing that is known.
    #[error("--subject {asked}: there is no such subject{}; the scenario lists {listed}, and {} can always be named",
        nearest(.asked, .listed), subjects::AVAILABLE.join(", "))]
    UnknownSubject {
        /// What was asked for.
        asked: String,
        /// The names that the scenario lists.
        listed: String,
    },
    /// `--image` is not NAME=IMAGE, or names nobody.
    #[error("--image {asked}: {why}; write NAME=IMAGE, where NAME is `remote` or one of the subjects: {known}")]
    Image {
        /// What was asked for.
        asked: String,
        /// What is wrong.
        why: String,
        /// The subjects' names.
        known: String,
    },
    /// `--subject` named what cannot be run without more being said.
    #[error("--subject {asked}: this version cannot run it unless the scenario lists it; available are {}", subjects::AVAILABLE.join(", "))]
    SubjectNotYet {
        /// What was asked for.
        asked: String,
    },
}

fn nearest(asked: &str, listed: &str) -> String {
    let known = listed.split(", ").chain(subjects::AVAILABLE);
    let nearest = known.map(|known| (strsim::damerau_levenshtein(asked, known), known)).min();
    match nearest {
        Some((distance, nearest)) if distance <= nearest.len() / 2 => format!(", did you mean {nearest}?"),
        _ => String::new(),
    }
}

/// Reads a scenario file and says what it means. `subjects`, where there are any, stand in for the file's own list:
/// each takes the listed ones of that name or kind, or adds one of that kind with its defaults.
///
/// # Errors
/// [`SpecError`]: the file, a key in it, or a subject is wrong. Nothing has been started then.
pub fn load(file: &Path, subjects: &[impl AsRef<str>]) -> Result<Plan, SpecError> {
    read(&Document::read(file)?, subjects)
}

/// As [`load`], of a document that was read already.
///
/// # Errors
/// As [`load`].
pub fn read(document: &Document, subjects: &[impl AsRef<str>]) -> Result<Plan, SpecError> {
    let subjects: Vec<&str> = subjects.iter().map(AsRef::as_ref).collect();
    meaning::plan(document, document.parse()?, &subjects)
}

#[cfg(test)]
mod tests;
