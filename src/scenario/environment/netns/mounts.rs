//! The subject's view of the file system: that of the machine, with its own files for names, and, for a disk that can
//! be filled, a file system of its own.
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::names::StandIn;
use super::namespace::{on_a_thread, set_namespace, unshare};

/// A mount namespace.
#[derive(Clone)]
pub(super) struct Mounts {
    file: Arc<File>,
}

/// A file system in memory, with a size.
pub(super) struct Disk<'a> {
    /// Where.
    pub(super) place: &'a Path,
    /// In bytes.
    pub(super) size: u64,
}

impl Mounts {
    /// Makes it. With a disk comes its root, by which it is reached from outside.
    ///
    /// # Errors
    /// What the operating system said, and of which place.
    pub(super) fn make(files: &[StandIn], disk: Option<&Disk<'_>>) -> io::Result<(Self, Option<File>)> {
        let (file, root) = on_a_thread(|| {
            unshare(libc::CLONE_NEWNS)?;
            // What is mounted here is not to be seen outside.
            mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None)?;
            for (file, place) in files {
                let place = Path::new(place);
                // Machines without nsswitch.conf (musl) do not read it either.
                if place.exists() {
                    mount(Some(file), place, None, libc::MS_BIND, None)?;
                }
            }
            let root = disk.map(|disk| {
                let options = CString::new(format!("size={},mode=0777", disk.size))?;
                mount(Some(Path::new("tmpfs")), disk.place, Some(c"tmpfs"), 0, Some(&options))?;
                File::open(disk.place)
            });
            Ok((File::open("/proc/thread-self/ns/mnt")?, root.transpose()?))
        })?;
        Ok((Self { file: Arc::new(file) }, root))
    }

    /// Moves the calling process, which must have one thread, into it. Async-signal-safe.
    pub(super) fn enter(&self) -> io::Result<()> {
        set_namespace(&self.file, libc::CLONE_NEWNS)
    }
}

fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> io::Result<()> {
    let source = source.map(|source| CString::new(source.as_os_str().as_bytes())).transpose()?;
    let place = CString::new(target.as_os_str().as_bytes())?;
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or to a C string that outlives the call.
    let result = unsafe {
        libc::mount(pointer(source.as_deref()), place.as_ptr(), pointer(kind), flags, pointer(options).cast())
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(io::Error::new(error.kind(), format!("{}: cannot be mounted: {error}", target.display())))
}
