//! What it takes to make namespaces: the capabilities of root, or a user namespace in which this process has them.
use std::fs;
use std::io;

use super::error::NetnsError;
use super::namespace::unshare;
use super::tools::{Tool, run};

/// CAP_NET_ADMIN and CAP_SYS_ADMIN, as bits of `CapEff`.
const NEEDED: u64 = 1 << 12 | 1 << 21;

/// Moves this process into a user namespace of its own, with a network and mounts of its own, where it has not the
/// rights to make namespaces as it is. Its other threads could not follow: call it before there are any.
///
/// # Errors
/// [`NetnsError::NoRights`] where the kernel does not allow that.
pub fn enter() -> Result<(), NetnsError> {
    if allowed() {
        return Ok(());
    }
    let refused = |what: &'static str| move |error: io::Error| NetnsError::NoRights { why: format!("{what}: {error}") };
    // SAFETY: touch no memory.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWNS).map_err(refused("unshare"))?;
    // Who may not set groups may map one.
    fs::write("/proc/self/setgroups", "deny").map_err(refused("/proc/self/setgroups"))?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(refused("/proc/self/uid_map"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(refused("/proc/self/gid_map"))?;
    // Some kernels (AppArmor on Ubuntu) make the user namespace and give no rights in it; this is where it shows.
    run(Tool::Ip, &["-batch", "-"], "link set dev lo up\n")
        .map(drop)
        .map_err(|error| NetnsError::NoRights { why: format!("in a user namespace {error}") })
}

/// Fails where this process could not make namespaces.
///
/// # Errors
/// [`NetnsError::NoRights`].
pub(super) fn check() -> Result<(), NetnsError> {
    if allowed() {
        return Ok(());
    }
    let why = "it has neither CAP_NET_ADMIN and CAP_SYS_ADMIN nor a user namespace of its own".to_owned();
    Err(NetnsError::NoRights { why })
}

fn allowed() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective(&status) & NEEDED == NEEDED)
}

fn effective(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_capabilities_are_read() {
        let full = effective("Name:\tx\nCapPrm:\t0\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n");
        assert_eq!(full & NEEDED, NEEDED);
        assert_eq!(effective("CapEff:\t00000000a80425fb\n") & NEEDED, 0, "root in a container of Docker's");
        assert_eq!(effective(""), 0);
    }
}
