//! `mqtt-bridge passwd`.
use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use mqtt_bridge::bridge::accounts;
use mqtt_bridge::bridge::config::{PasswordFile, PasswordFileError, check_user};

/// Give a local client's user a password, asked for on the terminal or read as one line from stdin
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The password file; made where there is none
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Remove the user
    #[arg(long)]
    delete: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let Arguments { file, user, delete } = arguments;
    check_user(user).map_err(|what| anyhow::anyhow!("`{user}`: {what}"))?;
    let mut users = match PasswordFile::read(file) {
        Err(PasswordFileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound && !delete => {
            PasswordFile::default()
        }
        read => read?,
    };
    if *delete {
        if !users.remove(user) {
            bail!("{}: there is no user `{user}`", file.display());
        }
    } else {
        let password = password()?;
        if password.is_empty() || password.len() > 65_535 {
            bail!("a password has from 1 to 65535 bytes");
        }
        users.set(user, accounts::hash(password.as_bytes())?);
    }
    users.write(file)?;
    Ok(0)
}

fn password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return line("stdin");
    }
    let _hidden = Hidden::new().context("hiding what is typed")?;
    let password = asked("Password: ")?;
    if asked("Again: ")? != password {
        bail!("these are two different passwords; nothing was changed");
    }
    Ok(password)
}

fn asked(prompt: &str) -> anyhow::Result<String> {
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    let line = line("the terminal");
    eprintln!();
    let line = line?;
    if line.contains(INTERRUPT) {
        bail!("interrupted; nothing was changed");
    }
    Ok(line)
}

fn line(from: &str) -> anyhow::Result<String> {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).with_context(|| format!("reading the password from {from}"))? == 0 {
        bail!("no password came from {from}");
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Ctrl-C.
const INTERRUPT: char = '\x03';

/// The terminal does not show what is typed, until this is dropped. Ctrl-C ends a line meanwhile, and not the process,
/// which would leave the terminal like this.
struct Hidden(libc::termios);

impl Hidden {
    fn new() -> std::io::Result<Self> {
        let terminal = std::io::stdin().as_raw_fd();
        // SAFETY: all its fields are numbers.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: it writes the struct that it is given.
        if unsafe { libc::tcgetattr(terminal, &raw mut before) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let mut hidden = before;
        hidden.c_lflag &= !(libc::ECHO | libc::ISIG);
        hidden.c_cc[libc::VEOL] = INTERRUPT as u8;
        // SAFETY: it reads the struct that it is given.
        if unsafe { libc::tcsetattr(terminal, libc::TCSAFLUSH, &raw const hidden) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // SAFETY: it reads the struct that it is given. Where it fails the terminal is gone.
        unsafe { libc::tcsetattr(std::io::stdin().as_raw_fd(), libc::TCSAFLUSH, &raw const self.0) };
    }
}
