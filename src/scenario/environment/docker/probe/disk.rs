//! A full disk: a file that takes all there is.
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

const NAME: &str = ".lab-ballast";
const CHUNK: usize = 1 << 16;

/// Fills the disk that a folder is on; again is the same as once.
pub(super) fn fill(folder: &Path) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join(NAME))?;
    // The last bytes go in smaller pieces.
    let mut size = CHUNK;
    while size > 0 {
        match file.write(&vec![0; size]) {
            Ok(1..) => {}
            Ok(0) => size /= 2,
            Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes away what it was filled with; again is the same as once.
pub(super) fn empty(folder: &Path) -> Result<()> {
    // Emptied first: whoever has it open must not keep the space.
    match File::create(folder.join(NAME)).and_then(|_| std::fs::remove_file(folder.join(NAME))) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
