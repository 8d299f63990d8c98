//! What netfilter does during a fault. Each fault has a table of its own, so that healing one leaves the others.
//!
//! Packets are dropped where they arrive, never where they leave: to the kernel that sent them they are on the wire, and
//! it repeats them as it would on any other network.
use super::topology::LINK;
use crate::scenario::plan::{Fault, FaultKind, Side};

/// Scripts for `nft` that bring a fault about, each with the end in whose namespace it belongs. Again is the same as
/// once.
pub(super) fn scripts(index: usize, fault: &Fault) -> Vec<(Side, String)> {
    let at_remote = |rules: &str| vec![(Side::Remote, script(index, rules))];
    match fault.kind {
        // What is established is reset by its next packet, where `ss -K` did not reset it at once.
        FaultKind::Reset => at_remote("meta l4proto tcp reject with tcp reset"),
        FaultKind::Refuse => at_remote("tcp flags & (syn | ack) == syn reject with tcp reset"),
        _ => Vec::new(),
    }
}

/// Removes what a fault has brought about in a namespace, if it has.
pub(super) fn removal(index: usize) -> String {
    let table = table(index);
    format!("add table ip {table}\ndelete table ip {table}\n")
}

/// The table of a fault.
pub(super) fn table(index: usize) -> String {
    format!("fault_{index}")
}

fn script(index: usize, rule: &str) -> String {
    let (removal, table) = (removal(index), table(index));
    format!(
        "{removal}add table ip {table}\n\
         add chain ip {table} input {{ type filter hook input priority filter; policy accept; }}\n\
         add rule ip {table} input iifname \"{LINK}\" {rule}\n"
    )
}
