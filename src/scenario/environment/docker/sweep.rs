//! Leaving nothing behind: at the end of a world, after its runner's death, and on request.
use bollard::errors::Error as ApiError;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use futures_util::future::join_all;

use super::bodies::filter;
use super::engine::Engine;
use super::error::{DockerError, reason, status};
use super::image;
use super::owner::{Alive, Owner, RUNNER, started};

/// A request that was under way when it was given up may still make something: looked for again.
const ROUNDS: usize = 3;

/// What a clean-up has removed, in words, and what it has left.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Names of containers, networks, volumes and images.
    pub removed: Vec<String>,
    /// What could not be removed, and why; and what belongs to a runner that is alive, or cannot be seen from here.
    pub left: Vec<String>,
}

/// Something of ours on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Container { id: String, name: String },
    Network { id: String, name: String },
    Volume { name: String },
    Image { name: String },
}

impl Thing {
    fn shown(&self) -> String {
        match self {
            Self::Container { name, .. } => format!("container {name}"),
            Self::Network { name, .. } => format!("network {name}"),
            Self::Volume { name } => format!("volume {name}"),
            Self::Image { name } => format!("image {name}"),
        }
    }

    /// Whether there was something to remove.
    async fn remove(&self, engine: &Engine) -> Result<bool, ApiError> {
        let api = &engine.api;
        match self {
            // With the volumes that an image of somebody else's declares: nobody else knows of them.
            Self::Container { id, .. } => {
                let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
                api.remove_container(id, Some(options)).await?;
            }
            Self::Network { id, .. } => api.remove_network(id).await?,
            Self::Volume { name } => {
                api.remove_volume(name, Some(RemoveVolumeOptionsBuilder::new().force(true).build())).await?;
            }
            Self::Image { name } => return Ok(image::forget(engine, name).await),
        }
        Ok(true)
    }
}

/// Things with their owners, in the order in which they can be removed.
async fn find(engine: &Engine, world: Option<&str>) -> Result<Vec<Vec<(Thing, Option<Owner>)>>, ApiError> {
    let (api, filter) = (&engine.api, filter(world));
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
    let containers = api.list_containers(Some(containers)).await?;
    let networks = api.list_networks(Some(ListNetworksOptionsBuilder::new().filters(&filter).build())).await?;
    let volumes = api.list_volumes(Some(ListVolumesOptionsBuilder::new().filters(&filter).build())).await?;
    let images = api.list_images(Some(ListImagesOptionsBuilder::new().filters(&filter).build())).await?;
    let owner = |label: Option<&String>| label.and_then(|label| Owner::parse(label));
    let containers = containers.into_iter().map(|found| {
        let owner = owner(found.labels.as_ref().and_then(|labels| labels.get(RUNNER)));
        let name = found.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        (Thing::Container { id: found.id.unwrap_or_default(), name: name.trim_start_matches('/').to_owned() }, owner)
    });
    let networks = networks.into_iter().map(|found| {
        let owner = owner(found.labels.as_ref().and_then(|labels| labels.get(RUNNER)));
        (Thing::Network { id: found.id.unwrap_or_default(), name: found.name.unwrap_or_default() }, owner)
    });
    let volumes = volumes.volumes.unwrap_or_default().into_iter();
    let volumes = volumes.map(|found| (Thing::Volume { name: found.name }, owner(found.labels.get(RUNNER))));
    let images = images.into_iter().map(|found| {
        let tags = found.repo_tags.into_iter().filter(|tag| !tag.starts_with("<none>"));
        let name = { tags }.next().unwrap_or(found.id);
        (Thing::Image { name }, owner(found.labels.get(RUNNER)))
    });
    // Images carry the label of whoever imported them, and are shared: only the general clean-up takes them.
    Ok(vec![containers.collect(), networks.collect(), volumes.collect(), images.collect()])
}

async fn remove(engine: &Engine, things: Vec<Thing>, swept: &mut Swept) {
    let removals = things.iter().map(|thing| thing.remove(engine));
    for (thing, result) in things.iter().zip(join_all(removals).await) {
        match result {
            Ok(true) => swept.removed.push(thing.shown()),
            // An image that somebody uses.
            Ok(false) => {}
            // Somebody was faster.
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => swept.left.push(format!("{}: {}", thing.shown(), reason(&error))),
        }
    }
}

/// Removes everything of one world; again is the same as once.
pub(super) async fn world(engine: &Engine, id: &str) {
    let mut last = Swept::default();
    for _ in 0..ROUNDS {
        last = Swept::default();
        match find(engine, Some(id)).await {
            Ok(kinds) => {
                for things in kinds {
                    remove(engine, things.into_iter().map(|(thing, _)| thing).collect(), &mut last).await;
                }
            }
            Err(error) => last.left.push(reason(&error)),
        }
        if last == Swept::default() {
            return;
        }
    }
    for left in last.left {
        tracing::warn!(left, "left behind on the Docker engine: `mqtt-bridge clean` removes it");
    }
}

/// Removes what runners that are dead have left, or, with `all`, what anybody has.
///
/// # Errors
/// [`DockerError::Api`] where the engine does not even list.
pub(super) async fn leftovers(engine: &Engine, this: &Owner, all: bool) -> Result<Swept, DockerError> {
    let mut swept = Swept::default();
    let found = find(engine, None).await.map_err(DockerError::api("listing what was left behind"))?;
    for things in found {
        let mut dead = Vec::new();
        for (thing, owner) in things {
            match owner.map_or(Alive::Elsewhere, |owner| owner.alive(this, started)) {
                _ if all => dead.push(thing),
                Alive::No => dead.push(thing),
                Alive::Maybe => swept.left.push(format!("{}: its replay is running", thing.shown())),
                Alive::Elsewhere => swept.left.push(format!("{}: of another machine", thing.shown())),
            }
        }
        remove(engine, dead, &mut swept).await;
    }
    Ok(swept)
}

/// Removes what belongs to a world, or an image of ours, even where nobody can wait for it: after an error, a panic, or
/// a Ctrl-C in the middle of the preparation.
pub(super) struct Guard {
    engine: Engine,
    what: Guarded,
    done: bool,
}

/// What a [`Guard`] removes.
#[derive(Debug, Clone)]
pub(super) enum Guarded {
    /// Everything of a world.
    World(String),
    /// An image of ours.
    Image {
        /// Its name.
        name: String,
        /// The world of the container that holds it.
        holder: String,
    },
}

impl Guarded {
    async fn remove(&self, engine: &Engine) {
        match self {
            Self::World(id) => world(engine, id).await,
            Self::Image { name, holder } => {
                world(engine, holder).await;
                let _ = image::forget(engine, name).await;
            }
        }
    }
}

impl Guard {
    /// From now on it is removed.
    pub(super) fn new(engine: &Engine, what: Guarded) -> Self {
        Self { engine: engine.clone(), what, done: false }
    }

    /// Removes it now.
    pub(super) async fn remove(&mut self) {
        self.what.remove(&self.engine).await;
        self.done = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (engine, what) = (self.engine.clone(), self.what.clone());
        // On a thread and a runtime of its own: this one may be in the middle of anything, and must wait.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(what.remove(&engine));
            }
        });
        if thread.join().is_err() {
            tracing::warn!("the clean-up of the Docker engine has failed: `mqtt-bridge clean` does it again");
        }
    }
}
