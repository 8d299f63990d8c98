//! The link, and TCP on it as far as it matters: what a silent link holds back arrives at a later retransmission, a
//! socket buffer that is full holds up its writer, and a closed socket goes on sending what it has.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::message::Packet;

/// The first retransmission, which doubles (Linux, at a round trip far below it).
const RETRANSMISSION: Duration = Duration::from_millis(200);
const LONGEST_RETRANSMISSION: Duration = Duration::from_secs(120);
/// What a socket takes for a peer that does not answer: Linux' `sk_sndbuf` at a maximum segment size of 1448.
const SEND_BUFFER: usize = 46_080;
/// How long the kernel goes on retransmitting for a socket that was closed (`tcp_orphan_retries`).
const ORPHAN: Duration = Duration::from_secs(102);

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToRemote,
    ToBridge,
}

/// What the link does to a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialled {
    /// It comes about.
    Connects,
    /// Refused or reset.
    Refused,
    /// The name does not resolve.
    NoName,
    /// The SYN, or its answer, is lost.
    Silence,
}

/// The state of the link, one figure for each fault that can hold.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) silent_to_remote: u32,
    pub(super) silent_to_bridge: u32,
    pub(super) nameless: u32,
    pub(super) refusing: u32,
}

impl Link {
    pub(super) fn passes(&self, way: Way) -> bool {
        match way {
            Way::ToRemote => self.silent_to_remote == 0,
            Way::ToBridge => self.silent_to_bridge == 0,
        }
    }

    pub(super) fn dialled(&self) -> Dialled {
        if self.nameless > 0 {
            Dialled::NoName
        } else if !self.passes(Way::ToRemote) || !self.passes(Way::ToBridge) {
            Dialled::Silence
        } else if self.refusing > 0 {
            Dialled::Refused
        } else {
            Dialled::Connects
        }
    }
}

/// One connection of a bridge to the remote.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) bridge: usize,
    /// NanoMQ has not closed it.
    pub(super) local_open: bool,
    /// The remote has not closed it.
    pub(super) remote_open: bool,
    ways: [Stalled; 2],
}

/// What was sent into a silent link.
#[derive(Debug, Default)]
struct Stalled {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// When the first of them was sent.
    since: Duration,
}

/// All connections that somebody still knows of.
#[derive(Debug, Default)]
pub(super) struct Net {
    pub(super) link: Link,
    tcps: BTreeMap<u32, Tcp>,
    next: u32,
}

impl Net {
    pub(super) fn open(&mut self, bridge: usize) -> u32 {
        self.next += 1;
        let ways = Default::default();
        self.tcps.insert(self.next, Tcp { bridge, local_open: true, remote_open: true, ways });
        self.next
    }

    pub(super) fn tcp(&mut self, id: u32) -> Option<&mut Tcp> {
        self.tcps.get_mut(&id)
    }

    pub(super) fn ids(&self) -> Vec<u32> {
        self.tcps.keys().copied().collect()
    }

    /// Whether the socket of a bridge takes another packet.
    pub(super) fn has_room(&self, id: u32) -> bool {
        self.tcps.get(&id).is_none_or(|tcp| tcp.ways[Way::ToRemote as usize].bytes < SEND_BUFFER)
    }

    /// A packet reaches the end of its way: what comes of it there, or `None` where it has to be retransmitted.
    pub(super) fn arrives(&mut self, id: u32, way: Way, packet: Packet, sent: Duration) -> Option<Packet> {
        let passes = self.link.passes(way);
        let stalled = &mut self.tcps.get_mut(&id)?.ways[way as usize];
        if passes && stalled.packets.is_empty() {
            return Some(packet);
        }
        if stalled.packets.is_empty() {
            stalled.since = sent;
        }
        stalled.bytes += packet.bytes();
        stalled.packets.push_back(packet);
        None
    }

    /// When what is stalled is sent again for the first time from `now` on.
    pub(super) fn retransmission(&self, id: u32, way: Way, now: Duration) -> Option<Duration> {
        let stalled = &self.tcps.get(&id)?.ways[way as usize];
        if stalled.packets.is_empty() {
            return None;
        }
        let (mut wait, mut at) = (RETRANSMISSION, stalled.since + RETRANSMISSION);
        while at < now {
            wait = (wait * 2).min(LONGEST_RETRANSMISSION);
            at += wait;
        }
        Some(at)
    }

    /// What a retransmission brings to the other end, where it gets through.
    pub(super) fn retransmit(&mut self, id: u32, way: Way, now: Duration) -> Vec<Packet> {
        if !self.link.passes(way) {
            return Vec::new();
        }
        let Some(tcp) = self.tcps.get_mut(&id) else { return Vec::new() };
        let stalled = std::mem::take(&mut tcp.ways[way as usize]);
        let sender_open = if way == Way::ToRemote { tcp.local_open } else { tcp.remote_open };
        if !sender_open && now.saturating_sub(stalled.since) > ORPHAN {
            return Vec::new();
        }
        stalled.packets.into()
    }

    /// Whether nothing is stalled.
    pub(super) fn is_quiet(&self) -> bool {
        self.tcps.values().flat_map(|tcp| &tcp.ways).all(|stalled| stalled.packets.is_empty())
    }

    /// Forgets what neither end knows of any more and nothing is on its way for.
    pub(super) fn sweep(&mut self) {
        self.tcps.retain(|_, tcp| tcp.local_open || tcp.remote_open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_into_silence_arrives_in_order_at_a_retransmission() {
        let (mut net, second) = (Net::default(), Duration::from_secs(1));
        let id = net.open(0);
        net.link.silent_to_remote = 1;
        for packet_id in [1, 2] {
            assert_eq!(net.arrives(id, Way::ToRemote, Packet::Pubrel(packet_id), second), None);
        }
        assert!(net.retransmit(id, Way::ToRemote, second * 2).is_empty());
        net.link.silent_to_remote = 0;
        // 1.2, 1.6, 2.4, 4.0 s.
        assert_eq!(net.retransmission(id, Way::ToRemote, second * 3), Some(second * 4));
        assert_eq!(net.arrives(id, Way::ToRemote, Packet::Pingreq, second * 3), None);
        let arrived = net.retransmit(id, Way::ToRemote, second * 4);
        assert_eq!(arrived, [Packet::Pubrel(1), Packet::Pubrel(2), Packet::Pingreq]);
        assert_eq!(net.arrives(id, Way::ToRemote, Packet::Pingreq, second * 5), Some(Packet::Pingreq));
    }
}
