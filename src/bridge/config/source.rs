//! `source`: an existing broker as the local side, instead of listeners.
mod check;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::defaults::*;
use super::{Bridge, Config, Reconnect, Secret, Server, Subscription, hops};
use crate::bridge::message::QoS;
use crate::bridge::topic;
use crate::bridge::units;
pub(super) use check::{check, warnings};

/// Names the source among the bridges: in the cache, in metrics and in logs.
pub const SOURCE: &str = "source";

/// The broker whose messages are forwarded, and that gets what the remotes send.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `mqtt://host:port`.
    pub server: Server,
    /// 4 (MQTT 3.1.1) or 5, which has No Local.
    #[serde(default = "protocol")]
    pub protocol: u8,
    /// Client Identifier; absent: made of the bridges' names. The broker keeps the session under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Session Expiry Interval: for how long the broker keeps messages while the bridge is away.
    #[serde(default = "seven_days", deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub session_expiry: Duration,
    /// User Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file that holds the password, without its line end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Keep Alive, in whole seconds.
    #[serde(default = "sixty_seconds", deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub keep_alive: Duration,
    /// How long name resolution, connect and CONNACK may take, each.
    #[serde(default = "two_seconds", deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    pub connect_timeout: Duration,
    /// How old the oldest unacknowledged packet may get before the connection is given up.
    #[serde(
        default = "twenty_seconds",
        deserialize_with = "units::duration",
        serialize_with = "units::write_duration"
    )]
    pub ack_timeout: Duration,
    /// Pauses between connection attempts.
    #[serde(default)]
    pub reconnect: Reconnect,
    /// Unacknowledged PUBLISHes at a time, in each direction.
    #[serde(default = "window")]
    pub window: u16,
    /// Whether QoS 0 messages of the remotes are cached while the link to the source is down.
    #[serde(default)]
    pub cache_qos0: bool,
}

impl Source {
    /// The defaults, for a broker.
    fn at(server: Server) -> Self {
        Self {
            server,
            protocol: protocol(),
            client_id: None,
            session_expiry: seven_days(),
            username: None,
            password: None,
            password_file: None,
            keep_alive: sixty_seconds(),
            connect_timeout: two_seconds(),
            ack_timeout: twenty_seconds(),
            reconnect: Reconnect::default(),
            window: window(),
            cache_qos0: false,
        }
    }

    /// Client Identifier: lasting, and another for another configuration.
    fn client_id(&self, bridges: &[Bridge]) -> String {
        self.client_id.clone().unwrap_or_else(|| {
            let names: Vec<&str> = bridges.iter().map(|bridge| bridge.name.as_str()).collect();
            format!("mqtt-bridge-{}", names.join("-"))
        })
    }
}

/// The source as one more leg: what the bridges forward is what it subscribes to.
pub fn leg(config: &Config) -> Option<Bridge> {
    let source = config.source.as_ref()?;
    let bridges = &config.bridges;
    let source = source.clone();
    Some(Bridge {
        protocol: source.protocol,
        session_expiry: source.session_expiry,
        keep_alive: source.keep_alive,
        connect_timeout: source.connect_timeout,
        ack_timeout: source.ack_timeout,
        reconnect: source.reconnect,
        window: source.window,
        cache_qos0: source.cache_qos0,
        max_hops: hops::of_the_source(bridges).filter(|_| source.protocol == 5),
        subscriptions: subscriptions(bridges),
        client_id: source.client_id(bridges),
        username: source.username,
        password: source.password,
        ..Bridge::new(SOURCE, source.server, "")
    })
}

/// What is forwarded, each topic asked for once as far as that can be said with filters: a filter that another covers is
/// left out, since a broker may deliver once for each that matches.
fn subscriptions(bridges: &[Bridge]) -> Vec<Subscription> {
    let mut wanted: Vec<(&str, QoS)> = Vec::new();
    for forward in bridges.iter().flat_map(|bridge| &bridge.forwards) {
        let mut qos = forward.qos.unwrap_or(QoS::ExactlyOnce);
        if let Some((_, known)) = wanted.iter_mut().find(|(filter, _)| topic::covers(filter, &forward.local)) {
            *known = qos.max(*known);
            continue;
        }
        let covered = |filter: &str| topic::covers(&forward.local, filter);
        qos = wanted.iter().filter(|(filter, _)| covered(filter)).map(|(_, known)| *known).fold(qos, QoS::max);
        wanted.retain(|(filter, _)| !covered(filter));
        wanted.push((&forward.local, qos));
    }
    wanted.into_iter().map(|(filter, qos)| Subscription::of(filter, qos)).collect()
}

/// Pairs of filters that both match some topic: a broker may deliver what both match twice.
fn overlapping(leg: &Bridge) -> Vec<(&str, &str)> {
    let filters: Vec<&str> = leg.subscriptions.iter().map(|subscription| subscription.remote.as_str()).collect();
    let pairs =
        filters.iter().enumerate().flat_map(|(index, one)| filters[..index].iter().map(move |other| (*other, *one)));
    pairs.filter(|(one, other)| topic::overlap(one, other)).collect()
}

impl<'de> Deserialize<'de> for ShortOrLong {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlOrKeys).map(Self)
    }
}

/// `source: mqtt://localhost:1883`, or its keys.
struct ShortOrLong(Source);

/// For serde: the short form is the long one with defaults.
pub(super) fn short_or_long<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Source>, D::Error> {
    ShortOrLong::deserialize(deserializer).map(|source| Some(source.0))
}

struct UrlOrKeys;

impl<'de> Visitor<'de> for UrlOrKeys {
    type Value = Source;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a URL, as in mqtt://localhost:1883, or keys of which one is `server`")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<Source, E> {
        Server::try_from(url.to_owned()).map(Source::at).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<Source, A::Error> {
        Source::deserialize(MapAccessDeserializer::new(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::yaml::Document;

    fn config(source: &str, forwards: &str) -> Config {
        let text = format!(
            "source: {source}\nbridges: [{{ name: b, server: \"mqtt://r\", client_id: c, forwards: [{forwards}] }}]"
        );
        Config::from_document(&Document::from_text("bridge.yaml", &text)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn wanted(config: &Config) -> Vec<(String, QoS)> {
        let leg = leg(config).unwrap();
        leg.subscriptions.into_iter().map(|subscription| (subscription.remote, subscription.qos)).collect()
    }

    #[test]
    fn the_short_form_has_the_defaults_of_the_long_one() {
        let short = config("mqtt://localhost:1883", "{ local: a }");
        assert_eq!(short, config("{ server: \"mqtt://localhost\" }", "{ local: a }"));
        let leg = leg(&short).unwrap();
        assert_eq!((leg.name.as_str(), leg.client_id.as_str(), leg.protocol), ("source", "mqtt-bridge-b", 5));
    }

    #[test]
    fn filters_are_merged_and_what_is_covered_is_asked_for_once() {
        let config = config(
            "mqtt://l",
            "{ local: a/b, qos: 2 }, { local: c, qos: 0 }, { local: a/#, qos: 1 }, { local: c, qos: 1 }",
        );
        let expected = [("c".to_owned(), QoS::AtLeastOnce), ("a/#".to_owned(), QoS::ExactlyOnce)];
        assert_eq!(wanted(&config), expected);
    }

    #[test]
    fn filters_that_overlap_without_covering_are_warned_about() {
        let config = config("mqtt://l", "{ local: a/+/c }, { local: a/b/+ }, { local: d }");
        assert_eq!(overlapping(&leg(&config).unwrap()), [("a/+/c", "a/b/+")]);
        assert!(super::super::warnings(&config).iter().any(|warning| warning.contains("`a/+/c` and `a/b/+`")));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let bridge = |rest: &str| format!("bridges: [{{ name: b, server: \"mqtt://r\", client_id: c, {rest} }}]");
        let echo = "forwards: [{ local: a/# }], subscriptions: [{ remote: a/b }]";
        for (text, expected) in [
            (
                format!("source: mqtt://l\n{}", bridge("forwards: []").replace("name: b", "name: source")),
                "bridges[0].name",
            ),
            (
                format!("source: mqtt://l\nlisteners: [{{ bind: \"127.0.0.1:0\" }}]\n{}", bridge("")),
                "source: listeners",
            ),
            (format!("source: {{ server: \"mqtt://l\", protocol: 4 }}\n{}", bridge(echo)), "source.protocol"),
            ("source: mqtt://l".to_owned(), "no bridges"),
            (format!("source: {{ server: \"mqtt://l\", keepalive: 3s }}\n{}", bridge("")), "did you mean `keep_alive`"),
            (format!("source: {{ server: \"mqtt://l\", window: 0 }}\n{}", bridge("")), "source.window"),
        ] {
            let error = Config::from_document(&Document::from_text("bridge.yaml", &text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
