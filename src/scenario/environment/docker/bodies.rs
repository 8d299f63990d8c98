//! What the engine is asked to make: networks and containers of one world. Pure, so that what cannot be run where there
//! is no registry can be read and compared.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Ipam, IpamConfig, Mount, MountType,
    NetworkConnectRequest, NetworkCreateRequest, NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
    VolumeCreateRequest,
};

use super::owner::Names;
use super::preset::Recipe;
use super::subnets::Subnet;

/// The three networks of a world. A container's published ports belong to the network whose **name** sorts first: the
/// one with the faults must not be it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// Publishers and /metrics reach the subject over it.
    Subject,
    /// Receivers reach the remote over it.
    Remote,
    /// The one way between the two.
    Link,
}

impl Network {
    /// Its name in a world.
    pub(super) fn name(self, names: &Names) -> String {
        names.of(match self {
            Self::Subject => "1-subject",
            Self::Remote => "2-remote",
            Self::Link => "3-link",
        })
    }
}

/// Places on the link; 1 is the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The remote.
    Remote = 2,
    /// The bridge under test.
    Subject = 3,
    /// Our own helper, which looks at the link from where the subject stands.
    Probe = 4,
}

/// The port that the subject listens on, in its container.
pub(super) const LISTEN_PORT: u16 = 1883;
/// The port that the subject serves its counters on, in its container.
pub(super) const METRICS_PORT: u16 = 9464;
/// The port that the helper listens on, in its container.
pub(super) const PROBE_PORT: u16 = 9465;
/// The port that the fault proxy is told over what to do, in its container.
pub(super) const CONTROL_PORT: u16 = 9466;
/// The subject's folder, in its container.
pub(super) const SUBJECT_FOLDER: &str = "/data";
/// Where the helper has the subject's folder.
pub(super) const HELPER_FOLDER: &str = "/data";
/// Nobody, on every Linux.
const NOBODY: &str = "65534:65534";

/// A network. The link is internal: no gateway, so that nothing on it gets out or around.
pub(super) fn network(names: &Names, network: Network, subnet: Subnet) -> NetworkCreateRequest {
    let config = IpamConfig { subnet: Some(subnet.to_string()), ..IpamConfig::default() };
    NetworkCreateRequest {
        name: network.name(names),
        driver: Some("bridge".to_owned()),
        internal: Some(network == Network::Link),
        ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
        labels: Some(names.labels()),
        ..NetworkCreateRequest::default()
    }
}

/// A container's end of the link. Docker forgets address and names at a disconnect: they are said at every connect.
pub(super) fn link_end(container: &str, address: Ipv4Addr, aliases: &[String]) -> NetworkConnectRequest {
    let pinned = EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..EndpointIpamConfig::default() };
    NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(EndpointSettings {
            ipam_config: Some(pinned),
            aliases: (!aliases.is_empty()).then(|| aliases.to_vec()),
            ..EndpointSettings::default()
        }),
    }
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// In the container.
    pub(super) inside: u16,
    /// Address and port on the engine's machine.
    pub(super) outside: (IpAddr, u16),
}

/// What all containers of a world have in common: one network, labels, no restart of their own, published ports that
/// stay the same at every start.
fn container(names: &Names, image: &str, network: Network, ports: &[Published]) -> ContainerCreateBody {
    let tcp = |port: u16| format!("{port}/tcp");
    let bindings = ports.iter().map(|port| {
        let (host, outside) = port.outside;
        let binding = PortBinding { host_ip: Some(host.to_string()), host_port: Some(outside.to_string()) };
        (tcp(port.inside), Some(vec![binding]))
    });
    let first = network.name(names);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(names.labels()),
        exposed_ports: Some(ports.iter().map(|port| tcp(port.inside)).collect()),
        // An image's own check would only cost time.
        healthcheck: Some(bollard::models::HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(first.clone(), EndpointSettings::default())].into()),
        }),
        host_config: Some(HostConfig {
            network_mode: Some(first),
            port_bindings: Some(bindings.collect()),
            // Docker's own log would grow on its disk: the lines are taken from the container as they come.
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            privileged: Some(false),
            // A name that is gone is asked for upstream: where nobody answers there, that must not outlast the heal.
            dns_options: Some(vec!["timeout:1".to_owned(), "attempts:1".to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The remote broker.
pub(super) fn remote(
    names: &Names,
    image: &str,
    recipe: &Recipe,
    address: Ipv4Addr,
    mqtt: Published,
) -> ContainerCreateBody {
    let env: Vec<String> = recipe.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let pinned = EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..EndpointIpamConfig::default() };
    let end = EndpointSettings { ipam_config: Some(pinned), ..EndpointSettings::default() };
    let ends = Some([(Network::Remote.name(names), end)].into());
    ContainerCreateBody {
        hostname: Some("remote".to_owned()),
        env: (!env.is_empty()).then_some(env),
        cmd: recipe.command.clone(),
        networking_config: Some(NetworkingConfig { endpoints_config: ends }),
        ..container(names, image, Network::Remote, &[mqtt])
    }
}

/// The fault proxy in front of the remote: it stands on the link in the remote's place.
pub(super) fn proxy(names: &Names, image: &str, remote: SocketAddrV4, control: Published) -> ContainerCreateBody {
    let mut body = container(names, image, Network::Remote, &[control]);
    let port = remote.port();
    let command = [
        "fault-proxy",
        "--listen",
        &format!("0.0.0.0:{port}"),
        "--remote",
        &remote.to_string(),
        "--control",
        &format!("0.0.0.0:{CONTROL_PORT}"),
    ];
    body.hostname = Some("proxy".to_owned());
    body.user = Some(NOBODY.to_owned());
    body.cmd = Some(command.map(str::to_owned).to_vec());
    body.host_config.iter_mut().for_each(without_rights);
    body
}

/// The bridge under test.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// Its image.
    pub(super) image: &'a str,
    /// Its command line, behind the image's entry point.
    pub(super) command: Vec<String>,
    /// Whether it is our own bridge, which needs no rights at all.
    pub(super) own: bool,
    /// A name that stays when the remote leaves the link, and its address.
    pub(super) pinned: Vec<(String, Ipv4Addr)>,
    /// The volume that its folder is.
    pub(super) volume: &'a str,
    /// Where its listener and its counters are published.
    pub(super) ports: &'a [Published],
}

/// The bridge under test as a container.
pub(super) fn subject(names: &Names, subject: &Subject<'_>) -> ContainerCreateBody {
    let mut body = container(names, subject.image, Network::Subject, subject.ports);
    body.hostname = Some("bridge".to_owned());
    body.cmd = Some(subject.command.clone());
    if subject.own {
        body.user = Some(NOBODY.to_owned());
    }
    if let Some(host) = &mut body.host_config {
        host.mounts = Some(vec![mount(subject.volume, SUBJECT_FOLDER)]);
        let pinned = subject.pinned.iter().map(|(name, address)| format!("{name}:{address}"));
        host.extra_hosts = (!subject.pinned.is_empty()).then(|| pinned.collect());
        if subject.own {
            without_rights(host);
            host.readonly_rootfs = Some(true);
            host.tmpfs = Some([("/tmp".to_owned(), "size=64m".to_owned())].into());
        }
    }
    body
}

/// Our own helper on the link.
pub(super) fn probe(names: &Names, image: &str, volume: &str, port: Published) -> ContainerCreateBody {
    let mut body = container(names, image, Network::Subject, &[port]);
    body.hostname = Some("probe".to_owned());
    body.user = Some(NOBODY.to_owned());
    body.cmd = Some(vec!["probe".to_owned(), "serve".to_owned(), format!("0.0.0.0:{PROBE_PORT}")]);
    if let Some(host) = &mut body.host_config {
        without_rights(host);
        // The subject's own, to fill it.
        host.mounts = Some(vec![mount(volume, HELPER_FOLDER)]);
    }
    body
}

fn without_rights(host: &mut HostConfig) {
    host.cap_drop = Some(vec!["ALL".to_owned()]);
    host.security_opt = Some(vec!["no-new-privileges".to_owned()]);
}

/// Our own helper in another container's network: looks once whether it has a connection, and ends.
pub(super) fn onlooker(names: &Names, image: &str, container: &str, command: Vec<String>) -> ContainerCreateBody {
    let mut host = HostConfig { network_mode: Some(format!("container:{container}")), ..HostConfig::default() };
    without_rights(&mut host);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(names.labels()),
        cmd: Some(command),
        user: Some(NOBODY.to_owned()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// A container that is never started, and holds its image.
pub(super) fn holder(names: &Names, image: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(names.labels()),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    }
}

fn mount(volume: &str, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.to_owned()),
        target: Some(target.to_owned()),
        ..Mount::default()
    }
}

/// The subject's folder: a volume, which outlives the container's kills; with a size, one in memory that can be full.
pub(super) fn volume(names: &Names, bytes: Option<u64>) -> VolumeCreateRequest {
    let options = bytes.map(|bytes| {
        let options = format!("size={bytes},mode=0777");
        [("type", "tmpfs".to_owned()), ("device", "tmpfs".to_owned()), ("o", options)]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    });
    VolumeCreateRequest {
        name: Some(names.of("data")),
        labels: Some(names.labels()),
        driver_opts: options,
        ..VolumeCreateRequest::default()
    }
}

/// What things are found by that belong to a world, or, without one, to any runner.
pub(super) fn filter(world: Option<&str>) -> HashMap<String, Vec<String>> {
    let label = match world {
        Some(world) => format!("{}={world}", super::owner::WORLD),
        None => super::owner::RUNNER.to_owned(),
    };
    [("label".to_owned(), vec![label])].into()
}
