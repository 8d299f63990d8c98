//! Passwords: read where they are needed, shown nowhere.
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::Config;
use crate::bridge::yaml::{Document, YamlError};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself; for the CONNECT packet alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What stands where a secret would.
pub(super) const HIDDEN: &str = "***";

/// Reads each `password_file` into `password`; a relative path is relative to the configuration file.
pub(super) fn read_password_files(config: &mut Config, document: &Document) -> Result<(), YamlError> {
    let source =
        config.source.iter_mut().map(|source| ("source".to_owned(), &source.password_file, &mut source.password));
    let bridges = config.bridges.iter_mut().enumerate();
    let bridges = bridges.map(|(index, it)| (format!("bridges[{index}]"), &it.password_file, &mut it.password));
    for (key, file, to) in source.chain(bridges) {
        let Some(file) = file else { continue };
        let path = document.file().parent().map_or_else(|| file.clone(), |directory| directory.join(file));
        let password = std::fs::read_to_string(&path).map_err(|error| {
            let key = format!("{key}.password_file");
            document.wrong(&key, format!("{} cannot be read: {error}", path.display()))
        })?;
        *to = Some(Secret(password.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(())
}
