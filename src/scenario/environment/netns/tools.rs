//! The programs of iproute2 and nftables, run on the calling thread and so in its namespace.
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use super::super::programs;
use super::error::NetnsError;

/// A program that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    /// Links, addresses, neighbours.
    Ip,
    /// Rules.
    Nft,
    /// Queueing disciplines.
    Tc,
    /// Sockets.
    Ss,
    /// Name resolution as programs see it.
    Getent,
}

impl Tool {
    pub(super) const ALL: [Self; 5] = [Self::Ip, Self::Nft, Self::Tc, Self::Ss, Self::Getent];

    fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Nft => "nft",
            Self::Tc => "tc",
            Self::Ss => "ss",
            Self::Getent => "getent",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Ip | Self::Tc | Self::Ss => "iproute2",
            Self::Nft => "nftables",
            Self::Getent => "libc-bin",
        }
    }

    /// A command of it.
    ///
    /// # Errors
    /// [`NetnsError::ToolMissing`].
    pub(super) fn command(self) -> Result<Command, NetnsError> {
        let path = programs::find(self.name());
        path.map(Command::new).ok_or(NetnsError::ToolMissing { tool: self.name(), package: self.package() })
    }
}

/// Runs a tool; gives what it said on stdout.
///
/// # Errors
/// [`NetnsError`] where it is missing, cannot be started, or says no.
pub(super) fn run(tool: Tool, arguments: &[&str], input: &str) -> Result<String, NetnsError> {
    let mut command = tool.command()?;
    command.args(arguments);
    let asked = || if input.is_empty() { arguments.join(" ") } else { input.trim_end().replace('\n', "; ") };
    let output = fed(&mut command, input)
        .map_err(|source| NetnsError::system(format!("{} cannot be run", tool.name()), source))?;
    if !output.status.success() {
        let (status, said) = (output.status.to_string(), String::from_utf8_lossy(&output.stderr).trim().to_owned());
        return Err(NetnsError::Tool { tool: tool.name(), asked: asked(), status, said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn fed(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // What is asked fits a pipe's buffer. A tool that ends before it has read all says why on its own.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}
