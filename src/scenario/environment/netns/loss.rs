//! Whether packets are lost at random: datagrams that nobody asked for, and how many of them the rule has counted.
use std::net::UdpSocket;

use serde_json::Value;

use super::error::NetnsError;
use super::rules;
use super::tools::{Tool, run};
use super::topology::Topology;
use crate::scenario::plan::Side;

const DATAGRAMS: u32 = 200;
/// The discard service: whoever gets one throws it away.
const DISCARD: u16 = 9;
/// Of 200 datagrams, a loss of less may take none (10 %: once in a thousand million times).
const LEAST_PERCENT: f64 = 10.0;

/// Whether a loss would show in a sample.
pub(super) fn would_show(percent: f64) -> bool {
    percent >= LEAST_PERCENT
}

/// How many packets the fault's rule at an end of the link has dropped, a sample of our own among them.
///
/// # Errors
/// [`NetnsError`].
pub(super) async fn sample(topology: &Topology, side: Side, index: usize) -> Result<u64, NetnsError> {
    let addresses = topology.addresses;
    let (from, to, at, place) = match side {
        Side::Remote => (&topology.bridge, &topology.remote, addresses.bridge_link(), addresses.remote_link()),
        Side::Bridge => (&topology.remote, &topology.bridge, addresses.remote_link(), addresses.bridge_link()),
    };
    let send = move || {
        let socket = UdpSocket::bind((at, 0)).map_err(|source| NetnsError::system("a socket for datagrams", source))?;
        for _ in 0..DATAGRAMS {
            // Not connected, so that no refusal comes back to it; whatever else goes wrong shows in the count.
            let _ = socket.send_to(&[], (place, DISCARD));
        }
        Ok(())
    };
    from.within(send).await?;
    let table = rules::table(index);
    let listed = to.within(move || run(Tool::Nft, &["-j", "list", "table", "ip", &table], "")).await?;
    Ok(dropped(&listed))
}

fn dropped(json: &str) -> u64 {
    let listed: Value = serde_json::from_str(json).unwrap_or_default();
    let rules = listed["nftables"].as_array().into_iter().flatten();
    let expressions = rules.flat_map(|entry| entry["rule"]["expr"].as_array().into_iter().flatten());
    expressions.filter_map(|expression| expression["counter"]["packets"].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_read() {
        let json = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"name":"fault_0"}},
            {"rule":{"expr":[{"match":{}},{"counter":{"packets":61,"bytes":1708}},{"drop":null}]}}]}"#;
        assert_eq!((dropped(json), dropped("")), (61, 0));
    }
}
