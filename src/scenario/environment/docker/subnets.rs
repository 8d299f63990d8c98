//! Subnets that no network of the engine has: from 198.18.0.0/15, which is set aside for tests of network devices
//! (RFC 2544), so that no real network and no pool of Docker's own is in the way.
use std::fmt;
use std::net::Ipv4Addr;

const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const BITS: u32 = 15;
/// 16 addresses each: a gateway and a handful of containers.
const SUBNET_BITS: u32 = 28;
const COUNT: u32 = 1 << (SUBNET_BITS - BITS);

/// A subnet of 16 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet(u32);

impl Subnet {
    /// Number `index` of all of them.
    pub(super) fn number(index: u32) -> Self {
        Self(FIRST + ((index % COUNT) << (32 - SUBNET_BITS)))
    }

    /// The address with a place in it; 1 is the gateway's.
    pub(super) fn address(self, place: u8) -> Ipv4Addr {
        Ipv4Addr::from(self.0 + u32::from(place))
    }

    fn overlaps(self, taken: &str) -> bool {
        let Some((address, bits)) = taken.split_once('/') else { return false };
        // IPv6 does not overlap.
        let (Ok(address), Ok(bits)) = (address.parse::<Ipv4Addr>(), bits.parse::<u32>()) else { return false };
        let shift = 32 - bits.min(SUBNET_BITS);
        u64::from(self.0) >> shift == u64::from(u32::from(address)) >> shift
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{SUBNET_BITS}", Ipv4Addr::from(self.0))
    }
}

/// Subnets to try, from number `from` on, that overlap with none of those taken.
pub(super) fn free(taken: &[String], from: u32) -> impl Iterator<Item = Subnet> {
    let all = (0..COUNT).map(move |index| Subnet::number(from.wrapping_add(index)));
    all.filter(move |subnet| !taken.iter().any(|taken| subnet.overlaps(taken)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_that_is_taken_is_passed_over_however_large_it_is() {
        let taken = |taken: &[&str]| taken.iter().map(|taken| (*taken).to_owned()).collect::<Vec<_>>();
        let first = |list: &[&str]| free(&taken(list), 0).next().map(|subnet| subnet.to_string());
        assert_eq!(first(&[]).unwrap(), "198.18.0.0/28");
        assert_eq!(first(&["172.17.0.0/16", "fd00::/8", "nonsense"]).unwrap(), "198.18.0.0/28");
        assert_eq!(first(&["198.18.0.0/28", "198.18.0.16/30"]).unwrap(), "198.18.0.32/28");
        assert_eq!(first(&["198.18.0.0/16"]).unwrap(), "198.19.0.0/28");
        assert_eq!(first(&["0.0.0.0/0"]), None);
        assert_eq!(free(&[], COUNT - 1).next().unwrap().to_string(), "198.19.255.240/28");
        assert_eq!(Subnet::number(1).address(2), Ipv4Addr::new(198, 18, 0, 18));
    }
}
