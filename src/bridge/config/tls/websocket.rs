//! `websocket: true`, or with a path.
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::bridge::config::server::WEBSOCKET_PATH;

/// MQTT over WebSocket (MQTT 5, section 6).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocket {
    /// The path that clients ask for.
    #[serde(default = "path")]
    pub path: String,
}

fn path() -> String {
    WEBSOCKET_PATH.to_owned()
}

/// `true`, `false`, or an object.
pub(in crate::bridge::config) fn websocket<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WebSocket>, D::Error> {
    struct Shape;

    impl<'de> Visitor<'de> for Shape {
        type Value = Option<WebSocket>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("true, false, or { path: /mqtt }")
        }

        fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
            Ok(on.then(|| WebSocket { path: path() }))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            WebSocket::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    from.deserialize_any(Shape)
}
