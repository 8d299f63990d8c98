//! Making the parts of a world: networks in free subnets, and the containers on them.
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::super::log::Log;
use super::super::{EnvironmentError, ports};
use super::bodies::{self, LISTEN_PORT, METRICS_PORT, Network, PROBE_PORT, Place, Published, SUBJECT_FOLDER};
use super::container::{Container, Files};
use super::engine::Engine;
use super::error::{DockerError, reason, status};
use super::image::Image;
use super::link::connect;
use super::owner::Names;
use super::pack::Entry;
use super::preset;
use super::subnets::{self, Subnet};
use crate::scenario::plan::{Fault, Parameters, Plan, RemotePlan, SubjectKind, SubjectPlan};
use crate::scenario::subject::{self, Program, Sites};

/// The name that bridges find the remote by.
pub(super) const REMOTE: &str = "emqx";
/// Subnets that are tried before it is given up: another replay may be as fast as this one.
const SUBNETS_TRIED: usize = 20;

/// Makes a network in a subnet that is free; another replay may be faster, and then it is another one.
pub(super) async fn make_network(engine: &Engine, names: &Names, network: Network) -> Result<Subnet, DockerError> {
    let listing = engine.api.list_networks(None).await.map_err(DockerError::api("listing the networks"))?;
    let configs = listing.into_iter().filter_map(|network| network.ipam?.config).flatten();
    let taken: Vec<String> = configs.filter_map(|config| config.subnet).collect();
    let mut last = "all are taken".to_owned();
    for subnet in subnets::free(&taken, fastrand::u32(..)).take(SUBNETS_TRIED) {
        match engine.api.create_network(bodies::network(names, network, subnet)).await {
            Ok(_) => return Ok(subnet),
            Err(error) if matches!(status(&error), Some(400 | 403 | 409)) => last = reason(&error),
            Err(error) => return Err(DockerError::api("making a network")(error)),
        }
    }
    Err(DockerError::NoSubnet { network: network.name(names), why: last })
}

/// A port of the engine's machine that publishes one of a container.
pub(super) fn publish(engine: &Engine, inside: u16) -> Result<Published, EnvironmentError> {
    let free = ports::free().map_err(|source| EnvironmentError::NoPort { source })?;
    Ok(Published { inside, outside: (engine.host, free.port()) })
}

/// Where a published port is reached.
pub(super) fn address(port: Published) -> SocketAddr {
    let (host, port) = port.outside;
    SocketAddr::new(host, port)
}

pub(super) async fn make_remote(
    engine: &Engine,
    names: &Names,
    (plan, remote): (&Plan, &RemotePlan),
    net: Subnet,
    log: Log,
) -> Result<(Container, SocketAddr), EnvironmentError> {
    let durable = |fault: &Fault| fault.stops_remote() && fault.parameters != Parameters::Session { lost: true };
    let recipe = preset::recipe(remote, plan.remote_receive_maximum, plan.faults.iter().any(durable));
    let mut files: BTreeMap<String, Vec<u8>> =
        recipe.files.iter().map(|(place, text)| (place.clone(), text.clone().into_bytes())).collect();
    for (place, file) in &remote.files {
        let contents = std::fs::read(file).map_err(|source| DockerError::File { path: file.clone(), source })?;
        files.insert(place.clone(), contents);
    }
    let files: Vec<Entry> = files.into_iter().map(|(place, contents)| Entry::file(&place, contents)).collect();
    let mqtt = publish(engine, remote.port)?;
    let body = bodies::remote(names, preset::image(remote), &recipe, net.address(Place::Remote as u8), mqtt);
    let files = Files { folder: "/", entries: files };
    let container = Container::create(engine, "the remote", names.of("remote"), body, files, log).await?;
    Ok((container, address(mqtt)))
}

/// What containers on the link are made with.
pub(super) struct Made<'a> {
    pub(super) engine: &'a Engine,
    pub(super) names: &'a Names,
    pub(super) link_net: Subnet,
    pub(super) volume: &'a str,
    pub(super) pins_name: bool,
}

/// Where a subject is reached.
pub(super) struct Ports {
    pub(super) listener: SocketAddr,
    pub(super) metrics: Option<SocketAddr>,
}

pub(super) async fn make_subject(
    made: &Made<'_>,
    plan: &Plan,
    subject: &SubjectPlan,
    image: &Image,
    log: Log,
) -> Result<(Container, Ports), EnvironmentError> {
    let Made { engine, names, link_net, volume, pins_name } = made;
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let sites = Sites {
        listen: any(LISTEN_PORT),
        remote: (REMOTE.to_owned(), plan.remote.port),
        metrics: any(METRICS_PORT),
        folder: std::path::Path::new(SUBJECT_FOLDER),
    };
    let configuration = subject::configure(plan, subject, &sites)?;
    let mut command = configuration.arguments;
    if let Program::Installed(program) = configuration.program {
        command.insert(0, program.to_owned());
    }
    let listens = configuration.listens.map_or(LISTEN_PORT, |address| address.port());
    let (listener, metrics) = (publish(engine, listens)?, publish(engine, METRICS_PORT)?);
    let remote = link_net.address(Place::Remote as u8);
    let body = bodies::subject(
        names,
        &bodies::Subject {
            image: &image.name,
            command,
            own: subject.kind == SubjectKind::MqttBridge,
            pinned: pins_name.then(|| (REMOTE.to_owned(), remote)).into_iter().collect(),
            volume,
            ports: &[listener, metrics],
        },
    );
    // A folder comes to be with what lies in it.
    let folders = configuration.folders.iter().map(|name| Entry::file(&format!("{name}/.folder"), String::new()));
    let files = configuration.files.iter().map(|(name, text)| Entry::file(name, text.clone()));
    let files: Vec<Entry> = folders.chain(files).collect();
    let files = Files { folder: SUBJECT_FOLDER, entries: files };
    let container = Container::create(engine, "the subject", names.of("subject"), body, files, log).await?;
    connect(engine, names, container.name(), link_net.address(Place::Subject as u8), &[]).await?;
    let metrics = configuration.has_metrics.then(|| address(metrics));
    Ok((container, Ports { listener: address(listener), metrics }))
}

pub(super) async fn make_helper(
    made: &Made<'_>,
    image: &Image,
    log: Log,
) -> Result<(SocketAddr, Container), EnvironmentError> {
    let Made { engine, names, link_net, volume, .. } = made;
    let port = publish(engine, PROBE_PORT)?;
    let body = bodies::probe(names, &image.name, volume, port);
    let mut helper = Container::create(engine, "the helper", names.of("probe"), body, Files::default(), log).await?;
    connect(engine, names, helper.name(), link_net.address(Place::Probe as u8), &[]).await?;
    helper.start().await?;
    Ok((address(port), helper))
}
