//! What netfilter and the queueing disciplines do during a fault, as scripts for `nft` and `tc`.
//!
//! Packets are dropped where they arrive, never where they leave: to the kernel that sent them they are on the wire, and
//! it repeats them as it would on any other network.
use super::topology::{LINK, port};
use crate::scenario::plan::{Direction, Fault, FaultKind, Parameters, Side};

/// What the kernel calls a fragment of a percent here.
const MILLIONTHS_A_PERCENT: f64 = 10_000.0;
/// One Ethernet frame, the least that a bucket must hold.
const FRAME: u64 = 1_600;

/// The table of what is done to the link on the runner's own account.
const GATE: &str = "gate";
const RESET: &str = "meta l4proto tcp reject with tcp reset";

/// Both ends of the link.
pub(super) const ENDS: [Side; 2] = [Side::Bridge, Side::Remote];

/// Scripts for `nft` that bring a fault about, each with the end in whose namespace it belongs. Each fault has a table of
/// its own, so that healing one leaves the others. Again is the same as once.
pub(super) fn filters(index: usize, fault: &Fault) -> Vec<(Side, String)> {
    let at = |side, rule: &str| (side, filter(&table(index), rule));
    match (fault.kind, &fault.parameters) {
        // What is established is reset by its next packet, where `ss -K` did not reset it at once.
        (FaultKind::Reset, _) => vec![at(Side::Remote, RESET)],
        (FaultKind::Refuse, _) => {
            vec![at(Side::Remote, "tcp flags & (syn | ack) == syn reject with tcp reset")]
        }
        (FaultKind::HalfOpen, Parameters::HalfOpen { passes: Direction::ToBridge }) => vec![at(Side::Remote, "drop")],
        (FaultKind::HalfOpen, _) => vec![at(Side::Bridge, "drop")],
        (FaultKind::Loss, Parameters::Loss { percent }) => {
            let share = (percent * MILLIONTHS_A_PERCENT).round();
            let rule = format!("numgen random mod 1000000 < {share} counter drop");
            ENDS.map(|side| at(side, &rule)).into()
        }
        _ => Vec::new(),
    }
}

/// Removes what a fault has brought about in a namespace, if it has.
pub(super) fn removal(index: usize) -> String {
    remove(&table(index))
}

/// Lets nobody come to the remote by the link, or lets them come again; in the remote's namespace.
pub(super) fn gate(closed: bool) -> String {
    if closed { filter(GATE, RESET) } else { remove(GATE) }
}

fn remove(table: &str) -> String {
    format!("add table ip {table}\ndelete table ip {table}\n")
}

/// The table of a fault.
pub(super) fn table(index: usize) -> String {
    format!("fault_{index}")
}

fn filter(table: &str, rule: &str) -> String {
    let removal = remove(table);
    format!(
        "{removal}add table ip {table}\n\
         add chain ip {table} input {{ type filter hook input priority filter; policy accept; }}\n\
         add rule ip {table} input iifname \"{LINK}\" {rule}\n"
    )
}

/// A script for `tc` in the switch's namespace that makes the link slower, or as fast as it was; in each direction what
/// leaves the switch is what is slowed down.
pub(super) fn shape(fault: &Fault, holds: bool) -> Option<String> {
    let discipline = match (fault.kind, &fault.parameters) {
        (FaultKind::Throttle, _) if !holds => "noqueue".to_owned(),
        (FaultKind::Throttle, Parameters::Throttle { bytes_per_second }) => {
            // A bucket of 50 ms, and what does not fit it waits for a second at most: what is more is lost, as in a router.
            let burst = (bytes_per_second / 20).max(FRAME);
            format!("tbf rate {bytes_per_second}bps burst {burst} latency 1s")
        }
        _ => return None,
    };
    Some(ENDS.map(|side| format!("qdisc replace dev {} root {discipline}\n", port(side))).concat())
}

/// A script for `tc` in the namespace of each end, for what is later by a time.
pub(super) fn delay(fault: &Fault, holds: bool) -> Option<String> {
    let discipline = match (fault.kind, &fault.parameters) {
        (FaultKind::Delay, _) if !holds => "noqueue".to_owned(),
        (FaultKind::Delay, Parameters::Delay { by, jitter, only: None }) => {
            let (by, jitter) = (by.as_micros(), jitter.as_micros());
            // The middle of the span, and half of it either way. The limit counts packets.
            format!("netem delay {}us {}us limit 1000000", by + jitter / 2, jitter / 2)
        }
        _ => return None,
    };
    Some(format!("qdisc replace dev {LINK} root {discipline}\n"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_nft_and_tc_are_asked() {
        let fault = |kind, parameters| Fault {
            kind,
            on: Side::Remote,
            parameters,
            when: None,
            start: Duration::ZERO,
            end: Duration::from_secs(1),
        };
        let (by, jitter) = (Duration::from_millis(200), Duration::from_millis(50));
        let faults = [
            fault(FaultKind::Reset, Parameters::None),
            fault(FaultKind::Refuse, Parameters::None),
            fault(FaultKind::HalfOpen, Parameters::HalfOpen { passes: Direction::ToRemote }),
            fault(FaultKind::HalfOpen, Parameters::HalfOpen { passes: Direction::ToBridge }),
            fault(FaultKind::Loss, Parameters::Loss { percent: 2.5 }),
            fault(FaultKind::Throttle, Parameters::Throttle { bytes_per_second: 1_000 }),
            fault(FaultKind::Delay, Parameters::Delay { by, jitter, only: None }),
        ];
        let mut text = String::new();
        for (index, fault) in faults.iter().enumerate() {
            text += &format!("# {} {:?}\n", fault.kind.name(), fault.parameters);
            for (side, script) in filters(index, fault) {
                text += &format!("# nft, {side:?}\n{script}");
            }
            for holds in [true, false] {
                text += &shape(fault, holds).map(|script| format!("# tc, switch\n{script}")).unwrap_or_default();
                text += &delay(fault, holds).map(|script| format!("# tc, both ends\n{script}")).unwrap_or_default();
            }
        }
        insta::assert_snapshot!(text);
    }
}
