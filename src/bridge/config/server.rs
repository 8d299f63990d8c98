//! Where a remote is, and how it is spoken to.
use serde::{Deserialize, Serialize};

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `mqtt://`: TCP.
    Mqtt,
    /// `mqtts://`: TLS.
    Mqtts,
    /// `ws://`: WebSocket.
    Ws,
    /// `wss://`: WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// As it stands before `://`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether it is TLS that carries it.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Whether WebSocket frames carry it.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// The path of a WebSocket where none is given.
pub(super) const WEBSOCKET_PATH: &str = "/mqtt";

/// Where a remote is: a host name or address, a port, and for WebSocket a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    /// How it is reached.
    pub scheme: Scheme,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path of its WebSocket, from the `/` on; empty without WebSocket.
    pub path: String,
}

impl Server {
    /// `mqtt://host:port`.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self { scheme: Scheme::Mqtt, host: host.into(), port, path: String::new() }
    }

    /// `host:port`, as errors name it.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
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
        let scheme = match scheme {
            "mqtt" | "tcp" => Scheme::Mqtt,
            "mqtts" | "ssl" | "tls" => Scheme::Mqtts,
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            _ => return Err(wrong("has an unknown scheme (known: mqtt, mqtts, ws, wss)")),
        };
        let (rest, path) = match rest.find('/').filter(|_| scheme.is_websocket()) {
            Some(slash) => rest.split_at(slash),
            None if scheme.is_websocket() => (rest, WEBSOCKET_PATH),
            None => (rest, ""),
        };
        let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong("has no valid port"))?),
            None => (rest, scheme.port()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong("has no valid host"));
        }
        if !path.chars().all(is_in_path) {
            return Err(wrong("has no valid path"));
        }
        Ok(Self { scheme, host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// Whether a character may stand in the path of a WebSocket, query included (RFC 3986, section 3.3).
pub(super) fn is_in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:%?".contains(c)
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme.name(), self.address(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_the_default_of_its_scheme() {
        for (written, means) in [
            ("mqtt://emqx", "mqtt://emqx:1883"),
            ("tcp://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://emqx", "mqtts://emqx:8883"),
            ("ssl://emqx:1", "mqtts://emqx:1"),
            ("ws://emqx", "ws://emqx:80/mqtt"),
            ("wss://[::1]:8084/a/b?c=d", "wss://[::1]:8084/a/b?c=d"),
            ("wss://emqx/", "wss://emqx:443/"),
        ] {
            let server = Server::try_from(written.to_owned()).unwrap();
            assert_eq!(server.to_string(), means);
            assert_eq!(Server::try_from(server.to_string()), Ok(server));
        }
        for (written, why) in [
            ("quic://h", "unknown scheme"),
            ("mqtts://h/mqtt", "no valid host"),
            ("mqtt://h:x", "no valid port"),
            ("ws://h/a b", "no valid path"),
            ("ws://u:geheim@h/", "`***` has no valid port"),
        ] {
            let error = Server::try_from(written.to_owned()).unwrap_err();
            assert!(error.contains(why) && !error.contains("geheim"), "{error}");
        }
    }
}
