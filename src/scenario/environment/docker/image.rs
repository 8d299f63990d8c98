//! Images: those that are there, those that are pulled, those in an archive, and our own.
use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::Path;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::bodies;
use super::engine::Engine;
use super::error::{DockerError, reason, status};
use super::owner::{Names, Owner, RUNNER};
use super::pack::{PROGRAM, Packed};

/// Our own image; its tag tells its contents.
pub(super) const OWN: &str = "mqtt-bridge-laboratory";

/// An image that is on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// As containers are made of it.
    pub(super) name: String,
    /// Its digest in its registry, or, where it has none, its id.
    pub(super) digest: String,
    /// The version that its label or its tag says, or that it is.
    pub(super) version: String,
}

impl Image {
    /// For people: name, and what identifies it.
    pub(super) fn shown(&self) -> String {
        if self.digest.starts_with(&self.name) { self.digest.clone() } else { format!("{} {}", self.name, self.digest) }
    }
}

/// What the engine knows of an image; `None` where it does not have it.
///
/// # Errors
/// [`DockerError::Api`].
pub(super) async fn look(engine: &Engine, name: &str) -> Result<Option<Image>, DockerError> {
    let found = match engine.api.inspect_image(name).await {
        Ok(found) => found,
        Err(error) if status(&error) == Some(404) => return Ok(None),
        Err(error) => return Err(DockerError::api(format!("looking for the image {name}"))(error)),
    };
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    let labelled = labels.get("org.opencontainers.image.version").cloned();
    let digest = found.repo_digests.unwrap_or_default().into_iter().next();
    let digest = digest.or(found.id).unwrap_or_else(|| "(no id)".to_owned());
    let version = labelled.filter(|version| !version.is_empty()).unwrap_or_else(|| tag(name).to_owned());
    Ok(Some(Image { name: name.to_owned(), digest, version }))
}

/// The tag of an image's name; a port of a registry is none.
fn tag(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = last.split('@').next().unwrap_or(last);
    last.split_once(':').map_or("latest", |(_, tag)| tag)
}

/// An image that may have to be pulled first; layers show their progress on a terminal.
///
/// # Errors
/// [`DockerError::Image`] with what to do about it.
pub(super) async fn ensure(engine: &Engine, what: &str, name: &str) -> Result<Image, DockerError> {
    if let Some(image) = look(engine, name).await? {
        return Ok(image);
    }
    let wrong = |why: String| DockerError::Image {
        what: what.to_owned(),
        image: name.to_owned(),
        advice: advice(what, &why),
        why,
    };
    eprintln!("pulling {name}");
    let options = CreateImageOptionsBuilder::new().from_image(name);
    // Without a tag the engine would pull them all.
    let options = if name.contains('@') { options } else { options.tag(tag(name)) };
    let mut progress = Layers::new();
    let mut pulling = engine.api.create_image(Some(options.build()), None, None);
    while let Some(said) = pulling.next().await {
        progress.show(&said.map_err(|error| wrong(reason(&error)))?);
    }
    look(engine, name).await?.ok_or_else(|| wrong("it was pulled, and is not there".to_owned()))
}

/// Whether a registry would give an image, without pulling it.
///
/// # Errors
/// Why not, in words.
pub(super) async fn can_be_pulled(engine: &Engine, name: &str) -> Result<(), String> {
    engine.api.inspect_registry_image(name, None).await.map(drop).map_err(|error| reason(&error))
}

/// What to do about an image that does not come.
fn advice(what: &str, why: &str) -> String {
    let name = what.trim_start_matches("the ");
    let why = why.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let reach = ["no such host", "timeout", "timed out", "unreachable", "refused", "dial tcp", "in time", "tls", "eof"];
    let first = if has(&["toomanyrequests", "rate limit"]) {
        "The registry limits pulls: try later, or `docker login`"
    } else if has(&["not found", "manifest unknown", "denied", "unauthorized", "authentication"]) {
        "Look whether the name is right and the registry lets you (`docker login`, then `docker pull` by hand)"
    } else if has(&reach) {
        "The engine does not reach the registry: look at its network and its proxy settings"
    } else {
        "Try `docker pull` by hand"
    };
    let archive =
        if name == "remote" { "; or write `docker save`'s file as remote.image_archive in the scenario" } else { "" };
    format!("{first}; or name an image that is there: --image {name}=IMAGE{archive}; or --environment local")
}

/// Loads what `docker save` wrote and says what the image is called.
///
/// # Errors
/// [`DockerError::Archive`], [`DockerError::File`].
pub(super) async fn load(engine: &Engine, path: &Path, wanted: Option<&str>) -> Result<Image, DockerError> {
    let wrong = |why: String| DockerError::Archive { path: path.to_owned(), why };
    let contents = std::fs::read(path).map_err(|source| DockerError::File { path: path.to_owned(), source })?;
    let body = bollard::body_full(Bytes::from(contents));
    let options = ImportImageOptionsBuilder::new().quiet(true).build();
    let mut loading = engine.api.import_image(options, body, None);
    let mut loaded = None;
    while let Some(said) = loading.next().await {
        let said = said.map_err(|error| wrong(reason(&error)))?;
        let line = said.stream.unwrap_or_default();
        // "Loaded image: name:tag", or "Loaded image ID: sha256:..." of one without a name.
        loaded = line.trim().split_once(": ").map(|(_, name)| name.to_owned()).or(loaded);
    }
    let name = wanted.map(str::to_owned).or(loaded.clone());
    let name = name.ok_or_else(|| wrong("there is no image in it".to_owned()))?;
    let there = look(engine, &name).await?;
    let in_it = loaded.unwrap_or_else(|| "nothing".to_owned());
    there.ok_or_else(|| wrong(format!("it holds {in_it}, and not {name}, which `image` asks for")))
}

/// Brings our own executable onto the engine, where it is not there already, and holds it with a container that is never
/// started: an image that a container is made of is not removed.
///
/// # Errors
/// [`DockerError::Api`].
pub(super) async fn hold(engine: &Engine, packed: &Packed, owner: &Owner, names: &Names) -> Result<Image, DockerError> {
    let name = format!("{OWN}:{}", packed.tag);
    loop {
        import(engine, packed, owner).await?;
        let options = CreateContainerOptionsBuilder::new().name(&names.of("image")).build();
        match engine.api.create_container(Some(options), bodies::holder(names, &name)).await {
            Ok(_) => break,
            // Another replay, which had held it, has removed it in between.
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(DockerError::api("holding our own image")(error)),
        }
    }
    let missing = || DockerError::Api { what: "holding our own image".into(), why: "it is not there".into() };
    let version = format!("mqtt-bridge {}", env!("CARGO_PKG_VERSION"));
    Ok(Image { version, ..look(engine, &name).await?.ok_or_else(missing)? })
}

async fn import(engine: &Engine, packed: &Packed, owner: &Owner) -> Result<(), DockerError> {
    if look(engine, &format!("{OWN}:{}", packed.tag)).await?.is_some() {
        return Ok(());
    }
    let mut changes = vec![format!("ENTRYPOINT [\"/{PROGRAM}\"]"), format!("LABEL {RUNNER}=\"{owner}\"")];
    if !packed.library_path.is_empty() {
        changes.push(format!("ENV LD_LIBRARY_PATH={}", packed.library_path));
    }
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(OWN).tag(&packed.tag).changes(changes).build();
    let body = bollard::body_full(packed.tar.clone());
    let mut importing = engine.api.create_image(Some(options), Some(body), None);
    while let Some(said) = importing.next().await {
        said.map_err(DockerError::api("importing this executable as an image"))?;
    }
    Ok(())
}

/// Removes our own image, unless somebody uses it: another replay, which will remove it. Whether it was removed.
///
/// Two that import the same at once leave one of the two without its name: those go as well.
pub(super) async fn forget(engine: &Engine, name: &str) -> bool {
    let nameless =
        [("label", RUNNER), ("dangling", "true")].map(|(key, value)| (key.to_owned(), vec![value.to_owned()]));
    let options = ListImagesOptionsBuilder::new().filters(&HashMap::from(nameless)).build();
    for image in engine.api.list_images(Some(options)).await.unwrap_or_default() {
        remove(engine, &image.id).await;
    }
    remove(engine, name).await
}

async fn remove(engine: &Engine, name: &str) -> bool {
    let options = RemoveImageOptionsBuilder::new().force(false).build();
    match engine.api.remove_image(name, Some(options), None).await {
        Ok(_) => true,
        Err(error) if matches!(status(&error), Some(404 | 409)) => false,
        Err(error) => {
            tracing::warn!(name, error = reason(&error), "an image of ours is left behind");
            false
        }
    }
}

/// The layers of a pull, a bar each; nothing where nobody looks.
struct Layers {
    all: Option<MultiProgress>,
    bars: BTreeMap<String, ProgressBar>,
}

impl Layers {
    fn new() -> Self {
        Self { all: std::io::stderr().is_terminal().then(MultiProgress::new), bars: BTreeMap::new() }
    }

    fn show(&mut self, said: &CreateImageInfo) {
        let (Some(all), Some(layer), Some(doing)) = (&self.all, &said.id, &said.status) else { return };
        let bar = self.bars.entry(layer.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new(0));
            let style = "{prefix:12} {msg:20} {bar:30} {bytes:>10} of {total_bytes:10}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.with_prefix(layer.clone())
        });
        bar.set_message(doing.clone());
        if let Some(detail) = &said.progress_detail {
            bar.set_length(detail.total.unwrap_or_default().max(0) as u64);
            bar.set_position(detail.current.unwrap_or_default().max(0) as u64);
        }
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        self.bars.values().for_each(ProgressBar::finish_and_clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_told_from_the_port_of_a_registry() {
        assert_eq!(tag("emqx/emqx:5.8.7"), "5.8.7");
        assert_eq!(tag("registry.example:5000/emqx"), "latest");
        assert_eq!(tag("registry.example:5000/emqx:5@sha256:00"), "5");
    }

    #[test]
    fn each_reason_has_its_advice() {
        for (why, expected) in [
            ("dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: no such host", "does not reach the registry"),
            ("manifest for emqx/emqx:9 not found: manifest unknown", "name is right"),
            ("pull access denied for x, repository does not exist or may require 'docker login'", "docker login"),
            ("toomanyrequests: You have reached your pull rate limit", "limits pulls"),
            ("something else", "by hand"),
        ] {
            let advice = advice("the remote", why);
            assert!(advice.contains(expected) && advice.contains("--image remote=IMAGE"), "{why}: {advice}");
            assert!(advice.contains("image_archive"), "{advice}");
        }
        assert!(!advice("mosquitto", "x").contains("image_archive"));
    }
}
