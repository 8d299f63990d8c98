//! Containers on a Docker engine: the remote and the bridge under test each in its own, and the network between them cut
//! by the engine, as `docker network disconnect` does it.
//!
//! Three networks per subject: one for who publishes at the bridge, one for who receives at the remote, and between the
//! two only the link, which is cut. Everything goes by the engine's API; nothing else is needed on the machine.
mod attend;
mod bodies;
mod container;
mod engine;
mod error;
mod faults;
mod image;
mod link;
mod making;
mod owner;
mod pack;
mod preset;
pub mod probe;
mod processes;
mod proxy;
mod subnets;
mod sweep;
mod world;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::sync::Mutex;

use self::engine::Engine;
pub use self::error::DockerError;
use self::image::Image;
use self::owner::{Names, Owner};
pub use self::sweep::Swept;
use self::sweep::{Guard, Guarded};
use self::world::DockerWorld;
use super::{Environment, EnvironmentError, Request, Support, disk};
use crate::scenario::plan::{Fault, FaultKind, Plan, SubjectKind, SubjectPlan};
use crate::scenario::subject::{self, Sites, SubjectError};

/// The images that bridges come in, where the scenario names none.
const MOSQUITTO: &str = "eclipse-mosquitto:2.0.21";
const NANOMQ: &str = "emqx/nanomq:0.24.6-full";

/// The environment of containers.
pub struct Docker {
    engine: Engine,
    own: PathBuf,
    owner: Owner,
    /// What dead runners had left, and was removed.
    swept: Vec<String>,
    /// Whether the fault proxy stands in front of the remote, for faults that are its own.
    needs_proxy: bool,
    /// Whether a name must stay while the remote is away; then it stays for the whole world.
    pins_name: bool,
    images: OnceLock<Images>,
    own_image: Mutex<Option<Guard>>,
}

/// The images of a plan, all on the engine.
#[derive(Debug, Clone)]
struct Images {
    remote: Image,
    subjects: BTreeMap<String, Image>,
    /// Ours, for the helpers; `None` where this executable cannot become one and the scenario names none.
    helper: Option<Image>,
}

impl Docker {
    /// Connects to the engine and removes what dead runners have left there. `own` is the executable that is
    /// `mqtt-bridge`.
    ///
    /// # Errors
    /// [`DockerError`] where there is no engine to work with.
    pub async fn connect(own: PathBuf, plan: &Plan) -> Result<Self, DockerError> {
        let (engine, owner) = (Engine::connect().await?, Owner::this());
        let pins_name = plan.faults.iter().any(|fault| fault.kind == FaultKind::Cut);
        let swept = sweep::leftovers(&engine, &owner, false).await?.removed;
        let needs_proxy = proxy::needed(plan);
        Ok(Self {
            swept,
            needs_proxy,
            engine,
            own,
            owner,
            pins_name,
            images: OnceLock::new(),
            own_image: Mutex::new(None),
        })
    }

    /// Whether every image of a plan is on the engine or could be pulled: where not, why, in words.
    pub(crate) async fn can_have_images(&self, plan: &Plan) -> Result<(), String> {
        let remote = plan.remote.image_archive.is_none().then(|| preset::image(&plan.remote));
        let subjects = plan.subjects.iter().filter_map(image_of);
        for name in remote.into_iter().chain(subjects) {
            let there = image::look(&self.engine, name).await.map_err(|error| error.to_string())?;
            if there.is_none() {
                let asked = image::can_be_pulled(&self.engine, name).await;
                asked.map_err(|why| format!("the image {name} is not there and cannot be pulled ({why})"))?;
            }
        }
        Ok(())
    }

    /// Removes what dead runners have left on the engine; with `all`, what anybody has.
    ///
    /// # Errors
    /// [`DockerError`] where there is no engine, or it does not say what it has.
    pub async fn clean(all: bool) -> Result<Swept, DockerError> {
        sweep::leftovers(&Engine::connect().await?, &Owner::this(), all).await
    }

    /// Our own image, for our bridge and for the helpers. A container that is never started holds it: another replay
    /// that ends meanwhile, and uses the same, cannot take it away.
    async fn own_image(&self) -> Result<Image, DockerError> {
        let own = self.own.clone();
        let packing = tokio::task::spawn_blocking(move || pack::pack(&own)).await;
        let stopped = |error: tokio::task::JoinError| DockerError::OwnImage {
            why: error.to_string(),
            advice: "This is a mistake of this program".to_owned(),
        };
        let packed = packing.map_err(stopped)??;
        let names = Names::new(&self.owner);
        let image = image::hold(&self.engine, &packed, &self.owner, &names).await?;
        let what = Guarded::Image { name: image.name.clone(), holder: names.id().to_owned() };
        *self.own_image.lock().await = Some(Guard::new(&self.engine, what));
        Ok(image)
    }

    async fn images(&self, plan: &Plan) -> Result<Images, DockerError> {
        let wanted = plan.remote.image.as_deref();
        let remote = match &plan.remote.image_archive {
            Some(archive) => image::load(&self.engine, archive, wanted).await?,
            None => image::ensure(&self.engine, "remote", preset::image(&plan.remote)).await?,
        };
        let mut subjects = BTreeMap::new();
        for subject in &plan.subjects {
            if let Some(name) = image_of(subject) {
                subjects.insert(subject.name.clone(), image::ensure(&self.engine, &subject.name, name).await?);
            }
        }
        let named = plan.subjects.iter().filter(|subject| subject.kind == SubjectKind::MqttBridge);
        let named = named.filter_map(|subject| subjects.get(&subject.name)).next().cloned();
        let ours = match self.own_image().await {
            Ok(image) => Some(image),
            Err(error @ DockerError::OwnImage { .. }) if named.is_none() => {
                let needed = plan.subjects.iter().any(|subject| image_of(subject).is_none());
                let needed = needed || proxy::needed(plan) || disk::size(plan).is_some();
                if needed {
                    return Err(error);
                }
                None
            }
            Err(DockerError::OwnImage { .. }) => named,
            Err(error) => return Err(error),
        };
        for subject in plan.subjects.iter().filter(|subject| image_of(subject).is_none()) {
            subjects.extend(ours.clone().map(|image| (subject.name.clone(), image)));
        }
        Ok(Images { remote, subjects, helper: ours })
    }
}

/// The image that a subject is made of; `None` where it is this executable.
fn image_of(subject: &SubjectPlan) -> Option<&str> {
    subject.image.as_deref().or(match subject.kind {
        SubjectKind::MqttBridge => None,
        SubjectKind::Mosquitto => Some(MOSQUITTO),
        SubjectKind::Nanomq => Some(NANOMQ),
        // Without an image of its own it cannot be run here, which `check` has found.
        SubjectKind::Command | SubjectKind::NanomqModel => None,
    })
}

impl Environment for Docker {
    type World = DockerWorld;

    fn name(&self) -> &'static str {
        "docker"
    }

    fn support(&self, fault: &Fault) -> Support {
        match fault.kind {
            FaultKind::Disconnect if self.pins_name => {
                Support::Approximated("the name stays, because the scenario also has a cut, which pins it")
            }
            FaultKind::Disconnect
            | FaultKind::Cut
            | FaultKind::Pause
            | FaultKind::Kill
            | FaultKind::Stop
            | FaultKind::Restart
            | FaultKind::FillDisk => Support::Exact,
            kind if proxy::makes(kind) => Support::Exact,
            _ => Support::Unsupported("only the kernel drops packets by chance: use --environment netns"),
        }
    }

    fn check(&self, plan: &Plan, subject: &SubjectPlan) -> Result<(), EnvironmentError> {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let sites = Sites { listen: nowhere, remote: (String::new(), 0), metrics: nowhere, folder: Path::new("") };
        subject::configure(plan, subject, &sites)?;
        if subject.kind == SubjectKind::Command && subject.image.is_none() {
            return Err(SubjectError::NoImage { name: subject.name.clone() }.into());
        }
        Ok(())
    }

    async fn gather(&self, plan: &Plan) -> Result<(), EnvironmentError> {
        for removed in &self.swept {
            eprintln!("removed what a killed replay had left: {removed}");
        }
        let images = self.images(plan).await?;
        // Gathered once for a plan: a second time would be the same.
        let _ = self.images.set(images);
        Ok(())
    }

    async fn prepare(&self, request: Request<'_>) -> Result<DockerWorld, EnvironmentError> {
        if self.images.get().is_none() {
            self.gather(request.plan).await?;
        }
        DockerWorld::prepare(self, request).await
    }

    async fn finish(&self) {
        if let Some(mut guard) = self.own_image.lock().await.take() {
            guard.remove().await;
        }
    }
}

#[cfg(test)]
mod tests;
