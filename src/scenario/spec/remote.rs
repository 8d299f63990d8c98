//! The remote broker as a container: what was typed about it, checked.
use std::path::Path;

use super::typed::Remote;
use crate::bridge::yaml::{Document, YamlError};
use crate::scenario::plan::RemotePlan;

pub(super) fn plan(document: &Document, typed: &Remote) -> Result<RemotePlan, YamlError> {
    let default = RemotePlan::default();
    let wrong = |key: &str, what: String| Err(document.wrong(&format!("remote.{key}"), what));
    let beside = |file: &Path| document.file().parent().map_or_else(|| file.to_owned(), |folder| folder.join(file));
    let missing =
        |file: &Path| format!("there is no file `{}`: write its path relative to the scenario", file.display());
    if typed.image.as_deref().is_some_and(|image| image.trim().is_empty()) {
        return wrong("image", "it is empty: write for example emqx/emqx:5.8.7".to_owned());
    }
    if let Some(archive) = typed.image_archive.as_deref().filter(|archive| !beside(archive).is_file()) {
        return wrong("image_archive", missing(archive));
    }
    for (place, file) in &typed.files {
        let key = format!("files.{place}");
        if !place.starts_with('/') || place.ends_with('/') || place.split('/').any(|part| part == "..") {
            return wrong(&key, format!("`{place}` is no place for a file: write its full path in the container"));
        }
        if !beside(file).is_file() {
            return wrong(&key, missing(file));
        }
    }
    if typed.port == Some(0) {
        return wrong("port", "0 is no port: write for example 1883".to_owned());
    }
    if typed.ready_within.is_some_and(|limit| limit.is_zero()) {
        return wrong("ready_within", "0 leaves it no time: write for example 60s".to_owned());
    }
    for (index, name) in typed.names.iter().enumerate() {
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || !name.chars().all(letter) {
            let what = format!("`{name}` is no name of a host: write letters, digits, `-` and `.`");
            return wrong(&format!("names[{index}]"), what);
        }
    }
    Ok(RemotePlan {
        image: typed.image.clone(),
        image_archive: typed.image_archive.as_deref().map(beside),
        preset: typed.preset,
        env: typed.env.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
        command: typed.command.clone(),
        files: typed.files.iter().map(|(place, file)| (place.clone(), beside(file))).collect(),
        port: typed.port.unwrap_or(default.port),
        names: typed.names.clone(),
        ready_within: typed.ready_within.unwrap_or(default.ready_within),
    })
}
