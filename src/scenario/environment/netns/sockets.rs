//! The TCP sockets of a namespace, from /proc/net/tcp.
use std::net::Ipv4Addr;

/// How many connections to an address and port are in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sockets {
    /// ESTABLISHED.
    pub(super) established: usize,
    /// SYN_RECV: a SYN has come, and the answer to it was not acknowledged.
    pub(super) half_made: usize,
}

impl Sockets {
    /// Those of the calling thread's namespace.
    pub(super) fn of(address: Ipv4Addr, port: u16) -> std::io::Result<Self> {
        Ok(Self::read(&std::fs::read_to_string("/proc/thread-self/net/tcp")?, address, port))
    }

    fn read(table: &str, address: Ipv4Addr, port: u16) -> Self {
        // In the byte order of the machine, as it lies in memory.
        let local = format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets()));
        let mut found = Self::default();
        for line in table.lines() {
            let mut fields = line.split_whitespace().skip(1);
            let here = fields.next() == Some(&local);
            match fields.nth(1) {
                Some("01") if here => found.established += 1,
                Some("03") if here => found.half_made += 1,
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted_for_one_address() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
            0: 0A0012C6:075B 090012C6:A001 01 00000000:00000000 00:00000000 00000000\n\
            1: 0A0012C6:075B 090012C6:A002 03 00000000:00000000 00:00000000 00000000\n\
            2: 060012C6:075B 050012C6:A003 01 00000000:00000000 00:00000000 00000000\n\
            3: 00000000:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n";
        if cfg!(target_endian = "little") {
            let sockets = Sockets::read(table, Ipv4Addr::new(198, 18, 0, 10), 1883);
            assert_eq!(sockets, Sockets { established: 1, half_made: 1 });
        }
    }
}
