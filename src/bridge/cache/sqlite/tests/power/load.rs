//! A load for the disk, drawn from a seed, beside the reference that says what it means.
use std::sync::Arc;

use super::*;
use crate::bridge::cache::memory::Memory;
use crate::bridge::delivery::Outcome;
use crate::bridge::wire::ReasonCode;

pub(super) const BRIDGES: [&str; 2] = ["one", "two"];
const CLIENTS: [&str; 2] = ["a", "b"];

type OfBridge = (Usage, Page, Option<String>, Vec<Held>, Vec<u16>);

/// All that can be asked of a cache.
#[derive(Debug, PartialEq)]
pub(super) struct Image {
    bridges: Vec<OfBridge>,
    sessions: Vec<Option<Session>>,
    latest: (Seq, Time),
}

pub(super) fn image(cache: &mut impl Cache) -> Image {
    let bridges = BRIDGES.iter().map(|name| {
        let (id, restored) = cache.bridge(name).unwrap();
        let page = cache.page(id, Seq::default(), usize::MAX, usize::MAX).unwrap();
        (cache.usage(id), page, restored.established, restored.held, restored.received_ids)
    });
    let bridges = bridges.collect();
    let sessions = CLIENTS.iter().map(|client| {
        let mut session = cache.session(client).unwrap();
        if let Some(session) = &mut session {
            session.subscriptions.sort_by(|one, other| one.filter.cmp(&other.filter));
        }
        session
    });
    Image { bridges, sessions: sessions.collect(), latest: cache.latest().unwrap() }
}

/// Draws batches of writes.
pub(super) struct Load {
    random: fastrand::Rng,
    pub(super) reference: Memory,
    bridges: [BridgeId; 2],
    next: i64,
}

impl Load {
    pub(super) fn new(seed: u64) -> Self {
        let mut reference = Memory::default();
        let bridges = BRIDGES.map(|name| reference.bridge(name).unwrap().0);
        Self { random: fastrand::Rng::with_seed(seed), reference, bridges, next: 1 }
    }

    /// The next batch, which the reference has applied.
    pub(super) fn batch(&mut self) -> Vec<Write> {
        let writes: Vec<Write> = (0..self.random.usize(1..6)).map(|_| self.write()).collect();
        self.reference.apply(&writes).unwrap();
        writes
    }

    fn write(&mut self) -> Write {
        let random = &mut self.random;
        let client_id: Arc<str> = CLIENTS[random.usize(..2)].into();
        let bridge = self.bridges[random.usize(..2)];
        let origin = if random.bool() { Origin::Local(client_id.clone()) } else { Origin::Remote(bridge) };
        match random.u8(..20) {
            0..7 => self.store(origin),
            7..16 => {
                // Old ones more often than young ones, so that the file shrinks as well.
                let seq = Seq((random.f64() * random.f64() * self.next as f64) as i64 + 1);
                let step = match random.u8(..12) {
                    // A Packet Identifier belongs to one delivery at a time.
                    0..3 => Progress::Sent { packet_id: seq.0 as u16 },
                    3 => Progress::Released { order: seq.0 },
                    4 => Progress::Requeued,
                    5 => Progress::Quarantined(ReasonCode::NOT_AUTHORIZED),
                    _ => Progress::Removed(Outcome::Delivered),
                };
                Write::Progress { bridge, seq, step }
            }
            16 => Write::Forget { origin, packet_id: random.u16(1..20) },
            17 => Write::Established { bridge, identity: random.u8(..).to_string() },
            18 => Write::KeepSession { client_id, expires_at: None, expiry: random.u32(..) },
            _ => Write::EndSession { client_id },
        }
    }

    fn store(&mut self, origin: Origin) -> Write {
        let random = &mut self.random;
        let size = [0, 20, 200, 3000, 20_000][random.choice([0, 1, 1, 2, 2, 2, 3, 4]).unwrap_or(0)];
        let qos = if random.bool() { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let fill = random.u8(..);
        let message = Arc::new(Message::new(&format!("t/{}", random.u8(..9)), vec![fill; size], qos));
        let to = |bridge: &BridgeId| NewDelivery {
            bridge: *bridge,
            topic: message.topic.clone(),
            qos,
            retain: false,
            when_full: None,
            identifiers: None,
        };
        let deliveries = self.bridges[random.usize(..2)..].iter().map(to).collect();
        let received_id = (qos == QoS::ExactlyOnce).then(|| (origin, random.u16(1..20)));
        let (seq, received_at) = (Seq(self.next), Duration::from_millis(self.next as u64));
        self.next += 1;
        Write::Store(Box::new(Store {
            seq,
            message,
            received_at,
            deliveries,
            received_id,
            publisher: None,
            retained: false,
        }))
    }
}
