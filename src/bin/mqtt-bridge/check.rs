//! `mqtt-bridge check`.
use std::path::{Path, PathBuf};

use mqtt_bridge::bridge::config::nanomq::{Kind, Translation};
use mqtt_bridge::bridge::config::{self, Config, Durability, Loaded, Synchronous, endurance};
use mqtt_bridge::bridge::units::{format_duration, format_size};

/// Check a configuration; print it with its defaults, and what it survives
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// bridge.yaml, or a nanomq.conf as it is
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let loaded = config::load(&arguments.config)?;
    let config = loaded.config();
    match &loaded {
        Loaded::Yaml(config) => print!("{}", serde_yaml::to_string(config)?),
        // This one has not been written yet: it is there to be saved.
        Loaded::Nanomq(translation) => print!("{}", serde_yaml::to_string(&translation.with_password_files())?),
    }
    println!("\n# What it survives:");
    for line in survives(config) {
        println!("# - {line}");
    }
    for warning in config::warnings(config) {
        println!("# warning: {warning}");
    }
    if let Loaded::Nanomq(translation) = &loaded {
        print_notes(translation, &arguments.config);
    }
    Ok(0)
}

fn print_notes(translation: &Translation, file: &Path) {
    let sections = [
        (Kind::Mapped, "What the keys of nanomq.conf become"),
        (Kind::Ignored, "Ignored, with the reason"),
        (Kind::Different, "What NanoMQ would do otherwise"),
    ];
    for (kind, title) in sections {
        let notes: Vec<_> = translation.notes.iter().filter(|note| note.kind == kind).collect();
        if !notes.is_empty() {
            println!("\n# {title}:");
        }
        for note in notes {
            println!("# - {note}");
        }
    }
    print_forecast(file);
    for bridge in translation.with_password_files().bridges {
        if let Some(file) = bridge.password_file {
            println!(
                "\n# To save this as bridge.yaml, write the password of {} into {} beside it.",
                bridge.name,
                file.display()
            );
        }
    }
}

#[cfg(feature = "lab")]
fn print_forecast(file: &Path) {
    match super::explain::in_short(file) {
        Ok(line) => println!("\n# {line}"),
        Err(error) => println!("\n# What NanoMQ itself would lose with this file cannot be modelled: {error:#}"),
    }
}

#[cfg(not(feature = "lab"))]
fn print_forecast(_: &Path) {}

/// A rate to compare with; `explain --config` takes one's own. What becomes too old is a warning.
fn for_example(cache: &config::Cache) -> String {
    let ageless = config::Cache { max_age: None, ..cache.clone() };
    match endurance::first_limit(&ageless, 10.0, 200.0) {
        Some((after, key)) => format!(", {} at 10 a second of 200 bytes ({key})", config::roughly(after)),
        None => String::new(),
    }
}

fn survives(config: &Config) -> Vec<String> {
    let Some(cache) = &config.cache else {
        return vec!["no cache: a small broker whose sessions live in memory and end with the process".to_owned()];
    };
    let mut lines = vec!["a crash or kill of the process at any moment: nothing acknowledged is lost".to_owned()];
    if cache.synchronous == Synchronous::Full {
        lines.push("a power loss, if the disk keeps what it has synced: nothing acknowledged is lost".to_owned());
    }
    if cache.durability == Durability::Deferred {
        lines.push(format!(
            "flash that wears: what the remotes acknowledge within {} is not written to it, except QoS 2",
            format_duration(cache.commit_after)
        ));
    }
    if let Some(source) = config::source_leg(config) {
        lines.push(format!(
            "source {}: what it sends as {} is acknowledged once it is committed; while the bridge is away the source keeps it \
             for {}, if it is persistent over its own restarts",
            source.server,
            source.client_id,
            format_duration(source.session_expiry)
        ));
    }
    for bridge in &config.bridges {
        lines.push(format!(
            "bridge {}: an outage until {} messages or {} wait{}; then publishes are {}",
            bridge.name,
            cache.max_messages,
            format_size(cache.max_bytes),
            for_example(cache),
            endurance::overflow(cache.when_full),
        ));
        lines.push(format!(
            "bridge {}: a silent cut is noticed within {}, a heal within {}",
            bridge.name,
            format_duration(endurance::cut_noticed_within(bridge, 0.0)),
            format_duration(endurance::heal_noticed_within(bridge)),
        ));
        lines.push(format!(
            "bridge {}: QoS 2 stays exactly once while {} keeps the session and its packet ids (EMQX forgets packet \
             ids after await_rel_timeout, 300 s by default); beyond, messages in flight may arrive twice",
            bridge.name, bridge.server
        ));
    }
    lines
}
