//! The networks of a world: the link, which goes through a switch of its own, and a way from the runner to each end.
//!
//! ```text
//! runner ──ctl0── bridge ──link0── switch ──link0── remote ──ctl0── runner
//! ```
//! The switch forwards frames and has no address. Neither end has a route to anything but its own two networks.
use std::path::Path;

use super::super::owner::Owner;
use super::addresses::Addresses;
use super::error::NetnsError;
use super::marks;
use super::namespace::Namespace;
use super::tools::{Tool, run};
use crate::scenario::plan::Side;

/// The interface of the link in the namespaces of bridge and remote.
pub(super) const LINK: &str = "link0";
const CONTROL: &str = "ctl0";
const SWITCH: &str = "switch0";
/// Locally administered addresses, the same in every world: nobody else is on the link.
const BRIDGE_MAC: &str = "02:00:00:00:00:01";
const REMOTE_MAC: &str = "02:00:00:00:00:02";

/// Namespaces, interfaces and addresses of a world; dropped, they are gone.
pub(super) struct Topology {
    pub(super) addresses: Addresses,
    pub(super) switch: Namespace,
    pub(super) bridge: Namespace,
    pub(super) remote: Namespace,
    /// The runner's ends of its ways, as its own namespace knows them.
    runner: [String; 2],
}

impl Topology {
    /// Makes everything; the remote is not connected to the switch yet.
    ///
    /// # Errors
    /// [`NetnsError`]; nothing is left behind.
    pub(super) async fn make(owner: Owner) -> Result<Self, NetnsError> {
        let (switch, bridge, remote) = (Namespace::create()?, Namespace::create()?, Namespace::create()?);
        let addresses = Addresses::free()?;
        let runner = [marks::interface(owner, 'b'), marks::interface(owner, 'r')];
        // From here on dropping it removes what was made.
        let topology = Self { addresses, switch, bridge, remote, runner };
        let paths = [topology.bridge.path(), topology.remote.path()];
        ip(runner_script(addresses, &topology.runner, &paths, &marks::alias(owner)))?;
        for interface in &topology.runner {
            // Where this machine forwards (Docker has it do so), nothing that comes from an end of ours goes any further.
            let switch = Path::new("/proc/sys/net/ipv4/conf").join(interface).join("forwarding");
            if let Err(error) = std::fs::write(&switch, "0") {
                tracing::debug!(path = %switch.display(), %error, "forwarding stays as it is");
            }
        }
        let script = switch_script(&paths);
        topology.switch.within(move || ip(script)).await?;
        for (side, namespace) in [(Side::Bridge, &topology.bridge), (Side::Remote, &topology.remote)] {
            let script = end_script(addresses, side);
            namespace.within(move || ip(script)).await?;
        }
        Ok(topology)
    }

    /// Connects an end with the switch, or takes it from there: the frames of both are lost without a word then.
    ///
    /// # Errors
    /// What `ip` said.
    pub(super) async fn connect(&self, side: Side, connected: bool) -> Result<(), NetnsError> {
        let script = port_script(side, connected);
        self.switch.within(move || ip(script)).await
    }

    /// The runner's ends of its ways.
    #[cfg(test)]
    pub(super) fn interfaces(&self) -> &[String; 2] {
        &self.runner
    }

    /// How people can look inside.
    pub(super) fn doors(&self) -> String {
        let door = |name: &str, namespace: &Namespace| format!("{name}: nsenter --net={} ip addr\n", namespace.path());
        [door("switch", &self.switch), door("bridge", &self.bridge), door("remote", &self.remote)].concat()
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        // They go with their namespaces, but not before the last socket: one that was closed during a cut lives on for
        // minutes with what it could not send.
        for interface in &self.runner {
            let _ = run(Tool::Ip, &["link", "delete", "dev", interface], "");
        }
    }
}

/// The switch's port to an end.
pub(super) fn port(side: Side) -> &'static str {
    match side {
        Side::Bridge => "to-bridge",
        Side::Remote => "to-remote",
    }
}

fn ip(script: String) -> Result<(), NetnsError> {
    run(Tool::Ip, &["-batch", "-"], &script).map(drop)
}

fn runner_script(addresses: Addresses, names: &[String; 2], paths: &[String; 2], alias: &str) -> String {
    let ways =
        [(&names[0], &paths[0], addresses.runner_to_bridge()), (&names[1], &paths[1], addresses.runner_to_remote())];
    let way = |(name, path, address)| {
        format!(
            "link add {name} type veth peer name {CONTROL} netns {path}\n\
             link set dev {name} alias \"{alias}\"\n\
             address add {address}/30 dev {name}\n\
             link set dev {name} up\n"
        )
    };
    ways.into_iter().map(way).collect()
}

fn switch_script(paths: &[String; 2]) -> String {
    let [bridge, remote] = paths;
    format!(
        "link add {SWITCH} type bridge\n\
         link set dev {SWITCH} up\n\
         link add to-bridge type veth peer name {LINK} address {BRIDGE_MAC} netns {bridge}\n\
         link add to-remote type veth peer name {LINK} address {REMOTE_MAC} netns {remote}\n\
         link set dev to-bridge master {SWITCH}\n\
         link set dev to-bridge up\n\
         link set dev to-remote up\n"
    )
}

fn end_script(addresses: Addresses, side: Side) -> String {
    let (control, link, other, mac) = match side {
        Side::Bridge => (addresses.bridge_control(), addresses.bridge_link(), addresses.remote_link(), REMOTE_MAC),
        Side::Remote => (addresses.remote_control(), addresses.remote_link(), addresses.bridge_link(), BRIDGE_MAC),
    };
    // A permanent neighbour: with ARP the kernel itself would notice a cut, after seconds, and tell with EHOSTUNREACH.
    format!(
        "link set dev lo up\n\
         address add {control}/30 dev {CONTROL}\n\
         link set dev {CONTROL} up\n\
         address add {link}/29 dev {LINK}\n\
         link set dev {LINK} up\n\
         neighbour add {other} lladdr {mac} dev {LINK} nud permanent\n"
    )
}

fn port_script(side: Side, connected: bool) -> String {
    let port = port(side);
    if connected { format!("link set dev {port} master {SWITCH}\n") } else { format!("link set dev {port} nomaster\n") }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_ip_is_asked() {
        let addresses = Addresses::at(Ipv4Addr::new(198, 18, 0, 0));
        let (names, paths) = (["mqb1b".to_owned(), "mqb1r".to_owned()], ["/n/b".to_owned(), "/n/r".to_owned()]);
        let text = [
            "# in the runner's namespace\n".to_owned(),
            runner_script(addresses, &names, &paths, "mqtt-bridge replay 7:8"),
            "# in the switch's\n".to_owned(),
            switch_script(&paths),
            "# in the bridge's\n".to_owned(),
            end_script(addresses, Side::Bridge),
            "# in the remote's\n".to_owned(),
            end_script(addresses, Side::Remote),
            "# disconnected, and connected again\n".to_owned(),
            port_script(Side::Remote, false),
            port_script(Side::Remote, true),
        ];
        insta::assert_snapshot!(text.concat());
    }
}
