//! A `nanomq.conf` for another place: the same text, but for where its remote and its cache are.
use std::net::SocketAddr;

use super::hocon::{self, Node, Object, Place, Value};

/// Length of `ctx_msgs` where a configuration names none: 0.24.6 then frees an uninitialised pointer at the first
/// overflow. The original report's value.
pub const QUEUE_LENGTH: u32 = 256;

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub struct Relocation<'a> {
    /// `server` of every bridge.
    pub server: &'a str,
    /// `mounted_file_path` of the cache.
    pub cache: &'a str,
}

/// What was seen on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Where it listens for MQTT over TCP.
    pub listens: Option<SocketAddr>,
    /// A bridge had no `max_send_queue_len` and has [`QUEUE_LENGTH`] now.
    pub lacked_queue_length: bool,
}

/// Why it cannot be relocated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct RelocationError {
    /// From 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

/// Replaces values where they stand, so that everything else is read by NanoMQ as its author wrote it.
///
/// # Errors
/// Where it is no HOCON, has no bridge, or one that does not speak plain TCP.
pub fn relocate(text: &str, to: &Relocation<'_>) -> Result<(String, Found), RelocationError> {
    let wrong = |at: Place, what: String| RelocationError { line: at.line, what };
    let root = hocon::parse(text).map_err(|error| wrong(error.at(), error.to_string()))?;
    let mut found =
        Found { listens: text_at(&root, &["listeners", "tcp", "bind"]).and_then(address), ..Found::default() };
    // Place, what stands there, what is to stand there instead.
    let mut edits: Vec<(Place, Value, String)> = Vec::new();
    for bridge in object_at(&root, &["bridges", "mqtt"]).into_iter().flat_map(|bridges| &bridges.entries) {
        let Value::Object(block) = &bridge.node.value else { continue };
        if bridge.key == "cache" {
            if let Some(path) = block.entries.iter().find(|entry| entry.key == "mounted_file_path") {
                edits.push((path.node.at, path.node.value.clone(), format!("\"{}\"", to.cache)));
            }
            continue;
        }
        let Some(server) = block.entries.iter().find(|entry| entry.key == "server") else { continue };
        if !text_of(&server.node).is_some_and(|server| server.starts_with("mqtt-tcp://")) {
            let what = format!("bridges.mqtt.{}.server: the laboratory's remote speaks mqtt-tcp:// alone", bridge.key);
            return Err(wrong(server.node.at, what));
        }
        let mut value = format!("\"{}\"", to.server);
        if block.entries.iter().all(|entry| entry.key != "max_send_queue_len") {
            found.lacked_queue_length = true;
            value.push_str(&format!("\n    max_send_queue_len = {QUEUE_LENGTH}"));
        }
        edits.push((server.node.at, server.node.value.clone(), value));
    }
    if edits.is_empty() {
        let what = "there is no bridge in it: bridges.mqtt.NAME { server = \"mqtt-tcp://...\" }".to_owned();
        return Err(RelocationError { line: 1, what });
    }
    // From the end, so that no place moves before it is used.
    edits.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    let mut relocated = text.to_owned();
    for (at, stands, value) in edits {
        let span = offset(text, at).and_then(|start| Some(start..start + length(&text[start..], &stands)?));
        let span = span.ok_or_else(|| wrong(at, "this value cannot be replaced: write it in one piece".to_owned()))?;
        relocated.replace_range(span, &value);
    }
    Ok((relocated, found))
}

fn object_at<'a>(root: &'a Object, path: &[&str]) -> Option<&'a Object> {
    path.iter().try_fold(root, |object, key| match &object.entries.iter().find(|entry| entry.key == *key)?.node.value {
        Value::Object(object) => Some(object),
        _ => None,
    })
}

fn text_at<'a>(root: &'a Object, path: &[&str]) -> Option<&'a str> {
    let (key, path) = path.split_last()?;
    let object = object_at(root, path)?;
    text_of(&object.entries.iter().find(|entry| entry.key == *key)?.node)
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Quoted(text) | Value::Bare(text) => Some(text),
        _ => None,
    }
}

/// `0.0.0.0:1883`, also with a scheme before it, and without a host.
fn address(bind: &str) -> Option<SocketAddr> {
    let address = bind.rsplit_once("//").map_or(bind, |(_, address)| address);
    match address.strip_prefix(':') {
        Some(port) => Some(SocketAddr::from(([0, 0, 0, 0], port.parse().ok()?))),
        None => address.parse().ok(),
    }
}

fn offset(text: &str, at: Place) -> Option<usize> {
    let body = text.trim_start_matches('\u{feff}');
    let line: &str = body.split('\n').nth(at.line.checked_sub(1)?)?;
    let (column, _) = line.char_indices().nth(at.column.checked_sub(1)?)?;
    // Slices of one text: the distance of their beginnings.
    Some(line.as_ptr() as usize - text.as_ptr() as usize + column)
}

/// Bytes of the value that stands at the beginning.
fn length(text: &str, value: &Value) -> Option<usize> {
    match value {
        Value::Bare(bare) => text.starts_with(bare.as_str()).then_some(bare.len()),
        Value::Quoted(_) => {
            let inner = text.strip_prefix('"').filter(|inner| !inner.starts_with('"'))?;
            let mut escaped = false;
            let end = inner.find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map(|end| end + 2)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Relocation<'static> = Relocation { server: "mqtt-tcp://r:1", cache: "/w/cache/" };

    #[test]
    fn only_the_places_change() {
        let text = "# é bridge\nlisteners.tcp { bind = \"0.0.0.0:1884\" }\nbridges.mqtt.a = {\n  server = \"mqtt-tcp://emqx:1883\" # here\n  \
            max_send_queue_len = 32\n}\nbridges.mqtt.b { server : \"mqtt-tcp://x:1\", keepalive = 3s }\n\
            bridges.mqtt.cache { mounted_file_path=\"/tmp/\" }\n";
        let (relocated, found) = relocate(text, &TO).unwrap();
        assert_eq!(
            relocated,
            "# é bridge\nlisteners.tcp { bind = \"0.0.0.0:1884\" }\nbridges.mqtt.a = {\n  server = \"mqtt-tcp://r:1\" # here\n  \
             max_send_queue_len = 32\n}\nbridges.mqtt.b { server : \"mqtt-tcp://r:1\"\n    max_send_queue_len = 256, keepalive = 3s }\n\
             bridges.mqtt.cache { mounted_file_path=\"/w/cache/\" }\n"
        );
        assert_eq!((found.listens, found.lacked_queue_length), (address("0.0.0.0:1884"), true));
        let (again, _) = relocate(&relocated, &TO).unwrap();
        assert_eq!(again, relocated);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        let at = |text: &str| relocate(text, &TO).unwrap_err().line;
        assert_eq!(at("\nbridges.mqtt.a {\n server = \"tls+mqtt-tcp://x:1\" }"), 3);
        assert_eq!(at("listeners.tcp { bind = \"0.0.0.0:1883\" }"), 1);
        assert_eq!(at("\nbridges.mqtt.a {\n server = \"mqtt-tcp://x:1\""), 2);
    }
}
