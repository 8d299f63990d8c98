//! Processes that end, stand still and come back.
use super::super::EnvironmentError;
use super::super::ready::FAREWELL;
use super::container::Container;
use super::error::DockerError;
use super::preset::keeps_sessions;
use super::world::DockerWorld;
use crate::bridge::wire::{Connect, Version};
use crate::scenario::client::{self, ClientError};
use crate::scenario::history::{Event, Role};
use crate::scenario::plan::{Fault, FaultKind, Parameters, RemotePreset, Side};

impl DockerWorld {
    pub(super) fn side(&self, side: Side) -> &Container {
        match side {
            Side::Remote => &self.remote,
            Side::Bridge => &self.subject,
        }
    }

    pub(super) async fn verify_paused(&self, side: Side, paused: bool) -> Result<(), DockerError> {
        let seen = self.side(side).state().await?.paused;
        if seen != Some(paused) {
            let why = format!("the container on {side:?} was to be paused: {paused}, and the engine says {seen:?}");
            self.recorder.doubt(why);
        }
        Ok(())
    }

    pub(super) async fn end_subject(&mut self, kind: FaultKind) -> Result<(), DockerError> {
        if kind == FaultKind::Kill {
            return self.subject.kill().await;
        }
        if !self.subject.stop(FAREWELL).await? {
            let line = format!("(it did not end within {} s of SIGTERM and was killed)", FAREWELL.as_secs());
            self.recorder.record(Event::Log { role: Role::Subject, line });
        }
        Ok(())
    }

    /// Ends the remote. What it has acknowledged and not passed on would be lost with it, and look like the subject's
    /// loss. So the subject stands still for the few moments until the receiver has everything, and then sees the end
    /// as it is: FIN, and soon no name.
    pub(super) async fn end_remote(&mut self, on: Event, fault: &Fault) -> Result<(), EnvironmentError> {
        let stood_still = self.subject.ended().is_some() || self.subject.state().await?.paused == Some(true);
        if !stood_still {
            self.subject.set_paused(true).await?;
        }
        // Twice: what the subject's kernel had under way when it stood still has come by now.
        for _ in 0..2 {
            if let Err(error) = self.examiner.has_everything(self.remote_address).await {
                self.recorder.doubt(format!("the receiver may not have all that the remote acknowledged: {error}"));
                break;
            }
        }
        let lost = matches!(fault.parameters, Parameters::Session { lost: true });
        if !lost && !keeps_sessions(self.remote_preset) {
            let preset = self.remote_preset;
            self.recorder
                .doubt(format!("a remote of preset {preset:?} was to keep its sessions, and has them in memory alone"));
        }
        if !lost
            && self.remote_preset == RemotePreset::Mosquitto
            && fault.kind == FaultKind::Kill
            && let Err(error) = self.save_remote().await
        {
            self.recorder.doubt(format!("the remote may not have saved its sessions: {error}"));
        }
        self.recorder.record(on);
        let ended = match fault.kind {
            FaultKind::Kill => self.remote.kill().await,
            _ => self.remote.stop(FAREWELL).await.map(drop),
        };
        // It comes back to the link only once the receiver is back.
        let disconnected = self.disconnect(Side::Remote).await;
        if !stood_still {
            self.subject.set_paused(false).await?;
        }
        self.link = fault.kind.name();
        ended.and(disconnected)?;
        if let Err(error) = self.examiner.is_away().await {
            self.recorder.doubt(format!("the receiver has not noticed that the remote is gone: {error}"));
        }
        Ok(())
    }

    /// Starts the remote again; it is back on the link when the receiver is back at it.
    pub(super) async fn start_remote(&mut self, off: Event, fault: &Fault) -> Result<(), EnvironmentError> {
        if self.remote.ended().is_some() {
            if matches!(fault.parameters, Parameters::Session { lost: true }) {
                self.remote.make_anew().await?;
            }
            self.remote.start().await?;
            self.remote_ready().await?;
            if let Err(error) = self.examiner.is_back().await {
                self.recorder.doubt(format!("the receiver did not come back to the remote: {error}"));
            }
        }
        self.connect(Side::Remote).await?;
        self.recorder.record(off);
        self.link = "open";
        Ok(self.verify(Side::Remote, true).await?)
    }

    /// mosquitto writes its sessions to disk once a second, and when it is told to. It does one thing after the other:
    /// who has been answered twice since has been answered after that.
    async fn save_remote(&self) -> Result<(), EnvironmentError> {
        self.remote.signal("SIGUSR1").await?;
        for _ in 0..2 {
            let answered = client::connect(self.remote_address, Connect::new(Version::V5, "lab-saved")).await;
            answered.map_err(|error: ClientError| DockerError::Probe {
                what: "asking the remote for an answer".to_owned(),
                why: error.to_string(),
            })?;
        }
        Ok(())
    }
}
