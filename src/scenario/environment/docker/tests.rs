//! The requests to the engine, as they are recorded here. EMQX's and NanoMQ's images cannot be had where there is no
//! registry: that these are right is known from their documentation, and compared with what is sent.
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::ContainerCreateBody;
use serde::Serialize;
use serde_json::Value;

use super::super::Environment;
use super::super::proxy::probe::Seen;
use super::super::suite::{self, Examined};
use super::Docker;
use super::bodies::{self, Network, Published};
use super::owner::{Names, Owner};
use super::preset;
use super::probe::Met;
use super::subnets::Subnet;
use super::world::DockerWorld;
use crate::scenario::plan::RemotePlan;
use crate::scenario::story::plan;

fn names() -> Names {
    Names::with("00c0ffee".to_owned(), &Owner::parse("host/boot/42/7").unwrap())
}

fn port(inside: u16, outside: u16) -> Published {
    Published { inside, outside: (IpAddr::V4(Ipv4Addr::LOCALHOST), outside) }
}

/// As it is sent, in a fixed order, without what is the same in all of them.
fn sent(body: impl Serialize, common: &[&str]) -> String {
    let mut value = serde_json::to_value(body).unwrap();
    if let Value::Object(map) = &mut value {
        map.retain(|key, _| !common.contains(&key.as_str()));
    }
    serde_json::to_string_pretty(&value).unwrap()
}

fn remote(image: &str) -> ContainerCreateBody {
    let plan = RemotePlan { image: Some(image.to_owned()), ..RemotePlan::default() };
    bodies::remote(
        &names(),
        image,
        &preset::recipe(&plan, None, false),
        Ipv4Addr::new(198, 18, 0, 18),
        port(1883, 15_001),
    )
}

const COMMON: [&str; 5] = ["HostConfig", "Labels", "NetworkingConfig", "Healthcheck", "ExposedPorts"];

#[test]
fn the_request_for_emqx() {
    insta::assert_snapshot!(sent(remote("emqx/emqx:5.8.7"), &[]));
}

#[test]
fn the_request_for_nanomq_and_its_file() {
    let plan = RemotePlan { image: Some("emqx/nanomq:0.24.6-full".to_owned()), ..RemotePlan::default() };
    insta::assert_snapshot!(sent(remote("emqx/nanomq:0.24.6-full"), &COMMON));
    insta::assert_snapshot!(preset::recipe(&plan, None, false).files["/etc/nanomq.conf"]);
}

#[test]
fn the_requests_for_mosquitto_and_rumqttd_and_for_sessions_that_last() {
    insta::assert_snapshot!(sent(remote("eclipse-mosquitto:2.0.21"), &COMMON));
    insta::assert_snapshot!(sent(remote("bytebeamio/rumqttd:0.20.0"), &COMMON));
    let durable = preset::recipe(&RemotePlan::default(), Some(10), true);
    assert_eq!(durable.env["EMQX_DURABLE_SESSIONS__ENABLE"], "true");
    assert_eq!(durable.env["EMQX_MQTT__MAX_INFLIGHT"], "10");
}

#[test]
fn the_requests_for_our_own_bridge_and_the_helper() {
    let ports = [port(1883, 15_002), port(9464, 15_003)];
    let subject = bodies::Subject {
        image: "mqtt-bridge-laboratory:0123",
        command: vec!["run".into(), "--config".into(), "/data/bridge.yaml".into()],
        own: true,
        pinned: vec![("emqx".into(), Ipv4Addr::new(198, 18, 0, 2))],
        volume: "mqtt-bridge-00c0ffee-data",
        ports: &ports,
    };
    insta::assert_snapshot!(sent(bodies::subject(&names(), &subject), &["Labels"]));
    let proxy =
        bodies::proxy(&names(), "mqtt-bridge-laboratory:0123", "198.18.0.18:1883".parse().unwrap(), port(9466, 15_005));
    insta::assert_snapshot!(sent(proxy, &COMMON));
    let probe = bodies::probe(&names(), "mqtt-bridge-laboratory:0123", "mqtt-bridge-00c0ffee-data", port(9465, 15_004));
    insta::assert_snapshot!(sent(probe, &["Labels"]));
}

#[test]
fn the_link_is_internal_and_its_ends_are_pinned() {
    let subnet = Subnet::number(0);
    insta::assert_snapshot!(sent(bodies::network(&names(), Network::Link, subnet), &[]));
    let end = bodies::link_end("remote", subnet.address(2), &["emqx".to_owned(), "broker.example".to_owned()]);
    insta::assert_snapshot!(sent(end, &[]));
    let ports = [Network::Subject, Network::Remote].map(|network| network.name(&names()));
    assert!(ports.iter().all(|name| *name < Network::Link.name(&names())), "published ports go by the first name");
    insta::assert_snapshot!(sent(bodies::volume(&names(), Some(1 << 20)), &[]));
}

const IMAGE: &str = "mqtt-bridge-test-mosquitto:latest";

fn command(program: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Examined for DockerWorld {
    async fn connection(&self) -> Seen {
        match self.look_from_subject().await {
            Met::Connected => Seen::Connected,
            Met::Reset => Seen::Reset,
            Met::Refused => Seen::Refused,
            Met::Nothing => Seen::TimedOut,
        }
    }

    /// A world has its name pinned, for a cut, or not, for a disconnect; and a container that has ended has none.
    async fn resolves(&self) -> Option<bool> {
        if matches!(self.link, "cut" | "disconnect") || self.remote.ended().is_some() {
            return None;
        }
        let sight = self.look(std::time::Duration::from_millis(500)).await.unwrap().unwrap();
        Some(sight.resolved == [self.remote_on_link()])
    }

    fn traces(&self) -> Box<dyn Fn() -> Vec<String> + Send> {
        let label = format!("label=mqtt-bridge.world={}", self.names.id());
        Box::new(move || {
            let listings = [vec!["ps", "-aq"], vec!["network", "ls", "-q"], vec!["volume", "ls", "-q"]];
            let listed =
                listings.iter().map(|listing| command("docker", &[listing, &["--filter", &label][..]].concat()));
            listed.flat_map(|listed| listed.unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_of_every_environment() {
    let test = "the_suite_of_every_environment (docker)";
    let exe = std::env::current_exe().unwrap();
    // Beside this test, where `cargo test` has made it, though not `cargo test --lib`.
    let own = exe.parent().and_then(std::path::Path::parent).unwrap().join("mqtt-bridge");
    let engine = command("docker", &["version"]).is_some();
    if !engine || !own.is_file() {
        assert!(std::env::var_os("CI").is_none(), "{test}: no Docker engine answers on CI");
        let skipped = format!("SKIPPED {test}: no Docker engine answers, or {} is not there\n", own.display());
        std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images/debian.sh");
    let there = command("docker", &["image", "inspect", IMAGE]);
    there.or_else(|| command(script, &[IMAGE, "mosquitto"])).unwrap();
    let text = format!(
        "remote: {{ image: {IMAGE} }}\nsubjects: [{{ kind: mosquitto, image: {IMAGE} }}]\nload: [{{ topic: a }}]\n\
         timeline:\n  - {{ at: 0s, do: publish, for: 1s }}\n  - {{ at: 0s, do: reset }}\n"
    );
    let plan = plan(&text);
    let docker = Docker::connect(own, &plan).await.unwrap();
    docker.gather(&plan).await.unwrap();
    suite::examine(&docker).await;
    docker.finish().await;
}
