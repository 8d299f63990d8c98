//! How many descriptors the process may have, which is how many connections.

/// What the process needs besides connections: its cache, its remotes, its listeners, and some to spare.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one.
///
/// # Errors
/// What the operating system said.
pub fn raise() -> std::io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it writes the struct that it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: it reads the struct that it is given.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            return Ok(limit.rlim_max);
        }
    }
    Ok(limit.rlim_cur)
}

/// So many connections that many descriptors allow.
pub fn connections(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(RESERVED)).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_left_for_the_bridge_itself() {
        assert_eq!([connections(20_000), connections(64), connections(0)], [19_936, 1, 1]);
        let raised = raise().unwrap();
        assert_eq!(raise().unwrap(), raised);
    }
}
