//! Whose a world is: process id and start time of its runner, which together no other process has.

/// A runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) pid: u32,
    /// In clock ticks since the machine was started.
    started: u64,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> Self {
        let pid = std::process::id();
        Self { pid, started: start_time(pid).unwrap_or_default() }
    }

    /// Whether it still runs.
    pub(super) fn lives(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// A word that says who it is.
    pub(super) fn mark(self) -> String {
        format!("{}:{}", self.pid, self.started)
    }

    /// From that word.
    pub(super) fn from_mark(mark: &str) -> Option<Self> {
        let (pid, started) = mark.split_once(':')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }
}

/// The 22nd field of /proc/PID/stat.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (state, started) = fields(&stat)?;
    // A zombie holds nothing any more.
    (state != "Z").then_some(started)
}

fn fields(stat: &str) -> Option<(&str, u64)> {
    // The name may hold anything, also blanks and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_known_by_its_mark() {
        let this = Owner::this();
        assert!(this.lives() && this.started > 0);
        assert_eq!(Owner::from_mark(&this.mark()), Some(this));
        assert!(!Owner { started: this.started + 1, ..this }.lives(), "the id was given again");
        assert_eq!(Owner::from_mark("nonsense"), None);
    }

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let rest = (4..=21).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(fields(&format!("7 (a ) b) S {rest} 4711 23 24")), Some(("S", 4711)));
    }
}
