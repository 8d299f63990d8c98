//! Killing inside a checkpoint: in WAL mode nothing else writes to the database file, so its first modification says
//! that one has begun.
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Notices when a file is written to.
pub struct Watch(OwnedFd);

impl Watch {
    pub fn new(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the descriptor is new and nobody else's; `name` lives until the call returns.
        unsafe {
            let descriptor = libc::inotify_init1(libc::IN_CLOEXEC);
            assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
            let watch = Self(OwnedFd::from_raw_fd(descriptor));
            let added = libc::inotify_add_watch(descriptor, name.as_ptr(), libc::IN_MODIFY);
            assert!(added >= 0, "{}", std::io::Error::last_os_error());
            watch
        }
    }

    /// Waits for the first write; false: there was none in that time.
    pub fn wait(&self, patience: Duration) -> bool {
        let mut wanted = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which lives until the call returns.
        unsafe { libc::poll(&raw mut wanted, 1, patience.as_millis() as libc::c_int) == 1 }
    }
}

/// Whether the kill came inside a checkpoint: SQLite notes how far it is going to copy before it copies, and how far it
/// has come once that is synced (<https://www.sqlite.org/walformat.html#the_wal_index_header>, bytes 96 and 128).
pub fn was_inside(cache: &Path) -> bool {
    let mut name = cache.as_os_str().to_owned();
    name.push("-shm");
    let index = std::fs::read(name).unwrap();
    let field = |offset: usize| u32::from_ne_bytes(index[offset..offset + 4].try_into().unwrap());
    field(128) > field(96)
}
