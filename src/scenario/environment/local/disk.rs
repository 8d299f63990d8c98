//! A small disk of the subject's own, which can be filled.
use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The size where the scenario does not say.
pub(super) const DEFAULT_BYTES: u64 = 64 << 20;
/// As it stands in the list of mounts, for whoever wonders.
const SOURCE: &str = "mqtt-bridge-lab";
const FILLER: &str = "filler";

/// A tmpfs; unmounted when it is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

/// Why there can be none here; `None`: there can.
pub(super) fn missing_right() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("a small disk of the bridge's own (tmpfs) can be mounted on Linux only");
    }
    // SAFETY: asks for a number.
    let root = unsafe { libc::geteuid() } == 0;
    (!root).then_some("it needs a small disk of the bridge's own (tmpfs), and only root may mount one")
}

impl Disk {
    /// Mounts a new one over a folder.
    ///
    /// # Errors
    /// What the operating system said.
    #[cfg(target_os = "linux")]
    pub(super) fn mount(folder: &Path, bytes: u64) -> io::Result<Self> {
        let (source, kind) = (CString::new(SOURCE)?, CString::new("tmpfs")?);
        let (target, options) = (path(folder)?, CString::new(format!("size={bytes},mode=0755"))?);
        let flags = libc::MS_NODEV | libc::MS_NOSUID;
        // SAFETY: all pointers are to strings that outlive the call.
        let result =
            unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
        if result == 0 { Ok(Self { folder: folder.to_owned() }) } else { Err(io::Error::last_os_error()) }
    }

    /// As [`missing_right`] says, there is none here.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn mount(_: &Path, _: u64) -> io::Result<Self> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Writes until nothing more fits.
    ///
    /// # Errors
    /// What the operating system said, but that the disk is full.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut file = File::create(self.folder.join(FILLER))?;
        let mut chunk = &[0xA5; 1 << 16][..];
        // What is left may be less than a chunk.
        while !chunk.is_empty() {
            match file.write(chunk) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => chunk = &chunk[..chunk.len() / 2],
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether it is full.
    pub(super) fn is_full(&self) -> bool {
        let probe = self.folder.join("probe");
        let written = std::fs::write(&probe, [0; 4096]);
        // Nothing is left of it either way; it may never have come about.
        let _ = std::fs::remove_file(&probe);
        written.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
    }

    /// Gives the room back; again is the same as once.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn clear(&self) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(FILLER)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is on it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Ok(target) = path(&self.folder) {
            // Also where a process that is about to end has a file on it.
            // SAFETY: the pointer is to a string that outlives the call.
            if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } != 0 {
                let error = io::Error::last_os_error();
                tracing::warn!(path = %self.folder.display(), %error, "a tmpfs is left mounted");
            }
        }
    }
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
