//! Programs that are installed on this machine.
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Where Debian puts servers, which is not in everyone's PATH.
const BESIDE_PATH: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Finds a program in PATH and beside it.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(BESIDE_PATH.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
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
