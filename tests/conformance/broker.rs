//! The broker that the tests share: the real binary with a listener and a cache and no bridge.
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::common::process::{Bridge, Process, loopback};

static FOLDER: Mutex<Option<tempfile::TempDir>> = Mutex::new(None);

extern "C" fn clean_up() {
    let folder = FOLDER.lock().map(|mut folder| folder.take());
    drop(folder);
}

/// What follows the listener in the configuration.
pub(crate) fn configuration(folder: &Path) -> String {
    format!("cache: {{ path: {} }}\n", folder.join("cache.db").display())
}

/// A broker of a test's own.
pub(crate) fn own(folder: &Path) -> Bridge {
    Bridge::start(folder, &configuration(folder))
}

/// Where the shared one listens; starts it once. It ends with this process, however that ends.
pub(crate) fn shared() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let (to, from) = std::sync::mpsc::channel();
        // The child ends with the thread that has started it: not one of a test.
        std::thread::spawn(move || {
            let process = start();
            let line = process.line("listening on ").unwrap_or_else(|| panic!("{}", process.log()));
            to.send(line.rsplit(' ').next().unwrap().parse().unwrap()).unwrap();
            loop {
                std::thread::park();
            }
        });
        from.recv().unwrap()
    })
}

fn start() -> Process {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    let text = format!("listeners: [{{ bind: \"{}:0\" }}]\n{}", loopback(), configuration(folder.path()));
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt-bridge"));
    command.args(["run", "--config"]).arg(&file);
    // SAFETY: prctl is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
        libc::atexit(clean_up);
    }
    *FOLDER.lock().unwrap() = Some(folder);
    Process::start(&mut command)
}
