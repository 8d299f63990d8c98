//! What parses and still makes no sense, and what makes sense but costs a guarantee.
use std::collections::HashSet;
use std::time::Duration;

use super::secret::HIDDEN;
use super::tls::check as tls;
use super::{Bridge, Cache, Config, Durability, Forward, Synchronous, WhenFull, source};
use crate::bridge::message::QoS;
use crate::bridge::topic;
use crate::bridge::units::format_duration;

/// The longest Keep Alive that CONNECT can say.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(u16::MAX as u64);

const MIN_COMMIT_AFTER: Duration = Duration::from_millis(1);
/// Well below the time for which an acknowledgement is held while the disk fails.
const MAX_COMMIT_AFTER: Duration = Duration::from_secs(5);

/// What makes no sense: its key as a path in bridge.yaml, and what would be right. The line is found by who read the file.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) key: String,
    pub(super) what: String,
}

pub(super) fn check(config: &Config) -> Result<(), Complaint> {
    let wrong = |key: &str, what: String| Err(Complaint { key: key.to_owned(), what });
    if config.listeners.is_empty() && config.source.is_none() {
        let what = "no listener: at least one, as in `- bind: 0.0.0.0:1883`, or a `source`";
        return wrong("listeners", what.to_owned());
    }
    let mut binds = HashSet::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let key = format!("listeners[{index}]");
        if listener.bind.port() != 0 && !binds.insert(listener.bind) {
            return wrong(&format!("{key}.bind"), format!("{} is there twice", listener.bind));
        }
        if listener.receive_maximum == 0 {
            return wrong(&format!("{key}.receive_maximum"), "0 is too small: at least 1".to_owned());
        }
        if !(64..=268_435_460).contains(&listener.max_packet_size) {
            return wrong(&format!("{key}.max_packet_size"), "from 64B to 256MiB".to_owned());
        }
        if let Some(secured) = &listener.tls {
            tls::listener_tls(secured, &format!("{key}.tls"))?;
        }
        if let Some(websocket) = &listener.websocket {
            tls::websocket(websocket, &format!("{key}.websocket"))?;
        }
        if let Some((leaf, what)) = listener.wrong() {
            return wrong(&format!("{key}.{leaf}"), what);
        }
    }
    super::accounts::check(config)?;
    super::limits::check(config)?;
    if let Some(cache) = &config.cache {
        if cache.max_messages == 0 || cache.max_bytes == 0 {
            return wrong("cache", "max_messages and max_bytes must be at least 1".to_owned());
        }
        if cache.commit_after < MIN_COMMIT_AFTER || cache.commit_after > MAX_COMMIT_AFTER {
            return wrong(
                "cache.commit_after",
                "from 1ms to 5s: a publisher waits that long on a slow link".to_owned(),
            );
        }
        if cache.max_age.is_some_and(|max_age| max_age.is_zero()) {
            return wrong("cache.max_age", "0 would drop every message: leave it out for no limit".to_owned());
        }
    }
    let mut names = HashSet::new();
    let mut identities = HashSet::new();
    for (index, bridge) in config.bridges.iter().enumerate() {
        let key = format!("bridges[{index}]");
        check_bridge(bridge, &key)?;
        if !names.insert(&bridge.name) {
            return wrong(&format!("{key}.name"), format!("`{}` is there twice", bridge.name));
        }
        let known = bridge.server.iter().map(|server| identities.insert((server, &bridge.client_id)));
        if known.filter(|new| !new).count() > 0 {
            let what = "another bridge has this client_id at this server: they would disconnect each other";
            return wrong(&format!("{key}.client_id"), what.to_owned());
        }
    }
    source::check(config)
}

pub(super) fn check_bridge(bridge: &Bridge, key: &str) -> Result<(), Complaint> {
    let wrong = |leaf: &str, what: String| Err(Complaint { key: format!("{key}.{leaf}"), what });
    if bridge.name.is_empty() || bridge.name.len() > 255 {
        return wrong("name", "from 1 to 255 characters".to_owned());
    }
    if ["session:", "ended:"].iter().any(|prefix| bridge.name.starts_with(prefix)) {
        return wrong("name", "`session:` and `ended:` stand before the queues of local sessions".to_owned());
    }
    bridge.server.iter().try_for_each(|server| tls::remote_name(server, &format!("{key}.server")))?;
    if let Some(secured) = &bridge.tls {
        let server = bridge.server.iter().find(|server| server.scheme.is_tls()).unwrap_or(bridge.server.first());
        tls::remote_tls(secured, server, &format!("{key}.tls"))?;
    }
    if !matches!(bridge.protocol, 4 | 5) {
        return wrong("protocol", format!("{} does not exist: 4 (MQTT 3.1.1) or 5", bridge.protocol));
    }
    if bridge.client_id.is_empty() || bridge.client_id.len() > 65_535 {
        return wrong("client_id", "from 1 to 65535 bytes: the remote keeps the session under this name".to_owned());
    }
    if bridge.username.as_ref().is_some_and(|username| username.len() > 65_535) {
        return wrong("username", "at most 65535 bytes".to_owned());
    }
    if bridge.password.as_ref().is_some_and(|password| password.reveal().len() > 65_535) {
        return wrong("password", "at most 65535 bytes".to_owned());
    }
    if bridge.password.as_ref().is_some_and(|password| password.reveal() == HIDDEN) {
        return wrong(
            "password",
            "`***` is what `check` prints in its place: the password, or password_file".to_owned(),
        );
    }
    if bridge.password.is_some() && bridge.password_file.is_some() {
        return wrong("password_file", "`password` is given as well: one of them".to_owned());
    }
    if (bridge.password.is_some() || bridge.password_file.is_some()) && bridge.username.is_none() {
        return wrong("username", "a password needs a username".to_owned());
    }
    if bridge.keep_alive < Duration::from_secs(1)
        || bridge.keep_alive > MAX_KEEP_ALIVE
        || bridge.keep_alive.subsec_nanos() != 0
    {
        return wrong("keep_alive", "whole seconds, from 1s to 65535s".to_owned());
    }
    for (leaf, duration) in [
        ("connect_timeout", bridge.connect_timeout),
        ("ack_timeout", bridge.ack_timeout),
        ("reconnect.min", bridge.reconnect.min),
    ] {
        if duration < Duration::from_millis(1) {
            return wrong(leaf, "at least 1ms".to_owned());
        }
    }
    if bridge.reconnect.max < bridge.reconnect.min {
        let (min, max) = (format_duration(bridge.reconnect.min), format_duration(bridge.reconnect.max));
        return wrong("reconnect", format!("max {max} is below min {min}"));
    }
    if bridge.window == 0 {
        return wrong("window", "0 is too small: at least 1".to_owned());
    }
    for (index, forward) in bridge.forwards.iter().enumerate() {
        let leaf = format!("forwards[{index}]");
        let (name, strip) = (forward.remote.as_deref(), forward.strip_levels);
        mapping(&forward.local, name, strip, [&forward.prefix, &forward.suffix]).or_else(|what| wrong(&leaf, what))?;
    }
    for (index, subscription) in bridge.subscriptions.iter().enumerate() {
        let leaf = format!("subscriptions[{index}]");
        let (name, strip) = (subscription.local.as_deref(), subscription.strip_levels);
        mapping(&subscription.remote, name, strip, [&subscription.prefix, &subscription.suffix])
            .or_else(|what| wrong(&leaf, what))?;
    }
    Ok(())
}

fn mapping(filter: &str, name: Option<&str>, strip_levels: u8, around: [&str; 2]) -> Result<(), String> {
    topic::check_filter(filter)?;
    if filter.starts_with("$share/") {
        return Err(format!("`{filter}`: shared subscriptions are not available yet in this version"));
    }
    if let Some(name) = name {
        if topic::has_wildcard(filter) && topic::has_wildcard(name) && name == filter {
            return Err(format!("`{filter}` on both sides: leave the second one out, topics stay as they are"));
        }
        topic::check_name(name)?;
        if topic::has_wildcard(filter) {
            let what = "would put every topic of a wildcard under one name: leave it out, or use `prefix`";
            return Err(format!("`{filter}` to `{name}` {what}"));
        }
    }
    if strip_levels > 0 && name.is_some() {
        return Err("strip_levels: a topic of its own is given as well: one of them".to_owned());
    }
    if usize::from(strip_levels) >= filter.split('/').count() && !filter.ends_with('#') {
        return Err(format!("strip_levels: {strip_levels} leaves nothing of what `{filter}` matches"));
    }
    for text in around.into_iter().filter(|text| !text.is_empty()) {
        topic::check_name(text)?;
    }
    Ok(())
}

/// What a full cache does to messages, and to publishers of other bridges.
fn overflow(config: &Config, cache: &Cache, warnings: &mut Vec<String>) {
    let forwards = config.bridges.iter().flat_map(|bridge| {
        let key = |forward: &Forward| format!("bridge {}: forward `{}`: when_full", bridge.name, forward.local);
        bridge.forwards.iter().filter_map(move |forward| Some((key(forward), forward.when_full?)))
    });
    for (key, when_full) in std::iter::once(("cache.when_full".to_owned(), cache.when_full)).chain(forwards) {
        match when_full {
            WhenFull::DropNewest => {
                warnings.push(format!("{key}: drop_newest: a full cache loses acknowledged messages"))
            }
            WhenFull::DropOldest => {
                warnings.push(format!("{key}: drop_oldest: a full cache loses the oldest acknowledged messages"));
            }
            WhenFull::Block if config.bridges.len() > 1 => warnings.push(format!(
                "{key}: block: one bridge whose queue is full stops publishers, whatever the other bridges do"
            )),
            WhenFull::Block | WhenFull::Reject => {}
        }
    }
}

/// A long time as a person says it: the two largest units.
pub fn roughly(duration: Duration) -> String {
    let secs = duration.as_secs();
    match (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60, secs % 60) {
        (0, 0, 0, secs) => format!("{secs} s"),
        (0, 0, minutes, secs) => format!("{minutes} min {secs} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

/// A server knows nothing of the session at another.
fn several_servers(bridge: &Bridge, exactly_once: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let (name, servers) = (&bridge.name, bridge.server.len());
    if servers > 1 && exactly_once {
        warnings.push(format!(
            "bridge {name}: {servers} servers: QoS 2 messages in flight when it changes from one to another are sent again, \
             and arrive twice where the first had them"
        ));
    }
    if servers > 1 && !bridge.subscriptions.is_empty() {
        warnings.push(format!(
            "bridge {name}: {servers} servers: what one of them keeps for the subscriptions while another is in use is \
             given up when the bridge comes back to it"
        ));
    }
    warnings
}

/// What is allowed but costs a guarantee, in words, for `check` and the log.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = tls::warnings(config);
    super::accounts::warnings(config, &mut warnings);
    if let Some(cache) = &config.cache {
        if cache.synchronous == Synchronous::Normal {
            warnings.push(
                "cache.synchronous: normal: the last acknowledged messages can be lost at a power loss".to_owned(),
            );
        }
        if cache.durability == Durability::Deferred {
            let after = format_duration(cache.commit_after);
            warnings.push(format!(
                "cache.durability: deferred: a QoS 1 publish is acknowledged, and handed to local subscribers, when every \
                 remote it goes to has acknowledged it, or {after} later when it is committed: slower on a slow link; \
                 nothing acknowledged is at risk, but a publisher must repeat what was not (immediate: it seldom has to)"
            ));
        }
        overflow(config, cache, &mut warnings);
        if cache.max_age.is_some() {
            warnings.push("cache.max_age: an outage longer than this loses acknowledged messages".to_owned());
        }
    }
    warnings.extend(source::warnings(config));
    for bridge in &config.bridges {
        let name = &bridge.name;
        if let (Some(drain), Some(cache)) = (bridge.drain, &config.cache) {
            let takes = Duration::from_secs_f64((cache.max_messages as f64 / drain.max_rate.per_second()).ceil());
            warnings.push(format!(
                "bridge {name}: drain.max_rate {}: a full cache of {} messages takes {} to drain if nothing else is \
                 published meanwhile; where more than {} are published it never drains",
                drain.max_rate,
                cache.max_messages,
                roughly(takes),
                drain.max_rate,
            ));
        }
        let exactly_once = bridge.forwards.iter().any(|forward| forward.qos.is_none_or(|qos| qos == QoS::ExactlyOnce));
        if exactly_once && bridge.clean_start {
            warnings.push(format!(
                "bridge {name}: clean_start: QoS 2 messages in flight when the link is lost are sent again, \
                 and arrive twice where the remote had them"
            ));
        } else if exactly_once && bridge.protocol == 5 && bridge.session_expiry < Duration::from_secs(3_600) {
            warnings.push(format!(
                "bridge {name}: session_expiry {}: after a longer outage QoS 2 is no longer exactly once",
                format_duration(bridge.session_expiry)
            ));
        }
        warnings.extend(several_servers(bridge, exactly_once));
        if topic::has_wildcard(name) {
            warnings.push(format!("bridge {name}: `+` or `#` in its name: it has no topic `$SYS/bridge/<name>/state`"));
        }
        for forward in bridge.forwards.iter().filter(|forward| forward.local.starts_with(topic::SYS)) {
            warnings.push(format!(
                "bridge {name}: forward `{}` never applies: what a broker says about itself is not forwarded",
                forward.local
            ));
        }
        if bridge.forwards.is_empty() && bridge.subscriptions.is_empty() {
            warnings.push(format!("bridge {name}: neither forwards nor subscriptions: nothing goes over it"));
        }
        for (index, forward) in bridge.forwards.iter().enumerate() {
            let earlier = bridge.forwards[..index].iter().find(|other| topic::covers(&other.local, &forward.local));
            if let Some(earlier) = earlier {
                warnings.push(format!(
                    "bridge {name}: forward `{}` never applies: `{}` stands before it and matches the same topics",
                    forward.local, earlier.local
                ));
            }
        }
    }
    warnings
}
