//! What is done to the link, to the processes and to the disk of a world on loopback.
use super::super::proxy::{Door, Established, Link};
use super::super::remote::save_sessions;
use super::super::{EnvironmentError, disk};
use super::world::LocalWorld;
use crate::scenario::history::Event;
use crate::scenario::plan::{Fault, FaultKind, Parameters, Place, Side};

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
                self.bring_remote_back(index, fault).await?;
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
        let link = Link::under(self.on_link.iter().map(|(index, fault)| (*index, fault)));
        // Nobody listens where there is no remote.
        if self.remote.is_none() && link.door == Door::Open { Link { door: Door::Refuse, ..link } } else { link }
    }

    /// A fault that does not look as it should makes the run worth little.
    async fn verify(&self) -> Result<(), EnvironmentError> {
        // Of a reset, and of what a proxy refuses without a remote behind it, new connections tell nothing else.
        if let Some(proxy) = &self.proxy
            && let Err(error) = proxy.verify(self.wanted().door).await
        {
            self.doubt(error.to_string());
        }
        Ok(())
    }

    fn doubt(&self, why: String) {
        self.recorder.record(Event::Doubt { why });
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
            self.doubt("the disk was to be full, and something could still be written".to_owned());
        }
        Ok(())
    }

    /// The link stands still while the remote passes on what it has acknowledged, and while it writes its sessions down
    /// where nobody will give it the time to; to the subject it is a remote that was slow for a moment, and then ended.
    async fn take_remote_away(&mut self, index: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        let still = Link { established: Established::Stall, door: Door::Hang, ..Link::OPEN };
        if let Some(proxy) = &mut self.proxy {
            proxy.set(&still).await?;
        }
        if let Err(error) = self.examiner.has_everything(self.remote_address).await {
            self.doubt(format!("the remote may take messages with it that it had acknowledged: {error}"));
        }
        let polite = fault.kind != FaultKind::Kill;
        if !forgets(fault) {
            match (&self.sessions, &self.remote) {
                (Some(file), Some(remote)) if !polite => {
                    if !save_sessions(remote, file).await {
                        self.doubt("the remote did not write its sessions down before it was killed".to_owned());
                    }
                }
                (Some(_), _) => {}
                (None, _) => self.doubt("the remote keeps its sessions in memory: they ended with it".to_owned()),
            }
        }
        self.recorder.record(Event::FaultOn { fault: index, kind: fault.kind, on: fault.on });
        self.end_remote(polite).await;
        // What the remote had written goes through, with its FIN behind it.
        self.put_link().await?;
        if let Err(error) = self.examiner.is_away().await {
            self.doubt(error.to_string());
        }
        Ok(())
    }

    async fn bring_remote_back(&mut self, _: usize, fault: &Fault) -> Result<(), EnvironmentError> {
        if self.remote.is_none() {
            if let Some(file) = self.sessions.as_ref().filter(|file| forgets(fault) && file.exists()) {
                let failed = |source| EnvironmentError::File { path: file.clone(), source };
                std::fs::remove_file(file).map_err(failed)?;
            }
            let remote = self.remote_launch.start()?;
            self.remote_launch.ready(&remote, self.remote_address).await?;
            self.remote = Some(remote);
        }
        if let Err(error) = self.examiner.is_back().await {
            self.doubt(error.to_string());
        }
        self.put_link().await
    }
}

/// Whether the remote is to forget its sessions.
fn forgets(fault: &Fault) -> bool {
    matches!(fault.parameters, Parameters::Session { lost: true })
}
