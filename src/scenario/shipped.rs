//! The shipped scenarios, embedded, so that the executable alone can run them anywhere.
use std::io;
use std::path::{Path, PathBuf};

use super::plan::Plan;
use super::spec::{self, SpecError};
use crate::bridge::yaml::Document;

/// A shipped scenario.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// Its name, which is that of its file without `.yaml`.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
    /// What lies beside it: path relative to it, and contents.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! shipped {
    ($($name:literal $([$($file:literal),+])?),+ $(,)?) => {
        &[$(Shipped {
            name: $name,
            text: include_str!(concat!("../../scenarios/", $name, ".yaml")),
            files: &[$($(($file, include_str!(concat!("../../scenarios/", $file)))),+)?],
        }),+]
    };
}

/// All of them, a first look first.
pub const SHIPPED: &[Shipped] = shipped![
    "silent-cut-10s",
    "silent-cut-100s"["silent-cut-100s/nanomq.conf"],
    "cut-during-drain",
    "kill-while-offline",
    "idle-after-heal",
    "flapping-link",
    "backlog-wave",
    "cache-full",
    "broken-acks",
];

/// Why a scenario that was asked for is not there to be run.
#[derive(Debug, thiserror::Error)]
pub enum ShippedError {
    /// Neither a file nor the name of a shipped scenario.
    #[error("{}: there is no such file, and no shipped scenario of that name{}; shipped are {}", .asked.display(),
        nearest(.asked), names())]
    NotFound {
        /// What was asked for.
        asked: PathBuf,
    },
    /// Something is wrong with it.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What lies beside it could not be written for the subjects to find.
    #[error("{}: cannot be written: {source}", .path.display())]
    Unpack {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A scenario to be run, and what has to stay there meanwhile.
#[derive(Debug)]
pub struct Loaded {
    /// What it means.
    pub plan: Plan,
    _unpacked: Option<Unpacked>,
}

/// Reads a scenario: a file, or by its name a shipped one. `subjects` are those of [`spec::load`].
///
/// # Errors
/// [`ShippedError`].
pub fn load(asked: &Path, subjects: &[impl AsRef<str>]) -> Result<Loaded, ShippedError> {
    if asked.exists() || asked.components().count() > 1 {
        return Ok(Loaded { plan: spec::load(asked, subjects)?, _unpacked: None });
    }
    let shipped = find(asked).ok_or_else(|| ShippedError::NotFound { asked: asked.to_owned() })?;
    let file = format!("{}.yaml", shipped.name);
    if shipped.files.is_empty() {
        let plan = spec::read(&Document::from_text(&file, shipped.text), subjects)?;
        return Ok(Loaded { plan, _unpacked: None });
    }
    let unpacked = Unpacked::new(shipped)?;
    let plan = spec::load(&unpacked.folder.join(file), subjects)?;
    Ok(Loaded { plan, _unpacked: Some(unpacked) })
}

fn find(asked: &Path) -> Option<&'static Shipped> {
    let asked = asked.to_str()?;
    let name = asked.strip_suffix(".yaml").unwrap_or(asked);
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

fn nearest(asked: &Path) -> String {
    let asked = asked.to_string_lossy();
    let known = SHIPPED.iter().map(|shipped| (strsim::damerau_levenshtein(&asked, shipped.name), shipped.name));
    match known.min() {
        Some((distance, nearest)) if distance <= nearest.len() / 2 => format!(", did you mean {nearest}?"),
        _ => String::new(),
    }
}

fn names() -> String {
    SHIPPED.iter().map(|shipped| shipped.name).collect::<Vec<_>>().join(", ")
}

/// A scenario with what lies beside it, in a folder that is gone when this is dropped.
#[derive(Debug)]
struct Unpacked {
    folder: PathBuf,
}

impl Unpacked {
    fn new(shipped: &Shipped) -> Result<Self, ShippedError> {
        let name = format!("mqtt-bridge-scenario-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let unpacked = Self { folder: std::env::temp_dir().join(name) };
        let scenario = format!("{}.yaml", shipped.name);
        for (file, contents) in shipped.files.iter().copied().chain([(scenario.as_str(), shipped.text)]) {
            let path = unpacked.folder.join(file);
            let folder = path.parent().unwrap_or(&unpacked.folder);
            let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, contents));
            written.map_err(|source| ShippedError::Unpack { path: path.clone(), source })?;
        }
        Ok(unpacked)
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(path = %self.folder.display(), %error, "a temporary folder is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files under a folder, by their path relative to it.
    fn files(folder: &Path, under: &str, found: &mut BTreeMap<String, String>) {
        for entry in folder.join(under).read_dir().unwrap().map(Result::unwrap) {
            let path = if under.is_empty() { String::new() } else { format!("{under}/") };
            let path = path + entry.file_name().to_str().unwrap();
            match entry.path().is_dir() {
                true => files(folder, &path, found),
                false => _ = found.insert(path, std::fs::read_to_string(entry.path()).unwrap()),
            }
        }
    }

    #[test]
    fn what_is_in_the_folder_is_embedded_and_nothing_else() {
        let mut there = BTreeMap::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"), "", &mut there);
        there.remove("schema.json");
        let mut embedded = BTreeMap::new();
        for shipped in SHIPPED {
            embedded.insert(format!("{}.yaml", shipped.name), shipped.text.to_owned());
            embedded.extend(shipped.files.iter().map(|(path, text)| (path.to_string(), text.to_string())));
        }
        assert_eq!(there, embedded);
    }

    #[test]
    fn a_shipped_scenario_is_found_by_its_name_with_what_lies_beside_it() {
        for shipped in SHIPPED {
            let loaded = load(Path::new(shipped.name), &["mqtt-bridge"]).unwrap();
            assert_eq!(loaded.plan.name, shipped.name);
            assert!(!loaded.plan.about.is_empty() && !loaded.plan.reproduces.is_empty(), "{}", shipped.name);
            let folder = loaded.plan.directory.clone();
            for (file, text) in shipped.files {
                assert_eq!(std::fs::read_to_string(folder.join(file)).unwrap(), *text);
            }
            drop(loaded);
            assert!(shipped.files.is_empty() || !folder.exists());
        }
    }

    #[test]
    fn a_name_that_is_none_is_answered_with_the_nearest() {
        let said = load(Path::new("silent-cut-10"), &[""; 0]).unwrap_err().to_string();
        let expected = "silent-cut-10: there is no such file, and no shipped scenario of that name, did you mean \
            silent-cut-10s?; shipped are silent-cut-10s, silent-cut-100s, ";
        assert!(said.starts_with(expected), "{said}");
        let said = load(Path::new("x"), &[""; 0]).unwrap_err().to_string();
        assert!(said.starts_with("x: there is no such file, and no shipped scenario of that name; shipped are "));
        let said = load(Path::new("./silent-cut-10"), &[""; 0]).unwrap_err().to_string();
        assert!(said.starts_with("./silent-cut-10: cannot be read: "), "{said}");
    }
}
