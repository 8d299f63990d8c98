//! Mounts of a test's own.
use std::io::Write;
use std::process::Command;

/// Runs where mounts are seen by nobody else and end with the test. That takes root; on CI it must be.
pub fn with_own_mounts(test: &str, body: impl FnOnce() + Send + 'static) {
    // SAFETY: it changes the mounts that this one thread sees, and the processes that it starts.
    let unshare = || unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let thread = std::thread::spawn(move || {
        let private = unshare() && mount(&["--make-rprivate", "/"]);
        if private {
            body();
        }
        private
    });
    let ran = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(ran || std::env::var_os("CI").is_none(), "{test}: no mounts of its own on CI");
    if !ran {
        std::io::stderr().write_all(format!("SKIPPED {test}: it mounts, which takes root\n").as_bytes()).unwrap();
    }
}

pub fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}

pub fn mount(arguments: &[&str]) -> bool {
    run("mount", arguments)
}
