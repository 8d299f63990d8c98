use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use super::super::owner::Owner;
use super::super::proxy::probe::{self, Seen};
use super::super::suite::{self, Examined};
use super::look::{connect, resolve};
use super::topology::Topology;
use super::*;

/// Whether worlds can be made here by this process; says aloud where not.
fn possible(test: &str) -> bool {
    let missing = Tool::ALL.iter().find_map(|tool| tool.command().err());
    let mosquitto = EnvironmentError::ProgramMissing { program: "mosquitto" };
    let why = match (missing, rights::check(), programs::find("mosquitto")) {
        (Some(missing), ..) => missing.to_string(),
        (_, Err(error), _) => error.to_string(),
        (.., None) => mosquitto.to_string(),
        _ => return true,
    };
    assert!(std::env::var_os("CI").is_none(), "{test} on CI: {why}");
    // Not eprintln: that is shown only for a test that fails.
    std::io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
    false
}

impl Examined for NetnsWorld {
    async fn connection(&self) -> Seen {
        let remote = SocketAddr::from((self.topology.addresses.remote_link(), world::MQTT));
        self.topology.bridge.within(move || connect(remote)).await.unwrap()
    }

    async fn resolves(&self) -> Option<bool> {
        let (mounts, remote) = (self.mounts.clone(), self.topology.addresses.remote_link());
        let leads_to = self.topology.bridge.within(move || resolve(&mounts)).await.unwrap();
        assert!(leads_to.is_none_or(|address| address == remote), "{leads_to:?}");
        Some(leads_to.is_some())
    }

    fn traces(&self) -> Box<dyn Fn() -> Vec<String> + Send> {
        let interfaces = self.topology.interfaces().clone();
        assert!(interfaces.iter().all(|name| listed(name)));
        Box::new(move || interfaces.iter().filter(|name| listed(name)).cloned().collect())
    }
}

fn listed(interface: &str) -> bool {
    run(Tool::Ip, &["link", "show"], "").unwrap().contains(&format!(" {interface}@"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_of_every_environment() {
    if possible("netns: the_suite_of_every_environment") {
        suite::examine(&Netns::new(PathBuf::new())).await;
    }
}

/// Whoever stands at the bridge reaches the remote by the link alone, even one who sets routes that nobody gave him, on
/// a machine that forwards and has no firewall.
#[test]
fn there_is_no_way_around_the_link() {
    if !possible("there_is_no_way_around_the_link") {
        return;
    }
    // On a thread of its own, which is the runner's machine.
    on_a_thread(|| {
        unshare(libc::CLONE_NEWNET)?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(look_for_a_way_around());
        Ok(())
    })
    .unwrap();
}

async fn look_for_a_way_around() {
    let topology = Topology::make(Owner::this()).await.unwrap();
    let addresses = topology.addresses;
    let listen = move || {
        let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, world::MQTT));
        listener.map_err(|error| NetnsError::system("bind", error))
    };
    let _listener = topology.remote.within(listen).await.unwrap();
    let control = SocketAddr::from((addresses.remote_control(), world::MQTT));
    let link = SocketAddr::from((addresses.remote_link(), world::MQTT));
    assert_eq!(probe::connect(control).await, Seen::Connected, "the runner's own way");
    let from_bridge = |address| topology.bridge.within(move || connect(address));
    assert_eq!(from_bridge(link).await.unwrap(), Seen::TimedOut, "the link is not open yet");
    topology.connect(Side::Remote, true).await.unwrap();
    assert_eq!(from_bridge(link).await.unwrap(), Seen::Connected);
    let unreachable = Seen::Failed(std::io::ErrorKind::NetworkUnreachable);
    assert_eq!(from_bridge(control).await.unwrap(), unreachable, "no route");
    let route =
        |to: Ipv4Addr, over: Ipv4Addr| move || run(Tool::Ip, &["-batch", "-"], &format!("route add {to} via {over}\n"));
    topology.bridge.within(route(addresses.remote_control(), addresses.runner_to_bridge())).await.unwrap();
    topology.remote.within(route(addresses.bridge_control(), addresses.runner_to_remote())).await.unwrap();
    assert_eq!(from_bridge(control).await.unwrap(), Seen::TimedOut, "the runner's machine does not forward");
    // Else the test could not see it.
    for interface in topology.interfaces() {
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"), "1").unwrap();
    }
    assert_eq!(from_bridge(control).await.unwrap(), Seen::Connected, "and would, if it was not told");
}

/// The interface of a world whose namespace something still holds.
#[test]
fn an_interface_that_a_dead_runner_left_is_removed() {
    if !possible("an_interface_that_a_dead_runner_left_is_removed") {
        return;
    }
    let script = format!(
        "link add mqb0b type veth peer name peer0\nlink set dev mqb0b alias \"mqtt-bridge replay 1:0\"\n\
         link add mqb1b type veth peer name peer1\nlink set dev mqb1b alias \"{}\"\n",
        marks::alias(Owner::this())
    );
    let removed = on_a_thread(|| {
        unshare(libc::CLONE_NEWNET)?;
        run(Tool::Ip, &["-batch", "-"], &script).map_err(std::io::Error::other)?;
        clean().map_err(std::io::Error::other)
    });
    let removed = removed.unwrap();
    assert_eq!(removed.interfaces, ["mqb0b"]);
    assert!(removed.to_string().starts_with("network namespaces: removed interfaces mqb0b"), "{removed}");
}
