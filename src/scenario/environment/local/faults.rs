//! What is done to the link, to the processes and to the disk of a world on loopback.
use super::super::proxy::Link;
use super::super::{EnvironmentError, disk};
use super::world::LocalWorld;
use crate::scenario::history::Event;
use crate::scenario::plan::{Fault, FaultKind, Place, Side};

impl LocalWorld {
    pub(super) async fn begin(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let on = Event::FaultOn { fault: index, kind: fault.kind, on: fault.on };
        if Link::is_changed_by(fault) {
            self.on_link.insert(index, fault.clone());
            self.put_link().await?;
            self.recorder.record(on);
            return self.verify().await;
        }
        match (fault.place(), fault.on) {
            (Place::Process, Side::Remote) => return self.take_remote_away(index, fault).await,
            (Place::Process, Side::Bridge) if fault.kind == FaultKind::Pause => {
                self.signal_subject(libc::SIGSTOP);
                self.recorder.record(on);
            }
            (Place::Process, Side::Bridge) => {
                self.recorder.record(on);
                self.end_subject(fault.kind != FaultKind::Kill).await;
            }
            (Place::Disk, _) => {
                self.fill().await?;
                self.recorder.record(on);
            }
            // Nothing of the link that does not change it.
            (Place::Link, _) => self.recorder.record(on),
        }
        Ok(())
    }

    pub(super) async fn end(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let off = Event::FaultOff { fault: index, kind: fault.kind, on: fault.on };
        if Link::is_changed_by(fault) {
            self.on_link.remove(&index);
            self.put_link().await?;
            self.recorder.record(off);
            return self.verify().await;
        }
        match (fault.place(), fault.on) {
            (Place::Process, Side::Remote) => {
                self.remote.come_back(fault).await?;
                self.put_link().await?;
                self.recorder.record(off);
                self.verify().await?;
            }
            (Place::Process, Side::Bridge) if fault.kind == FaultKind::Pause => {
                self.signal_subject(libc::SIGCONT);
                self.recorder.record(off);
            }
            (Place::Process, Side::Bridge) => {
                self.start_again()?;
                self.recorder.record(off);
            }
            (Place::Disk, _) => {
                if let Some(disk) = &self.disk {
                    let failed = |source| EnvironmentError::Disk { path: disk.folder().to_owned(), source };
                    disk::clear(disk.folder()).map_err(failed)?;
                }
                self.recorder.record(off);
            }
            (Place::Link, _) => self.recorder.record(off),
        }
        Ok(())
    }

    /// Brings the link into the state that the faults in force make.
    async fn put_link(&mut self) -> Result<(), EnvironmentError> {
        let link = self.wanted();
        match &mut self.proxy {
            Some(proxy) => Ok(proxy.set(&link).await?),
            None => Ok(()),
        }
    }

    fn wanted(&self) -> Link {
        let in_force = self.on_link.iter().map(|(index, fault)| (*index, fault));
        Link::under(in_force).before(self.remote.is_there())
    }

    /// A fault that does not look as it should makes the run worth little.
    async fn verify(&self) -> Result<(), EnvironmentError> {
        // Of a reset, and of what a proxy refuses without a remote behind it, new connections tell nothing else.
        if let Some(proxy) = &self.proxy
            && let Err(error) = proxy.verify(self.wanted().door).await
        {
            self.recorder.doubt(error.to_string());
        }
        Ok(())
    }

    fn signal_subject(&self, signal: libc::c_int) {
        if let Some(subject) = &self.subject {
            subject.signal(signal);
        }
    }

    async fn fill(&mut self) -> Result<(), EnvironmentError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let failed = |source| EnvironmentError::Disk { path: disk.folder().to_owned(), source };
        disk::fill(disk.folder()).map_err(failed)?;
        if !disk::is_full(disk.folder()) {
            self.recorder.doubt("the disk was to be full, and something could still be written");
        }
        Ok(())
    }

    async fn take_remote_away(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        if let Some(proxy) = &mut self.proxy {
            proxy.set(&Link::STILL).await?;
        }
        self.remote.take_away(index, fault).await;
        // What the remote had written goes through, with its FIN behind it.
        self.put_link().await?;
        self.remote.receiver_is_away().await;
        Ok(())
    }
}
