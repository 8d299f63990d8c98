//! NanoMQ: started in the foreground with as many workers as the scenario says, since its fault depends on their number.
use std::path::Path;
use std::time::Duration;

use super::{Configuration, Program, Sites, SubjectError, own_configuration, rounded, topics};
use crate::bridge::config::nanomq::relocation::{self, Found, Relocation};
use crate::bridge::config::nanomq::settings;
use crate::scenario::plan::{BridgeSettings, Plan, SubjectPlan, Via, WhenFull};

const FILE: &str = "nanomq.conf";
/// Its SQLite file goes there; it ends where the folder is not there.
const CACHE: &str = "cache";
/// How many messages it keeps where the scenario has no limit: it takes no number for that.
const CACHE_ROWS: u64 = 102_400;
/// What its example file has, in milliseconds.
const RESEND_INTERVAL: u64 = 5000;
/// Refuses to start where a process that was killed has left it (0.24.6).
const PID_FILE: &str = "/tmp/nanomq/nanomq.pid";

/// Its own configuration is used as it is, but for the server, the cache's folder, and the length of a queue without
/// which 0.24.6 crashes.
pub(super) fn configure(plan: &Plan, subject: &SubjectPlan, sites: &Sites<'_>) -> Result<Configuration, SubjectError> {
    let server = format!("mqtt-tcp://{}:{}", sites.remote.0, sites.remote.1);
    // With the slash: it appends the file's name to what stands here.
    let cache = format!("{}/", sites.folder.join(CACHE).display());
    let mut unexpressed = Vec::new();
    let (text, listens) = match own_configuration(plan, subject)? {
        Some((file, text)) => {
            let relocation = Relocation { server: &server, cache: &cache };
            let (text, found) = relocation::relocate(&text, &relocation).map_err(|error| {
                SubjectError::Configuration { name: subject.name.clone(), file, line: error.line, what: error.what }
            })?;
            let Found { listens, lacked_queue_length } = found;
            unexpressed.push("the scenario's `bridge:`: its own configuration is used as it is".to_owned());
            if lacked_queue_length {
                unexpressed.push(format!(
                    "max_send_queue_len was missing and is {}: without it 0.24.6 crashes when its queue overflows",
                    relocation::QUEUE_LENGTH
                ));
            }
            (text, listens)
        }
        None => {
            unexpressed.extend(what_it_cannot_say(&plan.bridge));
            (generated(plan, subject, sites, &server, &cache)?, Some(sites.listen))
        }
    };
    let mut arguments = vec!["start".to_owned(), "--conf".to_owned(), path(sites.folder, FILE)];
    if let Some(workers) = subject.workers {
        arguments.extend(["-n".to_owned(), workers.to_string()]);
    }
    Ok(Configuration {
        folders: vec![CACHE.to_owned()],
        leftovers: vec![PID_FILE.into()],
        listens: listens.map(|mut address| {
            // What listens everywhere is reached where the publishers are.
            if address.ip().is_unspecified() {
                address.set_ip(sites.listen.ip());
            }
            address
        }),
        unexpressed,
        ..Configuration::new(Program::of(subject, "nanomq"), arguments, vec![(FILE.to_owned(), text)])
    })
}

/// What its configuration says that matters; it was read before, by [`configure`].
pub(super) fn settings(file: &Path, text: &str) -> std::collections::BTreeMap<String, String> {
    settings::settings(file, text).ok().flatten().unwrap_or_default()
}

fn path(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}

fn what_it_cannot_say(bridge: &BridgeSettings) -> Vec<String> {
    let mut said = vec![
        "bridge.connect_timeout: NanoMQ has no such setting".to_owned(),
        "bridge.reconnect.min: NanoMQ draws its first wait itself, up to 2 s".to_owned(),
        "bridge.window: NanoMQ has one message in flight per worker".to_owned(),
    ];
    said.extend(rounded("bridge.reconnect.max", bridge.reconnect_max));
    if bridge.protocol != 5 {
        let what = "bridge.session_expiry: 3.1.1 has none, the remote decides how long it keeps the session";
        said.push(what.to_owned());
    }
    if bridge.when_full.is_some_and(|when_full| when_full != WhenFull::DropOldest) {
        said.push("bridge.cache.when_full: NanoMQ deletes the oldest of its cache then, and tells nobody".to_owned());
    }
    said
}

/// Its one tick, in milliseconds: the 5 s of its example file, or a third of a shorter Keep Alive. A tick at which the Keep
/// Alive is over sends a PINGREQ and does nothing else; were every tick such a one, nothing would ever be sent again and
/// nothing read from the cache, and that would be the laboratory's doing.
fn resend_interval(keep_alive: Duration) -> u64 {
    let third = u64::try_from(keep_alive.as_millis() / 3).unwrap_or(u64::MAX);
    third.clamp(1, RESEND_INTERVAL)
}

/// The scenario's remote leg in NanoMQ's words, with its example file's values for what only it has.
fn generated(
    plan: &Plan,
    subject: &SubjectPlan,
    sites: &Sites<'_>,
    server: &str,
    cache: &str,
) -> Result<String, SubjectError> {
    let bridge = &plan.bridge;
    let seconds = |duration: Duration| format!("\"{}s\"", duration.as_millis().div_ceil(1000).max(1));
    let forwards = topics(plan, Via::Bridge).into_iter();
    let forwards: Vec<String> = forwards
        .map(|(topic, qos)| format!("        {{ local_topic = \"{topic}\", remote_topic = \"{topic}\", qos = {qos} }}"))
        .collect();
    let subscriptions = topics(plan, Via::Remote).into_iter();
    let subscriptions: Vec<String> = subscriptions
        .map(|(topic, qos)| format!("        {{ remote_topic = \"{topic}\", local_topic = \"{topic}\", qos = {qos} }}"))
        .collect();
    let mut own: Vec<(&str, String)> = vec![
        ("server", format!("\"{server}\"")),
        ("proto_ver", bridge.protocol.to_string()),
        ("clientid", "\"lab-subject\"".to_owned()),
        ("clean_start", "false".to_owned()),
        ("keepalive", seconds(bridge.keep_alive)),
        ("backoff_max", seconds(bridge.reconnect_max)),
        ("max_parallel_processes", "2".to_owned()),
        ("max_send_queue_len", relocation::QUEUE_LENGTH.to_string()),
        ("max_recv_queue_len", relocation::QUEUE_LENGTH.to_string()),
        ("resend_interval", resend_interval(bridge.keep_alive).to_string()),
        ("resend_wait", "3000".to_owned()),
        ("cancel_timeout", bridge.ack_timeout.as_millis().to_string()),
        ("retry_qos_0", "true".to_owned()),
    ];
    let mut of_the_cache: Vec<(&str, String)> = vec![
        ("disk_cache_size", bridge.max_messages.unwrap_or(CACHE_ROWS).to_string()),
        ("mounted_file_path", format!("\"{cache}\"")),
        ("flush_mem_threshold", "100".to_owned()),
        ("resend_interval", "5000".to_owned()),
    ];
    for (key, value) in &subject.settings {
        let (block, name) = match key.strip_prefix("cache.") {
            Some(name) => (&mut of_the_cache, name),
            None => (&mut own, key.as_str()),
        };
        // Server, folder and listener are the laboratory's.
        if matches!(name, "server" | "mounted_file_path") {
            let why = "the laboratory says where these are".to_owned();
            return Err(SubjectError::Setting { name: subject.name.clone(), key: key.clone(), why });
        }
        match block.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.clone_from(value),
            None => block.push((name, value.clone())),
        }
    }
    let lines = |entries: &[(&str, String)]| -> String {
        entries.iter().map(|(key, value)| format!("    {key} = {value}\n")).collect()
    };
    // MQTT 5 ends the session with the connection unless it is told otherwise.
    let session = match bridge.protocol {
        5 => {
            format!("    conn_properties = {{ session_expiry_interval = {} }}\n", bridge.session_expiry.as_secs())
        }
        _ => String::new(),
    };
    Ok(format!(
        "listeners.tcp {{ bind = \"{}\" }}\nlog {{ to = [console], level = info }}\n\
         auth {{ allow_anonymous = true, no_match = allow, deny_action = ignore }}\n\n\
         bridges.mqtt.lab = {{\n{}{session}    forwards = [\n{}\n    ]\n    subscription = [\n{}\n    ]\n}}\n\
         bridges.mqtt.cache {{\n{}}}\n",
        sites.listen,
        lines(&own),
        forwards.join(",\n"),
        subscriptions.join(",\n"),
        lines(&of_the_cache),
    ))
}
