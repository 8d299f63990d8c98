//! The link: containers on it and off it, and whether they really are.
use std::net::Ipv4Addr;
use std::time::Duration;

use bollard::models::NetworkDisconnectRequest;

use super::bodies::{Network, Place, link_end};
use super::engine::Engine;
use super::error::{DockerError, reason, status};
use super::owner::Names;
use super::probe::{Met, Sight};
use super::world::DockerWorld;
use crate::scenario::plan::Side;

/// For what must not be answered: below the first repetition of a SYN, so that a look cannot come about later.
const MOMENT: Duration = Duration::from_millis(250);
/// For what must be answered.
const HEALED: Duration = Duration::from_secs(2);

/// Connects a container to the link; again is the same as once.
///
/// # Errors
/// [`DockerError::Api`].
pub(super) async fn connect(
    engine: &Engine,
    names: &Names,
    container: &str,
    address: Ipv4Addr,
    aliases: &[String],
) -> Result<(), DockerError> {
    let network = Network::Link.name(names);
    match engine.api.connect_network(&network, link_end(container, address, aliases)).await {
        Ok(()) => Ok(()),
        Err(error) if matches!(status(&error), Some(403 | 409)) && reason(&error).contains("already exists") => Ok(()),
        Err(error) => Err(DockerError::api(format!("connecting {container} to the link"))(error)),
    }
}

impl DockerWorld {
    /// Puts a side on the link, with its address and its names.
    pub(super) async fn connect(&self, side: Side) -> Result<(), DockerError> {
        let (engine, names, container) = (&self.engine, &self.names, self.end(side));
        match side {
            Side::Remote => connect(engine, names, container, self.remote_on_link(), &self.remote_names).await,
            Side::Bridge => connect(engine, names, container, self.link_net.address(Place::Subject as u8), &[]).await,
        }
    }

    /// Takes a side off the link; again is the same as once.
    pub(super) async fn disconnect(&self, side: Side) -> Result<(), DockerError> {
        let container = self.end(side).to_owned();
        let network = Network::Link.name(&self.names);
        let request = NetworkDisconnectRequest { container: container.clone(), force: Some(false) };
        match self.engine.api.disconnect_network(&network, request).await {
            Ok(()) => Ok(()),
            Err(error) if status(&error).is_some() && reason(&error).contains("is not connected") => Ok(()),
            Err(error) => Err(DockerError::api(format!("disconnecting {container} from the link"))(error)),
        }
    }

    /// The container whose end of the link a side is: before a remote with a fault proxy, the proxy.
    fn end(&self, side: Side) -> &str {
        match (side, &self.proxy) {
            (Side::Remote, Some(proxy)) => proxy.container.name(),
            (side, _) => self.side(side).name(),
        }
    }

    /// Whether a side is on the link, or off it: as the engine has it, and as the helper sees it. A fault that is not
    /// as it should be makes the run worth little.
    pub(super) async fn verify(&self, side: Side, up: bool) -> Result<(), DockerError> {
        let attached = self.attached(self.end(side)).await?;
        let patience = if up { HEALED } else { MOMENT };
        let why = match side {
            Side::Remote => {
                let name_is_there = if up || !self.pins_name { Some(up) } else { None };
                let sight = self.look(patience).await?;
                contradiction(up, attached, name_is_there, self.remote_on_link(), sight.as_ref())
            }
            Side::Bridge => {
                let met = self.look_at_subject(patience).await?;
                let wrong = attached != up || met.is_some_and(|met| (met == Met::Nothing) == up);
                let wanted = if up { "on the link" } else { "off the link" };
                wrong.then(|| {
                    format!(
                        "the bridge was to be {wanted}; on it for the engine: {attached}, for a new connection: {met:?}"
                    )
                })
            }
        };
        if let Some(why) = why {
            self.recorder.doubt(why);
        }
        Ok(())
    }

    /// Whether the engine has a container on the link.
    async fn attached(&self, container: &str) -> Result<bool, DockerError> {
        let seen = self.engine.api.inspect_container(container, None).await;
        let seen = seen.map_err(DockerError::api(format!("looking at {container}")))?;
        let networks = seen.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        Ok(networks.contains_key(&Network::Link.name(&self.names)))
    }
}

/// What of a link that is to be up, or down, is not so.
fn contradiction(
    up: bool,
    attached: bool,
    name_is_there: Option<bool>,
    remote: Ipv4Addr,
    sight: Option<&Sight>,
) -> Option<String> {
    let wanted = if up { "up" } else { "down" };
    if attached != up {
        return Some(format!("the link was to be {wanted}, and the engine has the remote on it: {attached}"));
    }
    let sight = sight?;
    let (on_link, elsewhere) = sight.met.split_first()?;
    let right = if up { *on_link == Met::Connected } else { *on_link == Met::Nothing };
    if !right {
        return Some(format!("the link was to be {wanted}, and a new connection to the remote met {on_link:?}"));
    }
    if elsewhere.contains(&Met::Connected) {
        return Some("there is a way to the remote around the link".to_owned());
    }
    let resolved = sight.resolved.contains(&remote);
    if name_is_there.is_some_and(|expected| expected != resolved) {
        let resolved = &sight.resolved;
        return Some(format!("the link was to be {wanted}, and the remote's name was resolved to {resolved:?}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_not_as_it_should_be_is_doubted() {
        let remote = Ipv4Addr::new(198, 18, 0, 2);
        let sight = |met: &[Met], resolved: bool| Sight {
            resolved: resolved.then_some(remote).into_iter().collect(),
            met: met.to_vec(),
        };
        let up = sight(&[Met::Connected, Met::Nothing], true);
        let down = sight(&[Met::Nothing, Met::Nothing], false);
        let look = |up, attached, sight: &Sight| contradiction(up, attached, Some(up), remote, Some(sight));
        assert_eq!(look(true, true, &up), None);
        assert_eq!(look(false, false, &down), None);
        assert!(look(false, true, &down).unwrap().contains("the engine has the remote on it: true"));
        assert!(look(false, false, &up).unwrap().contains("met Connected"));
        assert!(look(true, true, &down).unwrap().contains("met Nothing"));
        let around = sight(&[Met::Nothing, Met::Connected], false);
        assert!(look(false, false, &around).unwrap().contains("around the link"));
        let named = sight(&[Met::Nothing, Met::Nothing], true);
        assert!(look(false, false, &named).unwrap().contains("name was resolved"));
        assert_eq!(contradiction(false, false, None, remote, Some(&named)), None, "a pinned name stays");
        assert_eq!(contradiction(true, true, Some(true), remote, None), None, "without a helper, the engine's word");
    }
}
