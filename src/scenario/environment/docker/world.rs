//! One subject's world: three networks, the remote, the subject, and a helper that looks at the link.
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::time::timeout;

use super::super::log::Log;
use super::super::ready::{FAREWELL, READY};
use super::super::{EnvironmentError, Request, World, disk};
use super::bodies::{self, LISTEN_PORT, Network, Place};
use super::container::{Container, Files};
use super::engine::Engine;
use super::error::DockerError;
use super::image::Image;
use super::making::{Made, REMOTE, make_helper, make_network, make_remote, make_subject};
use super::owner::Names;
use super::preset;
use super::probe::{self, Met, Question, Sight};
use super::proxy::Proxy;
use super::subnets::Subnet;
use super::sweep::{Guard, Guarded};
use super::{Docker, Images};
use crate::scenario::examiner::Examiner;
use crate::scenario::history::{Event, Role};
use crate::scenario::plan::{Fault, FaultKind, RemotePlan, RemotePreset, Side};
use crate::scenario::recorder::Recorder;

/// Everything of one subject's run.
pub(crate) struct DockerWorld {
    pub(super) recorder: Recorder,
    pub(super) engine: Engine,
    pub(super) names: Names,
    pub(super) remote: Container,
    pub(super) subject: Container,
    pub(super) proxy: Option<Proxy>,
    /// The helper's address; `None` where there is no image to make it of.
    helper: Option<SocketAddr>,
    helper_container: Option<Container>,
    pub(super) link_net: Subnet,
    subject_net: Subnet,
    remote_net: Subnet,
    pub(super) remote_port: u16,
    /// The remote's names on the link.
    pub(super) remote_names: Vec<String>,
    pub(super) remote_address: SocketAddr,
    pub(super) remote_preset: RemotePreset,
    pub(super) examiner: Examiner,
    ready_within: Duration,
    listener: SocketAddr,
    metrics: Option<SocketAddr>,
    pub(super) pins_name: bool,
    images: Images,
    subject_image: Image,
    pub(super) link: &'static str,
    /// Last, so that it is dropped after what it removes.
    guard: Guard,
}

impl DockerWorld {
    pub(super) async fn prepare(docker: &Docker, request: Request<'_>) -> Result<Self, EnvironmentError> {
        let Request { plan, subject, folder, recorder, examiner } = request;
        let images = docker.images.get().cloned().ok_or_else(|| missing("the images were not gathered"))?;
        let subject_image = images.subjects.get(&subject.name).cloned();
        let subject_image = subject_image.ok_or_else(|| missing("the subject has no image"))?;
        let engine = docker.engine.clone();
        let names = Names::new(&docker.owner);
        let guard = Guard::new(&engine, Guarded::World(names.id().to_owned()));
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs).map_err(|source| EnvironmentError::File { path: logs.clone(), source })?;
        let log = |role, name: &str| {
            let path = logs.join(name);
            Log::create(role, &path, recorder).map_err(|source| EnvironmentError::File { path, source })
        };
        let (subject_net, remote_net, link_net) = tokio::try_join!(
            make_network(&engine, &names, Network::Subject),
            make_network(&engine, &names, Network::Remote),
            make_network(&engine, &names, Network::Link),
        )?;
        // An archive may have brought an image that the plan did not know.
        let of_remote = RemotePlan { image: Some(images.remote.name.clone()), ..plan.remote.clone() };
        let (mut remote, remote_address) =
            make_remote(&engine, &names, (plan, &of_remote), remote_net, log(Role::Remote, "remote.log")?).await?;
        let volume = bodies::volume(&names, disk::size(plan));
        let volume_name = volume.name.clone().unwrap_or_default();
        engine.api.create_volume(volume).await.map_err(DockerError::api("making the subject's volume"))?;
        let made = Made { engine: &engine, names: &names, link_net, volume: &volume_name, pins_name: docker.pins_name };
        // Before the subject: a volume in memory is kept by those who use it.
        let mut helper = None;
        if let Some(image) = &images.helper {
            helper = Some(make_helper(&made, image, log(Role::Helper, "probe.log")?).await?);
        }
        let (subject, ports) =
            make_subject(&made, plan, subject, &subject_image, log(Role::Subject, "subject.log")?).await?;
        remote.start().await?;
        let mut proxy = None;
        if docker.needs_proxy {
            let image = images.helper.as_ref().ok_or_else(|| missing("there is no image for the fault proxy"))?;
            let to = SocketAddrV4::new(remote_net.address(Place::Remote as u8), plan.remote.port);
            proxy = Some(Proxy::start(&engine, &names, image, to, log(Role::Helper, "proxy.log")?).await?);
        }
        let mut remote_names = vec![REMOTE.to_owned()];
        remote_names.extend(plan.remote.names.iter().filter(|name| *name != REMOTE).cloned());
        let (helper_address, helper) = helper.map_or((None, None), |(address, helper)| (Some(address), Some(helper)));
        let world = Self {
            recorder: recorder.clone(),
            engine,
            names,
            remote,
            subject,
            proxy,
            helper: helper_address,
            helper_container: helper,
            link_net,
            subject_net,
            remote_net,
            remote_port: plan.remote.port,
            remote_names,
            remote_address,
            remote_preset: preset::preset(&of_remote),
            examiner: examiner.clone(),
            ready_within: plan.remote.ready_within,
            listener: ports.listener,
            metrics: ports.metrics,
            pins_name: docker.pins_name,
            images,
            subject_image,
            link: "closed",
            guard,
        };
        world.remote_ready().await?;
        Ok(world)
    }

    /// The remote's address on the link.
    pub(super) fn remote_on_link(&self) -> Ipv4Addr {
        self.link_net.address(Place::Remote as u8)
    }

    /// Waits until the remote answers CONNECT.
    pub(super) async fn remote_ready(&self) -> Result<(), EnvironmentError> {
        self.remote.answers(self.remote_address, self.ready_within).await
    }

    /// What the helper sees of the remote: by its name, at its address on the link, and at every other address it has.
    pub(super) async fn look(&self, patience: Duration) -> Result<Option<Sight>, DockerError> {
        let Some(helper) = self.helper else { return Ok(None) };
        let port = self.remote_port;
        let elsewhere = (2..8).map(|place| SocketAddrV4::new(self.remote_net.address(place), port));
        // The machine itself, where the remote's port is published for the receiver.
        let published = self.remote_address.port();
        let machine =
            [self.subject_net, self.remote_net, self.link_net].map(|net| SocketAddrV4::new(net.address(1), published));
        let addresses = [SocketAddrV4::new(self.remote_on_link(), port)].into_iter();
        let addresses = addresses.chain(elsewhere).chain(machine).collect();
        let name = self.remote_names[0].clone();
        let question = Question { name, addresses, patience_ms: patience.as_millis() as u64 };
        probe::look(helper, question).await.map(Some)
    }

    /// What the helper sees of the subject on the link.
    pub(super) async fn look_at_subject(&self, patience: Duration) -> Result<Option<Met>, DockerError> {
        let Some(helper) = self.helper else { return Ok(None) };
        let address = SocketAddrV4::new(self.link_net.address(Place::Subject as u8), LISTEN_PORT);
        let question =
            Question { name: String::new(), addresses: vec![address], patience_ms: patience.as_millis() as u64 };
        Ok(probe::look(helper, question).await?.met.first().copied())
    }

    /// What a new connection to the remote meets in the subject's own network, as a test wants to know it.
    #[cfg(test)]
    pub(super) async fn look_from_subject(&self) -> Met {
        let runs =
            self.subject.ended().is_none() && self.subject.state().await.is_ok_and(|state| state.paused != Some(true));
        let remote = SocketAddrV4::new(self.remote_on_link(), self.remote_port);
        let helper = self.images.helper.as_ref().filter(|_| runs);
        let Some(image) = helper else {
            // Nobody can be with it where it is not.
            return self.look(Duration::from_millis(250)).await.unwrap().unwrap().met[0];
        };
        let command = ["probe".to_owned(), "connect".to_owned(), remote.to_string()].to_vec();
        let body = bodies::onlooker(&self.names, &image.name, self.subject.name(), command);
        let name = self.names.of(&format!("onlooker-{:08x}", fastrand::u32(..)));
        let log = self.helper_log().unwrap();
        let mut onlooker =
            Container::create(&self.engine, "an onlooker", name, body, Files::default(), log).await.unwrap();
        onlooker.may_end_at_start().await.unwrap();
        onlooker.end().await;
        let said = onlooker.log().tail().join("");
        let word = said.rsplit(' ').next().unwrap();
        serde_json::from_value(word.into()).unwrap_or_else(|_| panic!("{said}"))
    }

    /// Waits until the subject has a connection to the remote, by one look from inside its own network.
    async fn subject_connected(&self) -> Result<(), EnvironmentError> {
        let Some(image) = &self.images.helper else { return Ok(()) };
        let remote = SocketAddrV4::new(self.remote_on_link(), self.remote_port);
        let command = ["probe".to_owned(), "established".to_owned(), remote.to_string(), READY.as_secs().to_string()];
        let body = bodies::onlooker(&self.names, &image.name, self.subject.name(), command.to_vec());
        let log = self.helper_log()?;
        let what = "the onlooker";
        let mut onlooker =
            Container::create(&self.engine, what, self.names.of("onlooker"), body, Files::default(), log).await?;
        onlooker.may_end_at_start().await?;
        match timeout(READY + FAREWELL, onlooker.end()).await {
            Ok(status) if status == "exit code 0" => Ok(()),
            Ok(status) if status == "exit code 1" => {
                Err(self.subject.awaited().not_ready(READY, "it made no connection to the remote"))
            }
            Ok(status) => Err(missing(&format!("the onlooker ended with {status}"))),
            Err(_) => Err(missing("the onlooker did not end")),
        }
    }

    /// Fills the subject's disk, or empties it again of what it was filled with; again is the same as once.
    pub(super) async fn set_full(&self, full: bool) -> Result<(), DockerError> {
        let Some(helper) = self.helper else {
            let what = "filling the bridge's disk".to_owned();
            return Err(DockerError::Probe { what, why: "there is no image of mqtt-bridge for the helper".to_owned() });
        };
        probe::set_full(helper, bodies::HELPER_FOLDER, full).await
    }

    fn helper_log(&self) -> Result<Log, EnvironmentError> {
        let path = self.subject.log().path().with_file_name("onlooker.log");
        Log::create(Role::Helper, &path, &self.recorder).map_err(|source| EnvironmentError::File { path, source })
    }
}

impl World for DockerWorld {
    fn remote_version(&self) -> String {
        self.images.remote.shown()
    }

    fn subject_version(&self) -> String {
        self.subject_image.version.clone()
    }

    fn artifacts(&self) -> BTreeMap<String, String> {
        let artifacts = [
            ("engine", self.engine.version.clone()),
            ("remote", self.images.remote.shown()),
            ("subject", self.subject_image.shown()),
        ];
        artifacts.map(|(whose, what)| (whose.to_owned(), what)).into()
    }

    fn remote(&self) -> SocketAddr {
        self.remote_address
    }

    fn listener(&self) -> SocketAddr {
        self.listener
    }

    fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    async fn open_link(&mut self) -> Result<(), EnvironmentError> {
        self.connect(Side::Remote).await?;
        self.link = "open";
        Ok(self.verify(Side::Remote, true).await?)
    }

    async fn start_subject(&mut self) -> Result<(), EnvironmentError> {
        self.subject.start().await?;
        self.subject.answers(self.listener, READY).await?;
        if let Some(proxy) = &mut self.proxy {
            return match timeout(READY, proxy.connected()).await {
                Ok(connected) => Ok(connected?),
                Err(_) => Err(self.subject.awaited().not_ready(READY, "it made no connection to the remote")),
            };
        }
        self.subject_connected().await
    }

    async fn apply(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        self.do_apply(index, fault).await
    }

    async fn heal(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        self.do_heal(index, fault).await
    }

    fn link(&self) -> &'static str {
        self.link
    }

    async fn stop_subject(&mut self) {
        if let Err(error) = self.subject.set_paused(false).await {
            tracing::debug!(%error, "the subject is not paused");
        }
        if self.subject.ended().is_none()
            && let Err(error) = self.end_subject(FaultKind::Stop).await
        {
            self.recorder.record(Event::Log { role: Role::Subject, line: format!("(it was not stopped: {error})") });
        }
    }

    async fn stop_remote(&mut self) {
        // Nothing depends on how it ends.
        let mut containers = vec![&self.remote, &self.subject];
        containers.extend(&self.helper_container);
        containers.extend(self.proxy.as_ref().map(|proxy| &proxy.container));
        containers.iter().for_each(|container| container.may_end());
        self.guard.remove().await;
        for container in containers {
            // Its end belongs into the history.
            let _ = timeout(FAREWELL, container.end()).await;
        }
    }
}

/// A mistake of the laboratory itself.
fn missing(why: &str) -> EnvironmentError {
    DockerError::Probe { what: "preparing the world".to_owned(), why: why.to_owned() }.into()
}
