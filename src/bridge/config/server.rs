//! Where a remote is.
use serde::{Deserialize, Serialize};

/// Where a remote is: a host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl TryFrom<String> for Server {
    type Error = String;
    fn try_from(url: String) -> Result<Self, String> {
        // User and password may stand before an `@`, where other programs take them.
        let shown = if url.contains('@') { "***" } else { &url };
        let wrong = |why: &str| format!("`{shown}` {why}: write mqtt://host:port, as in mqtt://emqx:1883");
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(wrong("is no URL"));
        };
        match scheme {
            "mqtt" | "tcp" => {}
            "mqtts" | "ssl" | "ws" | "wss" => {
                return Err(format!("`{shown}`: TLS and WebSocket are not available yet in this version: mqtt://"));
            }
            _ => return Err(wrong("has an unknown scheme")),
        }
        let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong("has no valid port"))?),
            None => (rest, 1883),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong("has no valid host"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "mqtt://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "mqtt://{}:{}", self.host, self.port)
        }
    }
}
