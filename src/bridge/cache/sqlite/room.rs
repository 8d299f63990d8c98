//! Room that messages leave on the disk, so that their removal can always be written: it goes through the WAL like
//! everything else, and a checkpoint may have to lengthen the file by all that is in the WAL.
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::bridge::delivery::Write;

/// What is written until a checkpoint is due (1000 pages), and one transaction more.
const WAL_TO_COME: u64 = 5 << 20;
/// What a byte of a message takes at most, in the WAL and then in the file, with what surrounds it.
const TIMES: u64 = 3;

/// Whether the disk has room for these, and for their removal. True where that cannot be told.
pub(super) fn has_room(path: &Path, wal: u64, writes: &[&Write]) -> bool {
    let size = |write: &&Write| match write {
        Write::Store(store) if !store.deliveries.is_empty() || store.retained => Some(store.message.size() as u64),
        _ => None,
    };
    let mut stored = writes.iter().filter_map(size).peekable();
    stored.peek().is_none() || leaves_room(path, wal, stored.sum())
}

/// The same for so many bytes of messages.
pub(super) fn leaves_room(path: &Path, wal: u64, bytes: u64) -> bool {
    let Some((free, all)) = space(path) else { return true };
    // A small disk is not left half empty.
    free >= (wal + WAL_TO_COME).min(all / 2) + TIMES * bytes
}

/// Bytes that we may still write to the disk of a path, and those that it has.
fn space(path: &Path) -> Option<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: all zeros are a valid value of this structure; the path is a C string and the structure is ours.
    let (found, told) = unsafe {
        let mut told = std::mem::zeroed::<libc::statvfs>();
        (libc::statvfs(path.as_ptr(), &raw mut told), told)
    };
    // SAFETY: it has no precondition.
    let free = if unsafe { libc::geteuid() } == 0 { told.f_bfree } else { told.f_bavail };
    (found == 0 && told.f_blocks > 0).then_some((free * told.f_frsize, told.f_blocks * told.f_frsize))
}
