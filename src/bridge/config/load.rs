//! Which kind of file a configuration is.
use std::path::{Path, PathBuf};

use super::Config;
use super::nanomq::{self, NanomqError, Translation};
use super::tls;
use crate::bridge::yaml::{Document, YamlError};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error("{}: cannot be read: {source}", .file.display())]
    Unreadable {
        /// The path as it was given.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A `bridge.yaml` with something wrong in it.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A `nanomq.conf` with something wrong in it.
    #[error(transparent)]
    Nanomq(#[from] NanomqError),
}

/// A configuration, and what it was.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// A `bridge.yaml`.
    Yaml(Config),
    /// A `nanomq.conf`.
    Nanomq(Translation),
}

impl Loaded {
    /// What runs.
    pub fn config(&self) -> &Config {
        match self {
            Self::Yaml(config) => config,
            Self::Nanomq(translation) => &translation.config,
        }
    }
}

/// Reads and checks a `bridge.yaml` or a `nanomq.conf`. Which of them it is, its name says, or else its first line.
///
/// # Errors
/// With file, line and key, and what would be right.
pub fn load(file: &Path) -> Result<Loaded, LoadError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| LoadError::Unreadable { file: file.to_owned(), source })?;
    if is_hocon(file, &text) {
        let mut translation = nanomq::translate(file, &text)?;
        let read = tls::check::read_files(&mut translation.config, None);
        read.map_err(|complaint| translation.wrong(file, complaint))?;
        return Ok(Loaded::Nanomq(translation));
    }
    Ok(Loaded::Yaml(Config::from_document(&Document::from_text(file, &text))?))
}

fn is_hocon(file: &Path, text: &str) -> bool {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("conf" | "hocon") => return true,
        Some("yaml" | "yml" | "json") => return false,
        _ => {}
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(first) = lines.find(|line| !line.starts_with('#')) else { return false };
    // YAML has no `//`, and its keys end with a colon.
    let key_ends = first.find(|c: char| !(c.is_alphanumeric() || "._-\"".contains(c))).unwrap_or(first.len());
    first.starts_with("//") || (key_ends > 0 && first[key_ends..].trim_start().starts_with(['=', '{']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name_or_its_first_line() {
        for (file, text, expected) in [
            ("nanomq.conf", "listeners: []", true),
            ("bridge.yaml", "a = 1", false),
            ("config", "# NanoMQ\n\nbridges.mqtt.emqx1 = {\n", true),
            ("config", "mqtt {", true),
            ("config", "// x", true),
            ("config", "# ours\nlisteners:\n  - bind: 0.0.0.0:1883\n", false),
            ("config", "listeners: [{ bind: 0.0.0.0:1883 }]", false),
            ("config", "{ \"listeners\": [] }", false),
            ("config", "", false),
        ] {
            assert_eq!(is_hocon(Path::new(file), text), expected, "{file}: {text}");
        }
    }
}
