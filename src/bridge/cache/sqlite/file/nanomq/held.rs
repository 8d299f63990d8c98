//! Whether another process has a database open.
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::super::open::beside;

/// SQLite in WAL mode holds a shared lock on this byte of the `-shm` file for as long as a connection lives
/// (`UNIX_SHM_DMS`: behind 22 words of 4 bytes and the eight locks' bytes).
const DEAD_MAN_SWITCH: libc::off_t = (22 + 8) * 4 + 8;

/// Asks, and takes no lock. Whoever closes a file gives up its process's locks of it, so not for a file that this process
/// has open itself.
pub(super) fn is_open_elsewhere(path: &Path) -> bool {
    File::open(beside(path, "-shm")).is_ok_and(|shm| {
        // SAFETY: a flock is numbers, of which 0 is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        (lock.l_start, lock.l_len) = (DEAD_MAN_SWITCH, 1);
        // SAFETY: F_GETLK writes into the one flock that it is given.
        let asked = unsafe { libc::fcntl(shm.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
        asked == 0 && lock.l_type != libc::F_UNLCK as libc::c_short
    })
}
