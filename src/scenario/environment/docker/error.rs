//! What can go wrong between the laboratory and a Docker engine.
use std::path::PathBuf;

use bollard::errors::Error as ApiError;

/// Why the environment `docker` cannot be had, or not gone on with.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// `DOCKER_HOST` asks for a transport that is not spoken here.
    #[error(
        "DOCKER_HOST is `{host}`: {why}. Use unix:///path/to/docker.sock or tcp://host:port (without TLS; over ssh: `ssh -L ./docker.sock:/var/run/docker.sock HOST`, and that socket), or another --environment"
    )]
    Host {
        /// What it is.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers.
    #[error(
        "no Docker engine answers at {address}: {why}. Start one (Debian: apt install docker.io; elsewhere Docker Desktop or colima), say with DOCKER_HOST where it is, or use --environment local"
    )]
    NoEngine {
        /// Where it was looked for.
        address: String,
        /// What happened.
        why: String,
    },
    /// An engine from before 2020.
    #[error(
        "the Docker engine at {address} speaks API {found}, and what is needed here begins with 1.41 (Docker 20.10): update it"
    )]
    TooOld {
        /// Where it is.
        address: String,
        /// What it speaks.
        found: String,
    },
    /// An image that is not there and does not come.
    #[error("the image {image} ({what}) is not on this engine and cannot be pulled: {why}. {advice}")]
    Image {
        /// Whose image.
        what: String,
        /// Its name.
        image: String,
        /// What the registry or the engine said.
        why: String,
        /// What to do.
        advice: String,
    },
    /// `image_archive` does not hold what it should.
    #[error("image_archive {}: {why}; write one with `docker save -o FILE IMAGE`", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Our own executable cannot become an image.
    #[error("this executable cannot be packed into an image: {why}. {advice}")]
    OwnImage {
        /// Why not.
        why: String,
        /// What to do.
        advice: String,
    },
    /// No subnet is left, or the engine refuses them all.
    #[error(
        "no free subnet for the network {network} in 198.18.0.0/15: {why}; `docker network prune` removes networks that nobody uses"
    )]
    NoSubnet {
        /// Which network.
        network: String,
        /// What the engine said last.
        why: String,
    },
    /// A request to the engine failed.
    #[error("{what}: the Docker engine does not do it: {why}")]
    Api {
        /// What was asked for.
        what: String,
        /// What it said.
        why: String,
    },
    /// What is known of a container does not fit together.
    #[error("{what}: {why}")]
    Probe {
        /// What was asked for.
        what: String,
        /// What came instead.
        why: String,
    },
    /// A file that goes into a container, or tells what to do, cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl DockerError {
    /// A request that failed, with what was asked for.
    pub(super) fn api(what: impl Into<String>) -> impl FnOnce(ApiError) -> Self {
        move |error| Self::Api { what: what.into(), why: reason(&error) }
    }
}

/// What an engine said, in one line; of what went wrong on the way to it, the innermost reason.
pub(super) fn reason(error: &ApiError) -> String {
    match error {
        ApiError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        ApiError::DockerStreamError { error } => error.trim().to_owned(),
        ApiError::RequestTimeoutError => "it does not answer in time".to_owned(),
        error => {
            let mut innermost: &dyn std::error::Error = error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            innermost.to_string()
        }
    }
}

/// The HTTP status of an answer, where there was one.
pub(super) fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
