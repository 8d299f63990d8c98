//! Programs that are installed on this machine.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::EnvironmentError;
use crate::scenario::plan::{Plan, SubjectPlan};
use crate::scenario::subject::{self, Program, Sites, SubjectError};

/// How long a program may take to say its version.
const VERSION: Duration = Duration::from_secs(2);

/// Where Debian puts servers, which is not in everyone's PATH.
const BESIDE_PATH: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Finds a program in PATH and beside it.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(BESIDE_PATH.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether a subject can be configured for a plan and its program is installed here.
///
/// # Errors
/// [`EnvironmentError::Subject`] or [`EnvironmentError::ProgramMissing`].
pub(super) fn check(plan: &Plan, subject: &SubjectPlan) -> Result<(), EnvironmentError> {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sites = Sites { listen: nowhere, remote: (String::new(), 0), metrics: nowhere, folder: Path::new("") };
    match subject::configure(plan, subject, &sites)?.program {
        Program::Installed(program) if find(program).is_none() => Err(EnvironmentError::ProgramMissing { program }),
        Program::Image => Err(SubjectError::NoExecutable { name: subject.name.clone() }.into()),
        Program::Installed(_) | Program::File(_) | Program::Own => Ok(()),
    }
}

/// Where a program is, and its version; `own` is this executable.
///
/// # Errors
/// [`EnvironmentError::ProgramMissing`].
pub(super) async fn locate(program: Program, own: &Path) -> Result<(PathBuf, String), EnvironmentError> {
    match program {
        Program::Own => Ok((own.to_owned(), concat!("mqtt-bridge ", env!("CARGO_PKG_VERSION")).to_owned())),
        Program::Installed(program) => {
            let path = find(program).ok_or(EnvironmentError::ProgramMissing { program })?;
            let version = version(&path).await;
            Ok((path, version))
        }
        Program::File(path) => {
            let version = version(&path).await;
            Ok((path, version))
        }
        // Rejected by `check` before anything has started.
        Program::Image => Err(SubjectError::NoExecutable { name: "command".to_owned() }.into()),
    }
}

/// What a program says of its version.
async fn version(program: &Path) -> String {
    let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name == "mosquitto" {
        return mosquitto_version(program).await;
    }
    let asked = Command::new(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    // One that does not know the question may go on and serve.
    let said = match timeout(VERSION, asked).await {
        Ok(Ok(output)) => [output.stdout, output.stderr].concat(),
        _ => Vec::new(),
    };
    let said = String::from_utf8_lossy(&said);
    let number = |word: &&str| word.split('.').count() >= 3 && word.contains(|c: char| c.is_ascii_digit());
    match said.split_whitespace().find(number) {
        Some(number) => format!("{name} {}", number.trim_matches(|c: char| !c.is_ascii_alphanumeric())),
        None => format!("{name} (version unknown)"),
    }
}

/// What mosquitto says of its version, such as `mosquitto 2.0.11`.
pub(super) async fn mosquitto_version(program: &Path) -> String {
    // `-h` exits with a failure code and prints to stdout or stderr, depending on the version.
    match Command::new(program).arg("-h").output().await {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            match text.lines().find_map(|line| line.strip_prefix("mosquitto version ")) {
                Some(version) => format!("mosquitto {}", version.trim()),
                None => "mosquitto (version unknown)".into(),
            }
        }
        Err(error) => format!("mosquitto (version unknown: {error})"),
    }
}
