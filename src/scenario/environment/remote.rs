//! What the remote is as a process: mosquitto where it is installed, else our own program as a small broker.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::process::Process;
use super::{EnvironmentError, programs};
use crate::scenario::plan::{Fault, Plan, RemoteBroker};
use crate::scenario::subject::{self, Configuration, Program};

/// How long mosquitto may take to write its sessions down.
const SAVING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);

/// What to run as the remote.
pub(super) struct Choice {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) version: String,
    /// The file that it keeps its sessions in, where it does.
    pub(super) sessions: Option<PathBuf>,
}

/// Chooses a remote and writes its configuration to `folder`.
///
/// # Errors
/// [`EnvironmentError::ProgramMissing`] where the scenario asks for what is not installed, [`EnvironmentError::File`].
pub(super) async fn choose(
    plan: &Plan,
    own: &Path,
    listen: SocketAddr,
    folder: &Path,
) -> Result<Choice, EnvironmentError> {
    let wanted = plan.remote_broker;
    let installed = programs::find("mosquitto").filter(|_| wanted != Some(RemoteBroker::BuiltIn));
    let (configuration, program, version, sessions) = match installed {
        Some(program) => {
            let version = programs::mosquitto_version(&program).await;
            let keeps = plan.faults.iter().any(Fault::stops_remote).then(|| folder.join("mosquitto.db"));
            (mosquitto(plan, listen, folder, keeps.is_some()), program, version, keeps)
        }
        None if wanted == Some(RemoteBroker::Mosquitto) => {
            return Err(EnvironmentError::ProgramMissing { program: "mosquitto" });
        }
        None => {
            let why = if wanted.is_some() { "as the scenario asks" } else { "mosquitto is not installed" };
            let version = format!("built-in broker {} ({why})", env!("CARGO_PKG_VERSION"));
            (subject::broker(listen, plan.remote_receive_maximum, folder), own.to_owned(), version, None)
        }
    };
    write_files(&configuration, folder)?;
    Ok(Choice { program, arguments: configuration.arguments, version, sessions })
}

/// mosquitto with the limits of its own queues lifted: what it dropped would look like the subject's loss. Its sessions
/// are written down when it ends or is told to (SIGUSR1), where it is to find them again.
fn mosquitto(plan: &Plan, listen: SocketAddr, folder: &Path, keeps_sessions: bool) -> Configuration {
    let (port, ip) = (listen.port(), listen.ip());
    let persistence = match keeps_sessions {
        true => format!("persistence true\npersistence_location {}/\nautosave_interval 0\n", folder.display()),
        false => "persistence false\n".to_owned(),
    };
    // Not 0, no limit: where 2.0.11 refuses a PUBLISH it compares with that, and closes the connection.
    // In MQTT 5 it says this number as its Receive Maximum; in 3.1.1 it is what it sends itself that is limited.
    let window = plan.remote_receive_maximum.map_or(0, u32::from);
    let text = format!(
        "listener {port} {ip}\nallow_anonymous true\nuser root\nlog_dest stderr\n{persistence}sys_interval 0\n\
         max_queued_messages 1000000000\nmax_queued_bytes 0\nmax_inflight_messages {window}\nset_tcp_nodelay true\n"
    );
    let file = "remote.conf".to_owned();
    let arguments = vec!["-c".into(), folder.join(&file).display().to_string()];
    Configuration::new(Program::Installed("mosquitto"), arguments, vec![(file, text)])
}

/// Lets a running mosquitto write its sessions down as they are now; whether it did.
pub(super) async fn save_sessions(remote: &Process, file: &Path) -> bool {
    let written = || file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let before = written();
    remote.signal(libc::SIGUSR1);
    let saved = async {
        // It is written beside and renamed: a file that is there is whole.
        while written() == before {
            sleep(LOOK).await;
        }
    };
    timeout(SAVING, saved).await.is_ok()
}

/// Writes the files of a configuration to its folder.
///
/// # Errors
/// [`EnvironmentError::File`].
pub(super) fn write_files(configuration: &Configuration, folder: &Path) -> Result<(), EnvironmentError> {
    let failed = |path: &Path, source| EnvironmentError::File { path: path.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    for name in &configuration.folders {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).map_err(|source| failed(&path, source))?;
    }
    for (name, contents) in &configuration.files {
        let path = folder.join(name);
        std::fs::write(&path, contents).map_err(|source| failed(&path, source))?;
    }
    Ok(())
}
