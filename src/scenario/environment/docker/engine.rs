//! The Docker engine: where it is, and that it speaks what is needed.
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use tokio::time::timeout;

use super::error::{DockerError, reason};

/// How long an engine may take to say its version; a local one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long any request may take until its answer begins; an import of our own image is the longest.
const REQUEST_SECONDS: u64 = 120;
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// An engine that has answered.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    /// Its API.
    pub(super) api: Docker,
    /// What it says of itself.
    pub(super) version: String,
    /// The address of the machine that it publishes ports on, as seen from here.
    pub(super) host: IpAddr,
}

/// Where an engine is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl Engine {
    /// Connects as `DOCKER_HOST` says, or to the usual sockets, and agrees on a version of the API.
    ///
    /// # Errors
    /// [`DockerError::Host`], [`DockerError::NoEngine`], [`DockerError::TooOld`].
    pub(super) async fn connect() -> Result<Self, DockerError> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let host = variable("DOCKER_HOST");
        let tls = variable("DOCKER_TLS_VERIFY").is_some();
        match address(host.as_deref(), tls)? {
            Some(address) => Self::at(&address).await,
            None => {
                let sockets = usual_sockets();
                let there = sockets.iter().find(|socket| socket.exists()).or(sockets.first());
                Self::at(&Address::Unix(there.cloned().unwrap_or_default())).await
            }
        }
    }

    async fn at(address: &Address) -> Result<Self, DockerError> {
        let shown = match address {
            Address::Unix(path) => format!("unix://{}", path.display()),
            Address::Tcp(place) => format!("tcp://{place}"),
        };
        let nobody = |why: String| DockerError::NoEngine { address: shown.clone(), why };
        let (api, host) = match address {
            Address::Unix(path) => {
                let path = path.to_string_lossy();
                (Docker::connect_with_unix(&path, REQUEST_SECONDS, API_DEFAULT_VERSION), Ipv4Addr::LOCALHOST.into())
            }
            Address::Tcp(place) => {
                let resolved = tokio::net::lookup_host(place).await.map_err(|error| nobody(error.to_string()))?;
                let host = resolved.map(|address| address.ip()).min_by_key(IpAddr::is_ipv6);
                let host = host.ok_or_else(|| nobody("the name has no address".to_owned()))?;
                (Docker::connect_with_http(&shown, REQUEST_SECONDS, API_DEFAULT_VERSION), host)
            }
        };
        let api = api.map_err(|error| nobody(reason(&error)))?;
        let asked = timeout(PATIENCE, api.negotiate_version()).await;
        let api = asked.map_err(|_| nobody(format!("no answer within {} s", PATIENCE.as_secs())))?;
        let api = api.map_err(|error| nobody(reason(&error)))?;
        let speaks = api.client_version();
        if speaks < OLDEST {
            return Err(DockerError::TooOld { address: shown, found: speaks.to_string() });
        }
        let said = api.version().await.map_err(DockerError::api("asking for its version"))?;
        let version = format!("Docker {}, API {speaks}", said.version.unwrap_or_else(|| "(version unknown)".into()));
        Ok(Self { api, version, host })
    }
}

/// What `DOCKER_HOST` means; `None` where it is not set.
fn address(host: Option<&str>, tls: bool) -> Result<Option<Address>, DockerError> {
    let Some(host) = host else { return Ok(None) };
    let wrong = |why: &str| Err(DockerError::Host { host: host.to_owned(), why: why.to_owned() });
    let (scheme, rest) = host.split_once("://").unwrap_or(("", host));
    match scheme {
        "unix" if rest.is_empty() => wrong("it names no socket"),
        "unix" => Ok(Some(Address::Unix(rest.into()))),
        "tcp" | "http" if tls => wrong("DOCKER_TLS_VERIFY asks for TLS, which is not spoken here"),
        "tcp" | "http" => {
            let place = rest.trim_end_matches('/');
            let place = if place.contains(':') { place.to_owned() } else { format!("{place}:2375") };
            let numbers =
                place.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
            if numbers { Ok(Some(Address::Tcp(place))) } else { wrong("that is not host:port") }
        }
        "https" => wrong("TLS is not spoken here"),
        "ssh" => wrong("ssh is not spoken here"),
        _ => wrong("that transport is not known here"),
    }
}

/// Where engines listen that nobody has said anything about: Docker, Docker Desktop, rootless Docker, colima.
fn usual_sockets() -> Vec<PathBuf> {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from);
    let home = folder("HOME");
    let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let rootless = folder("XDG_RUNTIME_DIR").map(|folder| folder.join("docker.sock"));
    let others = [in_home(".docker/run/docker.sock"), rootless, in_home(".colima/default/docker.sock")];
    [PathBuf::from("/var/run/docker.sock")].into_iter().chain(others.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Result<Option<Address>, String> {
        address(Some(host), false).map_err(|error| error.to_string())
    }

    #[test]
    fn a_unix_socket_and_plain_tcp_are_understood_and_all_else_is_named() {
        assert_eq!(address(None, true).unwrap(), None);
        assert_eq!(of("unix:///run/d.sock"), Ok(Some(Address::Unix("/run/d.sock".into()))));
        assert_eq!(of("tcp://10.0.0.1:2375/"), Ok(Some(Address::Tcp("10.0.0.1:2375".into()))));
        assert_eq!(of("tcp://docker"), Ok(Some(Address::Tcp("docker:2375".into()))));
        for (host, why) in [
            ("ssh://root@box", "ssh is not spoken here"),
            ("https://box:2376", "TLS is not spoken here"),
            ("tcp://:2375", "not host:port"),
            ("tcp://box:twelve", "not host:port"),
            ("npipe:////./pipe/docker_engine", "not known"),
            ("/var/run/docker.sock", "not known"),
        ] {
            let error = of(host).unwrap_err();
            assert!(error.contains(&format!("DOCKER_HOST is `{host}`")) && error.contains(why), "{error}");
            assert!(error.contains("unix:///path"), "says what works: {error}");
        }
        let error = address(Some("tcp://box:2376"), true).unwrap_err().to_string();
        assert!(error.contains("DOCKER_TLS_VERIFY"), "{error}");
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_named_with_what_to_do() {
        for (address, shown) in [
            (Address::Unix("/nonexistent/docker.sock".into()), "unix:///nonexistent/docker.sock"),
            (Address::Tcp("127.0.0.1:1".into()), "tcp://127.0.0.1:1"),
        ] {
            let error = Engine::at(&address).await.unwrap_err().to_string();
            assert!(error.contains(shown) && error.contains("DOCKER_HOST"), "{error}");
        }
    }
}
