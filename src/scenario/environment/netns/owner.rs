//! Whose a world is: process id and start time of its runner, which together no other process has.
use std::fmt;

/// The environment variable of every process of a world.
pub(super) const VARIABLE: &str = "MQTT_BRIDGE_REPLAY";
/// What the interfaces of a world begin with.
pub(super) const PREFIX: &str = "mqb";
/// What comes before the owner in an interface's alias.
const ALIAS: &str = "mqtt-bridge replay ";

/// A runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pid: u32,
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

    /// A name for an interface of a new world, of at most 15 characters.
    pub(super) fn interface(self, end: char) -> String {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(4).collect();
        format!("{PREFIX}{}{random}{end}", base36(self.pid))
    }

    /// As the variable has it.
    pub(super) fn mark(self) -> String {
        format!("{}:{}", self.pid, self.started)
    }

    /// From the variable.
    pub(super) fn from_mark(mark: &str) -> Option<Self> {
        let (pid, started) = mark.split_once(':')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// From an interface's alias.
    pub(super) fn from_alias(alias: &str) -> Option<Self> {
        Self::from_mark(alias.strip_prefix(ALIAS)?)
    }
}

/// As an interface's alias has it.
impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{ALIAS}{}", self.mark())
    }
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.is_empty() {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
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
        assert_eq!(Owner::from_alias(&this.to_string()), Some(this));
        assert!(!Owner { started: this.started + 1, ..this }.lives(), "the id was given again");
        assert_eq!(Owner::from_mark("nonsense"), None);
    }

    #[test]
    fn names_of_interfaces_fit_and_differ() {
        let last = Owner { pid: 4_194_304, started: 0 };
        let (one, other) = (last.interface('b'), last.interface('b'));
        assert!(one.len() <= 15 && one.starts_with("mqb2hwcg"), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let rest = (4..=21).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(fields(&format!("7 (a ) b) S {rest} 4711 23 24")), Some(("S", 4711)));
    }
}
