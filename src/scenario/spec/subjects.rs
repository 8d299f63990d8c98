//! Which bridges are tried: the scenario's list, or what `--subject` makes of it.
use std::collections::BTreeMap;
use std::path::Path;

use super::SpecError;
use super::typed::{Kind, Subject};
use crate::bridge::yaml::{Document, YamlError};
use crate::scenario::plan::{SubjectKind, SubjectPlan};

/// The kinds that this version can run.
pub(super) const AVAILABLE: [&str; 4] = ["mqtt-bridge", "mosquitto", "nanomq", "nanomq-model"];

/// The subjects in the order they are tried.
pub(super) fn chosen(
    document: &Document,
    typed: Option<Vec<Subject>>,
    asked: &[&str],
) -> Result<Vec<SubjectPlan>, SpecError> {
    let typed = typed.unwrap_or_else(|| vec![plain(Kind::MqttBridge)]);
    if typed.is_empty() && asked.is_empty() {
        return Err(document.wrong("subjects", "no bridge to try: write for example - { kind: mqtt-bridge }").into());
    }
    let names = names(document, &typed)?;
    let mut chosen: Vec<usize> = Vec::new();
    let mut added: Vec<SubjectPlan> = Vec::new();
    for asked in asked {
        let by_name = (0..typed.len()).filter(|&index| names[index] == *asked);
        let by_kind = (0..typed.len()).filter(|&index| text(typed[index].kind) == *asked);
        let mut found: Vec<usize> = by_name.collect();
        if found.is_empty() {
            found = by_kind.collect();
        }
        if found.is_empty() && added.iter().all(|subject| subject.name != *asked) {
            added.push(by_default(document, asked, &names)?);
        }
        chosen.extend(found);
    }
    if asked.is_empty() {
        chosen = (0..typed.len()).collect();
    }
    chosen.sort_unstable();
    chosen.dedup();
    let mut plans = Vec::new();
    for index in chosen {
        plans.push(plan(document, index, &typed[index], names[index].clone())?);
    }
    plans.append(&mut added);
    Ok(plans)
}

fn plan(document: &Document, index: usize, typed: &Subject, name: String) -> Result<SubjectPlan, YamlError> {
    let key = |key: &str| format!("subjects[{index}].{key}");
    let Some(kind) = available(typed.kind) else {
        let what = format!(
            "`{}` is not available yet in this version: available are {}; or name others with --subject",
            text(typed.kind),
            AVAILABLE.join(", ")
        );
        return Err(document.wrong(&key("kind"), what));
    };
    for (name, file) in [("config", &typed.config), ("binary", &typed.binary)] {
        if let Some(file) = file.as_ref().filter(|file| !document.beside(file).is_file()) {
            let what = format!("there is no file `{}`: write its path relative to the scenario", file.display());
            return Err(document.wrong(&key(name), what));
        }
    }
    if kind != SubjectKind::Command && !typed.arguments.is_empty() {
        return Err(document.wrong(&key("arguments"), "only a `command` has arguments of its own"));
    }
    if kind == SubjectKind::Command && typed.binary.is_none() && typed.image.is_none() {
        return Err(document.wrong(&key("kind"), "a `command` needs `binary:` or `image:`, and `arguments:`"));
    }
    if typed.workers == Some(0) {
        return Err(document.wrong(&key("workers"), "0 is too small: at least 1"));
    }
    let settings = typed.settings.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let binary = typed.binary.as_ref().map(|binary| document.beside(binary));
    Ok(SubjectPlan {
        name,
        kind,
        image: typed.image.clone(),
        binary,
        arguments: typed.arguments.clone(),
        config: typed.config.clone(),
        workers: typed.workers,
        settings,
    })
}

/// Every subject's name: its own, or its kind's with a number where the kind is there more than once.
fn names(document: &Document, typed: &[Subject]) -> Result<Vec<String>, YamlError> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for (index, subject) in typed.iter().enumerate() {
        let kind = text(subject.kind);
        let number = numbers.entry(kind).or_default();
        *number += 1;
        let many = typed.iter().filter(|other| other.kind == subject.kind).count() > 1;
        let name = match &subject.name {
            Some(name) => name.clone(),
            None if many => format!("{kind}-{number}"),
            None => kind.to_owned(),
        };
        let key = format!("subjects[{index}].name");
        if names.contains(&name) {
            return Err(document.wrong(&key, format!("`{name}` is the name of another subject: each needs its own")));
        }
        // It becomes the name of a folder.
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(safe) {
            let what = format!("`{name}` cannot name a folder: write letters, digits, `-`, `_` and `.`");
            return Err(document.wrong(&key, what));
        }
        names.push(name);
    }
    Ok(names)
}

/// A subject that the scenario does not list, with the defaults of its kind. A scenario that is about a NanoMQ brings its
/// configuration along, in a folder of the scenario's name.
fn by_default(document: &Document, asked: &str, listed: &[String]) -> Result<SubjectPlan, SpecError> {
    let all = [Kind::MqttBridge, Kind::Mosquitto, Kind::Nanomq, Kind::NanomqModel, Kind::Command];
    let Some(kind) = all.into_iter().find(|kind| text(*kind) == asked) else {
        return Err(SpecError::UnknownSubject { asked: asked.to_owned(), listed: listed.join(", ") });
    };
    // What a command is can only be said in a scenario.
    let Some(kind) = available(kind).filter(|kind| *kind != SubjectKind::Command) else {
        return Err(SpecError::SubjectNotYet { asked: asked.to_owned() });
    };
    let of_nanomq = matches!(kind, SubjectKind::Nanomq | SubjectKind::NanomqModel);
    let folder = document.file().file_stem().filter(|_| of_nanomq);
    let brought = folder.map(|folder| Path::new(folder).join("nanomq.conf"));
    Ok(SubjectPlan {
        name: asked.to_owned(),
        kind,
        image: None,
        binary: None,
        arguments: Vec::new(),
        config: brought.filter(|config| document.beside(config).is_file()),
        workers: None,
        settings: BTreeMap::new(),
    })
}

fn plain(kind: Kind) -> Subject {
    Subject {
        kind,
        name: None,
        image: None,
        binary: None,
        config: None,
        arguments: Vec::new(),
        workers: None,
        settings: BTreeMap::new(),
    }
}

fn available(kind: Kind) -> Option<SubjectKind> {
    match kind {
        Kind::MqttBridge => Some(SubjectKind::MqttBridge),
        Kind::Mosquitto => Some(SubjectKind::Mosquitto),
        Kind::Nanomq => Some(SubjectKind::Nanomq),
        Kind::Command => Some(SubjectKind::Command),
        Kind::NanomqModel => Some(SubjectKind::NanomqModel),
    }
}

fn text(kind: Kind) -> &'static str {
    match kind {
        Kind::MqttBridge => "mqtt-bridge",
        Kind::Mosquitto => "mosquitto",
        Kind::Nanomq => "nanomq",
        Kind::NanomqModel => "nanomq-model",
        Kind::Command => "command",
    }
}
