//! A small disk of the subject's own, once it is mounted: it is filled and cleared from outside.
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::scenario::plan::{Parameters, Plan};

/// The size where the scenario does not say.
const DEFAULT_BYTES: u64 = 64 << 20;
const FILLER: &str = "filler";

/// The size of the subject's own disk, where a plan fills it.
pub(super) fn size(plan: &Plan) -> Option<u64> {
    let sizes = plan.faults.iter().filter_map(|fault| match fault.parameters {
        Parameters::FillDisk { size } => Some(size.unwrap_or(DEFAULT_BYTES)),
        _ => None,
    });
    // Several that differ: the smallest is full in all of them.
    sizes.min()
}

/// Writes to a folder until nothing more fits.
///
/// # Errors
/// What the operating system said, but that the disk is full.
pub(super) fn fill(folder: &Path) -> io::Result<()> {
    let mut file = File::create(folder.join(FILLER))?;
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

/// Whether nothing more fits.
pub(super) fn is_full(folder: &Path) -> bool {
    let probe = folder.join("probe");
    let written = std::fs::write(&probe, [0; 4096]);
    // Nothing is left of it either way; it may never have come about.
    let _ = std::fs::remove_file(&probe);
    written.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

/// Gives the room back; again is the same as once.
///
/// # Errors
/// What the operating system said.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(FILLER)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
