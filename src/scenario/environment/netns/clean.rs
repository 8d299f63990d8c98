//! What a killed runner left behind. Its namespaces go by themselves, except where a process or a socket still holds
//! them: those are found here, by the mark of their runner.
use std::fmt;

use serde::Deserialize;

use super::super::owner::Owner;
use super::error::NetnsError;
use super::marks::{self, PREFIX, VARIABLE};
use super::tools::{Tool, run};

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Names of interfaces.
    pub interfaces: Vec<String>,
    /// Ids of processes.
    pub processes: Vec<u32>,
}

/// Removes what runners left behind that are gone; what belongs to one that still runs stays.
///
/// # Errors
/// [`NetnsError`] where it cannot be seen what there is.
pub fn clean() -> Result<Cleaned, NetnsError> {
    let processes = end_left_processes();
    let mut interfaces = Vec::new();
    for name in left_interfaces(&run(Tool::Ip, &["-json", "link", "show"], "")?) {
        // Not there any more: its namespace has gone meanwhile.
        if run(Tool::Ip, &["link", "delete", "dev", &name], "").is_ok() {
            interfaces.push(name);
        }
    }
    Ok(Cleaned { interfaces, processes })
}

impl Cleaned {
    /// Whether there was nothing.
    pub fn is_empty(&self) -> bool {
        self.interfaces.is_empty() && self.processes.is_empty()
    }
}

impl fmt::Display for Cleaned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("network namespaces: nothing was left behind");
        }
        let processes: Vec<String> = self.processes.iter().map(u32::to_string).collect();
        let lists = [("interfaces", self.interfaces.join(", ")), ("processes", processes.join(", "))];
        let lists = lists.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| format!("{what} {list}"));
        write!(formatter, "network namespaces: removed {}", lists.collect::<Vec<_>>().join("; "))
    }
}

fn left_interfaces(json: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Link {
        ifname: String,
        #[serde(default)]
        ifalias: String,
    }
    let links: Vec<Link> = serde_json::from_str(json).unwrap_or_default();
    let ours = links.into_iter().filter(|link| link.ifname.starts_with(PREFIX));
    ours.filter(|link| marks::from_alias(&link.ifalias).is_some_and(|owner| !owner.lives()))
        .map(|link| link.ifname)
        .collect()
}

fn end_left_processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let left = pids.filter(|&pid| owner_of(pid).is_some_and(|owner| !owner.lives()));
    // SAFETY: touches no memory. Its mark was read a moment ago; an error means that it has ended since.
    left.filter(|&pid| unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) } == 0).collect()
}

/// The runner whose mark a process carries in its environment.
fn owner_of(pid: u32) -> Option<Owner> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|&byte| byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
    let mark = variables.find_map(|line| line.strip_prefix(VARIABLE)?.strip_prefix('='))?;
    Owner::from_mark(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_own_is_left_behind() {
        let json = format!(
            r#"[{{"ifname":"lo"}},{{"ifname":"mqb1b","ifalias":"{}"}},{{"ifname":"mqb2b","ifalias":"mqtt-bridge replay 1:0"}},
                {{"ifname":"mqb3b","ifalias":"of somebody else"}},{{"ifname":"eth0","ifalias":"mqtt-bridge replay 1:0"}}]"#,
            marks::alias(Owner::this())
        );
        assert_eq!(left_interfaces(&json), ["mqb2b"]);
    }

    #[test]
    fn a_process_of_a_dead_runner_is_killed_and_another_is_not() {
        use std::os::unix::process::ExitStatusExt;
        use std::process::Command;
        let start = |mark: &str| Command::new("sleep").arg("60").env(VARIABLE, mark).spawn().unwrap();
        let (mut left, mut kept) = (start("1:0"), start(&Owner::this().mark()));
        // Its environment is that of this program until it is `sleep`. Another test may be quicker, which is no difference.
        let status = loop {
            end_left_processes();
            if let Some(status) = left.try_wait().unwrap() {
                break status;
            }
            std::thread::yield_now();
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!(kept.try_wait().unwrap().is_none());
        kept.kill().unwrap();
        kept.wait().unwrap();
    }
}
