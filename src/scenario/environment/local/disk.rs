//! A small disk of the subject's own, mounted over its folder.
#[cfg(target_os = "linux")]
use std::ffi::CString;
use std::io;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use super::super::owner::Owner;

/// As it stands in the list of mounts, with the mark of its runner behind it.
#[cfg(target_os = "linux")]
pub(super) const SOURCE: &str = "mqtt-bridge-lab";

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
        let (source, kind) = (CString::new(format!("{SOURCE}:{}", Owner::this().mark()))?, CString::new("tmpfs")?);
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
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What is on it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = unmount(&self.folder) {
            tracing::warn!(path = %self.folder.display(), %error, "a tmpfs is left mounted");
        }
    }
}

/// Unmounts the one over a folder, also where a process that is about to end has a file on it.
///
/// # Errors
/// What the operating system said.
#[cfg(target_os = "linux")]
pub(super) fn unmount(folder: &Path) -> io::Result<()> {
    let target = path(folder)?;
    // SAFETY: the pointer is to a string that outlives the call.
    match unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(target_os = "linux")]
fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
