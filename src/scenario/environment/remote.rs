//! The remote as a process: mosquitto where it is installed, else our own program as a small broker.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{EnvironmentError, programs};
use crate::scenario::plan::RemoteBroker;
use crate::scenario::subject::{self, Configuration, Program};

/// What to run as the remote.
pub(super) struct Remote {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) version: String,
}

/// Chooses a remote and writes its configuration to `folder`.
///
/// # Errors
/// [`EnvironmentError::ProgramMissing`] where the scenario asks for what is not installed, [`EnvironmentError::File`].
pub(super) async fn choose(
    wanted: Option<RemoteBroker>,
    own: &Path,
    listen: SocketAddr,
    folder: &Path,
) -> Result<Remote, EnvironmentError> {
    let installed = programs::find("mosquitto").filter(|_| wanted != Some(RemoteBroker::BuiltIn));
    let (configuration, program, version) = match installed {
        Some(program) => {
            let version = programs::mosquitto_version(&program).await;
            (mosquitto(listen, folder), program, version)
        }
        None if wanted == Some(RemoteBroker::Mosquitto) => {
            return Err(EnvironmentError::ProgramMissing { program: "mosquitto" });
        }
        None => {
            let why = if wanted.is_some() { "as the scenario asks" } else { "mosquitto is not installed" };
            let version = format!("built-in broker {} ({why})", env!("CARGO_PKG_VERSION"));
            (subject::broker(listen, folder), own.to_owned(), version)
        }
    };
    write_files(&configuration, folder)?;
    Ok(Remote { program, arguments: configuration.arguments, version })
}

/// mosquitto with the limits of its own queues lifted: what it dropped would look like the subject's loss.
fn mosquitto(listen: SocketAddr, folder: &Path) -> Configuration {
    let (port, ip) = (listen.port(), listen.ip());
    let text = format!(
        "listener {port} {ip}\nallow_anonymous true\nuser root\nlog_dest stderr\npersistence false\nsys_interval 0\n\
         max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
    );
    let file = "remote.conf".to_owned();
    Configuration {
        program: Program::Installed("mosquitto"),
        arguments: vec!["-c".into(), folder.join(&file).display().to_string()],
        files: vec![(file, text)],
        has_metrics: false,
    }
}

/// Writes the files of a configuration to its folder.
///
/// # Errors
/// [`EnvironmentError::File`].
pub(super) fn write_files(configuration: &Configuration, folder: &Path) -> Result<(), EnvironmentError> {
    let failed = |path: &Path, source| EnvironmentError::File { path: path.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    for (name, contents) in &configuration.files {
        let path = folder.join(name);
        std::fs::write(&path, contents).map_err(|source| failed(&path, source))?;
    }
    Ok(())
}
