//! The faults, each by the engine's API: done, recorded with the moment from which it holds, and looked at.
use std::time::Duration;

use bollard::models::NetworkDisconnectRequest;

use super::super::EnvironmentError;
use super::bodies::Network;
use super::error::{DockerError, reason, status};
use super::probe::{Met, Sight};
use super::world::{DockerWorld, FAREWELL};
use crate::scenario::history::Event;
use crate::scenario::plan::{Fault, FaultKind, Side};

/// For what must not be answered: below the first repetition of a SYN, so that a look cannot come about later.
const MOMENT: Duration = Duration::from_millis(250);
/// For what must be answered.
const HEALED: Duration = Duration::from_secs(2);

impl DockerWorld {
    pub(super) async fn do_apply(&mut self, index: usize, fault: &Fault) -> Result<(), DockerError> {
        let on = Event::FaultOn { fault: index, kind: fault.kind, on: fault.on };
        match fault.kind {
            FaultKind::Disconnect | FaultKind::Cut => {
                self.disconnect(fault.on).await?;
                self.recorder.record(on);
                self.link = fault.kind.name();
                match fault.on {
                    Side::Remote => self.verify_link(false).await?,
                    Side::Bridge => self.verify_subject(false).await?,
                }
            }
            FaultKind::Pause => {
                self.side(fault.on).set_paused(true).await?;
                self.recorder.record(on);
                self.link = fault.kind.name();
                self.verify_paused(fault.on, true).await?;
            }
            FaultKind::Kill | FaultKind::Restart => {
                self.recorder.record(on);
                let container = match fault.on {
                    Side::Remote => &mut self.remote,
                    Side::Bridge => &mut self.subject,
                };
                match fault.kind {
                    FaultKind::Kill => container.kill().await?,
                    _ => container.stop(FAREWELL).await?,
                }
            }
            // Refused before anything was started.
            FaultKind::Reset | FaultKind::Refuse => {}
        }
        Ok(())
    }

    pub(super) async fn do_heal(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let off = Event::FaultOff { fault: index, kind: fault.kind, on: fault.on };
        match fault.kind {
            FaultKind::Disconnect | FaultKind::Cut => {
                match fault.on {
                    Side::Remote => self.connect_remote().await?,
                    Side::Bridge => self.connect_subject().await?,
                }
                self.recorder.record(off);
                self.link = "open";
                match fault.on {
                    Side::Remote => self.verify_link(true).await?,
                    Side::Bridge => self.verify_subject(true).await?,
                }
            }
            FaultKind::Pause => {
                self.side(fault.on).set_paused(false).await?;
                self.recorder.record(off);
                self.link = "open";
                self.verify_paused(fault.on, false).await?;
            }
            FaultKind::Kill | FaultKind::Restart => {
                let container = match fault.on {
                    Side::Remote => &mut self.remote,
                    Side::Bridge => &mut self.subject,
                };
                if container.ended().is_some() {
                    container.start().await?;
                }
                if fault.on == Side::Remote {
                    // A broker that has not opened its port yet is not back.
                    self.remote_ready().await?;
                }
                self.recorder.record(off);
            }
            FaultKind::Reset | FaultKind::Refuse => {}
        }
        Ok(())
    }

    fn side(&self, side: Side) -> &super::container::Container {
        match side {
            Side::Remote => &self.remote,
            Side::Bridge => &self.subject,
        }
    }

    /// Takes a container off the link; again is the same as once.
    async fn disconnect(&self, side: Side) -> Result<(), DockerError> {
        let container = self.side(side).name().to_owned();
        let network = Network::Link.name(&self.names);
        let request = NetworkDisconnectRequest { container: container.clone(), force: Some(false) };
        match self.engine.api.disconnect_network(&network, request).await {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(status(&error), Some(403 | 404 | 409)) && reason(&error).contains("not connected") =>
            {
                Ok(())
            }
            Err(error) => Err(DockerError::api(format!("disconnecting {container} from the link"))(error)),
        }
    }

    /// Whether the remote is on the link: as the engine has it, and as the helper sees it. A fault that is not as it
    /// should be makes the run worth little.
    pub(super) async fn verify_link(&self, up: bool) -> Result<(), DockerError> {
        let attached = self.attached(self.remote.name()).await?;
        let sight = self.look(if up { HEALED } else { MOMENT }).await?;
        let expected_name = (!up && !self.pins_name).then_some(false).or(up.then_some(true));
        if let Some(why) = contradiction(up, attached, expected_name, self.remote_on_link(), sight.as_ref()) {
            self.recorder.record(Event::Doubt { why });
        }
        Ok(())
    }

    async fn verify_subject(&self, up: bool) -> Result<(), DockerError> {
        let attached = self.attached(self.subject.name()).await?;
        let met = self.look_at_subject(if up { HEALED } else { MOMENT }).await?;
        let wrong = attached != up || met.is_some_and(|met| (met == Met::Nothing) == up);
        if wrong {
            let wanted = if up { "on the link" } else { "off the link" };
            let why = format!(
                "the bridge was to be {wanted}, and the engine has it there: {attached}, a connection to it met {met:?}"
            );
            self.recorder.record(Event::Doubt { why });
        }
        Ok(())
    }

    async fn verify_paused(&self, side: Side, paused: bool) -> Result<(), DockerError> {
        let seen = self.side(side).state().await?.paused;
        if seen != Some(paused) {
            let why = format!("the container on {side:?} was to be paused: {paused}, and the engine says {seen:?}");
            self.recorder.record(Event::Doubt { why });
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
    expected_name: Option<bool>,
    remote: std::net::Ipv4Addr,
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
    if expected_name.is_some_and(|expected| expected != resolved) {
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
        let remote = std::net::Ipv4Addr::new(198, 18, 0, 2);
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
