//! `nanomq.conf`, translated: every key is honoured, mapped, or named with the reason why it is not.
//!
//! Keys and defaults are those of NanoMQ 0.24.6. Where it takes a wrong value for none without a word (`keepalive = 60`
//! is no duration to it), that is an error here.
mod block;
mod bridge;
mod broker;
mod hocon;
mod note;
mod reasons;
pub mod relocation;
mod secured;
pub mod send_path;
pub mod settings;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

pub use note::{Kind, Note};

use super::Config;
use super::check;
use block::{Block, Wrong};
use check::Complaint;
use note::{Origins, Sheet};

/// Why a `nanomq.conf` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NanomqError {
    /// It is no HOCON, is truncated, or uses what is not understood.
    #[error("{}:{line}:{column}: {what}", .file.display())]
    Syntax {
        /// The path as it was given.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// A value makes no sense, or asks for what cannot be honoured.
    #[error("{}:{line}: {key}: {what}", .file.display())]
    Wrong {
        /// The path as it was given.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// The key with its path, as in `bridges.mqtt.emqx1.server`.
        key: String,
        /// What is wrong and what would be right.
        what: String,
    },
}

/// A configuration that came from a `nanomq.conf`.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// What runs.
    pub config: Config,
    /// What became of the keys, in the order of the file.
    pub notes: Vec<Note>,
    origins: Origins,
}

impl Translation {
    /// A complaint about the configuration as an error of the file that it came from.
    pub(super) fn wrong(&self, file: &Path, complaint: Complaint) -> NanomqError {
        let Wrong { line, key, what } = self.origins.located(complaint);
        NanomqError::Wrong { file: file.to_owned(), line, key, what }
    }

    /// The configuration as it can be shown and saved: each password stands in a file of its own, which is still to be
    /// written, beside the `bridge.yaml`.
    pub fn with_password_files(&self) -> Config {
        let mut config = self.config.clone();
        let mut names = HashSet::new();
        for (index, bridge) in config.bridges.iter_mut().enumerate().filter(|(_, bridge)| bridge.password.is_some()) {
            let plain = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' };
            let mut name: String = bridge.name.chars().map(plain).collect();
            if !names.insert(name.clone()) {
                name = format!("{name}-{index}");
            }
            bridge.password = None;
            bridge.password_file = Some(format!("{name}.password").into());
        }
        config
    }
}

fn parsed(file: &Path, text: &str) -> Result<hocon::Object, NanomqError> {
    hocon::parse(text).map_err(|error| NanomqError::Syntax {
        file: file.to_owned(),
        line: error.at().line,
        column: error.at().column,
        what: error.to_string(),
    })
}

/// Translates the text of a `nanomq.conf`; `file` is what errors call it.
///
/// # Errors
/// With file, line and key, and what would be right.
pub fn translate(file: &Path, text: &str) -> Result<Translation, NanomqError> {
    let root = parsed(file, text)?;
    let mut sheet = Sheet::default();
    let config = broker::config(Block::root(&root), &mut sheet).and_then(|config| match check::check(&config) {
        Ok(()) => Ok(config),
        Err(complaint) => Err(sheet.located(complaint)),
    });
    match config {
        Ok(config) => {
            let (notes, origins) = sheet.finish();
            Ok(Translation { config, notes, origins })
        }
        Err(Wrong { line, key, what }) => Err(NanomqError::Wrong { file: file.to_owned(), line, key, what }),
    }
}
