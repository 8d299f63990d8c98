//! Names and labels: what belongs to which runner, so that two never meet and a dead one's things can be told.
use std::collections::HashMap;
use std::fmt;

/// On everything that the laboratory makes: whose it is ([`Owner`]).
pub(super) const RUNNER: &str = "mqtt-bridge.runner";
/// On everything of one subject's world: its id.
pub(super) const WORLD: &str = "mqtt-bridge.world";

/// A runner: a process, told apart from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    machine: String,
    /// Changes at every start of the machine.
    boot: String,
    pid: u32,
    /// When the process was started, in ticks since the machine's start: numbers come round.
    started: u64,
}

/// Whether a runner is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alive {
    /// It is, or may be.
    Maybe,
    /// It is not.
    No,
    /// It ran on another machine, or in another container: that cannot be seen from here.
    Elsewhere,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> Self {
        let pid = std::process::id();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let boot = read("/proc/sys/kernel/random/boot_id");
        Self { machine: machine(), boot, pid, started: started(pid).unwrap_or_default() }
    }

    /// Reads what [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let mut next = || parts.next();
        let (machine, boot) = (next()?.to_owned(), next()?.to_owned());
        Some(Self { machine, boot, pid: next()?.parse().ok()?, started: next()?.parse().ok()? })
    }

    /// Whether it is alive, as seen by `this`; `started` says when a process was started, `None` where there is none.
    pub(super) fn alive(&self, this: &Self, started: impl Fn(u32) -> Option<u64>) -> Alive {
        if self.machine != this.machine {
            return Alive::Elsewhere;
        }
        let same_process = self.boot == this.boot && started(self.pid) == Some(self.started);
        if same_process { Alive::Maybe } else { Alive::No }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}/{}", self.machine, self.boot, self.pid, self.started)
    }
}

fn machine() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is as long as it is said to be.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).replace('/', "_")
}

/// When a process was started; 0 where the system does not say, `None` where there is no such process.
pub(super) fn started(pid: u32) -> Option<u64> {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The name in the second field may hold blanks and brackets.
        let fields = stat.rsplit_once(')')?.1;
        return fields.split_whitespace().nth(19)?.parse().ok();
    }
    // SAFETY: signal 0 only asks.
    let there = unsafe { libc::kill(pid as libc::pid_t, 0) } == 0;
    (there && cfg!(not(target_os = "linux"))).then_some(0)
}

/// The names and labels of one world.
#[derive(Debug, Clone)]
pub(super) struct Names {
    id: String,
    owner: String,
}

impl Names {
    /// Fresh ones.
    pub(super) fn new(owner: &Owner) -> Self {
        Self::with(format!("{:08x}", fastrand::u32(..)), owner)
    }

    /// With a given id.
    pub(super) fn with(id: String, owner: &Owner) -> Self {
        Self { id, owner: owner.to_string() }
    }

    /// The world's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The name of one of its things.
    pub(super) fn of(&self, what: &str) -> String {
        format!("mqtt-bridge-{}-{what}", self.id)
    }

    /// The labels of all its things.
    pub(super) fn labels(&self) -> HashMap<String, String> {
        [(RUNNER, &self.owner), (WORLD, &self.id)].map(|(key, value)| (key.to_owned(), value.clone())).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_dead_when_its_process_or_its_boot_is_another() {
        let this = Owner::this();
        let text = this.to_string();
        assert_eq!(Owner::parse(&text), Some(this.clone()));
        assert_eq!(this.alive(&this, started), Alive::Maybe);
        let other = |change: fn(&mut Owner)| {
            let mut other = this.clone();
            change(&mut other);
            other.alive(&this, started)
        };
        assert_eq!(other(|owner| owner.boot = "before".into()), Alive::No);
        assert_eq!(other(|owner| owner.started += 1), Alive::No);
        assert_eq!(other(|owner| owner.pid = u32::MAX / 2), Alive::No);
        assert_eq!(other(|owner| owner.machine = "other".into()), Alive::Elsewhere);
        assert_eq!(Owner::parse("nonsense"), None);
    }

    #[test]
    fn names_of_two_worlds_differ() {
        let owner = Owner::this();
        assert_ne!(Names::new(&owner).of("link"), Names::new(&owner).of("link"));
    }
}
