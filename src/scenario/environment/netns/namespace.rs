//! Anonymous namespaces: they have no name in the file system, and are gone with the last process and the last file
//! descriptor that hold them, however the runner ends.
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::NetnsError;

/// A network namespace.
#[derive(Clone)]
pub(super) struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// A new one, empty but for a loopback interface that is down.
    ///
    /// # Errors
    /// [`NetnsError::System`].
    pub(super) fn create() -> Result<Self, NetnsError> {
        // On a thread of its own, which ends: that of the caller stays where it is.
        let made = on_a_thread(|| {
            unshare(libc::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let file = made.map_err(|source| NetnsError::system("a network namespace cannot be made", source))?;
        Ok(Self { file: Arc::new(file) })
    }

    /// A path that leads to it as long as this process lives, for `ip link ... netns` and for `nsenter --net=`.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Does something that blocks on a thread that stands in the namespace; so do the processes that it starts.
    ///
    /// # Errors
    /// [`NetnsError::System`] where it cannot be entered, and what `task` says.
    pub(super) async fn within<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, NetnsError> + Send + 'static,
    ) -> Result<T, NetnsError> {
        let (done, result) = oneshot::channel();
        let namespace = self.clone();
        let entered = move || -> Result<T, NetnsError> {
            namespace.enter().map_err(|source| NetnsError::system("a network namespace cannot be entered", source))?;
            task()
        };
        let thread = std::thread::Builder::new().name("netns".into());
        let spawned = thread.spawn(move || {
            // Nobody waits any more: the run was interrupted.
            let _ = done.send(entered());
        });
        spawned.map_err(|source| NetnsError::system("a thread cannot be started", source))?;
        result.await.unwrap_or_else(|_| Err(NetnsError::system("a thread has panicked", io::ErrorKind::Other.into())))
    }

    /// Moves the calling thread into it. Async-signal-safe.
    pub(super) fn enter(&self) -> io::Result<()> {
        set_namespace(&self.file, libc::CLONE_NEWNET)
    }
}

/// Runs something on a thread of its own and waits for it.
pub(super) fn on_a_thread<T: Send>(task: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, task)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))
    })
}

/// Moves the calling thread into new namespaces.
pub(super) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: touches no memory.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves the calling thread into the namespace that a file stands for. Async-signal-safe.
pub(super) fn set_namespace(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: touches no memory; the descriptor is open as long as the file is borrowed.
    if unsafe { libc::setns(file.as_raw_fd(), kind) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
