//! What a killed runner left behind: the small disks of its subjects stay mounted. Its processes die with it.
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::super::owner::Owner;
use super::super::{EnvironmentError, TEMPORARY_RUN};
use super::disk::{SOURCE, unmount};

/// Unmounts the disks of runners that are gone, and removes the run folders of those that nobody asked to keep; says
/// where the disks were. Those of runners that still run stay.
///
/// # Errors
/// [`EnvironmentError::Disk`] where one cannot be unmounted, [`EnvironmentError::File`] where its folder stays.
pub fn clean() -> Result<Vec<PathBuf>, EnvironmentError> {
    // Without a list of mounts there are none of ours.
    let mounts = std::fs::read("/proc/self/mounts").unwrap_or_default();
    let left = left_mounted(&mounts);
    for folder in &left {
        unmount(folder).map_err(|source| EnvironmentError::Disk { path: folder.clone(), source })?;
        // It is <run>/<subject>/work.
        if let Some(run) = folder.ancestors().nth(2).filter(|run| is_temporary(run)) {
            let failed = |source| EnvironmentError::File { path: run.to_owned(), source };
            std::fs::remove_dir_all(run).map_err(failed)?;
        }
    }
    Ok(left)
}

/// Whether a run folder is one that nobody asked to keep.
fn is_temporary(run: &Path) -> bool {
    let named = run.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY_RUN));
    named && std::env::temp_dir().canonicalize().is_ok_and(|place| run.parent() == Some(&place))
}

fn left_mounted(mounts: &[u8]) -> Vec<PathBuf> {
    let ours = mounts.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (source, folder) = (std::str::from_utf8(fields.next()?).ok()?, fields.next()?);
        let owner = Owner::from_mark(source.strip_prefix(SOURCE)?.strip_prefix(':')?)?;
        (!owner.lives()).then(|| unescaped(folder))
    });
    ours.collect()
}

/// Blanks and backslashes stand in the list as \ and three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_disks_of_the_dead_are_left() {
        let mounts = format!(
            "{SOURCE}:1:0 /tmp/a\\040b\\134c/s/work tmpfs rw,size=32k 0 0\n{SOURCE}:{} /tmp/d tmpfs rw 0 0\n\
             tmpfs /tmp/e tmpfs rw 0 0\n{SOURCE} /tmp/f tmpfs rw 0 0\n",
            Owner::this().mark()
        );
        assert_eq!(left_mounted(mounts.as_bytes()), [Path::new("/tmp/a b\\c/s/work")]);
    }
}
