//! The faults, each by the engine's API: done, recorded with the moment from which it holds, and looked at.
use super::super::EnvironmentError;
use super::proxy;
use super::world::DockerWorld;
use crate::scenario::history::Event;
use crate::scenario::plan::{Fault, FaultKind, Place};

impl DockerWorld {
    pub(super) async fn do_apply(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let on = Event::FaultOn { fault: index, kind: fault.kind, on: fault.on };
        match fault.place() {
            Place::Link if proxy::makes(fault.kind) => self.put_proxy(index, fault, true).await?,
            Place::Link => {
                self.disconnect(fault.on).await?;
                self.recorder.record(on);
                self.link = fault.kind.name();
                self.verify(fault.on, false).await?;
            }
            Place::Process if fault.kind == FaultKind::Pause => {
                self.side(fault.on).set_paused(true).await?;
                self.recorder.record(on);
                self.link = fault.kind.name();
                self.verify_paused(fault.on, true).await?;
            }
            Place::Process if fault.stops_remote() => self.end_remote(on, fault).await?,
            Place::Process => {
                self.recorder.record(on);
                self.end_subject(fault.kind).await?;
            }
            Place::Disk => {
                self.set_full(true).await?;
                self.recorder.record(on);
            }
        }
        Ok(())
    }

    pub(super) async fn do_heal(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let off = Event::FaultOff { fault: index, kind: fault.kind, on: fault.on };
        match fault.place() {
            Place::Link if proxy::makes(fault.kind) => self.put_proxy(index, fault, false).await?,
            Place::Link => {
                self.connect(fault.on).await?;
                self.recorder.record(off);
                self.link = "open";
                self.verify(fault.on, true).await?;
            }
            Place::Process if fault.kind == FaultKind::Pause => {
                self.side(fault.on).set_paused(false).await?;
                self.recorder.record(off);
                self.link = "open";
                self.verify_paused(fault.on, false).await?;
            }
            Place::Process if fault.stops_remote() => self.start_remote(off, fault).await?,
            Place::Process => {
                if self.subject.ended().is_some() {
                    self.subject.start().await?;
                }
                self.recorder.record(off);
            }
            Place::Disk => {
                self.set_full(false).await?;
                self.recorder.record(off);
            }
        }
        Ok(())
    }
}
