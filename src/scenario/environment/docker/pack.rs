//! Our own executable as an image: a tar with it and the libraries it links, made in memory. No Dockerfile, no registry.
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;

use super::error::DockerError;

/// Where it is in its image.
pub(super) const PROGRAM: &str = "mqtt-bridge";
/// How to come by an image where the executable cannot become one.
const ADVICE: &str = "Build one with `docker build -t mqtt-bridge .` in a checkout of mqtt-bridge, and name it: \
                      --image mqtt-bridge=mqtt-bridge";
/// glibc loads these by name when it looks up an address, so that `ldd` does not know of them.
const LOADED_BY_NAME: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// A file in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Path without the leading slash; a folder's ends with one.
    pub(super) path: String,
    /// What is in it.
    pub(super) contents: Vec<u8>,
    /// Its mode.
    pub(super) mode: u32,
}

impl Entry {
    /// A file that all may read.
    pub(super) fn file(path: &str, contents: impl Into<Vec<u8>>) -> Self {
        Self { path: path.trim_start_matches('/').to_owned(), contents: contents.into(), mode: 0o644 }
    }
}

/// An image in the making.
#[derive(Debug)]
pub(super) struct Packed {
    /// Its tar.
    pub(super) tar: Bytes,
    /// Tells its contents: another executable has another tag.
    pub(super) tag: String,
    /// Where its libraries are, for the loader.
    pub(super) library_path: String,
}

/// Packs an executable of this machine.
///
/// # Errors
/// [`DockerError::OwnImage`] where it cannot run in a container, [`DockerError::File`].
pub(super) fn pack(executable: &Path) -> Result<Packed, DockerError> {
    let own = |why: String| DockerError::OwnImage { why, advice: ADVICE.to_owned() };
    if !cfg!(target_os = "linux") {
        return Err(own("it is not a program for Linux".to_owned()));
    }
    let read = |path: &Path| std::fs::read(path).map_err(|source| DockerError::File { path: path.to_owned(), source });
    let contents = read(executable)?;
    let listed = Command::new("ldd").arg(executable).output();
    let listed = listed.map_err(|error| own(format!("`ldd`, which lists its libraries, does not run: {error}")))?;
    // Of a static one it says so, on stdout or stderr, and exits with 1.
    let text = [listed.stdout, listed.stderr].concat();
    let libraries = libraries(&String::from_utf8_lossy(&text)).map_err(own)?;
    let mut entries = vec![Entry { path: PROGRAM.to_owned(), contents, mode: 0o755 }];
    let mut folders = BTreeMap::new();
    for path in with_those_loaded_by_name(libraries) {
        let folder = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        folders.insert(folder, ());
        entries.push(Entry { mode: 0o755, ..Entry::file(&path.to_string_lossy(), read(&path)?) });
    }
    entries.push(Entry::file("etc/nsswitch.conf", "hosts: files dns\n"));
    for folder in ["tmp/", "data/"] {
        entries.push(Entry { path: folder.to_owned(), contents: Vec::new(), mode: 0o1777 });
    }
    let mut hasher = DefaultHasher::new();
    for entry in &entries {
        (&entry.path, &entry.contents, entry.mode).hash(&mut hasher);
    }
    let tar = tar(&entries).map_err(|error| own(error.to_string()))?;
    let library_path = folders.into_keys().collect::<Vec<_>>().join(":");
    Ok(Packed { tar: tar.into(), tag: format!("{:016x}", hasher.finish()), library_path })
}

/// The libraries that `ldd` lists, the loader among them; none of a static executable.
fn libraries(listed: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for line in listed.lines().map(str::trim) {
        if let Some((name, "not found")) = line.split_once(" => ").map(|(name, path)| (name, path.trim())) {
            return Err(format!("its library {name} is missing on this machine"));
        }
        let path = line.rsplit(" => ").next().unwrap_or(line).split(" (").next().unwrap_or_default();
        if path.starts_with('/') && line.ends_with(')') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

fn with_those_loaded_by_name(libraries: Vec<PathBuf>) -> Vec<PathBuf> {
    let libc = libraries.iter().find(|path| path.file_name().is_some_and(|name| name == "libc.so.6"));
    let beside = libc.and_then(|libc| libc.parent()).map(Path::to_owned);
    let more = beside.into_iter().flat_map(|folder| LOADED_BY_NAME.map(|name| folder.join(name)));
    let more: Vec<PathBuf> = more.filter(|path| path.is_file() && !libraries.contains(path)).collect();
    libraries.into_iter().chain(more).collect()
}

/// A tar of files; what they belong to is root's.
///
/// # Errors
/// Where a path does not fit.
pub(super) fn tar(entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_size(entry.contents.len() as u64);
        let folder = entry.path.ends_with('/');
        header.set_entry_type(if folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
        builder.append_data(&mut header, &entry.path, entry.contents.as_slice())?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_is_read_whatever_the_executable_is() {
        let dynamic = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\
                       \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = libraries(dynamic).unwrap();
        let expected =
            ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(libraries("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(libraries("\tnot a dynamic executable\n").unwrap(), Vec::<PathBuf>::new());
        let error = libraries("\tlibssl.so.3 => not found\n").unwrap_err();
        assert!(error.contains("libssl.so.3 is missing"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_executable_is_packed_with_all_it_needs_and_named_by_its_contents() {
        let own = std::env::current_exe().unwrap();
        let (first, second) = (pack(&own).unwrap(), pack(&own).unwrap());
        assert_eq!(first.tag, second.tag);
        let mut archive = tar::Archive::new(&first.tar[..]);
        let paths: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(paths[0], PROGRAM);
        assert!(paths.contains(&"data/".to_owned()) && paths.contains(&"etc/nsswitch.conf".to_owned()), "{paths:?}");
        let other = pack(Path::new("/bin/true")).unwrap();
        assert_ne!(first.tag, other.tag);
    }
}
