//! What a log alone tells.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use mqtt_bridge::bridge::config::nanomq::settings;
use mqtt_bridge::scenario::log::file::{self, Explained, KnownLine};

use super::print::{self, Page};
use super::{Format, print::quoted};

pub(super) fn run(log: &Path, config: Option<&Path>, format: Format) -> anyhow::Result<u8> {
    let settings = config.map_or_else(|| Ok(BTreeMap::new()), configured)?;
    let explained = if log == Path::new("-") {
        file::read(std::io::stdin().lock(), settings).context("standard input")?
    } else {
        let name = || log.display().to_string();
        // What cannot be opened was given wrongly: that is no fault of the surroundings.
        let opened = File::open(log).map_err(|error| anyhow::anyhow!("{}: cannot be read: {error}", log.display()))?;
        file::read(BufReader::new(opened), settings).with_context(name)?
    };
    match format {
        Format::Json => {
            let mut value = serde_json::to_value(&explained)?;
            value["findings"] = print::with_mechanism(&explained.findings).into();
            println!("{value:#}");
        }
        _ => page(&explained, format).print(),
    }
    Ok(0)
}

fn configured(file: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| anyhow::anyhow!("{}: cannot be read: {error}", file.display()))?;
    let found = settings::settings(file, &text)?;
    found.with_context(|| format!("{}: there is no bridge in it: bridges.mqtt.NAME {{ ... }}", file.display()))
}

fn page(explained: &Explained, format: Format) -> Page {
    let mut page = Page::new(format);
    let lines = explained.lines;
    let span = match &explained.span {
        Some([first, last]) => format!(", {first} to {last}"),
        None => ", none of them dated".to_owned(),
    };
    page.heading(&format!("{}'s log: {lines} lines{span}", explained.program));
    if explained.damaged > 0 {
        page.paragraph(&format!(
            "{} lines are damaged (no UTF-8); what can be read of them counts.",
            explained.damaged
        ));
    }
    page.paragraph(&match explained.certainly_lost {
        0 => "No line says for certain that a message is lost.".to_owned(),
        lost => {
            format!("Certainly lost: {lost} messages, one line each. It may be more: see below what a log cannot tell.")
        }
    });
    if explained.findings.is_empty() {
        page.paragraph("Nothing in it explains a loss.");
    } else {
        page.section("What happened");
        page.findings(&explained.findings);
    }
    if !explained.settings.is_empty() {
        page.section("Settings");
        let settings = explained.settings.iter().map(|(key, value)| format!("{key} = {value}"));
        page.paragraph(&settings.collect::<Vec<_>>().join(", "));
    }
    let (harmless, known): (Vec<_>, Vec<_>) = explained.known.iter().partition(|known| known.harmless);
    page.section("Lines, in order of importance");
    known.into_iter().for_each(|known| page.item(&line(known)));
    if !harmless.is_empty() {
        page.section("Loud and harmless");
        harmless.into_iter().for_each(|known| page.item(&line(known)));
    }
    page.section("What cannot be known from this log");
    explained.unknown.iter().for_each(|unknown| page.item(unknown));
    page
}

fn line(known: &KnownLine) -> String {
    let when = match (&known.first, &known.last) {
        (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
        (Some(first), _) => format!(", {first}"),
        _ => String::new(),
    };
    format!("{} x {}{when}: {}", known.count, quoted(known.text), known.meaning)
}
