//! The password file: a line `user:$argon2id$v=19$...` for each user, empty lines, and comments that begin with `#`.
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::password_hash::PasswordHash;

use super::accounts::ANONYMOUS;

/// What is wrong with a password file.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// It could not be read or written.
    #[error("{}: {source}", .file.display())]
    Io {
        /// The path as it was given.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line that makes no sense. What it holds is not repeated.
    #[error("{}:{line}: {what}", .file.display())]
    Line {
        /// The path as it was given.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

/// Users and the hashes of their passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PasswordFile {
    users: BTreeMap<String, String>,
    others_may_read: bool,
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PasswordFile").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl PasswordFile {
    /// Reads a file.
    ///
    /// # Errors
    /// With file and line.
    pub fn read(file: &Path) -> Result<Self, PasswordFileError> {
        let unreadable = |source| PasswordFileError::Io { file: file.to_owned(), source };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let mode = std::fs::metadata(file).map_err(unreadable)?.permissions().mode();
        let users =
            parse(&text).map_err(|(line, what)| PasswordFileError::Line { file: file.to_owned(), line, what })?;
        Ok(Self { users, others_may_read: mode & 0o077 != 0 })
    }

    /// Writes a file, whole or not at all, that its owner alone may read. Comments do not survive it.
    ///
    /// # Errors
    /// [`PasswordFileError::Io`].
    pub fn write(&self, file: &Path) -> Result<(), PasswordFileError> {
        self.write_beside(file).map_err(|source| PasswordFileError::Io { file: file.to_owned(), source })
    }

    fn write_beside(&self, file: &Path) -> std::io::Result<()> {
        // What a symbolic link leads to is written, not the link.
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let mut building = file.as_os_str().to_owned();
        building.push(format!(".{}.new", std::process::id()));
        let building = PathBuf::from(building);
        let written = || {
            let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&building)?;
            for (user, hash) in &self.users {
                writeln!(to, "{user}:{hash}")?;
            }
            to.sync_all()?;
            std::fs::rename(&building, &file)
        };
        written().inspect_err(|_| {
            // It may not have come to be.
            let _ = std::fs::remove_file(&building);
        })?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    }

    /// The hash of a user's password, as a PHC string.
    pub fn hash(&self, user: &str) -> Option<&str> {
        self.users.get(user).map(String::as_str)
    }

    /// Adds a user, or gives one another password, by its hash.
    pub fn set(&mut self, user: &str, hash: String) {
        self.users.insert(user.to_owned(), hash);
    }

    /// Removes a user; whether there was one.
    pub fn remove(&mut self, user: &str) -> bool {
        self.users.remove(user).is_some()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether other users of this machine may read the file.
    pub fn others_may_read(&self) -> bool {
        self.others_may_read
    }
}

/// Users and hashes by the lines of a password file.
///
/// # Errors
/// The line, from 1, and what is wrong with it, without a word of what it holds.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, String)> {
    let mut users = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((user, hash)) = line.trim_end().split_once(':') else {
            return Err((number, "no `user:hash`".to_owned()));
        };
        check_user(user).map_err(|what| (number, what.to_owned()))?;
        let usable = PasswordHash::new(hash)
            .is_ok_and(|hash| hash.algorithm.as_str() == "argon2id" && hash.salt.is_some() && hash.hash.is_some());
        if !usable {
            return Err((number, "no argon2id hash behind the user".to_owned()));
        }
        if users.insert(user.to_owned(), hash.to_owned()).is_some() {
            return Err((number, "this user is there twice".to_owned()));
        }
    }
    Ok(users)
}

/// Says what is wrong with the name of a user, if anything is.
///
/// # Errors
/// What is wrong, in words.
pub fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.len() > 65_535 {
        return Err("a user has from 1 to 65535 bytes");
    }
    if user == "*" || user == ANONYMOUS {
        return Err(
            "`*` and `anonymous` are no users: `access` means everybody by one, those without a user by the other",
        );
    }
    if user.starts_with('#') || user.trim() != user || user.contains(|c: char| c == ':' || c.is_control()) {
        return Err("a user has no `:`, no `#` in front, no blank at either end and no control character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA";

    #[test]
    fn a_file_is_read_as_it_was_written_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let mut file = PasswordFile::default();
        file.set("alice", HASH.to_owned());
        file.set("bob b", HASH.to_owned());
        file.write(&path).unwrap();
        let mut read = PasswordFile::read(&path).unwrap();
        assert_eq!(read, file);
        assert!(!read.others_may_read() && read.remove("alice") && !read.remove("alice"));
        read.write(&path).unwrap();
        assert_eq!(PasswordFile::read(&path).unwrap().hash("bob b"), Some(HASH));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named_and_not_shown() {
        for (text, line) in [
            ("alice".to_owned(), 1),
            (format!("# a comment\n\nalice:{HASH}\nalice:{HASH}\n"), 4),
            ("alice:geheim".to_owned(), 1),
            (format!("anonymous:{HASH}"), 1),
            (format!(":{HASH}"), 1),
            ("a:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ".to_owned(), 1),
            ("a:$pbkdf2-sha256$i=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), 1),
        ] {
            let (found, what) = parse(&text).unwrap_err();
            assert_eq!(found, line, "{text}");
            assert!(!what.contains("geheim") && !what.contains("c29t"), "{what}");
        }
    }
}
