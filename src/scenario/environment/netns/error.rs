//! Why network namespaces could not be had or changed.
use std::io;

/// Why network namespaces could not be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Neither root nor user namespaces.
    #[error(
        "network namespaces were asked for, and this process may not make them ({why}): run it as root, or allow user \
         namespaces (sysctl user.max_user_namespaces=15000, on Debian also kernel.unprivileged_userns_clone=1, on Ubuntu \
         also kernel.apparmor_restrict_unprivileged_userns=0), or take --environment local"
    )]
    NoRights {
        /// What the kernel refused.
        why: String,
    },
    /// A program that is needed is not there.
    #[error("{tool} was not found in PATH, /usr/sbin or /usr/local/sbin: install it (Debian: apt install {package})")]
    ToolMissing {
        /// Its name.
        tool: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A program said no.
    #[error("{tool} was to do `{asked}` and failed ({status}): {said}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// What it was asked.
        asked: String,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
    /// A system call failed.
    #[error(
        "{what}: {source}; does the kernel have network namespaces, veth and a bridge (CONFIG_NET_NS, CONFIG_VETH, CONFIG_BRIDGE)?"
    )]
    System {
        /// What was to be done.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// All addresses are taken.
    #[error(
        "no free block of 16 addresses was found in {ranges} in {tries} tries: the routing table of this machine covers \
         them (ip -4 route show table all)"
    )]
    NoAddresses {
        /// Where it was looked.
        ranges: String,
        /// How often.
        tries: usize,
    },
}

impl NetnsError {
    pub(super) fn system(what: impl Into<String>, source: io::Error) -> Self {
        Self::System { what: what.into(), source }
    }
}
