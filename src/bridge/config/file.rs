//! Files that a configuration names.
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

/// A file as it is named in a configuration, and where that is: a relative path is relative to the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "PathBuf")]
pub struct File {
    named: PathBuf,
    place: PathBuf,
}

impl File {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// Takes its name as relative to the folder of this configuration.
    pub(super) fn beside(&mut self, configuration: &Path) {
        if let Some(folder) = configuration.parent() {
            self.place = folder.join(&self.named);
        }
    }
}

impl From<PathBuf> for File {
    fn from(named: PathBuf) -> Self {
        Self { place: named.clone(), named }
    }
}

impl Serialize for File {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.named.serialize(serializer)
    }
}

impl fmt::Display for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.display().fmt(formatter)
    }
}
