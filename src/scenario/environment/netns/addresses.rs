//! The addresses of a world: sixteen in a row that no route of this machine leads to.
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::error::NetnsError;
use super::tools::{Tool, run};

/// Of no use on the Internet: benchmarks (RFC 2544), then what carriers use among themselves (RFC 6598).
const RANGES: [Block; 2] = [Block { first: 0xc612_0000, bits: 15 }, Block { first: 0x6440_0000, bits: 10 }];
const TRIES: usize = 100;
/// Routes of fewer bits are ways to everywhere (a default route, or the halves of one that tunnels set).
const SPECIFIC: u32 = 4;

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    first: u32,
    bits: u32,
}

/// The addresses of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    base: u32,
}

impl Addresses {
    /// Sixteen that nobody uses.
    ///
    /// # Errors
    /// [`NetnsError::NoAddresses`], or what `ip` said.
    pub(super) fn free() -> Result<Self, NetnsError> {
        let taken = taken(&run(Tool::Ip, &["-json", "-4", "route", "show", "table", "all"], "")?);
        for range in RANGES.iter().flat_map(|range| std::iter::repeat_n(range, TRIES / RANGES.len())) {
            let base = range.first | (fastrand::u32(..) & (u32::MAX >> range.bits) & !15);
            if !taken.iter().any(|block| block.overlaps(Block { first: base, bits: 28 })) {
                return Ok(Self { base });
            }
        }
        let ranges = RANGES.map(|range| format!("{}/{}", Ipv4Addr::from(range.first), range.bits)).join(" and ");
        Err(NetnsError::NoAddresses { ranges, tries: TRIES })
    }

    #[cfg(test)]
    pub(super) fn at(base: Ipv4Addr) -> Self {
        Self { base: base.into() }
    }

    /// The runner's end of its way to the bridge; the network has 30 bits.
    pub(super) fn runner_to_bridge(self) -> Ipv4Addr {
        (self.base + 1).into()
    }

    /// The bridge's end of that.
    pub(super) fn bridge_control(self) -> Ipv4Addr {
        (self.base + 2).into()
    }

    /// The runner's end of its way to the remote; the network has 30 bits.
    pub(super) fn runner_to_remote(self) -> Ipv4Addr {
        (self.base + 5).into()
    }

    /// The remote's end of that.
    pub(super) fn remote_control(self) -> Ipv4Addr {
        (self.base + 6).into()
    }

    /// The bridge's end of the link; the network has 29 bits.
    pub(super) fn bridge_link(self) -> Ipv4Addr {
        (self.base + 9).into()
    }

    /// The remote's end of the link.
    pub(super) fn remote_link(self) -> Ipv4Addr {
        (self.base + 10).into()
    }
}

impl Block {
    fn overlaps(self, other: Self) -> bool {
        let same = self.bits.min(other.bits);
        same == 0 || (self.first ^ other.first) >> (32 - same) == 0
    }
}

/// The blocks that routes lead to.
fn taken(json: &str) -> Vec<Block> {
    #[derive(Deserialize)]
    struct Route {
        dst: String,
    }
    let routes: Vec<Route> = serde_json::from_str(json).unwrap_or_default();
    let block = |route: &Route| {
        let (address, bits) = route.dst.split_once('/').unwrap_or((&route.dst, "32"));
        let block = Block { first: address.parse::<Ipv4Addr>().ok()?.into(), bits: bits.parse().ok()? };
        (block.bits >= SPECIFIC && block.bits <= 32).then_some(block)
    };
    routes.iter().filter_map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_a_route_leads_to_is_taken() {
        let json = r#"[{"dst":"default","gateway":"192.0.2.1"},{"dst":"128.0.0.0/1"},{"dst":"198.18.0.0/16"},
            {"type":"local","dst":"10.0.0.7"}]"#;
        let taken = taken(json);
        assert_eq!(taken, [Block { first: 0xc612_0000, bits: 16 }, Block { first: 0x0a00_0007, bits: 32 }]);
        let free = |first: u32| !taken.iter().any(|block| block.overlaps(Block { first, bits: 28 }));
        assert_eq!(
            [free(0xc612_3450), free(0xc613_0000), free(0x0a00_0000), free(0x0a00_0010)],
            [false, true, false, true]
        );
    }

    #[test]
    fn the_networks_of_a_world_do_not_overlap() {
        let addresses = Addresses::at(Ipv4Addr::new(198, 18, 0, 16));
        let network = |address: Ipv4Addr, bits: u32| u32::from(address) >> (32 - bits);
        assert_eq!(network(addresses.runner_to_bridge(), 30), network(addresses.bridge_control(), 30));
        assert_eq!(network(addresses.runner_to_remote(), 30), network(addresses.remote_control(), 30));
        assert_eq!(network(addresses.bridge_link(), 29), network(addresses.remote_link(), 29));
        assert_ne!(network(addresses.bridge_control(), 30), network(addresses.remote_control(), 30));
        assert_ne!(network(addresses.bridge_control(), 29), network(addresses.bridge_link(), 29));
    }
}
