//! Keys that are not translated one by one, each with the reason.
use super::block::{Block, Found, Wrong};
use super::note::{Kind, Sheet};
use crate::bridge::yaml::nearest;

pub(super) type Reasons = &'static [(&'static str, Kind, &'static str)];

const QUIC: &str = "of QUIC alone; this remote is reached over TCP";
const NOT_OURS: &str = "not the bridge's";

/// Of `bridges.mqtt.<name>`.
pub(super) const BRIDGE: Reasons = &[
    ("max_parallel_processes", Kind::Ignored, "ours has `window` messages in flight, whatever the number of workers"),
    (
        "max_send_queue_len",
        Kind::Ignored,
        "the queue in memory that drops the oldest when it is full; ours is the cache, on disk, up to cache.max_messages",
    ),
    ("max_recv_queue_len", Kind::Ignored, "NanoMQ uses it for QUIC alone; ours acknowledges as fast as it can commit"),
    (
        "resend_interval",
        Kind::Ignored,
        "a tick on which NanoMQ pings, sends again, or sends one row of its cache; ours sends as soon as the window has room",
    ),
    (
        "resend_wait",
        Kind::Ignored,
        "MQTT 5 forbids sending again on the same connection: after ack_timeout ours reconnects and sends again there",
    ),
    (
        "cancel_timeout",
        Kind::Ignored,
        "after it NanoMQ frees a message that is not acknowledged; ours never gives up a message",
    ),
    ("will", Kind::Different, "not honoured: the bridge has no Will yet"),
    ("sub_properties", Kind::Different, "not honoured: SUBSCRIBE carries no properties"),
    ("hybrid_servers", Kind::Different, "not honoured: a bridge has one server"),
    ("congestion_control", Kind::Ignored, QUIC),
    ("multi_stream", Kind::Ignored, QUIC),
    ("quic_keepalive", Kind::Ignored, QUIC),
    ("quic_idle_timeout", Kind::Ignored, QUIC),
    ("quic_discon_timeout", Kind::Ignored, QUIC),
    ("quic_handshake_timeout", Kind::Ignored, QUIC),
    ("quic_send_idle_timeout", Kind::Ignored, QUIC),
    ("quic_initial_rtt_ms", Kind::Ignored, QUIC),
    ("quic_max_ack_delay_ms", Kind::Ignored, QUIC),
    ("quic_multi_stream", Kind::Ignored, QUIC),
    ("quic_qos_priority", Kind::Ignored, QUIC),
    ("quic_0rtt", Kind::Ignored, QUIC),
];

const FOUND_DEAD: &str = "ours finds dead connections by Keep Alive and ack_timeout";

/// Of `tcp`.
pub(super) const TCP: Reasons = &[
    ("nodelay", Kind::Ignored, "ours always sets TCP_NODELAY"),
    ("quickack", Kind::Ignored, "ours leaves TCP's acknowledgements to the kernel"),
    ("keepalive", Kind::Ignored, FOUND_DEAD),
    ("keepidle", Kind::Ignored, FOUND_DEAD),
    ("keepintvl", Kind::Ignored, FOUND_DEAD),
    ("keepcnt", Kind::Ignored, FOUND_DEAD),
    ("sendtimeo", Kind::Ignored, FOUND_DEAD),
    ("recvtimeo", Kind::Ignored, FOUND_DEAD),
    ("bind_interface", Kind::Different, "not honoured: the kernel's routes choose the interface"),
];

/// Of `conn_properties`.
pub(super) const CONNECT: Reasons = &[
    ("maximum_packet_size", Kind::Different, "not honoured: ours sets the remote no limit"),
    ("topic_alias_maximum", Kind::Ignored, "ours takes no Topic Alias, the remote sends each topic in full"),
    ("request_problem_infomation", Kind::Ignored, "the remote may say why it refuses; ours logs the reason code"),
    ("request_response_infomation", Kind::Ignored, "ours asks for no Response Information, it makes no requests"),
    ("user_property", Kind::Different, "not honoured: CONNECT carries no User Property"),
];

/// Of an entry of `forwards`.
pub(super) const FORWARD: Reasons = &[];

/// Of an entry of `subscription`.
pub(super) const SUBSCRIPTION: Reasons = &[
    ("retain", Kind::Different, "not honoured: messages from the remote keep the RETAIN they come with"),
    ("retain_as_published", Kind::Ignored, "ours asks the remote to leave RETAIN as it was published"),
    (
        "retain_handling",
        Kind::Different,
        "not honoured: ours asks for retained messages when the subscription is new (1), not at every reconnect",
    ),
    ("stream_id", Kind::Ignored, QUIC),
];

/// Of `bridges.mqtt.cache`.
pub(super) const CACHE: Reasons = &[
    (
        "flush_mem_threshold",
        Kind::Ignored,
        "ours holds nothing back in memory: every message is committed before its acknowledgement",
    ),
    (
        "resend_interval",
        Kind::Ignored,
        "NanoMQ reads it and does not use it; ours drains as fast as the window allows (drain: slower)",
    ),
];

/// Of `mqtt`.
pub(super) const MQTT: Reasons = &[
    ("property_size", Kind::Ignored, "properties are limited by max_packet_size alone"),
    ("max_mqueue_len", Kind::Ignored, "what waits for a subscriber is limited by listeners[].max_queued_bytes"),
    ("retry_interval", Kind::Ignored, "ours sends a subscriber again what is open when it reconnects, as MQTT 5 says"),
    ("keepalive_multiplier", Kind::Ignored, "ours waits 1.5 Keep Alives for a client, as MQTT says"),
    ("max_inflight_window", Kind::Ignored, "NanoMQ does not use it"),
    ("max_awaiting_rel", Kind::Ignored, "NanoMQ does not use it"),
    ("await_rel_timeout", Kind::Ignored, "NanoMQ does not use it"),
];

const NO_ACCOUNTS: &str = "not honoured: every client is let in; `accounts` of a bridge.yaml asks for passwords";

/// Of `auth`.
pub(super) const AUTH: Reasons = &[
    ("no_match", Kind::Ignored, "there is no access list that could not match"),
    ("deny_action", Kind::Ignored, "there is no access list that could deny"),
    ("cache", Kind::Ignored, "of NanoMQ's access list"),
    ("password", Kind::Different, NO_ACCOUNTS),
    ("acl", Kind::Different, "not honoured: every client may use every topic; `access` of a bridge.yaml has rules"),
    ("http_auth", Kind::Different, NO_ACCOUNTS),
];

/// Of `listeners`.
pub(super) const LISTENERS: Reasons = &[("quic", Kind::Different, "not opened: the local leg speaks no QUIC")];

/// Of `bridges`.
pub(super) const BRIDGES: Reasons =
    &[("aws", Kind::Different, "not honoured: write it as bridges.mqtt.<name> with tls+mqtt-tcp:// and ssl")];

/// Of the file.
pub(super) const FILE: Reasons = &[
    ("log", Kind::Ignored, "ours logs to stderr; MQTT_BRIDGE_LOG=debug says more"),
    ("http_server", Kind::Ignored, "NanoMQ's REST interface; ours has `metrics` (/metrics, /healthz)"),
    ("sqlite", Kind::Ignored, "NanoMQ's store for local sessions; the bridge's is bridges.mqtt.cache"),
    ("system", Kind::Ignored, "NanoMQ's threads"),
    ("websocket", Kind::Different, "not opened: the configuration of older versions; write listeners.ws"),
    ("webhook", Kind::Different, "not honoured: there are no webhooks"),
    ("rules", Kind::Different, "not honoured: there is no rule engine"),
    ("exchange_client", Kind::Different, "not honoured: there is no stream store"),
    ("parquet", Kind::Ignored, NOT_OURS),
    ("plugin", Kind::Ignored, NOT_OURS),
    ("plugins", Kind::Ignored, NOT_OURS),
    ("pid_file", Kind::Ignored, NOT_OURS),
    ("cluster", Kind::Ignored, NOT_OURS),
    ("dds", Kind::Ignored, NOT_OURS),
    ("license", Kind::Ignored, NOT_OURS),
];

/// Notes down what nobody has taken: with its reason where it is known, or as unknown. `read` are the other keys that
/// could have been meant.
pub(super) fn note_rest(block: &Block<'_>, reasons: Reasons, read: &[&str], sheet: &mut Sheet) -> Result<(), Wrong> {
    for found in block.closed_rest()? {
        note(&found, reasons, read, sheet);
    }
    Ok(())
}

fn note(found: &Found<&str>, reasons: Reasons, read: &[&str], sheet: &mut Sheet) {
    if let Some((_, kind, why)) = reasons.iter().find(|(key, ..)| key.eq_ignore_ascii_case(found.value)) {
        return sheet.note(*kind, found.line, &found.key, *why);
    }
    let known = reasons.iter().map(|(key, ..)| *key).chain(read.iter().copied());
    let meant = nearest(found.value, known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    sheet.ignored(found, format!("unknown, and ignored as NanoMQ ignores it{meant}"));
}
