//! The files by which a subject's programs resolve names, its own in place of the machine's.
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The remote's name, as bridges know it.
pub(in super::super) const REMOTE: &str = "emqx";

/// Where a file lies, and the one that it stands in for.
pub(super) type StandIn = (PathBuf, &'static str);

/// The files, and the state of the name in them.
pub(super) struct Names {
    hosts: File,
    present: String,
    files: Vec<StandIn>,
}

impl Names {
    /// Writes the files to a folder; the name is there.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn write(folder: &Path, remote: Ipv4Addr) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let present = format!("{remote} {REMOTE}\n");
        let contents = [
            ("hosts", "/etc/hosts", format!("{present}127.0.0.1 localhost\n")),
            // No name server: where a program asks one all the same, on loopback nobody answers, and that at once.
            ("resolv.conf", "/etc/resolv.conf", "options timeout:1 attempts:1\n".to_owned()),
            // Nor one of the services that answer from outside of the namespace.
            ("nsswitch.conf", "/etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
        ];
        let mut files = Vec::new();
        for (name, place, text) in contents {
            let path = folder.join(name);
            fs::write(&path, text)?;
            files.push((path, place));
        }
        let hosts = File::options().write(true).open(folder.join("hosts"))?;
        Ok(Self { hosts, present, files })
    }

    /// The files, and where they belong.
    pub(super) fn files(&self) -> Vec<StandIn> {
        self.files.clone()
    }

    /// Gives the name, or takes it away.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn set(&self, present: bool) -> io::Result<()> {
        // One byte in place, so that nobody ever reads half of a file: a comment begins with it.
        let first = if present { &self.present.as_bytes()[..1] } else { b"#" };
        self.hosts.write_all_at(first, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_and_goes_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::write(folder.path(), Ipv4Addr::new(198, 18, 0, 10)).unwrap();
        let read = || fs::read_to_string(folder.path().join("hosts")).unwrap();
        assert_eq!(read(), "198.18.0.10 emqx\n127.0.0.1 localhost\n");
        for _ in 0..2 {
            names.set(false).unwrap();
            assert_eq!(read(), "#98.18.0.10 emqx\n127.0.0.1 localhost\n");
        }
        names.set(true).unwrap();
        assert_eq!(read(), "198.18.0.10 emqx\n127.0.0.1 localhost\n");
    }
}
