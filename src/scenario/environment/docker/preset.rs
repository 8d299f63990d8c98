//! How the brokers that are known are run as a remote: their queues without limits, since what they drop would look
//! like the subject's loss, and their sessions kept where they can keep them.
use std::collections::BTreeMap;

use crate::scenario::plan::{RemotePlan, RemotePreset};

/// What the original report has as its broker.
pub(super) const DEFAULT_IMAGE: &str = "emqx/emqx:5.8.7";

/// What a broker needs to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Recipe {
    /// Environment variables.
    pub(super) env: BTreeMap<String, String>,
    /// Its command line behind the image's entry point; `None`: the image's own.
    pub(super) command: Option<Vec<String>>,
    /// Files: place in the container, contents.
    pub(super) files: BTreeMap<String, String>,
}

/// The image of a plan's remote.
pub(super) fn image(remote: &RemotePlan) -> &str {
    remote.image.as_deref().unwrap_or(DEFAULT_IMAGE)
}

/// The preset of a plan's remote: the one it names, or what its image's name says.
pub(super) fn preset(remote: &RemotePlan) -> RemotePreset {
    remote.preset.unwrap_or_else(|| by_name(image(remote)))
}

/// `emqx/nanomq` is a NanoMQ: only the last part of the name counts.
fn by_name(image: &str) -> RemotePreset {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split(['@', ':']).next().unwrap_or(name).to_ascii_lowercase();
    [
        ("nanomq", RemotePreset::Nanomq),
        ("emqx", RemotePreset::Emqx),
        ("mosquitto", RemotePreset::Mosquitto),
        ("rumqttd", RemotePreset::Rumqttd),
    ]
    .into_iter()
    .find(|(part, _)| name.contains(part))
    .map_or(RemotePreset::None, |(_, preset)| preset)
}

/// What a plan's remote needs, without the files that the user gives; `window` is the Receive Maximum it shall grant,
/// `durable` where it is to find its sessions again
/// after another start.
pub(super) fn recipe(remote: &RemotePlan, window: Option<u16>, durable: bool) -> Recipe {
    let mut recipe = match preset(remote) {
        RemotePreset::Emqx => emqx(remote.port, window, durable),
        RemotePreset::Mosquitto => mosquitto(remote.port, window),
        RemotePreset::Nanomq => nanomq(remote.port, window),
        RemotePreset::Rumqttd => rumqttd(remote.port, window),
        RemotePreset::None => Recipe::default(),
    };
    recipe.env.extend(remote.env.clone());
    if remote.command.is_some() {
        recipe.command.clone_from(&remote.command);
    }
    recipe
}

/// Whether a broker finds its sessions again after another start of its container. Of one that is not known it is up to
/// whoever named it.
pub(super) fn keeps_sessions(preset: RemotePreset) -> bool {
    match preset {
        RemotePreset::Mosquitto | RemotePreset::Emqx | RemotePreset::None => true,
        RemotePreset::Nanomq | RemotePreset::Rumqttd => false,
    }
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Its session queues hold 1000 messages by default, and a client whose process grows is shut down. Durable sessions are
/// another machinery inside it, with other speeds: only where they are needed.
fn emqx(port: u16, window: Option<u16>, durable: bool) -> Recipe {
    let mut env = vec![
        ("EMQX_LISTENERS__TCP__DEFAULT__BIND", format!("0.0.0.0:{port}")),
        ("EMQX_MQTT__MAX_MQUEUE_LEN", "infinity".to_owned()),
        ("EMQX_FORCE_SHUTDOWN__ENABLE", "false".to_owned()),
        // Otherwise part of it is the address, which another start of the container may change, and its data with it.
        ("EMQX_NODE_NAME", "emqx@127.0.0.1".to_owned()),
        ("EMQX_LOG__CONSOLE__ENABLE", "true".to_owned()),
    ];
    if let Some(window) = window {
        env.push(("EMQX_MQTT__MAX_INFLIGHT", window.to_string()));
    }
    if durable {
        env.push(("EMQX_DURABLE_SESSIONS__ENABLE", "true".to_owned()));
    }
    Recipe { env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), ..Recipe::default() }
}

/// The log to stderr: stdout is block-buffered in a container. `user root`: it could not open its own files otherwise
/// where an image has no such user. Saved once a second, so that its sessions outlive a kill.
fn mosquitto(port: u16, window: Option<u16>) -> Recipe {
    // Not 0, no limit: where 2.0.11 refuses a PUBLISH it compares with that, and closes the connection.
    let window = window.unwrap_or(0);
    let file = "/mosquitto/config/mosquitto.conf";
    let text = format!(
        "listener {port} 0.0.0.0\nallow_anonymous true\nuser root\nlog_dest stderr\npersistence true\n\
         persistence_location /mosquitto/data/\nautosave_interval 1\nsys_interval 0\n\
         max_queued_messages 1000000000\nmax_queued_bytes 0\nmax_inflight_messages {window}\nset_tcp_nodelay true\n"
    );
    Recipe {
        command: words(&["mosquitto", "-c", file]),
        files: [
            (file.to_owned(), text),
            // The folder has to be there; in a volume of the image it stays.
            ("/mosquitto/data/.lab".to_owned(), String::new()),
        ]
        .into(),
        ..Recipe::default()
    }
}

/// Its entry point reads /etc/nanomq.conf. Its queues have no "unlimited".
fn nanomq(port: u16, window: Option<u16>) -> Recipe {
    let window = window.unwrap_or(u16::MAX);
    let text = format!(
        "mqtt {{\n  max_mqueue_len = 65535\n  max_inflight_window = {window}\n  max_packet_size = 260MB\n  \
         retry_interval = 10s\n  keepalive_multiplier = 1.25\n}}\n\
         listeners.tcp {{ bind = \"0.0.0.0:{port}\" }}\n\
         log {{ to = [console], level = warn }}\n\
         auth {{ allow_anonymous = true, no_match = allow, deny_action = ignore }}\n"
    );
    Recipe { files: [("/etc/nanomq.conf".to_owned(), text)].into(), ..Recipe::default() }
}

/// One port for each version of the protocol; the laboratory's own clients speak 5, so that is the one. A reader that
/// is too slow for the segments loses what it has not read.
fn rumqttd(port: u16, window: Option<u16>) -> Recipe {
    let window = window.unwrap_or(65_000);
    let file = "/rumqttd.toml";
    let text = format!(
        "id = 0\n\n[router]\nid = 0\nmax_connections = 1000\nmax_outgoing_packet_count = 65000\n\
         max_segment_size = 104857600\nmax_segment_count = 1000\n\n\
         [v5.1]\nname = \"v5-1\"\nlisten = \"0.0.0.0:{port}\"\nnext_connection_delay_ms = 1\n\
         [v5.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 268435455\nmax_inflight_count = {window}\n"
    );
    Recipe { command: words(&["-c", file]), files: [(file.to_owned(), text)].into(), ..Recipe::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_tells_its_broker_by_the_last_part_of_its_name() {
        for (image, preset) in [
            ("emqx/emqx:5.8.7", RemotePreset::Emqx),
            ("registry.example:5000/mirror/emqx-enterprise@sha256:00", RemotePreset::Emqx),
            ("emqx/nanomq:0.24.6-full", RemotePreset::Nanomq),
            ("eclipse-mosquitto:2.0.21", RemotePreset::Mosquitto),
            ("bytebeamio/rumqttd", RemotePreset::Rumqttd),
            ("hivemq/hivemq4", RemotePreset::None),
            ("mosquitto.example/broker:1", RemotePreset::None),
        ] {
            assert_eq!(by_name(image), preset, "{image}");
        }
    }

    #[test]
    fn what_the_scenario_says_comes_on_top() {
        let remote = RemotePlan {
            env: [("EMQX_MQTT__MAX_MQUEUE_LEN".to_owned(), "7".to_owned()), ("MORE".to_owned(), "1".to_owned())].into(),
            command: words(&["run", "it"]),
            ..RemotePlan::default()
        };
        let recipe = recipe(&remote, None, false);
        assert_eq!(recipe.env["EMQX_MQTT__MAX_MQUEUE_LEN"], "7");
        assert_eq!((&*recipe.env["MORE"], recipe.command), ("1", words(&["run", "it"])));
        assert!(recipe.env.contains_key("EMQX_FORCE_SHUTDOWN__ENABLE"));
        let other = RemotePlan { preset: Some(RemotePreset::None), ..RemotePlan::default() };
        assert_eq!(super::recipe(&other, None, true), Recipe::default());
    }
}
